"""Fixtures of the signed API: asking as anybody of the cast, and things to send."""

import itertools
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from flask import Flask

from app.models import Analysis, Image
from tests.cast import Pipeline
from tests.factories import World
from tests.support.database import KIND

# COPY is there only on PostgreSQL
collect_ignore = [] if KIND == "postgresql" else ["test_copy.py"]

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
