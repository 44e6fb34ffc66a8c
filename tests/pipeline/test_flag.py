"""ML_ANALYSIS_ENABLED=false: nothing of the feature is there. The routes are read off the app itself."""

import re

import pytest

from app.extensions import db
from app.models import SYSTEM, Analysis, Annotation, Artifact, AuditEvent, PipelineKey, Project
from app.services import pipeline_keys
from tests.factories import WEBHOOKS, picture

ML_RULE = re.compile(
    r"analys|annotation|artifact|/ml/|/panel|/overlay|/hit|/pick|/bundle|/admin/exports|/admin/webhooks|/pipeline"
    r"|/groups?\b|/export"
)
METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE")


@pytest.fixture
def app(make_app):
    """Everything of the feature is on."""
    return make_app(**WEBHOOKS)


@pytest.fixture
def ids(app, world, project, image, analysis, pipeline, client):
    """Real ones for every placeholder, so that a 404 is the flag's doing."""
    one = f"/api/analyses/{analysis.id}"
    signed = pipeline.post(f"{one}/artifacts/presign", {"artifact_type": "heatmap"}).json
    client.put(signed["upload_url"], data=picture(), headers=signed["headers"])
    path = signed["storage_path"]
    heatmap = {"annotation_type": "heatmap", "data": {"width": 64, "height": 48}, "storage_path": path}
    mask = {"annotation_type": "segmentation", "data": {"format": "rle", "counts": [0, 4, 8], "size": [3, 4]}}
    receipt = pipeline.post(f"{one}/annotations:bulk", {"annotations": [heatmap, mask]}).json
    with app.app_context():
        rows = [db.session.get_one(Project, project.id)]
        key_id = pipeline_keys.create("k", rows, encryption_keys=["sealed"], by=SYSTEM).key.id
        db.session.commit()
    return {
        "project_id": project.id,
        "image_id": image.id,
        "key_id": key_id,
        "analysis_id": analysis.id,
        "annotation_id": receipt["annotations"][0]["id"],
        "delivery_id": world.delivery(analysis).id,
        "export_id": world.export().id,
        "level": 0,
        "column": 0,
        "row": 0,
    }


def rules(app):
    return [rule for rule in app.url_map.iter_rules() if ML_RULE.search(rule.rule)]


def requests(app, ids):
    """(method, address) of everything that belongs to the feature."""
    for rule in rules(app):
        address = re.sub(r"<(?:\w+(?:\([^)]*\))?:)?(\w+)>", lambda match: str(ids[match[1]]), rule.rule)
        yield from ((method, address) for method in METHODS if method in rule.methods)


def test_the_feature_is_what_its_marks_say(app):
    """A route of the feature that no guard knows as one would stay when the feature goes."""
    marked = {
        name
        for name, view in app.view_functions.items()
        if name.startswith("pipeline.") or getattr(view, "ml_feature", False)
    }
    assert {rule.endpoint for rule in rules(app)} == marked
    assert len(marked) >= 12


def read(answer):
    """To its end, before anything else is asked: an export is written while it is read."""
    answer.get_data()
    return answer.status_code


@pytest.fixture
def answers(app, ids, admin, pipeline):
    """Whom nothing is forbidden asks for everything: with a session, with a key, with a signature."""

    def answers():
        for method, address in requests(app, ids):
            key = {"X-API-Key": admin.key}
            yield method, address, read(pipeline.request(method, address, {}, headers=key))
            yield method, address, read(admin.api(method, address))
            if method == "GET":
                yield method, address, read(admin.client.get(address))

    return answers


def test_off(switched, answers, unchanged, admin):
    switched(ML_ANALYSIS_ENABLED=False)
    assert admin.client.get("/").status_code == 200, "signing in is in the audit trail"
    with unchanged(Analysis, Annotation, Artifact, AuditEvent, PipelineKey):
        found = list(answers())
    assert len(found) > 20
    assert [one for one in found if one[2] != 404] == []


def test_on(answers):
    """The same requests find something: the 404 above is no misspelling."""
    found = {}
    for method, address, status in answers():
        found.setdefault((method, address), set()).add(status)
    assert [one for one, statuses in found.items() if statuses == {404}] == []
    assert not any(status >= 500 for statuses in found.values() for status in statuses)


def test_off_is_404_before_anything_else(switched, app, analysis):
    switched(ML_ANALYSIS_ENABLED=False)
    client = app.test_client()
    answer = client.post(
        f"/api/analyses/{analysis.id}/finalize", data=b"\xff", headers={"X-ML-Timestamp": "x"}
    )
    assert (answer.status_code, answer.json["code"]) == (404, "not-found")
    assert answer.mimetype == "application/problem+json"


def test_off_leaves_the_rest(switched, viewer, project, image):
    switched(ML_ANALYSIS_ENABLED=False)
    for path in ("/api/projects", f"/api/projects/{project.id}/images", f"/api/images/{image.id}"):
        assert viewer.api("GET", path).status_code == 200


def test_what_was_stored_comes_back(switched, ids, viewer):
    path = f"/api/analyses/{ids['analysis_id']}"
    switched(ML_ANALYSIS_ENABLED=False)
    assert viewer.api("GET", path).status_code == 404
    switched(ML_ANALYSIS_ENABLED=True)
    assert len(viewer.api("GET", path).json["annotations"]) == 2


def test_a_wrong_method_is_not_there_either(app, ids, pipeline, owner, switched):
    """The router sees the method before any guard sees the flag."""
    switched(ML_ANALYSIS_ENABLED=False)
    asked = 0
    for rule in rules(app):
        address = re.sub(r"<(?:\w+(?:\([^)]*\))?:)?(\w+)>", lambda match: str(ids[match[1]]), rule.rule)
        allowed = {method for other in rules(app) if other.rule == rule.rule for method in other.methods}
        for method in set(METHODS) - allowed:
            answer = pipeline.request(method, address, {}, headers={"X-API-Key": owner.key})
            assert (read(answer), answer.headers.get("Allow")) == (404, None), (method, address)
            asked += 1
    assert asked > 20


def test_a_wrong_method_elsewhere_is_still_405(owner, switched, project):
    switched(ML_ANALYSIS_ENABLED=False)
    answer = owner.api("DELETE", f"/api/projects/{project.id}")
    assert (answer.status_code, answer.headers["Allow"]) == (405, "GET, HEAD, OPTIONS")
