"""Writes the exports that were asked for in the background: read, written into the storage, written down, step by step.

Each step is a transaction of the background loop, which commits at every `yield` and lets other tasks go first. What is
written goes into the storage as it is made: neither memory nor, with an object store, the disk of this machine holds
it. A process that dies leaves a lease that runs out, and another one begins anew; one that is told to stop hands back
what it was writing.
"""

import logging
import time
from collections.abc import Generator
from contextlib import closing
from dataclasses import replace
from datetime import datetime, timedelta

from flask import current_app
from sqlalchemy.exc import SQLAlchemyError

from app import exports, storage
from app.bundles import contents as bundles
from app.errors import LimitReached, LoupeError, StorageUnavailable
from app.exports import KEPT_ONLY, Progress, Selection
from app.extensions import db
from app.models import ExportState
from app.services import kept_exports
from app.services.kept_exports import Done, Job
from app.services.retention import Steps
from app.storage import Storage, Writer

BEAT_EVERY = 2  # seconds: how old what the page says may be

_log = logging.getLogger(__name__)


def write_due(dry_run: bool) -> Steps:
    """All that is due, the oldest first; what failed for now comes again later. A task of the background."""
    if not current_app.config["ML_ANALYSIS_ENABLED"]:
        return
    if dry_run:
        yield from (f"export {export_id}: written" for export_id in kept_exports.due())
        return
    for export_id in kept_exports.give_up_abandoned(_now(), _keep()):
        yield f"export {export_id}: given up"
    while (job := kept_exports.claim(_now())) is not None:
        yield from _write(job, storage.current())


def _write(job: Job, files: Storage) -> Steps:
    try:
        yield None  # nobody else has it now
        yield from _into(files, job)
    except GeneratorExit:  # told to stop, which is no fault of the export
        db.session.rollback()
        kept_exports.hand_back(job)
        raise
    except (LoupeError, SQLAlchemyError, OSError) as error:
        _log.warning("export %s was not written", job.id, exc_info=error)
        db.session.rollback()
        reason = error.detail if isinstance(error, LoupeError) else "The database or the disk cannot be used."
        # what is too long is so each time
        ends = kept_exports.fail if isinstance(error, LimitReached) else kept_exports.put_off
        state = ends(job, reason, _now(), _keep())
        yield f"export {job.id}: {'failed' if state == ExportState.FAILED else 'put off'}"
    except Exception as error:  # the same again would come of it; the page says so, and the log why
        _log.exception("export %s cannot be written", job.id)
        db.session.rollback()
        kept_exports.fail(
            job, f"Something went wrong ({type(error).__name__}); the log says more.", _now(), _keep()
        )
        yield f"export {job.id}: failed"


def _into(files: Storage, job: Job) -> Steps:
    progress = Progress()
    writer = files.writer(job.key, job.content_type)
    try:
        beaten, wanted = time.monotonic(), True
        with closing(_pieces(files, job, progress)) as pieces:
            for piece in pieces:
                writer.write(piece)
                if time.monotonic() >= beaten + BEAT_EVERY:
                    beaten = time.monotonic()
                    wanted = kept_exports.beat(job, _done(progress, writer))
                yield None
                if not wanted:
                    return  # it was canceled, or another attempt has begun
        stored = writer.finish()
    finally:
        _give_up(writer)
    if kept_exports.finish(job, _done(progress, writer), stored, _now(), _keep()):
        yield f"export {job.id}: written"
    else:
        yield None  # nothing is held while its file is deleted
        files.delete([job.key])


def _pieces(files: Storage, job: Job, progress: Progress) -> Generator[bytes]:
    selection = Selection.of_json(job.selection)
    kept = KEPT_ONLY.get(job.format)
    if kept and not kept.is_everything:
        making = replace(bundles.making(kept.has_images), now=job.moment)
        return bundles.of_selection(selection, making, progress)
    return exports.pieces_of_selection(selection, job.format, files, job.moment, job.columns, progress)


def _done(progress: Progress, writer: Writer) -> Done:
    dropped = progress.losses.as_json()
    return Done(progress.analyses, progress.annotations, writer.bytes_written, dropped)


def _give_up(writer: Writer) -> None:
    """What the storage keeps of it, when it cannot be asked now, the sweeper clears away."""
    try:
        writer.abort()
    except StorageUnavailable as error:
        _log.warning("a part of an export stays in the storage for now", exc_info=error)


def _now() -> datetime:
    moment: datetime = current_app.extensions["clock"]()
    return moment


def _keep() -> timedelta:
    return timedelta(days=current_app.config["ML_EXPORT_KEEP_DAYS"])
