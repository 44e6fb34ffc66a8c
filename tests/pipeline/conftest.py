"""Fixtures of the signed API: asking as anybody of the cast, and things to send."""

import base64
import hashlib
import hmac
import itertools
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import pytest
from flask import Flask

from app.extensions import db
from app.models import Analysis, Image
from app.models.columns import now
from tests.cast import Pipeline
from tests.factories import World
from tests.support.database import KIND

# COPY and the version of a row are there only on PostgreSQL
collect_ignore = [] if KIND == "postgresql" else ["test_copy.py", "test_swapping.py"]

Ask = Callable[..., Any]


@pytest.fixture
def ask(request: pytest.FixtureRequest, app: Flask, pipeline: Pipeline) -> Ask:
    """ask(who, method, path, json): as one of the cast with their key, and no signature.

    "pipeline" signs, "pipeline+viewer" signs and sends the viewer's key beside it, "anonymous" sends no proof.
    """

    def ask(who: str, method: str, path: str, json: Any = None) -> Any:
        proof, _, beside = who.partition("+")
        if proof == "anonymous":
            return app.test_client(use_cookies=False).open(path, method=method, json=json)
        if proof != "pipeline":
            return request.getfixturevalue(proof).api(method, path, json=json)
        headers = {"X-API-Key": request.getfixturevalue(beside).key} if beside else {}
        return pipeline.request(method, path, json, headers=headers)

    return ask


@pytest.fixture
def switched(app: Flask) -> Callable[..., None]:
    """switched(ML_MAX_ANALYSES_PER_IMAGE=3): these settings for the rest of the test."""

    def switch(**settings: Any) -> None:
        assert settings.keys() <= app.config.keys()
        app.config.update(settings)

    return switch


@pytest.fixture
def analyses_path(image: Image) -> str:
    return f"/api/images/{image.id}/analyses"


@pytest.fixture
def bulk_path(analysis: Analysis) -> str:
    return f"/api/analyses/{analysis.id}/annotations:bulk"


@pytest.fixture
def job() -> dict[str, Any]:
    """The least that makes an analysis."""
    return {"model_name": "leaf-net", "model_version": "1.0.0"}


@pytest.fixture
def leased(pipeline: Pipeline, world: World, image: Image) -> Callable[..., Any]:
    """leased(): an analysis on `image` that a worker has claimed, and the header with the token of its lease."""

    def lease(**columns: Any) -> tuple[Analysis, dict[str, str]]:
        analysis = world.analysis(image, "queued", **columns)
        answer = pipeline.post(f"/api/analyses/{analysis.id}/claim", {"worker_id": "gpu-1"})
        assert answer.status_code == 200, answer.text
        return world.reload(analysis), {"X-ML-Lease-Token": answer.json["lease_token"]}

    return lease


@pytest.fixture
def token_of(app: Flask, world: World) -> Callable[..., dict[str, str]]:
    """token_of(analysis, epoch=1): the header with the token of its lease of that epoch, by default the present one.

    Written from what is told about tokens alone, so that it shares no mistake with the server.
    """

    def header(analysis: Analysis, epoch: int | None = None) -> dict[str, str]:
        epoch = world.reload(analysis).lease_epoch if epoch is None else epoch
        text = f"loupe-lease-1\n{analysis.id}\n{epoch}".encode()
        digest = hmac.new(app.config["SECRET_KEY"].encode(), text, hashlib.sha256).digest()
        return {"X-ML-Lease-Token": base64.urlsafe_b64encode(digest).decode().rstrip("=")}

    return header


@pytest.fixture
def run_out(app: Flask) -> Callable[..., None]:
    """run_out(analysis): its lease ended a second ago; run_out(analysis, seconds=-60): it ends in a minute."""

    def move(analysis: Analysis, seconds: float = 1) -> None:
        with app.app_context():
            row = db.session.get_one(Analysis, analysis.id)
            row.lease_expires_at = now() - timedelta(seconds=seconds)
            db.session.commit()

    return move


@pytest.fixture
def unchanged(world: World) -> Callable[..., Any]:
    """with unchanged(Analysis, Annotation, …): …   fails when a row of these tables came, went or changed."""

    @contextmanager
    def watching(*tables: Any) -> Iterator[None]:
        def content() -> list[Any]:
            return [[columns(row) for row in world.rows(table)] for table in tables]

        before = content()
        yield
        assert content() == before

    return watching


def columns(row: Any) -> dict[str, Any]:
    return {column.key: getattr(row, column.key) for column in row.__mapper__.column_attrs}


@pytest.fixture
def box() -> Callable[..., dict[str, Any]]:
    """box(): a bounding box that fits the 64 × 48 image, another one each time; box({…}, client_id="a"): with this
    data and more."""
    numbers = itertools.count()

    def make(*data: Any, **more: Any) -> dict[str, Any]:
        place = next(numbers) % 40
        own = {"x_min": place, "y_min": 2, "x_max": place + 5, "y_max": 12.5}
        given = data[0] if data else own
        return {"annotation_type": "bounding_box", "class_name": "leaf", "data": given, **more}

    return make
