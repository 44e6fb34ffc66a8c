"""The same export as it is often written: each row an object of the ORM, each made a dict, each serialised by itself.

    python -m benchmarks.naive ANALYSIS_ID

Prints `{format: [seconds so, seconds as Loupe does]}`, the best of three each, of one process without a server.
"""

import csv
import io
import json
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any
from uuid import UUID

from sqlalchemy import select

from app import create_app, exports, storage
from app.extensions import db
from app.models import Analysis, Annotation
from app.schemas.base import moment
from app.services.annotation_rows import COLUMNS, POSITION

REPEATS = 3


def rows(analysis_id: UUID) -> Iterator[dict[str, Any]]:
    statement = select(Annotation).where(Annotation.analysis_id == analysis_id).order_by(Annotation.position)
    for row in db.session.scalars(statement.execution_options(yield_per=1000)):
        said = {column.name: getattr(row, column.name) for column in COLUMNS[:POSITION]}
        yield said | {
            "id": str(row.id),
            "analysis_id": str(row.analysis_id),
            "created_at": moment(row.created_at),
        }


def as_json(analysis_id: UUID) -> int:
    return sum(len(json.dumps(row).encode()) for row in rows(analysis_id))


def as_csv(analysis_id: UUID) -> int:
    size = 0
    for row in rows(analysis_id):
        line = io.StringIO()
        csv.writer(line).writerow([*row.values(), json.dumps(row["data"]), *row["data"].values()])
        size += len(line.getvalue().encode())
    return size


def ours(form: str) -> Callable[[UUID], int]:
    def export(analysis_id: UUID) -> int:
        analysis = db.session.get_one(Analysis, analysis_id)
        return sum(map(len, exports.of_analysis(analysis, form, storage.current()).chunks))

    return export


def best(write: Callable[[UUID], int], analysis_id: UUID) -> float:
    taken = []
    for _ in range(REPEATS):
        began = time.perf_counter()
        write(analysis_id)
        taken.append(time.perf_counter() - began)
        db.session.rollback()
        db.session.expunge_all()
    return min(taken)


def compared(analysis_id: UUID) -> dict[str, tuple[float, float]]:
    naive = {"json": as_json, "csv": as_csv}
    return {form: (best(write, analysis_id), best(ours(form), analysis_id)) for form, write in naive.items()}


if __name__ == "__main__":
    with create_app().app_context():
        print(json.dumps(compared(UUID(sys.argv[1]))))
