"""GET /api/openapi.json: valid, whole, the same every time, and told to anyone."""

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from marshmallow import ValidationError
from openapi_spec_validator import OpenAPIV31SpecValidator

from app.annotations import ALIASES, TYPES
from app.errors import CODES
from app.geometry import Frame
from app.models.artifacts import CONTENT_TYPES
from app.openapi import document
from app.openapi.annotation_types import component_name, example
from app.openapi.problems import EXTRAS
from tests.cast import Person
from tests.conftest import ENVIRON
from tests.html import LintClient
from tests.steps import check_problem
from tests.support.contract import Contract
from tests.support.database import ROOT
from tests.support.raised import raised, raised_with

ADDRESS = "/api/openapi.json"


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


MADE = """
import sys
from app import create_app
from app.openapi import document
app = create_app(instance_path=sys.argv[1])
with app.app_context():
    print(document(app).etag)
"""


def test_every_process_says_the_same(tmp_path: Path) -> None:
    """To the byte: a set has another order in each process."""
    command = [sys.executable, "-c", MADE, str(tmp_path)]
    environ = {"PATH": os.environ["PATH"], "FLASK_SKIP_DOTENV": "1", **ENVIRON}
    said = set()
    for seed in ("1", "2", "3", "4"):
        with_seed = environ | {"PYTHONHASHSEED": seed}
        done = subprocess.run(command, cwd=ROOT, env=with_seed, capture_output=True, text=True, check=True)
        said.add(done.stdout)
    assert len(said) == 1


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


def test_settings_it_does_not_tell_make_no_difference(make_app: Any) -> None:
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
    assert strict["security"][0] == {"signature": [], "timestamp": []}
    assert {"signature": [], "timestamp": [], "key": []} in strict["security"]
    assert all("signature" in proof for proof in strict["security"])
    free = document(make_app(ML_PIPELINE_REQUIRE_HMAC="false")).content["paths"][path]["post"]
    assert {"key": []} in free["security"] and {"signature": [], "timestamp": []} in free["security"]


PLAIN = {"signature": [], "timestamp": []}
V2 = PLAIN | {"keyId": [], "nonce": []}


def test_what_pipelines_may_is_told(content: dict[str, Any]) -> None:
    """Read with a key or v2, make analyses with a key, and sign the rest; what is people's business tells of none."""
    of = {operation["operationId"]: operation for _, _, operation in operations(content)}
    assert of["show_analysis"]["x-who"] == (
        "Any member of the project, with a key or a session, or a pipeline with its key or a v2 signature."
    )
    assert of["create_analysis"]["x-who"] == (
        "A pipeline with its key or a signature, or an editor of the project with a key."
    )
    assert of["set_status"]["x-who"].startswith("A pipeline that signs the request, or")
    assert V2 in of["finalize_analysis"]["security"] and PLAIN in of["finalize_analysis"]["security"]
    reads = {name for name, one in of.items() if V2 in one["security"] and PLAIN not in one["security"]}
    assert reads == {
        "list_project_analyses",
        "list_image_analyses",
        "show_analysis",
        "list_annotations",
        "list_receipts",
        "export_analysis",
        "download_artifact",
        "artifact_content",
    }
    for name, one in of.items():
        told = {"$ref": "#/components/parameters/X-ML-Nonce"} in one["parameters"]
        assert told == (V2 in one["security"] or name == "echo_request"), name
    assert of["show_image"]["x-who"] == "Any member of the project, with a key or a session."


def test_where_nobody_need_sign_a_pipeline_s_key_is_enough(make_app: Any) -> None:
    content = document(make_app(ML_PIPELINE_REQUIRE_HMAC="false")).content
    finalize = content["paths"]["/api/analyses/{analysis_id}/finalize"]["post"]
    assert finalize["x-who"].startswith("A pipeline with its key or a signature, or")


def test_who_may(content: dict[str, Any]) -> None:
    paths = content["paths"]
    making = paths["/api/images/{image_id}/analyses"]
    assert {"key": []} in making["post"]["security"] and {"session": []} not in making["post"]["security"]
    assert {"session": []} in making["get"]["security"]
    assert {"signature": [], "timestamp": []} not in making["get"]["security"]
    assert paths[ADDRESS]["get"]["security"] == []


def test_every_code_that_the_api_answers_has_a_schema(content: dict[str, Any]) -> None:
    answered = raised() - {"method-not-allowed"}  # of addresses, not of operations
    schemas = content["components"]["schemas"]
    for code in answered:
        schema = schemas[f"{CODES[code].__name__}Problem"]
        assert schema["properties"]["code"] == {"const": code}
        assert schema["properties"]["status"] == {"const": CODES[code].status}
    told = {name for name in schemas if name.endswith("Problem") and name != "Problem"}
    assert told == {f"{CODES[code].__name__}Problem" for code in answered} | {"InternalErrorProblem"}


def references(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        yield from [value["$ref"]] if isinstance(value.get("$ref"), str) else []
        value = list(value.values())
    if isinstance(value, list):
        for inner in value:
            yield from references(inner)


@pytest.mark.parametrize("settings", [{}, {"ML_ANALYSIS_ENABLED": "false"}], ids=["all", "without-analyses"])
def test_every_shared_response_header_and_parameter_is_used(make_app: Any, settings: dict[str, str]) -> None:
    content = document(make_app(**settings)).content
    used = set(references(content))
    for section in ("responses", "headers", "parameters"):
        there = {f"#/components/{section}/{name}" for name in content["components"][section]}
        assert there == {target for target in used if target.startswith(f"#/components/{section}/")}


def test_every_operation_may_fail_by_a_fault_of_ours(content: dict[str, Any]) -> None:
    for _, _, operation in operations(content):
        assert operation["responses"]["500"] == {"$ref": "#/components/responses/InternalError"}


def test_who_can_be_answered_304_may_say_what_it_holds(content: dict[str, Any]) -> None:
    parameter = {"$ref": "#/components/parameters/If-None-Match"}
    told = [operation for _, _, operation in operations(content) if "304" in operation["responses"]]
    assert len(told) == 2
    assert all(parameter in operation["parameters"] for operation in told)


def test_a_file_of_analyses_has_a_header_with_what_it_lacks(content: dict[str, Any]) -> None:
    for path in ("/api/analyses/{analysis_id}/export", "/api/projects/{project_id}/export"):
        headers = content["paths"][path]["get"]["responses"]["200"]["headers"]
        assert headers["X-ML-Export-Dropped"] == {"$ref": "#/components/headers/X-ML-Export-Dropped"}
        assert {"$ref": "#/components/headers/Content-Disposition"} in headers.values()
        assert "404" in content["paths"][path]["get"]["responses"]


def test_limits_are_those_of_the_settings(make_app: Any) -> None:
    schemas = document(make_app(ML_MAX_BULK_ANNOTATIONS="7", MAX_REQUEST_BYTES="5000")).content["components"][
        "schemas"
    ]
    assert schemas["BulkIn"]["properties"]["annotations"]["maxItems"] == 7
    assert schemas["Presign"]["properties"]["size"]["maximum"] == 5000


def test_the_header_of_a_signature_takes_what_the_server_takes(content: dict[str, Any]) -> None:
    pattern = re.compile(content["components"]["parameters"]["X-ML-Signature"]["schema"]["pattern"])
    plain, v2 = "sha256=" + "0" * 64, "v2=" + "0" * 64
    assert pattern.search(plain) and pattern.search(v2) and pattern.search(" ".join([v2, plain] * 2))
    assert not pattern.search(" ".join([plain] * 5)) and not pattern.search("v1=" + "0" * 64)


def test_an_upload_is_told_without_a_path(content: dict[str, Any]) -> None:
    put = content["components"]["pathItems"]["upload_url"]["put"]
    assert set(put["requestBody"]["content"]) == set(CONTENT_TYPES.values())
    assert set(put["responses"]) == {"200", "400", "403", "413", "500", "503"}
    presign = content["paths"]["/api/analyses/{analysis_id}/artifacts/presign"]["post"]
    target = presign["responses"]["200"]["links"]["upload"]["operationRef"]
    assert target == "#/components/pathItems/upload_url/put"


def test_an_object_store_refuses_in_its_own_way(make_app: Any) -> None:
    app = make_app(S3_BUCKET="leaves", S3_ACCESS_KEY="one", S3_SECRET_KEY="two", S3_REGION="eu-west-1")
    content = document(app).content
    assert set(content["components"]["pathItems"]["upload_url"]["put"]["responses"]) == {"200", "default"}
    assert not list(OpenAPIV31SpecValidator(content).iter_errors())
    assert app.test_client().get("/reference").status_code == 200


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
    """What no key of the type takes is kept: beside the keys, and in the entries of its lists."""
    one = TYPES[name]
    sent = deepcopy(one.example) | {"an_extra_key": 1}
    for entry in (*sent.get("topk", ()), *sent.get("keypoints", ())):
        entry["rank"] = 1
    loaded = one.load(sent, Frame(640, 480), "ml_outputs/x/y.png")
    contract = Contract(document(app).content, closed=True)
    assert contract.faults(f"{component_name(name)}Data", loaded.data) == []


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
