"""The same export as it is often written: each row an object of the ORM, each made a dict, each serialised by itself.

    python -m benchmarks.naive ANALYSIS_ID

Prints `{format: [seconds so, seconds as Loupe does]}`, the best of three each, of one process without a server. Either
must have written as many rows as are stored, which are counted once it was timed.
"""

import csv
import io
import json
import sys
import time
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, TypeAlias
from uuid import UUID

from sqlalchemy import func, select

from app import create_app, exports, storage
from app.extensions import db
from app.models import Analysis, Annotation
from app.schemas.base import moment
from app.services.annotation_rows import COLUMNS, POSITION
from benchmarks.exports import exported
from benchmarks.wire import Answer, Wrong, expect

REPEATS = 3
Write: TypeAlias = Callable[[UUID], Iterator[bytes]]


def rows(analysis_id: UUID) -> Iterator[dict[str, Any]]:
    statement = select(Annotation).where(Annotation.analysis_id == analysis_id).order_by(Annotation.position)
    for row in db.session.scalars(statement.execution_options(yield_per=1000)):
        said = {column.name: getattr(row, column.name) for column in COLUMNS[:POSITION]}
        yield said | {
            "id": str(row.id),
            "analysis_id": str(row.analysis_id),
            "created_at": moment(row.created_at),
        }


def as_json(analysis_id: UUID) -> Iterator[bytes]:
    return (json.dumps(row).encode() for row in rows(analysis_id))


def as_csv(analysis_id: UUID) -> Iterator[bytes]:
    for row in rows(analysis_id):
        line = io.StringIO()
        csv.writer(line).writerow([*row.values(), json.dumps(row["data"]), *row["data"].values()])
        yield line.getvalue().encode()


def ours(form: str, analysis_id: UUID) -> Iterator[bytes]:
    analysis = db.session.get_one(Analysis, analysis_id)
    return iter(exports.of_analysis(analysis, form, storage.current()).chunks)


def count_ours(form: str, chunks: list[bytes]) -> int:
    return len(exported(Answer(200, b"".join(chunks)), form))


def best(what: str, write: Write, count: Callable[[list[bytes]], int], analysis_id: UUID) -> float:
    """Raises Wrong when it has not written what is stored."""
    stored = select(func.count()).select_from(Annotation).where(Annotation.analysis_id == analysis_id)
    taken = []
    for _ in range(REPEATS):
        began = time.perf_counter()
        written = list(write(analysis_id))
        taken.append(time.perf_counter() - began)
        expect(f"the number of rows written {what}", count(written), db.session.scalar(stored))
        db.session.rollback()
        db.session.expunge_all()
    return min(taken)


def compared(analysis_id: UUID) -> dict[str, tuple[float, float]]:
    naive: dict[str, Write] = {"json": as_json, "csv": as_csv}  # each chunk a row
    return {
        form: (
            best(f"as {form} row by row", write, len, analysis_id),
            best(f"as {form} by Loupe", partial(ours, form), partial(count_ours, form), analysis_id),
        )
        for form, write in naive.items()
    }


if __name__ == "__main__":
    with create_app().app_context():
        try:
            print(json.dumps(compared(UUID(sys.argv[1]))))
        except Wrong as reason:
            sys.exit(f"No figures: {reason}")
