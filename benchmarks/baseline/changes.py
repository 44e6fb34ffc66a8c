"""Small changes on the bare baseline: one UPDATE each, in a transaction, and 404 where it changed nothing."""

import hashlib
import hmac
import time
from datetime import UTC, datetime, timedelta
from typing import Any

from flask import Flask, Response, abort

from benchmarks.baseline.bare import Bare, answer


def register(app: Flask, bare: Bare) -> None:
    def update(analysis_id: Any, column: str, value: Any) -> None:
        statement = f"UPDATE ml_analyses SET {column} = {bare.mark} WHERE id = {bare.mark}"
        with bare.changing() as connection:
            changed = connection.execute(statement, (value, analysis_id.hex)).rowcount
        if not changed:
            abort(404)

    @app.patch("/api/analyses/<uuid:analysis_id>/status")
    def change(analysis_id: Any) -> Response:
        status = bare.body()["status"]
        update(analysis_id, "status", status)
        return answer({"status": status})

    @app.post("/api/analyses/<uuid:analysis_id>/finalize")
    def finalize(analysis_id: Any) -> Response:
        return change(analysis_id)

    @app.post("/api/analyses/<uuid:analysis_id>/heartbeat")
    def keep(analysis_id: Any) -> Response:
        bare.body()
        ends = datetime.now(UTC) + timedelta(hours=1)
        update(analysis_id, "lease_expires_at", f"{ends:%Y-%m-%d %H:%M:%S.%f}")
        return answer({"lease_expires_at": ends})

    @app.post("/api/analyses/<uuid:analysis_id>/artifacts/presign")
    def presign(analysis_id: Any) -> Response:
        name, expires = bare.body()["filename"], int(time.time()) + 900
        path = f"ml_outputs/{analysis_id}/{name}"
        update(analysis_id, "updated_at", f"{datetime.now(UTC):%Y-%m-%d %H:%M:%S.%f}")
        signature = hmac.new(bare.secret, f"PUT {path} {expires}".encode(), hashlib.sha256).hexdigest()
        url = f"/files/{path}?expires={expires}&signature={signature}"
        return answer({"upload_url": url, "storage_path": path, "method": "PUT"})
