"""What a page asks again and again, on the bare baseline: one SELECT along the primary key, alone as Loupe's own is."""

from typing import Any

from flask import Flask, Response

from app.dialect.connections import ALONE
from benchmarks.baseline.bare import Bare


def register(app: Flask, bare: Bare) -> None:
    @app.get("/images/<uuid:image_id>/panel")
    def poll(image_id: Any) -> Response:
        statement = f"SELECT deleted_at FROM data_instances WHERE id = {bare.mark}"
        with bare.engine.connect() as connection:
            connection.execution_options(**ALONE[connection.dialect.name])
            deleted_at = connection.exec_driver_sql(statement, (image_id.hex,)).scalar_one()
        return Response(status=204 if deleted_at is None else 410)
