"""People's pages: server-rendered HTML, whole pages without JavaScript, fragments for htmx."""

from datetime import timedelta

from flask import Blueprint, Response

from app import guards, sessions

web = Blueprint("web", __name__)
web.before_request(guards.browser)


@web.after_request
def part_people(response: Response) -> Response:
    """What a browser keeps for one person is not for the next who signs in with it, be it at a reverse proxy."""
    sessions.part_people(response)
    return response


@web.app_template_filter("filesize")
def filesize(size: int) -> str:
    """Bytes in the unit a person would choose: 812 B, 75.8 KiB, 12.4 MiB; binary, because limits are set in these."""
    value, unit = float(size), "B"
    for larger in ("KiB", "MiB", "GiB"):
        if value < 999.5:
            break
        value, unit = value / 1024, larger
    return f"{value:.3g} {unit}" if value < 999.5 else f"{value:,.0f} {unit}"


@web.app_template_filter("duration")
def duration(length: timedelta) -> str:
    """0.6 s, 42 s, 3 min 20 s, 2 h 5 min."""
    seconds = max(0.0, length.total_seconds())
    if seconds < 10:
        return f"{seconds:.1f} s"
    if seconds < 60:
        return f"{seconds:.0f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest} s" if rest else f"{minutes} min"
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if minutes else f"{hours} h"


from app.web import (  # noqa: E402, F401  (routes)
    account,
    analyses,
    bundles,
    deletions,
    downloads,
    groups,
    images,
    layers,
    members,
    overlay,
    pictures,
    projects,
    reference,
    repeated,
    returns,
    session,
)
