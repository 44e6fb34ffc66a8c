"""Steps that many tests take on their way: store annotations, upload an artifact, end the analysis, read a problem."""

from typing import Any

from flask import Flask

from app.models import Analysis
from tests.cast import Pipeline
from tests.factories import picture
from tests.html import LintClient

BOX = {"x_min": 4, "y_min": 4, "x_max": 14, "y_max": 12}


def box(**fields: Any) -> dict[str, Any]:
    """A bounding box as a pipeline sends it."""
    return {"annotation_type": "bounding_box", "data": dict(BOX), **fields}


def store(pipeline: Pipeline, analysis: Analysis, annotations: list[dict[str, Any]]) -> list[str]:
    """Sends them in bulk; their ids, in the order sent."""
    answer = pipeline.post(f"/api/analyses/{analysis.id}/annotations:bulk", {"annotations": annotations})
    assert answer.status_code == 200, answer.text
    return [entry["id"] for entry in answer.json["annotations"]]


def upload(
    app: Flask,
    pipeline: Pipeline,
    analysis: Analysis,
    artifact_type: str = "heatmap",
    content: bytes | None = None,
    **fields: Any,
) -> str:
    """Presigns and puts an artifact on local disk; its storage path."""
    wanted = {"artifact_type": artifact_type, **fields}
    signed = pipeline.post(f"/api/analyses/{analysis.id}/artifacts/presign", wanted)
    assert signed.status_code == 200, signed.text
    client = LintClient(app, app.response_class, use_cookies=False)
    body = picture(16, 12) if content is None else content
    sent = client.put(signed.json["upload_url"], data=body, headers=signed.json["headers"])
    assert sent.status_code == 200, sent.text
    path: str = signed.json["storage_path"]
    return path


def finalize(pipeline: Pipeline, analysis: Analysis, status: str = "completed", **fields: Any) -> None:
    answer = pipeline.post(f"/api/analyses/{analysis.id}/finalize", {"status": status, **fields})
    assert answer.status_code == 200, answer.text


def check_problem(response: Any, status: int, code: str) -> dict[str, Any]:
    """The members of a problem+json answer with this status and code."""
    found = (response.status_code, response.headers["Content-Type"])
    assert found == (status, "application/problem+json"), f"{found}: {response.get_data(as_text=True)[:500]}"
    body: dict[str, Any] = response.json
    assert (body["status"], body["code"]) == (status, code), body
    assert body["type"] == f"urn:loupe:error:{code}"
    assert body["title"] and body["detail"]
    assert body["request_id"] == response.headers["X-Request-ID"]
    return body


def fields_at_fault(response: Any) -> set[str]:
    """The fields a 422 names."""
    return {entry["field"] for entry in check_problem(response, 422, "invalid-payload")["errors"]}
