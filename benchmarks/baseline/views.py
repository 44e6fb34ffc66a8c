"""What a page asks again and again, on the bare baseline: one SELECT along the primary key, without a transaction."""

from typing import Any

from flask import Flask, Response

from benchmarks.baseline.bare import Bare


def register(app: Flask, bare: Bare) -> None:
    @app.get("/images/<uuid:image_id>/panel")
    def poll(image_id: Any) -> Response:
        statement = f"SELECT deleted_at FROM data_instances WHERE id = {bare.mark}"
        with bare.connected() as connection:
            row = connection.execute(statement, (image_id.hex,)).fetchone()
        return Response(status=404 if row is None else 204 if row[0] is None else 410)
