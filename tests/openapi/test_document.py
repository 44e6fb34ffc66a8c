"""GET /api/openapi.json: valid, whole, the same every time, and told to anyone."""

import ast
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from marshmallow import ValidationError
from openapi_spec_validator import OpenAPIV31SpecValidator

from app.annotations import ALIASES, TYPES
from app.errors import CODES
from app.geometry import Frame
from app.openapi import document
from app.openapi.annotation_types import component_name, example
from app.openapi.problems import EXTRAS
from tests.cast import Person
from tests.html import LintClient
from tests.steps import check_problem
from tests.support.contract import Contract

ADDRESS = "/api/openapi.json"
APP = Path(__file__).resolve().parents[2] / "app"


@pytest.fixture
def content(app: Flask) -> dict[str, Any]:
    return document(app).content


def operations(content: dict[str, Any]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    for path, item in content["paths"].items():
        for method, operation in item.items():
            yield path, method, operation


def test_anyone_may_read_it(client: LintClient, app: Flask) -> None:
    answer = client.get(ADDRESS)
    assert (answer.status_code, answer.mimetype) == (200, "application/json")
    assert answer.json == document(app).content
    assert answer.headers["Cache-Control"] == "no-cache"


def test_a_wrong_key_does_not_matter(client: LintClient) -> None:
    assert client.get(ADDRESS, headers={"X-API-Key": "mluser_nobody"}).status_code == 200


def test_everything_else_still_asks_who_it_is(client: LintClient) -> None:
    check_problem(client.get("/api/projects"), 401, "unauthenticated")


def test_takes_no_other_method(client: LintClient) -> None:
    check_problem(client.post(ADDRESS), 405, "method-not-allowed")


def test_is_not_sent_twice(client: LintClient) -> None:
    etag = client.get(ADDRESS).headers["ETag"]
    again = client.get(ADDRESS, headers={"If-None-Match": etag})
    assert (again.status_code, again.data) == (304, b"")
    assert client.get(ADDRESS, headers={"If-None-Match": '"another"'}).status_code == 200


def test_is_valid(content: dict[str, Any]) -> None:
    assert content["openapi"].startswith("3.1")
    assert not list(OpenAPIV31SpecValidator(content).iter_errors())


def test_two_apps_with_the_same_settings_make_the_same(make_app: Any) -> None:
    one, other = make_app(), make_app(ML_MAX_ANALYSES_PER_IMAGE="49")
    assert document(one).etag == document(other).etag


def test_has_every_route_and_nothing_else(app: Flask, content: dict[str, Any]) -> None:
    routes = {
        (rule.endpoint.partition(".")[2], method.lower())
        for rule in app.url_map.iter_rules()
        if rule.endpoint.startswith(("api.", "pipeline."))
        for method in (rule.methods or set()) - {"HEAD", "OPTIONS"}
    }
    told = {(operation["operationId"], method) for _, method, operation in operations(content)}
    assert told == routes, "a route of the JSON API needs the mark `operation`"


def test_every_operation_says_what_it_is(content: dict[str, Any]) -> None:
    for path, method, operation in operations(content):
        assert operation["summary"].endswith("."), (
            f"{method} {path}: the docstring's first line is the summary"
        )
        assert operation["tags"] and operation["responses"]


def test_without_analyses_there_is_no_trace_of_them(make_app: Any) -> None:
    app = make_app(ML_ANALYSIS_ENABLED="false")
    content = document(app).content
    assert not list(OpenAPIV31SpecValidator(content).iter_errors())
    paths = set(content["paths"])
    assert paths and not [path for path in paths if "anal" in path or "/ml/" in path]
    assert not [name for name in content["components"]["schemas"] if name.startswith(("Analys", "Annot"))]
    assert "signature" not in content["components"]["securitySchemes"]
    for path in paths - {path for path in paths if "{" in path}:
        assert app.test_client().get(path).status_code in (200, 401)


def test_signatures_are_told_as_the_settings_have_them(make_app: Any) -> None:
    path = "/api/analyses/{analysis_id}/finalize"
    strict = document(make_app()).content["paths"][path]["post"]
    assert strict["security"] == [{"signature": [], "timestamp": []}]
    free = document(make_app(ML_PIPELINE_REQUIRE_HMAC="false")).content["paths"][path]["post"]
    assert {"key": []} in free["security"] and {"signature": [], "timestamp": []} in free["security"]


def test_who_may(content: dict[str, Any]) -> None:
    paths = content["paths"]
    making = paths["/api/images/{image_id}/analyses"]
    assert {"key": []} in making["post"]["security"] and {"session": []} not in making["post"]["security"]
    assert {"session": []} in making["get"]["security"]
    assert {"signature": [], "timestamp": []} not in making["get"]["security"]
    assert paths[ADDRESS]["get"]["security"] == []


def test_every_code_has_a_response_and_a_schema(content: dict[str, Any]) -> None:
    for code, error in CODES.items():
        assert code in content["components"]["responses"][error.__name__]["description"]
        schema = content["components"]["schemas"][f"{error.__name__}Problem"]
        assert schema["properties"]["code"] == {"const": code}
        assert schema["properties"]["status"] == {"const": error.status}


def raised_with() -> Iterator[tuple[str, set[str]]]:
    """Every error that the code makes, by code, with the further members it is given."""
    classes = {error.__name__: code for code, error in CODES.items()}
    for path in APP.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in classes:
                names = {word.arg for word in node.keywords if word.arg}
                yield classes[node.func.id], names - {"errors", "headers", "retry_after"}


def test_what_errors_carry_is_told() -> None:
    found = list(raised_with())
    assert any(names for _, names in found)
    untold = {(code, name) for code, names in found for name in names if name not in EXTRAS.get(code, {})}
    assert not untold, "say in app/openapi/problems.py EXTRAS what the problem carries"


# --- the annotation types ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", [*TYPES, *ALIASES])
def test_an_example_of_a_type_fits(app: Flask, name: str) -> None:
    contract = Contract(document(app).content)
    assert contract.faults(f"{component_name(name)}In", example(name)) == []
    assert contract.faults("AnnotationIn", example(name)) == []


@pytest.mark.parametrize("name", list(TYPES))
def test_canonical_data_of_a_type_fits(app: Flask, name: str) -> None:
    one = TYPES[name]
    loaded = one.load(one.example | {"an_extra_key": 1}, Frame(640, 480), "ml_outputs/x/y.png")
    assert Contract(document(app).content).faults(f"{component_name(name)}Data", loaded.data) == []


@pytest.mark.parametrize("name", [*TYPES, *ALIASES])
def test_a_field_of_a_type_says_what_it_takes(content: dict[str, Any], name: str) -> None:
    data = content["components"]["schemas"][f"{component_name(name)}DataIn"]
    for form in data.get("anyOf", [data]):
        for key, schema in form["properties"].items():
            assert {"type", "anyOf"} & schema.keys(), f"{name}.{key}: its field needs `json_form`"


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("BoundingBox", {"left": 1, "top": 2, "right": 3, "bottom": 4, "colour": "red"}),
        ("BoundingBox", {"bbox": [1, 2, 3, 4], "format": "xywh", "normalized": None}),
        ("Classification", {"scores": {"cat": 0.4}}),
        ("Segmentation", {"format": "polygon", "polygons": [[0, 0, 4, 0, 4, 4]]}),
        ("Segmentation", {"format": "rle", "counts": "0"}),
        ("Mask", {}),
        ("Keypoint", {"keypoints": [{"x": 1, "y": 2, "visible": 2}, {"x": 1, "y": 2, "visible": True}]}),
        ("Custom", {"anything": [1, {"at": "all"}]}),
    ],
)
def test_what_the_server_takes_fits(content: dict[str, Any], name: str, data: dict[str, Any]) -> None:
    assert Contract(content).faults(f"{name}DataIn", data) == []


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("bounding_box", {"x_min": 1, "y_min": 2, "x_max": "3", "y_max": 4}),
        ("bounding_box", {"bbox": [1, 2, 3], "format": "xywh"}),
        ("classification", {"topk": [{"class": "cat", "confidence": 1.5}]}),
        ("heatmap", {"width": 0, "height": 10}),
        ("segmentation", {"format": "bitmap"}),
        ("polygon", {"points": [[0, 0], [1, 1]]}),
        ("keypoint", {"keypoints": [{"x": 1}]}),
        ("custom", []),
    ],
)
def test_what_the_server_refuses_does_not_fit(content: dict[str, Any], name: str, data: Any) -> None:
    assert Contract(content).faults(f"{component_name(name)}DataIn", data)
    with pytest.raises(ValidationError):
        TYPES[name].load(data, Frame(640, 480), "ml_outputs/x/y.png")


def test_the_body_is_the_document(client: LintClient, app: Flask, owner: Person) -> None:
    """By a key or without, it is the same bytes."""
    assert owner.api("GET", ADDRESS).data == client.get(ADDRESS).data == document(app).body
    assert json.loads(document(app).body)["info"]["title"] == "Loupe"
