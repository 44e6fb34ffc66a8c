"""What Loupe exports, imported again: the same annotations in the same order."""

import json
from typing import Any

import orjson
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from app.annotations import TYPES
from app.errors import InvalidPayload
from app.geometry import Frame
from app.models.columns import new_id
from app.schemas.annotations import Bulk, load_bulk
from app.schemas.strict_json import parse
from app.services.annotation_rows import COLUMNS, on_the_wire
from tests.importers.anything import annotation
from tests.importers.reading import ANALYSIS, IMAGE, data, faults, load, rows, said

HEAD = {"schema_version": 1, "id": str(ANALYSIS), "image_id": str(IMAGE), "parameters": {"deep": [[[]]]}}


SMALL, LARGE = Frame(64, 48), Frame(640, 480)


def stored(annotations: list[Any], frame: Frame = SMALL) -> Bulk:
    """What a bulk request of these would store; the rules of the wire leave out those that are not valid."""
    body = json.dumps({"annotations": annotations}).encode()
    try:
        return load_bulk(parse(body), analysis_id=ANALYSIS, frame=frame, batch="b", at_most=99, skips=True)
    except InvalidPayload:
        assume(False)
        raise


def exported(bulk: Bulk, form: str) -> bytes:
    return WRITERS[form](on_the_wire([row(item) for item in bulk.items]))


def row(item: Any) -> list[Any]:
    """As the driver would have it."""
    of_row = {"id": str(new_id()), "analysis_id": str(ANALYSIS), "created_at": "2026-03-04 00:00:00+00"}
    said = {**item.values, **of_row, "client_id": item.client_id, "position": item.index}
    said["data"] = orjson.dumps(said["data"]).decode()
    return [said.get(column.name) for column in COLUMNS]


def as_json(annotations: list[Any]) -> bytes:
    return orjson.dumps(HEAD | {"annotations": annotations})


def as_lines(annotations: list[Any]) -> bytes:
    end = {"kind": "end", "analysis_count": 1, "annotation_count": len(annotations)}
    said = [{"kind": "annotation", **one} for one in annotations]
    return lines({"kind": "analysis", **HEAD}, *said, end)


def lines(*values: Any) -> bytes:
    return b"".join(orjson.dumps(value) + b"\n" for value in values)


WRITERS = {"json": as_json, "ndjson": as_lines}


@pytest.mark.parametrize("form", WRITERS)
@settings(max_examples=80, deadline=None)
@given(sent=st.lists(annotation(), min_size=1, max_size=5))
def test_what_is_exported_comes_back(form: str, sent: list[Any]) -> None:
    before = stored(sent)
    after = load(exported(before, form), form)
    assert [(item.client_id, item.values, item.content_hash) for item in after.items] == [
        (item.client_id, item.values, item.content_hash) for item in before.items
    ]
    assert not after.skipped_count and not after.normalised_count and not after.ignored


@pytest.mark.parametrize("form", WRITERS)
def test_every_type_is_among_them(form: str) -> None:
    path = f"ml_outputs/{ANALYSIS}/a.png"
    before = stored(
        [{"annotation_type": name, "data": one.example, "storage_path": path} for name, one in TYPES.items()],
        LARGE,
    )
    after = load(exported(before, form), form, frame=LARGE)
    assert [row[0] for row in rows(after)] == list(TYPES) and data(after) == data(before)


@pytest.mark.parametrize("form", WRITERS)
def test_an_artifact_belongs_to_the_analysis_that_takes_it(form: str) -> None:
    path = f"ml_outputs/{ANALYSIS}/a.png"
    before = stored([{"annotation_type": "segmentation", "data": {"format": "png"}, "storage_path": path}])
    file = exported(before, form).replace(str(ANALYSIS).encode(), str(IMAGE).encode())
    bulk = load(file, form)
    assert bulk.items[0].values["storage_path"] == path
    assert said(bulk, "told")["names an artifact, which must be uploaded to this analysis too"] == 1


def test_another_image_is_told() -> None:
    file = {**HEAD, "image_id": str(ANALYSIS), "annotations": []}
    assert said(load(file, "json"), "told") == {
        "is another image: coordinates are taken as pixels of the one that is imported to": 1
    }


def test_what_is_not_loupes_is_refused_where_it_stands() -> None:
    box = {"annotation_type": "bounding_box", "data": {"x_min": 1, "y_min": 2, "x_max": 9, "y_max": 9}}
    file = {"annotations": [box, {}, {"annotation_type": "heatmap", "data": {}}, None, [box]]}
    assert {fault["place"] for fault in faults(file, "json")} == {f"annotations.{n}" for n in (1, 2, 3, 4)}
    path = {"storage_path": "ml_outputs/../../a.png"}
    (fault,) = faults({"annotations": [box | path]}, "json")
    assert fault["field"] == "storage_path"
    bulk = load({"annotations": [box | {"typo": 1}]}, "json")
    assert bulk.ignored == ["annotations.typo"]


def analysis(number: int, image_id: Any) -> dict[str, Any]:
    box = {"annotation_type": "bounding_box", "data": {"x_min": number, "y_min": 0, "x_max": 9, "y_max": 9}}
    return {"id": f"a{number}", "image_id": str(image_id), "annotations": [box]}


def test_one_of_many_analyses() -> None:
    file = {"exported_at": "now", "analyses": [analysis(1, ANALYSIS), analysis(2, IMAGE)]}
    bulk = load(file, "json")
    assert bulk.places == ["analyses.1.annotations.0"] and data(bulk)[0]["x_min"] == 2
    assert said(bulk, "left_out")["is another analysis, or of another"] == 1
    named = [one | {"image_id": "x", "filename": f"{one['id']}.png"} for one in file["analyses"]]  # type: ignore[index]
    assert data(load({"analyses": named}, "json", filename="a1.png"))[0]["x_min"] == 1
    other = load(file, "json", called="a1")
    assert data(other)[0]["x_min"] == 1 and len(said(other, "told")) == 1
    file["analyses"] += [analysis(3, IMAGE)]
    (fault,) = faults(file, "json")
    assert "2 analyses" in fault["reason"] and "a2, a3" in fault["reason"]
    assert faults(file, "json", called="a4") and faults({"analyses": [1]}, "json")
    assert faults({"analyses": {}}, "json")


BOX = {"annotation_type": "bounding_box", "data": {"x_min": 1, "y_min": 2, "x_max": 9, "y_max": 9}}


END = {"kind": "end", "annotation_count": 2}


def test_lines_that_broke_off() -> None:
    head = {"kind": "analysis", **HEAD}
    whole = lines(head, BOX, BOX, END)
    assert len(load(whole, "ndjson").items) == 2
    assert load(whole, "ndjson").places == ["line 2", "line 3"]
    assert len(load(lines(BOX, BOX), "ndjson").items) == 2
    for cut in (lines(head, BOX), lines(head, BOX, END), lines(BOX, END), lines(head, BOX, END, BOX)):
        (fault,) = faults(cut, "ndjson")
        assert fault["reason"].endswith("is it whole?")
    assert faults(whole[:-60], "ndjson")


@pytest.mark.parametrize("file", [b"", b"\n", b"\xef\xbb\xbf\r\n \n"])
def test_a_file_without_a_line_is_not_whole(file: bytes) -> None:
    """An export of nothing has its end."""
    (fault,) = faults(file, "ndjson")
    assert fault["reason"] == "The file has no line: is it whole?"
    assert not load(as_lines([]), "ndjson").items


def test_lines_of_many_analyses() -> None:
    heads = [{"kind": "analysis", **analysis(n, image)} for n, image in ((1, ANALYSIS), (2, IMAGE))]
    ones = [{"kind": "annotation", "analysis_id": head["id"], **head.pop("annotations")[0]} for head in heads]
    file = lines({"kind": "export", "filters": {}}, heads[0], ones[0], heads[1], ones[1], END)
    bulk = load(file, "ndjson")
    assert bulk.places == ["line 5"] and data(bulk)[0]["x_min"] == 2 and not bulk.ignored
    assert said(bulk, "left_out") == {
        "says something of the export, not of its analyses": 1,
        "is another analysis, or of another": 2,
        "says something of the exported analysis, not of its annotations": 1,
        "has an id and a time, and gets new ones": 1,
    }
    assert data(load(file, "ndjson", called="a1"))[0]["x_min"] == 1
    assert faults(lines(*heads, *ones, *heads, END), "ndjson")
    heads[0]["id"] = "a2"
    assert faults(lines(*heads, *ones, END), "ndjson")[0]["reason"].endswith("have the id a2.")


def test_a_line_that_is_wrong() -> None:
    file = lines(BOX) + b'{"annotation_type": NaN}\n\n[]\n' + lines(BOX, {"kind": ["box"]})
    assert [fault["place"] for fault in faults(file, "ndjson")] == ["line 2", "line 4", "line 6"]
    bulk = load(file, "ndjson", skips=True)
    assert bulk.places == ["line 1", "line 2", "line 4", "line 5", "line 6"]
