"""The bare objects of the extensions; `create_app` binds them. Imports nothing from app."""

import orjson
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
    engine_options={"json_serializer": _json_text, "json_deserializer": orjson.loads, "pool_pre_ping": True},
)
migrate = Migrate(render_as_batch=True)
csrf = CSRFProtect()
