"""Annotations on the bare baseline: stored, read, exported."""

import csv
import io
from datetime import UTC, datetime
from typing import Any

import orjson
from flask import Flask, Response, request
from sqlalchemy import Connection
from uuid_utils import uuid7

from benchmarks.baseline.bare import Bare, answer

COLUMNS = (
    *("id", "analysis_id", "annotation_type", "class_name", "confidence", "data", "ordering", "created_at"),
    *("client_id", "content_hash", "position", "x_min", "y_min", "x_max", "y_max"),
)
# the ten fields that Loupe sends of each annotation
READ = (
    *("id", "analysis_id", "annotation_type", "class_name", "confidence", "CAST(data AS TEXT)"),
    *("storage_path", "ordering", "created_at", "client_id"),
)
NAMES = [column.replace("CAST(data AS TEXT)", "data") for column in READ]
CONFIDENCE, DATA = NAMES.index("confidence"), NAMES.index("data")


def register(app: Flask, bare: Bare) -> None:
    engine, mark = bare.engine, bare.mark
    select = f"SELECT {', '.join(READ)} FROM ml_annotations WHERE analysis_id = {mark} ORDER BY position"

    @app.post("/api/analyses/<uuid:analysis_id>/annotations:bulk")
    def store(analysis_id: Any) -> Response:
        moment = f"{datetime.now(UTC):%Y-%m-%d %H:%M:%S.%f}"
        sent = bare.body()["annotations"]
        rows = [_row(item, analysis_id.hex, moment) for item in sent]
        with engine.begin() as connection:
            insert(connection, rows)
        named = [{"id": row[0], "client_id": row[8], "index": index} for index, row in enumerate(rows)]
        return answer({"inserted": len(rows), "annotations": named})

    @app.get("/api/analyses/<uuid:analysis_id>")
    def show(analysis_id: Any) -> Response:
        with engine.connect() as connection:
            return answer(_whole(connection, select, mark, analysis_id.hex))

    @app.get("/api/analyses/<uuid:analysis_id>/export")
    def export(analysis_id: Any) -> Response:
        with engine.connect() as connection:
            if request.args["format"] == "json":
                return answer(_whole(connection, select, mark, analysis_id.hex))
            rows = _read(connection, select, analysis_id.hex)
        file = io.StringIO()
        lines = csv.writer(file)
        lines.writerow(["data_json" if name == "data" else name for name in NAMES])
        lines.writerows(rows)
        return Response(file.getvalue(), content_type="text/csv")


def _row(item: dict[str, Any], analysis_id: str, moment: str) -> tuple[Any, ...]:
    data = item["data"]
    return (
        uuid7().hex,
        analysis_id,
        item["annotation_type"],
        item["class_name"],
        item["confidence"],
        orjson.dumps(data).decode(),
        item["ordering"],
        moment,
        item["client_id"],
        "",
        item["ordering"],
        data["x_min"],
        data["y_min"],
        data["x_max"],
        data["y_max"],
    )


def insert(connection: Connection, rows: list[tuple[Any, ...]]) -> None:
    """Rows of COLUMNS into the table of annotations, in the way that costs the database in question least."""
    columns = ", ".join(COLUMNS)
    if connection.dialect.name == "sqlite":
        marks = ", ".join("?" * len(COLUMNS))
        connection.exec_driver_sql(f"INSERT INTO ml_annotations ({columns}) VALUES ({marks})", rows)
        return
    cursor: Any = connection.connection.cursor()
    with cursor.copy(f"COPY ml_annotations ({columns}) FROM STDIN") as copy:
        for row in rows:
            copy.write_row(row)


def _read(connection: Connection, select: str, analysis_id: str) -> list[tuple[Any, ...]]:
    rows = connection.exec_driver_sql(select, (analysis_id,)).all()
    return [(*row[:CONFIDENCE], float(row[CONFIDENCE]), *row[CONFIDENCE + 1 :]) for row in rows]


def _whole(connection: Connection, select: str, mark: str, analysis_id: str) -> dict[str, Any]:
    """The analysis and all its annotations; `data` goes through as the text the database has."""
    about = connection.exec_driver_sql(f"SELECT * FROM ml_analyses WHERE id = {mark}", (analysis_id,)).one()
    annotations = [
        dict(zip(NAMES, row, strict=True)) | {"data": orjson.Fragment(row[DATA])}
        for row in _read(connection, select, analysis_id)
    ]
    named = {name: str(value) for name, value in about._mapping.items()}
    return named | {"annotation_count": len(annotations), "annotations": annotations}
