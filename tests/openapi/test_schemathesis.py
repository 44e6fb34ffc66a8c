"""Schemathesis over every operation of the document: no 5xx, and no answer that the document does not tell.

Requests go through the whole app, with an admin's key or a real signature. What is made up seldom names a row, so most
addresses get the id of one that is there, in every state, and most pictures and data are real ones.
"""

import tempfile
from collections import Counter
from dataclasses import dataclass
from typing import Any

import pytest
import schemathesis
from flask import Flask
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.generation.case import Case
from schemathesis.specs.openapi import checks
from schemathesis.transport.wsgi import WSGI_TRANSPORT
from werkzeug.test import EnvironBuilder, TestResponse

from app import create_app
from app.models import Analysis, Image, Project
from app.openapi import document
from app.openapi.annotation_types import example
from tests.cast import Person, Pipeline, plain_signature
from tests.conftest import ENVIRON
from tests.factories import World, picture
from tests.steps import finalize, store, upload
from tests.support import database as databases

EXAMPLES = 100 if databases.KIND == "sqlite" else 10
CHECKS = [
    not_a_server_error,
    checks.status_code_conformance,
    checks.content_type_conformance,
    checks.response_headers_conformance,
    checks.response_schema_conformance,
]
# what an address leads to: what was made up, or a row, its analysis in one of these states
PLACES = ("made up", "queued", "processing", "processing", "completed", "failed")
SIGNED = "signature"


def labels() -> list[str]:
    """Every operation, read from an app that meets no database."""
    with tempfile.TemporaryDirectory() as folder:
        app = create_app({**ENVIRON, "DATABASE_URL": f"sqlite:///{folder}/none.db"}, instance_path=folder)
        paths = document(app).content["paths"]
    return [f"{method.upper()} {path}" for path, item in paths.items() for method in item]


@dataclass
class Scene:
    """Rows to lead requests to, and whoever asks."""

    app: Flask
    world: World
    admin: Person
    pipeline: Pipeline
    project: Project
    image: Image
    artifact: str = ""

    def analysis(self, state: str) -> Analysis:
        """A new one that holds an annotation of every type, and the artifact two of them name."""
        analysis = self.world.analysis(self.image, "processing" if state != "queued" else state)
        self.artifact = upload(self.app, self.pipeline, analysis)
        items = [
            example(name) for name in ("bounding_box", "classification", "heatmap", "keypoint", "custom")
        ]
        for item in items:
            item |= {"storage_path": self.artifact} if "storage_path" in item else {}
        store(self.pipeline, analysis, items)
        if state in ("completed", "failed"):
            finalize(self.pipeline, analysis, state)
        return analysis

    def send(self, case: Case, place: str) -> TestResponse:
        """The request as Schemathesis writes it, then the key or the signature over its very bytes."""
        builder = EnvironBuilder(**WSGI_TRANSPORT.serialize_case(case))
        request = builder.get_request()
        body, headers = request.get_data(), dict(request.headers)
        builder.close()
        if SIGNED not in str(case.operation.definition.raw["security"]):
            headers["X-API-Key"] = self.admin.key
        elif place != "made up":
            moment = str(self.pipeline.now())
            headers |= {"X-Ml-Timestamp": moment, "X-Ml-Signature": plain_signature(body, moment)}
        client = self.app.test_client(use_cookies=False)
        return client.open(request.full_path, method=case.method, data=body, headers=headers)


@pytest.fixture
def scene(make_app: Any, pipeline: Pipeline) -> Scene:
    app = make_app(ML_MAX_ANALYSES_PER_IMAGE="1000")
    world = World(app)
    admin = world.person("admin@example.org", role="admin")
    project = world.project("Leaves", owner=admin)
    return Scene(app, world, admin, pipeline, project, world.image(project, content=picture(320, 240)))


def lead(scene: Scene, case: Case, analysis: Analysis) -> None:
    """Puts what is there in place of what was made up."""
    there = {"project_id": scene.project.id, "image_id": scene.image.id, "analysis_id": analysis.id}
    for name in case.path_parameters or {}:
        case.path_parameters[name] = str(there[name])
    if "path" in (case.query or {}):
        case.query["path"] = scene.artifact
    if not isinstance(case.body, dict):
        return
    if "file" in case.body:
        case.body["file"] = picture()
    for item in case.body.get("annotations") or []:
        if isinstance(item, dict) and isinstance(item.get("storage_path"), str):
            item["storage_path"] = scene.artifact


@pytest.mark.parametrize("label", labels())
def test_every_answer_is_told(scene: Scene, label: str) -> None:
    """What fits the document and what does not, half and half; both by a seed that never changes."""
    operation = schemathesis.openapi.from_dict(document(scene.app).content).find_operation_by_label(label)
    assert operation is not None
    modes = list(GenerationMode) if "parameters" in operation.definition.raw else [GenerationMode.POSITIVE]
    kept = {state: scene.analysis(state) for state in dict.fromkeys(PLACES[1:])}
    seen: Counter[int] = Counter()

    @settings(
        max_examples=EXAMPLES,
        derandomize=True,
        database=None,
        deadline=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(
        st.one_of([operation.as_strategy(generation_mode=mode) for mode in modes]), st.sampled_from(PLACES)
    )
    def check(case: Case, place: str) -> None:
        if place != "made up":
            lead(scene, case, kept[place])
        answer = scene.send(case, place)
        seen[answer.status_code // 100] += 1
        if case.method != "GET" and answer.status_code < 300 and place != "made up":
            kept[place] = scene.analysis(place)
        case.validate_response(answer, checks=CHECKS)

    check()
    print(label, dict(seen))
    assert seen[2], f"nothing came through: {dict(seen)}"
