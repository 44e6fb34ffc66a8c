"""An app on either storage, an export that an admin asks for, and what there is to export."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from flask import Flask

from app.models import Analysis, Export, Image
from app.models.columns import new_id, now
from tests.cast import Person, Pipeline
from tests.factories import World
from tests.fakes import FixedClock
from tests.steps import box, store
from tests.support.crowds import crowd
from tests.support.kept_exports import EXPORTS, NEW, get


@pytest.fixture
def app(request: pytest.FixtureRequest, make_app: Callable[..., Flask]) -> Flask:
    in_bucket = getattr(request, "param", "local") == "s3"
    return make_app(**(request.getfixturevalue("s3").environ if in_bucket else {}))


@pytest.fixture
def clock(app: Flask) -> FixedClock:
    """Stands still at this moment: rows are dated by the machine."""
    app.extensions["clock"] = fixed = FixedClock(now() + timedelta(seconds=5))
    return fixed


@pytest.fixture
def ask(admin: Person, token: Callable[[Person], str], world: World) -> Callable[..., Export]:
    """ask(format="csv", project=…): the row that the form makes."""
    sent = {"csrf_token": token(admin)}

    def post(**fields: Any) -> Export:
        export_id = fields.setdefault("export_id", new_id())
        answer = admin.client.post(NEW, data={**sent, **fields})
        assert (answer.status_code, answer.location) == (303, f"{EXPORTS}#kept"), answer.text
        return get(world, export_id)

    return post


@pytest.fixture
def said(world: World, pipeline: Pipeline, image: Image) -> Analysis:
    """An analysis with three annotations."""
    analysis = world.analysis(image, "processing", group_id="run-4")
    store(pipeline, analysis, [box(client_id=f"c{n}") for n in range(3)])
    return analysis


@pytest.fixture
def large(world: World, image: Image, ask: Callable[..., Export]) -> Export:
    """Asked for: 1200 annotations, which are several blocks."""
    crowd(world, image, 1200)
    return ask()
