"""Canceling all of a group that has not ended, a batch at a time: each in a transaction of its own, and each analysis
as when it is canceled alone."""

import time
from collections.abc import Iterator
from dataclasses import dataclass
from uuid import UUID

from app.errors import StorageUnavailable
from app.extensions import db
from app.models import Analysis, Principal
from app.services import analyses, artifacts, groups
from app.storage import Storage

BATCH = 50
MOST = 5_000  # with one request; whoever wants more asks again
SECONDS = 15  # of one request: no batch begins later, so that it is answered before anybody gives up waiting


@dataclass(frozen=True)
class Canceled:
    """What was canceled, or would be: how many, how many of these were a worker's, and their ids or the first ones."""

    number: int
    leased: int
    ids: list[UUID]


def preview(group_row_id: UUID, pending: int, *, shown: int) -> Canceled:
    """What one request would cancel now, with up to `shown` ids; `pending` is how many have not ended."""
    number = min(pending, MOST)
    leased = min(groups.count_leased(group_row_id), number)
    return Canceled(number, leased, list(groups.pending(group_row_id, min(shown, number))))


def cancel(group_row_id: UUID, storage: Storage, *, by: Principal) -> Iterator[Canceled]:
    """Cancels up to `MOST` that have not ended, for as long as `SECONDS`. Yields after each batch, and the caller
    commits there.

    Another may end or delete one of them meanwhile: then it stays as that left it. Nothing is held while the storage is
    asked, and one that is away is asked once: what came is written down by the sweeper. What a cut-off request has
    committed is canceled, and the same request again goes on from there.
    """
    until, away = time.monotonic() + SECONDS, False
    for _ in range(MOST // BATCH):
        ids = groups.pending(group_row_id, BATCH)
        wanted = [] if away else list(artifacts.paths(*ids))
        db.session.rollback()
        if not ids:
            return
        found: dict[str, artifacts.Found] = {}
        try:
            found = artifacts.look_up(wanted, storage)
        except StorageUnavailable:
            away = True
        yield _told(analyses.cancel_all(ids, found, by=by))
        if time.monotonic() >= until:
            return


def _told(canceled: list[Analysis]) -> Canceled:
    """A lease stays written down when its analysis is canceled, so that its worker can be told."""
    leased = sum(analysis.lease_expires_at is not None for analysis in canceled)
    return Canceled(len(canceled), leased, [analysis.id for analysis in canceled])


def together(batches: list[Canceled]) -> Canceled:
    return Canceled(
        sum(batch.number for batch in batches),
        sum(batch.leased for batch in batches),
        [one for batch in batches for one in batch.ids],
    )
