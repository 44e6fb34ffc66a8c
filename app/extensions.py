"""The bare objects of the extensions; `create_app` binds them. Imports nothing from app."""

from typing import Any

import orjson
from flask_limiter import Limiter
from flask_limiter.util import get_remote_address
from flask_migrate import Migrate
from flask_sqlalchemy import SQLAlchemy
from flask_wtf import CSRFProtect
from sqlalchemy import MetaData
from sqlalchemy.orm import DeclarativeBase


class Base(DeclarativeBase):
    """Every constraint gets a predictable name, so that migrations can drop it on both databases."""

    metadata = MetaData(
        naming_convention={
            "ix": "ix_%(table_name)s_%(column_0_N_name)s",
            "uq": "uq_%(table_name)s_%(column_0_N_name)s",
            "ck": "ck_%(table_name)s_%(constraint_name)s",
            "fk": "fk_%(table_name)s_%(column_0_N_name)s",
            "pk": "pk_%(table_name)s",
        }
    )


def _json_text(value: object) -> str:
    return orjson.dumps(value).decode()


db = SQLAlchemy(
    model_class=Base,
    engine_options={
        "json_serializer": _json_text,
        "json_deserializer": orjson.loads,
        # seconds; a request that gets no connection by then is answered 503 rather than kept waiting
        "pool_timeout": 5,
        # the one that was laid down last: it was alive a moment ago, and has prepared what is asked most
        "pool_use_lifo": True,
        # what people and pipelines sent must not come into the log with an exception
        "hide_parameters": True,
    },
)


def _is_here(what: Any, _name: object, _kind: object, _reflected: object, _beside: object) -> bool:
    """Whether a migration is to compare it: what has `only` in its info is there on that database alone."""
    return bool(what.info.get("only", db.engine.dialect.name) == db.engine.dialect.name)


migrate = Migrate(render_as_batch=True, include_object=_is_here)
csrf = CSRFProtect()
# rates.py counts in the guards; no route has limits of its own that would be looked up at every request
limiter = Limiter(get_remote_address, strategy="moving-window", request_identifier=lambda: "")
