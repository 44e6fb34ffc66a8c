"""The bare baseline: what the same work costs in Flask, gunicorn and SQL with nothing else around it.

It stands on Loupe's own tables, with their indexes, under Loupe's own gunicorn settings, and does the least that can
be called the same: it checks the signature, parses, inserts, reads, dumps. It validates nothing, knows no access, no
states, no locks, no audit, no duplicates. Never serve it. Figures are given beside its own, so that those of another
machine can be compared.
"""

import csv
import hashlib
import hmac
import io
import os
from datetime import UTC, datetime
from typing import Any

import orjson
from flask import Flask, Response, abort, request
from sqlalchemy import Connection, create_engine
from uuid_utils import uuid7

from app import dialect

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


def make_app() -> Flask:
    """Settings: DATABASE_URL and ML_CALLBACK_HMAC_SECRET, as Loupe's."""
    app = Flask("baseline")
    app.config["BACKGROUND_LOOP"] = False  # deploy/gunicorn.conf.py asks for it
    secret = os.environ["ML_CALLBACK_HMAC_SECRET"].encode()
    engine = create_engine(os.environ["DATABASE_URL"], json_deserializer=orjson.loads)
    dialect.prepare(engine)
    mark = "?" if engine.dialect.name == "sqlite" else "%s"
    select = f"SELECT {', '.join(READ)} FROM ml_annotations WHERE analysis_id = {mark} ORDER BY position"

    def body() -> Any:
        raw, moment = request.get_data(), request.headers["X-ML-Timestamp"].encode()
        right = "sha256=" + hmac.new(secret, moment + b"." + raw, hashlib.sha256).hexdigest()
        if not hmac.compare_digest(right, request.headers["X-ML-Signature"]):
            abort(401)
        return orjson.loads(raw)

    @app.get("/healthz")
    def healthz() -> str:
        return "ok"

    @app.post("/api/analyses/<uuid:analysis_id>/annotations:bulk")
    def store(analysis_id: Any) -> Response:
        moment = f"{datetime.now(UTC):%Y-%m-%d %H:%M:%S.%f}"
        sent = body()["annotations"]
        rows = [_row(item, analysis_id.hex, moment) for item in sent]
        with engine.begin() as connection:
            insert(connection, rows)
        named = [{"id": row[0], "client_id": row[8], "index": index} for index, row in enumerate(rows)]
        return _json({"inserted": len(rows), "annotations": named})

    @app.get("/api/analyses/<uuid:analysis_id>")
    def show(analysis_id: Any) -> Response:
        with engine.connect() as connection:
            return _json(_whole(connection, select, mark, analysis_id.hex))

    @app.patch("/api/analyses/<uuid:analysis_id>/status")
    def change(analysis_id: Any) -> Response:
        status = body()["status"]
        statement = f"UPDATE ml_analyses SET status = {mark} WHERE id = {mark}"
        with engine.begin() as connection:
            connection.exec_driver_sql(statement, (status, analysis_id.hex))
        return _json({"status": status})

    @app.get("/api/analyses/<uuid:analysis_id>/export")
    def export(analysis_id: Any) -> Response:
        with engine.connect() as connection:
            if request.args["format"] == "json":
                return _json(_whole(connection, select, mark, analysis_id.hex))
            rows = _read(connection, select, analysis_id.hex)
        file = io.StringIO()
        lines = csv.writer(file)
        lines.writerow(["data_json" if name == "data" else name for name in NAMES])
        lines.writerows(rows)
        return Response(file.getvalue(), content_type="text/csv")

    return app


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


def _json(value: dict[str, Any]) -> Response:
    return Response(orjson.dumps(value), content_type="application/json")
