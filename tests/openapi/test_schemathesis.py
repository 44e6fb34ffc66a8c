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
from werkzeug.datastructures import Headers
from werkzeug.test import EnvironBuilder, TestResponse

from app import create_app
from app.annotations import ALIASES, TYPES
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

    def analysis(self, state: str) -> Analysis:
        """A new one that holds annotations of several types, and the artifact one of them names."""
        analysis = self.world.analysis(self.image, "queued" if state == "queued" else "processing")
        path = upload(self.app, self.pipeline, analysis)
        items = [
            example(name) for name in ("bounding_box", "classification", "heatmap", "keypoint", "custom")
        ]
        for item in items:
            item |= {"storage_path": path} if "storage_path" in item else {}
        store(self.pipeline, analysis, items)
        if state in ("completed", "failed"):
            finalize(self.pipeline, analysis, state)
        return analysis

    def still(self, analysis: Analysis, state: str) -> Analysis:
        """The same while it is in this state, else a new one."""
        return analysis if self.world.reload(analysis).status == state else self.analysis(state)

    def artifact_of(self, analysis: Analysis) -> str:
        return f"ml_outputs/{analysis.id}/heatmap.png"

    def send(self, case: Case, place: str) -> TestResponse:
        """The request as Schemathesis writes it, then the key or the signature over its very bytes."""
        builder = EnvironBuilder(**WSGI_TRANSPORT.serialize_case(case))
        request = builder.get_request()
        body, headers = request.get_data(), Headers(request.headers)
        builder.close()
        if place != "made up":
            for name in ("Authorization", "X-User-Email", "X-API-Key"):
                headers.pop(name, None)
            headers.update(self._proof(case, body))
        client = self.app.test_client(use_cookies=False)
        return client.open(request.full_path, method=case.method, data=body, headers=headers)

    def _proof(self, case: Case, body: bytes) -> dict[str, str]:
        if SIGNED not in str(case.operation.definition.raw["security"]):
            return {"X-API-Key": self.admin.key}
        moment = str(self.pipeline.now())
        return {"X-ML-Timestamp": moment, "X-ML-Signature": plain_signature(body, moment)}


@pytest.fixture
def scene(make_app: Any, pipeline: Pipeline) -> Scene:
    app = make_app(ML_MAX_ANALYSES_PER_IMAGE="1000")
    world = World(app)
    admin = world.person("admin@example.org", role="admin")
    project = world.project("Leaves", owner=admin)
    return Scene(app, world, admin, pipeline, project, world.image(project, content=picture(320, 240)))


def lead(scene: Scene, case: Case, place: str, analysis: Analysis) -> None:
    """Puts what is there in place of what was made up."""
    there = {"project_id": scene.project.id, "image_id": scene.image.id, "analysis_id": analysis.id}
    for name in case.path_parameters or {}:
        case.path_parameters[name] = str(there[name])
    if "path" in (case.query or {}):
        case.query["path"] = scene.artifact_of(analysis)
    if not isinstance(case.body, dict):
        return
    if "file" in case.body:
        case.body["file"] = picture()
    if case.body.get("image_id"):
        case.body["image_id"] = str(scene.image.id)
    items = case.body.get("annotations")
    for item in items if isinstance(items, list) else []:
        if isinstance(item, dict):
            lead_item(scene, item, place, analysis)


def lead_item(scene: Scene, item: dict[str, Any], place: str, analysis: Analysis) -> None:
    if item.get("storage_path"):
        item["storage_path"] = scene.artifact_of(analysis)
    if place == "processing" and item.get("annotation_type") in (*TYPES, *ALIASES):
        item["data"] = example(item["annotation_type"])["data"]


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
            lead(scene, case, place, kept[place])
        answer = scene.send(case, place)
        seen[answer.status_code // 100] += 1
        if place != "made up" and case.method != "GET" and answer.status_code < 300:
            kept[place] = scene.still(kept[place], place)
        case.validate_response(answer, checks=CHECKS)

    check()
    assert seen[2] or EXAMPLES < 100, f"nothing came through: {dict(seen)}"
