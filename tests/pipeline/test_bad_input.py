"""What breaks naive services: each is a clear 4xx in problem+json, stores nothing, and never ends in a 500."""

import json
import re

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from app.models import Analysis, Annotation, Artifact, AuditEvent
from tests.factories import some_id

STORED = (Analysis, Annotation, Artifact, AuditEvent)


def refusal(answer):
    assert answer.mimetype == "application/problem+json"
    assert {"type", "title", "status", "detail", "code", "request_id"} <= answer.json.keys()
    assert answer.json["status"] == answer.status_code
    return answer.status_code, answer.json["code"]


@pytest.fixture
def routes(world, image, analysis):
    """Every route that needs a body, with a right one, in an order in which all succeed: (method, path, body)."""
    waiting = f"/api/analyses/{world.analysis(image).id}"
    one = f"/api/analyses/{analysis.id}"
    annotation = {"annotation_type": "custom", "data": {"a": 1}}
    job = {"model_name": "leaf-net", "model_version": "1"}
    return {
        "create": ("POST", f"/api/images/{image.id}/analyses", job),
        "status": ("PATCH", f"{one}/status", {"status": "processing"}),
        "bulk": ("POST", f"{one}/annotations:bulk", {"annotations": [annotation]}),
        "presign": ("POST", f"{one}/artifacts/presign", {"artifact_type": "log"}),
        "finalize": ("POST", f"{one}/finalize", {"status": "completed"}),
        "claim": ("POST", f"{waiting}/claim", {"worker_id": "gpu-1"}),
        "claim next": ("POST", "/api/analyses:claim", {"worker_id": "gpu-1"}),
    }


# --- bytes that are no JSON, on every route ----------------------------------------------------------------------


def with_value(value):
    """A right body with one more key, which would be ignored if it could be read."""
    return lambda body: body[:-1] + b', "more": ' + value + b"}"


def with_key(key):
    return lambda body: body[:-1] + b", " + key + b": 1}"


BODIES = {
    "empty": lambda body: b"",
    "spaces": lambda body: b" \n ",
    "cut off": lambda body: body[:-1],
    "two values": lambda body: body + body,
    "form": lambda body: b"status=completed",
    "python": lambda body: body.replace(b'"', b"'"),
    "comment": lambda body: body + b"// done",
    "trailing comma": lambda body: body[:-1] + b",}",
    "BOM": lambda body: b"\xef\xbb\xbf" + body,
    "UTF-16": lambda body: body.decode().encode("utf-16"),
    "UTF-16-LE": lambda body: body.decode().encode("utf-16-le"),
    "UTF-32": lambda body: body.decode().encode("utf-32"),
    "gzip": lambda body: b"\x1f\x8b\x08\x00" + body,
    "Latin-1": with_value('"é"'.encode("latin-1")),
    "overlong": with_value(b'"\xc0\xaf"'),
    "lone surrogate": with_value(b'"\\ud800"'),
    "lone surrogate, low": with_value(b'"x\\udfff"'),
    "lone surrogate, raw": with_value(b'"\xed\xa0\x80"'),
    "lone surrogate, key": with_key(b'"\\ud800"'),
    "NUL": with_value(b'"\\u0000"'),
    "NUL, raw": with_value(b'"\x00"'),
    "NUL, key": with_key(b'"a\\u0000"'),
    "NUL, after": lambda body: body + b"\x00",
    "control": with_value(b'"\x1f"'),
    "NaN": with_value(b"NaN"),
    "Infinity": with_value(b"Infinity"),
    "-Infinity": with_value(b"[-Infinity]"),
    "1e400": with_value(b"1e400"),
    "-1E+400": with_value(b"-1E+400"),
    "1e999999999": with_value(b"[1e999999999]"),
    "400 digits and a point": with_value(b"9" * 400 + b".0"),
    "65 bits": with_value(b"18446744073709551616"),
    "5,000 digits": with_value(b"9" * 5000),
    "100,000 digits": with_value(b"9" * 100_000),
    "hexadecimal": with_value(b"0x10"),
    "leading zero": with_value(b"01"),
    "duplicate key": with_value(b'1, "more": 1'),
    "duplicate key, deep": with_value(b'[{"a": {"b": 1, "b": 2}}]'),
    "duplicate key, escaped": with_value(b'1, "\\u006dore": 1'),
    "__proto__": with_key(b'"__proto__"'),
    "__proto__, deep": with_value(b'[{"__proto__": {"admin": true}}]'),
    "__proto__, escaped": with_key(b'"\\u005f_proto__"'),
    "33 deep": with_value(b"[" * 32 + b"]" * 32),
    "33 deep, objects": with_value(b'{"a":' * 32 + b"1" + b"}" * 32),
    "1,000 deep": with_value(b"[" * 1000 + b"]" * 1000),
    "100,000 deep": with_value(b"[" * 100_000 + b"]" * 100_000),
    "100,000 open": lambda body: b"[" * 100_000,
    "100,000 open, objects": lambda body: b'{"a":' * 100_000,
}


@pytest.mark.parametrize("name", BODIES)
def test_no_json(pipeline, routes, unchanged, name):
    with unchanged(*STORED):
        for method, path, body in routes.values():
            raw = BODIES[name](json.dumps(body).encode())
            answer = pipeline.request(method, path, raw=raw)
            assert refusal(answer) == (400, "malformed-request")


@pytest.mark.parametrize(
    "value", [b"[" * 31 + b"]" * 31, b"1e308", b"9223372036854775807", b'"\\ud83c\\udf3f"']
)
def test_just_inside(pipeline, routes, value):
    for method, path, body in routes.values():
        answer = pipeline.request(method, path, raw=with_value(value)(json.dumps(body).encode()))
        assert answer.status_code in (200, 201)
        assert answer.json["ignored"] == ["more"]


def test_a_key_twice_is_named(pipeline, routes):
    method, path, _ = routes["finalize"]
    answer = pipeline.request(method, path, raw=b'{"status": "failed", "status": "completed"}')
    assert "status" in answer.json["detail"]


# --- numbers and texts that are JSON but no data -----------------------------------------------------------------

BOX = {"x_min": 1, "y_min": 1, "x_max": 9, "y_max": 9}


@pytest.mark.parametrize(
    "value", ["NaN", "Infinity", "-1e400", "9" * 5000, '"9"', "true", "null", "[1]", "1e300", '"\\ud800"']
)
def test_corners(pipeline, routes, unchanged, value):
    for key in BOX:
        data = json.dumps(BOX | {key: "VALUE"}).replace('"VALUE"', value)
        raw = f'{{"annotations": [{{"annotation_type": "bounding_box", "data": {data}}}]}}'.encode()
        with unchanged(*STORED):
            answer = pipeline.request(*routes["bulk"][:2], raw=raw)
        assert refusal(answer)[0] in (400, 422)


@pytest.mark.parametrize(
    "data",
    [
        BOX | {"x_max": 0},
        BOX | {"x_max": 1},
        BOX | {"y_max": -5},
        {"bbox": [9, 9, 1, 1], "format": "xyxy"},
        {"x": 1, "y": 1, "width": -4, "height": 4},
        {"x": 1, "y": 1, "width": 0, "height": 4},
        {"left": 9, "top": 1, "right": 1, "bottom": 9},
    ],
)
def test_inside_out(pipeline, routes, unchanged, data):
    sent = {"annotations": [{"annotation_type": "bounding_box", "data": data}]}
    with unchanged(*STORED):
        answer = pipeline.post(routes["bulk"][1], sent)
    assert refusal(answer) == (422, "invalid-payload")
    assert answer.json["errors"][0]["index"] == 0


@pytest.mark.parametrize(
    "item",
    [
        {"annotation_type": "segmentation", "data": {"format": "rle", "counts": "\x7f\x7f", "size": [3, 4]}},
        {"annotation_type": "segmentation", "data": {"format": "rle", "counts": [-1, 13], "size": [3, 4]}},
        {"annotation_type": "segmentation", "data": {"format": "rle", "counts": [], "size": [3, 4]}},
        {"annotation_type": "segmentation", "data": {"format": "rle", "counts": [1] * 12, "size": [0, 0]}},
        {"annotation_type": "segmentation", "data": {"format": "rle", "counts": "é", "size": [3, 4]}},
        {"annotation_type": "segmentation", "data": {"format": "rle", "counts": [1], "size": [10**9, 10**9]}},
        {"annotation_type": "polygon", "data": {"points": [[0, 0]] * 100_001}},
        {"annotation_type": "keypoint", "data": {"keypoints": [{"x": 0, "y": 0}] * 10_001}},
        {"annotation_type": "classification", "data": {"scores": {str(i): 0.5 for i in range(1001)}}},
        {"annotation_type": "custom", "data": {"x": ["y" * 100] * 700}},
    ],
)
def test_too_much_or_nonsense(pipeline, routes, unchanged, item):
    with unchanged(*STORED):
        answer = pipeline.post(routes["bulk"][1], {"annotations": [item]})
    assert refusal(answer) == (422, "invalid-payload")
    assert len(answer.data) < 20_000


def test_a_refusal_stays_small(pipeline, routes):
    """However long what was sent, and however much of it is wrong."""
    wrong = [{"annotation_type": "x" * 1000, "client_id": "y" * 1000, "z" * 1000: 1}] * 2000
    answer = pipeline.post(routes["bulk"][1], {"annotations": wrong})
    assert refusal(answer) == (422, "invalid-payload")
    assert len(answer.json["errors"]) == 100
    assert len(answer.data) < 50_000


# --- content types -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "content_type",
    [
        *("text/plain", "text/json", "image/png", "json", "application/jsonp", "application/octet-stream"),
        *("application/x-www-form-urlencoded", "multipart/form-data; boundary=x"),
    ],
)
def test_other_content_types(pipeline, routes, unchanged, content_type):
    with unchanged(*STORED):
        for route in routes.values():
            answer = pipeline.request(*route, headers={"Content-Type": content_type})
            assert refusal(answer) == (415, "unsupported-media-type")


@pytest.mark.parametrize(
    "content_type", ["", "application/json; charset=utf-8", "Application/JSON", "application/vnd.loupe+json"]
)
def test_content_types_of_json(pipeline, routes, content_type):
    answer = pipeline.request(*routes["finalize"], headers={"Content-Type": content_type})
    assert answer.status_code == 200


def test_no_content_type(app, pipeline, routes):
    def send(method, path, body, headers):
        bare = {name: value for name, value in headers.items() if name != "Content-Type"}
        return app.test_client().open(path, method=method, data=body, headers=bare)

    signing = type(pipeline)(send, pipeline.now)
    assert signing.request(*routes["finalize"]).status_code == 200


def test_a_form_where_people_send_json(owner):
    """The guard of the people's API reads multipart for uploads only."""
    form = {"name": "Leaves"}
    answer = owner.api("POST", "/api/projects", data=form, content_type="multipart/form-data")
    assert refusal(answer) == (415, "unsupported-media-type")


# --- addresses and queries ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "path",
    [
        "/api/analyses/{id}/finalize/",
        "/api/analyses/{id}/../{id}/finalize",
        "/api/analyses//finalize",
        "/api/analyses/{id}%00/finalize",
        "/api/analyses/{id}/artifacts:presign",
        "/api/analyses/{id}/annotations%3abulk/",
        "/api/analyses/00000000/finalize",
        "/api/analyses/\u0661/finalize",
        "/api/nothing",
        "/api/",
    ],
)
def test_wrong_addresses(pipeline, analysis, unchanged, path):
    with unchanged(*STORED):
        answer = pipeline.post(path.format(id=analysis.id), {"status": "completed"})
    assert refusal(answer) == (404, "not-found")


@pytest.mark.parametrize("value", ["-1", "1.5", "x", "", " 1", "+1", "1e3", "\u0661", "%00", "9" * 30])
@pytest.mark.parametrize("name", ["skip", "limit"])
def test_wrong_pages(viewer, image, project, analysis, name, value):
    for path in (
        f"/api/images/{image.id}/analyses",
        f"/api/analyses/{analysis.id}/annotations",
        f"/api/projects/{project.id}/images",
    ):
        answer = viewer.api("GET", f"{path}?{name}={value}")
        assert refusal(answer) == (422, "invalid-payload")
        assert [error["field"] for error in answer.json["errors"]] == [name]


@pytest.mark.parametrize(
    "path",
    [
        "",
        "..",
        "../../etc/passwd",
        "/etc/passwd",
        "ml_outputs/../images/{id}",
        "ml_outputs/{id}/..",
        "ml_outputs/{id}/../../secrets.env",
        "ml_outputs/{id}/%00",
        "ml_outputs/{id}/a/b",
        "images/{id}",
        "x" * 2000,
    ],
)
def test_wrong_artifact_paths(viewer, analysis, path):
    for verb in ("content", "download"):
        answer = viewer.api("GET", f"/api/ml/artifacts/{verb}?path={path.format(id=analysis.id)}")
        assert refusal(answer) == (422, "invalid-payload")


# --- the order of checks -----------------------------------------------------------------------------------------


def test_the_order_of_checks(pipeline, switched, world, image, stranger):
    """Everything is wrong at first; mended one by one, the refusals come in the order of the contract."""
    ended = world.analysis(image, "completed")
    switched(ML_ANALYSIS_ENABLED=False, MAX_CONTENT_LENGTH=64)
    request = {
        "path": f"/api/analyses/{some_id()}/finalize",
        "raw": b"{" + b" " * 100,
        "secret": "wrong",
        "headers": {"X-ML-Nonce": "short", "Content-Type": "text/plain", "X-API-Key": stranger.key},
    }

    def refused():
        return refusal(pipeline.request("POST", **request))

    assert refused() == (404, "not-found")
    switched(ML_ANALYSIS_ENABLED=True)
    assert refused() == (413, "payload-too-large")
    request["raw"] = b"{"
    assert refused() == (400, "malformed-request")
    del request["headers"]["X-ML-Nonce"]
    assert refused() == (401, "signature-invalid")
    del request["secret"]
    assert refused() == (415, "unsupported-media-type")
    del request["headers"]["Content-Type"]
    assert refused() == (400, "malformed-request")
    request["raw"] = b"{}"
    assert refused() == (404, "not-found")
    request["path"] = f"/api/analyses/{ended.id}/finalize"
    assert refused() == (403, "forbidden")
    del request["headers"]["X-API-Key"]
    assert refused() == (422, "invalid-payload")
    request["raw"] = b'{"status": "failed"}'
    assert refused() == (409, "illegal-transition")


def test_the_query_is_checked_with_the_fields(pipeline, stranger, routes, unchanged):
    path = routes["bulk"][1] + "?dry_run=maybe"
    assert refusal(pipeline.post(path, raw=b"{")) == (400, "malformed-request")
    assert refusal(pipeline.post(path, {}, headers={"X-API-Key": stranger.key})) == (403, "forbidden")
    assert refusal(pipeline.post(path, {"annotations": []})) == (422, "invalid-payload")


# --- anything at all ---------------------------------------------------------------------------------------------

words = st.sampled_from(
    [
        *("annotations", "annotation_type", "bounding_box", "segmentation", "keypoint", "polygon", "mask"),
        *("custom", "heatmap", "classification", "data", "status", "completed", "canceled", "model_name"),
        *("priority", "format", "rle", "counts", "size", "points", "keypoints", "x_min", "bbox", "topk"),
        *("scores", "extra", "mode", "replace"),
    ]
)
texts = words | st.text(max_size=8)
values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | texts,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts, inner, max_size=4),
    max_leaves=12,
)
items = st.fixed_dictionaries(
    {"annotation_type": words, "data": values},
    optional={"class_name": values, "confidence": values, "ordering": values, "client_id": values},
)


@settings(
    max_examples=40,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(value=values, annotations=st.lists(items, max_size=3))
def test_never_500(pipeline, routes, value, annotations):
    bodies = [(route, value) for route in routes] + [("bulk", {"annotations": annotations})]
    for route, body in bodies:
        method, path, right = routes[route]
        for sent in (body, right | body if isinstance(body, dict) else right | {"more": body}):
            raw = json.dumps(sent).encode()
            answer = pipeline.request(method, path, raw=raw)
            assert answer.status_code in (200, 201, 400, 409, 422), (path, raw, answer.data)


def test_problem_types(pipeline, routes):
    """What every refusal says, once in full."""
    answer = pipeline.request(*routes["finalize"], headers={"X-Request-ID": "abc-1"}, secret="x")
    assert answer.json == {
        "type": "urn:loupe:error:signature-invalid",
        "title": "The signature or key is not right",
        "status": 401,
        "detail": "The signature or key is not right",
        "code": "signature-invalid",
        "request_id": "abc-1",
    }
    assert answer.headers["X-Request-ID"] == "abc-1"


@pytest.mark.parametrize("sent", ["a b", "x" * 65, "é", "<script>", ""])
def test_strange_request_ids_are_replaced(pipeline, routes, sent):
    answer = pipeline.request(*routes["finalize"], headers={"X-Request-ID": sent}, secret="x")
    assert re.fullmatch(r"[0-9a-f]{32}", answer.json["request_id"])
