"""What every route of the bare baseline has: the database, the signature, JSON."""

import hashlib
import hmac
import os
from dataclasses import dataclass
from typing import Any

import orjson
from flask import Response, abort, request
from sqlalchemy import Engine, create_engine

from app import dialect


@dataclass(frozen=True)
class Bare:
    """`mark` is how the driver writes a parameter."""

    engine: Engine
    mark: str
    secret: bytes

    @classmethod
    def from_environ(cls) -> "Bare":
        engine = create_engine(os.environ["DATABASE_URL"], json_deserializer=orjson.loads)
        dialect.prepare(engine)
        mark = "?" if engine.dialect.name == "sqlite" else "%s"
        return cls(engine, mark, os.environ["ML_CALLBACK_HMAC_SECRET"].encode())

    def body(self) -> Any:
        """The parsed body, once its signature is checked."""
        raw, moment = request.get_data(), request.headers["X-ML-Timestamp"].encode()
        right = "sha256=" + hmac.new(self.secret, moment + b"." + raw, hashlib.sha256).hexdigest()
        if not hmac.compare_digest(right, request.headers["X-ML-Signature"]):
            abort(401)
        return orjson.loads(raw)


def answer(value: dict[str, Any]) -> Response:
    return Response(orjson.dumps(value), content_type="application/json")
