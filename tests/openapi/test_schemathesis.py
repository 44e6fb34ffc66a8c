"""Schemathesis over every operation of the document: no 5xx, and no answer that the document does not tell.

Requests go through the whole app, with an admin's key or a real signature. What is made up seldom names a row, so nine
of ten are led: their addresses get the id of one that is there, in every state, and what fits the document gets real
pictures and batches besides. By what was answered the test knows that it got through.
"""

import tempfile
from collections import Counter
from dataclasses import dataclass, field
from random import Random
from typing import Any

import pytest
import schemathesis
from flask import Flask
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.core.failures import FailureGroup
from schemathesis.core.parameters import ParameterLocation
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
from app.schemas.annotations import MODES
from tests.cast import Person, Pipeline, plain_signature
from tests.conftest import ENVIRON
from tests.factories import World, picture
from tests.steps import finalize, store, upload
from tests.support import database as databases

pytestmark = pytest.mark.soak

LED = 100 if databases.KIND == "sqlite" else 30  # once more on PostgreSQL takes fewer
ENOUGH = 20 if databases.KIND == "sqlite" else 1  # 2xx of an operation that writes
# most of what is made up of these is refused: they get twice as many, so that ENOUGH is half of what is usual, or less
SLIM = (":bulk", ":import", "/presign", "/status", "/claim", ":claim")
CHECKS = [
    not_a_server_error,
    checks.status_code_conformance,
    checks.content_type_conformance,
    checks.response_headers_conformance,
    checks.response_schema_conformance,
]
# where an address leads: to a row whose analysis is in this state, or nowhere
PLACES = (*["processing"] * 5, *["queued"] * 2, "completed", "failed", "made up")
NAMES = [*TYPES, *ALIASES]
FRAMED = ("bounding_box", "polygon", "keypoint")  # those whose numbers may be in another frame
RECEIPT = ("inserted", "unchanged", "updated", "removed", "scaled")
SIGNED = {"signature": [], "timestamp": []}
FOR_WORKERS = ("/claim", "/heartbeat")
LED_GROUP = "night run"


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
        """A new one that holds an annotation under every name of a type, and the artifact some of them need."""
        begun = "queued" if state == "queued" else "processing"
        analysis = self.world.analysis(self.image, begun, group_id=LED_GROUP)
        upload(self.app, self.pipeline, analysis)
        store(self.pipeline, analysis, [self.item(name, f"held-{name}", analysis) for name in NAMES])
        if state in ("completed", "failed"):
            finalize(self.pipeline, analysis, state)
        return analysis

    def item(self, name: str, client_id: str, analysis: Analysis) -> dict[str, Any]:
        """An annotation that is taken, always the same."""
        path = {"storage_path": self.artifact_of(analysis)}
        one = example(name) | {"client_id": client_id}
        return one | (path if "storage_path" in one else {})

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
        if SIGNED not in case.operation.definition.raw["security"]:
            return {"X-API-Key": self.admin.key}
        moment = str(self.pipeline.now())
        return {"X-ML-Timestamp": moment, "X-ML-Signature": plain_signature(body, moment)}


@pytest.fixture
def scene(make_app: Any, pipeline: Pipeline) -> Scene:
    app = make_app(ML_MAX_ANALYSES_PER_IMAGE="1000", ML_MAX_BULK_ANNOTATIONS="20")
    world = World(app)
    admin = world.person("admin@example.org", role="admin")
    project = world.project("Leaves", owner=admin)
    return Scene(app, world, admin, pipeline, project, world.image(project, content=picture(320, 240)))


@dataclass
class Seen:
    """What was answered; of batches that were stored the modes, the types, and what their receipts count."""

    statuses: Counter[int] = field(default_factory=Counter)
    modes: set[str] = field(default_factory=set)
    types: set[str] = field(default_factory=set)
    counts: Counter[str] = field(default_factory=Counter)
    faults: list[str] = field(default_factory=list)

    def add(self, case: Case, answer: TestResponse) -> None:
        self.statuses[answer.status_code] += 1
        is_batch = isinstance(case.body, dict) and "annotations" in case.body
        if is_batch and answer.status_code == 200 and "dry_run" not in (case.query or {}):
            self.modes.add(case.body.get("mode") or "append")
            self.types |= {item["annotation_type"] for item in case.body["annotations"]}
            self.counts.update(name for name in RECEIPT if answer.json.get(name))

    @property
    def good(self) -> int:
        return sum(count for status, count in self.statuses.items() if status < 300)


def lead(scene: Scene, case: Case, chance: Random, analysis: Analysis) -> None:
    """Puts what is there in place of what was made up; a body that is wrong on purpose stays so."""
    if case.path.endswith(FOR_WORKERS) and chance.random() < 0.5:
        analysis = lead_worker(scene, case)
    there = {"project_id": scene.project.id, "image_id": scene.image.id, "analysis_id": analysis.id}
    for name in case.path_parameters or {}:
        case.path_parameters[name] = str(there[name])
    if "path" in (case.query or {}):
        case.query["path"] = scene.artifact_of(analysis)
    if "group_id" in (case.query or {}):
        case.query["group_id"] = LED_GROUP
    if "dry_run" in (case.query or {}) and chance.random() < 0.7:
        del case.query["dry_run"]
    if case.path.endswith(":import") and chance.random() < 0.7:  # a file that is one
        case.query = {"format": "json", "mode": chance.choice(MODES)}
        case.media_type = "application/json"
        case.body = {"annotations": batch(scene, [], chance, analysis)}
    part = case.meta.components.get(ParameterLocation.BODY) if case.meta else None
    if isinstance(case.body, dict) and part and part.mode is GenerationMode.POSITIVE:
        lead_body(scene, case.body, chance, analysis)


def lead_worker(scene: Scene, case: Case) -> Analysis:
    """To one that can be claimed; or that is, with the token of its lease."""
    analysis = scene.world.analysis(scene.image)
    if not case.path.endswith("/claim"):
        claimed = scene.pipeline.post(f"/api/analyses/{analysis.id}/claim", {"worker_id": "led"})
        case.headers = {**(case.headers or {}), "X-ML-Lease-Token": claimed.json["lease_token"]}
    return analysis


def lead_body(scene: Scene, body: dict[str, Any], chance: Random, analysis: Analysis) -> None:
    if "file" in body:
        body["file"] = picture()
        body |= {"metadata": '{"lens": 50}'} if body.get("metadata") and chance.random() < 0.7 else {}
    if body.get("image_id"):
        body["image_id"] = str(scene.image.id)
    if body.get("expected_annotations") is not None and chance.random() < 0.7:
        body["expected_annotations"] = scene.world.reload(analysis).annotation_count
    if "annotations" in body and chance.random() < 0.9:  # the others meet rules that the document cannot tell
        body["mode"] = chance.choice(MODES)
        body["annotations"] = batch(scene, body["annotations"], chance, analysis)


def batch(scene: Scene, made: list[Any], chance: Random, analysis: Analysis) -> list[dict[str, Any]]:
    """Two items or more: some as they are held, some changed or scaled, some new, some made up but for their data."""
    names = chance.sample(NAMES, chance.randint(2, 5))
    items = [scene.item(name, f"held-{name}", analysis) for name in names]
    for name, item in zip(names, items, strict=True):
        if chance.random() < 0.3:
            item["client_id"] = f"new-{chance.randint(0, 2)}-{name}"
        elif chance.random() < 0.2:
            item["class_name"] = "stem"
        if name in FRAMED and chance.random() < 0.3:
            item["data"] = item["data"] | {"image_width": 640, "image_height": 480}
    for index, one in enumerate(made[:5]):
        own = scene.item(one["annotation_type"], f"made-{index}", analysis)
        items.append(one | {key: own[key] for key in ("data", "client_id", "storage_path") if key in own})
        if "storage_path" not in own:
            items[-1].pop("storage_path", None)
    return items


@pytest.mark.parametrize("label", labels())
def test_every_answer_is_told(scene: Scene, label: str) -> None:
    """What fits the document and what does not. What is made up differs with the tests before it in the process.

    Nobody is asking in one of ten; the others are led by turns, as Hypothesis would favour the first of the places.
    """
    operation = schemathesis.openapi.from_dict(document(scene.app).content).find_operation_by_label(label)
    assert operation is not None
    modes = list(GenerationMode) if "parameters" in operation.definition.raw else [GenerationMode.POSITIVE]
    kept = {state: scene.analysis(state) for state in dict.fromkeys(PLACES) if state != "made up"}
    seen = Seen()
    led = LED * 2 if label.endswith(SLIM) else LED

    @settings(
        max_examples=led * 10 // 9 + 1,
        derandomize=True,
        database=None,
        deadline=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(st.one_of([operation.as_strategy(generation_mode=mode) for mode in modes]))
    def check(case: Case) -> None:
        turn = seen.statuses.total()
        place = PLACES[turn % len(PLACES)]
        if place != "made up":
            lead(scene, case, Random(turn), kept[place])
        answer = scene.send(case, place)
        seen.add(case, answer)
        if place != "made up" and case.method != "GET" and answer.status_code < 300:
            kept[place] = scene.still(kept[place], place)
        try:
            case.validate_response(answer, checks=CHECKS)
        except FailureGroup as group:  # raised, Hypothesis would repeat it, at another turn
            seen.faults.append(f"{place}: {group}")

    check()
    assert not seen.faults, "\n\n".join(seen.faults[:3])
    print(label, dict(sorted(seen.statuses.items())), dict(seen.counts))
    assert seen.good >= (1 if label.startswith("GET") else ENOUGH), seen
    if label.endswith(":bulk") and databases.KIND == "sqlite":
        assert (seen.modes, seen.types) == (set(MODES), set(NAMES)), seen
        assert set(RECEIPT) <= set(seen.counts), seen
