"""Annotations on the bare baseline: stored, read, exported."""

import csv
import io
import sqlite3
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
INSERT = f"INSERT INTO ml_annotations ({', '.join(COLUMNS)}) VALUES ({', '.join('?' * len(COLUMNS))})"
# the ten fields that Loupe sends of each annotation, as texts and numbers where the driver would make objects of them
NAMES = (
    *("id", "analysis_id", "annotation_type", "class_name", "confidence", "data", "storage_path", "ordering"),
    *("created_at", "client_id"),
)
CASTS = {
    **dict.fromkeys(("id", "analysis_id", "data", "created_at"), "TEXT"),
    "confidence": "DOUBLE PRECISION",
}
READ = ", ".join(f"CAST({name} AS {CASTS[name]})" if name in CASTS else name for name in NAMES)


def register(app: Flask, bare: Bare) -> None:
    ordered = f"SELECT {READ} FROM ml_annotations WHERE analysis_id = {bare.mark} ORDER BY position"
    about = f"SELECT * FROM ml_analyses WHERE id = {bare.mark}"

    @app.post("/api/analyses/<uuid:analysis_id>/annotations:bulk")
    def store(analysis_id: Any) -> Response:
        moment = f"{datetime.now(UTC):%Y-%m-%d %H:%M:%S.%f}"
        sent = bare.body()["annotations"]
        rows = [_row(item, analysis_id.hex, moment) for item in sent]
        with bare.connected() as connection:
            write(connection, rows)
        named = [{"id": row[0], "client_id": row[8], "index": index} for index, row in enumerate(rows)]
        return answer({"inserted": len(rows), "annotations": named})

    @app.get("/api/analyses/<uuid:analysis_id>")
    def show(analysis_id: Any) -> Response:
        with bare.connected() as connection:
            return answer(_whole(connection, about, ordered, analysis_id.hex))

    @app.get("/api/analyses/<uuid:analysis_id>/export")
    def export(analysis_id: Any) -> Response:
        with bare.connected() as connection:
            if request.args["format"] == "json":
                return answer(_whole(connection, about, ordered, analysis_id.hex))
            rows = connection.execute(ordered, (analysis_id.hex,)).fetchall()
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


def write(driver: Any, rows: list[tuple[Any, ...]]) -> None:
    """Rows of COLUMNS into the table of annotations over a connection of a driver in autocommit: all of them or none.

    In the way that costs the database in question least: PostgreSQL has one statement for all, SQLite one for each.
    """
    if not isinstance(driver, sqlite3.Connection):
        _copy(driver, rows)
        return
    driver.execute("BEGIN IMMEDIATE")
    with driver:
        driver.executemany(INSERT, rows)


def insert(connection: Connection, rows: list[tuple[Any, ...]]) -> None:
    """The same in the caller's transaction."""
    if connection.dialect.name == "sqlite":
        connection.exec_driver_sql(INSERT, rows)
    else:
        _copy(connection.connection, rows)


def _copy(driver: Any, rows: list[tuple[Any, ...]]) -> None:
    with driver.cursor().copy(f"COPY ml_annotations ({', '.join(COLUMNS)}) FROM STDIN") as copy:
        for row in rows:
            copy.write_row(row)


def _whole(connection: Any, about: str, ordered: str, analysis_id: str) -> dict[str, Any]:
    """The analysis and all its annotations; `data` goes through as the text the database has."""
    cursor = connection.execute(about, (analysis_id,))
    names = [column[0] for column in cursor.description]
    analysis = {name: str(value) for name, value in zip(names, cursor.fetchone(), strict=True)}
    annotations = [
        {
            "id": own_id,
            "analysis_id": of,
            "annotation_type": kind,
            "class_name": name,
            "confidence": sure,
            "data": orjson.Fragment(data),
            "storage_path": path,
            "ordering": rank,
            "created_at": moment,
            "client_id": own,
        }
        for own_id, of, kind, name, sure, data, path, rank, moment, own in connection.execute(
            ordered, (analysis_id,)
        ).fetchall()
    ]
    return analysis | {"annotation_count": len(annotations), "annotations": annotations}
