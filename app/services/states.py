"""Where every change of an analysis's state is written down: one row of the audit trail each, and what
people's programs are told of it, in its transaction."""

from typing import Any

from app.models import Analysis, Principal
from app.services import audit, webhooks


def made(analysis: Analysis, *, by: Principal) -> None:
    """A new analysis. `image` must be loaded, or at least its row be there."""
    after: dict[str, Any] = {
        "status": analysis.status,
        "model": f"{analysis.model_name} {analysis.model_version}",
    }
    if analysis.retry_of_id:
        after |= {"attempt": analysis.attempt, "retry_of_id": str(analysis.retry_of_id)}
    audit.record(by, "analysis.created", analysis, after=after, project_id=analysis.image.project_id)
    webhooks.announce(analysis, analysis.image.project_id)


def changed(analysis: Analysis, before: str, error_message: str | None = None, *, by: Principal) -> None:
    """It was `before` and is now in another state, with this message if one is given."""
    after = {"status": analysis.status}
    if error_message is not None:
        analysis.error_message = after["error_message"] = error_message
    audit.record(
        by,
        f"analysis.{analysis.status}",
        analysis,
        before={"status": before},
        after=after,
        project_id=analysis.image.project_id,
    )
    webhooks.announce(analysis, analysis.image.project_id)
