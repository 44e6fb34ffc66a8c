"""One analysis changed on the bare baseline: one UPDATE."""

from typing import Any

from flask import Flask, Response

from benchmarks.baseline.bare import Bare, answer


def register(app: Flask, bare: Bare) -> None:
    @app.patch("/api/analyses/<uuid:analysis_id>/status")
    def change(analysis_id: Any) -> Response:
        status = bare.body()["status"]
        statement = f"UPDATE ml_analyses SET status = {bare.mark} WHERE id = {bare.mark}"
        with bare.engine.begin() as connection:
            connection.exec_driver_sql(statement, (status, analysis_id.hex))
        return answer({"status": status})
