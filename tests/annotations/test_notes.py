"""Nothing is changed unsaid: whatever is sent, the notes name what is otherwise; what is canonical has none."""

import copy
from typing import Any

import pytest
from hypothesis import event, given, settings
from hypothesis import strategies as st
from marshmallow import ValidationError

from app.annotations import TYPES, Loaded, type_named
from app.annotations.notes import KINDS, Note, notes
from app.geometry import Frame

FRAME = Frame(640, 480)
PATH = "ml_outputs/0198f6e0-0000-7000-8000-000000000001/h.png"
BOX = {"x_min": 8.0, "y_min": 6.0, "x_max": 24.0, "y_max": 30.0}
TO_CORNERS = "x_min, y_min, x_max, y_max"
NFD, NFC = "Ju\u0308rgen", "J\u00fcrgen"


def loaded_from(kind: str, data: dict[str, Any]) -> Loaded:
    found = type_named(kind)
    assert found is not None
    return found.load(copy.deepcopy(data), FRAME, PATH)


def told(kind: str, data: dict[str, Any]) -> list[Note]:
    return list(notes(data, loaded_from(kind, data), FRAME))


CASES: list[tuple[str, dict[str, Any], list[tuple[Any, ...]]]] = [
    (
        "bounding_box",
        {"left": 8, "top": 6, "right": 24, "bottom": 30},
        [("", "alias", "left, top, right, bottom", TO_CORNERS)],
    ),
    (
        "bounding_box",
        {"x": 0, "y": 0, "width": 16, "height": 24},
        [("", "alias", "x, y, width, height", TO_CORNERS)],
    ),
    (
        "bounding_box",
        {"bbox": [16, 18, 16, 24], "format": "cxcywh"},
        [("", "alias", "bbox, format: cxcywh", TO_CORNERS)],
    ),
    (
        "bounding_box",
        {"left": 0.125, "top": 0.125, "right": 0.375, "bottom": 0.625, "normalized": True},
        [("normalized", "scaled", [1, 1], [640, 480]), ("", "alias", "left, top, right, bottom", TO_CORNERS)],
    ),
    (
        "bounding_box",
        {"x_min": 0, "y_min": 0, "x_max": 1, "y_max": 1, "normalized": True},
        [("normalized", "scaled", [1, 1], [640, 480])],
    ),
    (
        "bounding_box",
        {
            "x_min": 0,
            "y_min": 0,
            "x_max": 1,
            "y_max": 1,
            "normalized": True,
            "image_width": 64,
            "image_height": 48,
        },
        [
            ("normalized", "scaled", [1, 1], [640, 480]),
            ("image_width", "scaled", 64, 640),
            ("image_height", "scaled", 48, 480),
        ],
    ),
    ("bounding_box", BOX | {"image_width": 64, "image_height": 48}, [("", "scaled", [64, 48], [640, 480])]),
    ("bounding_box", BOX | {"normalized": False}, [("normalized", "omitted")]),
    ("bounding_box", BOX | {"image_width": None}, [("image_width", "omitted")]),
    (
        "bounding_box",
        BOX | {"width": 16, "id": None, "extra": {"by": 1}},
        [("width", "extra", None, "extra.width"), ("id", "extra", None, "extra.id")],
    ),
    ("bounding_box", BOX | {"extra": 7}, [("extra", "extra", None, "extra.extra")]),
    ("bounding_box", BOX | {"extra": {}}, [("extra", "omitted")]),
    ("classification", {"scores": {"elm": 0.25, "oak": 0.75}}, [("", "alias", "scores", "topk")]),
    ("classification", {"scores": {}}, [("", "alias", "scores", "topk")]),
    (
        "classification",
        {"scores": {NFD: 0.25}},
        [("", "alias", "scores", "topk"), (f"scores.{NFD}", "text", NFD, NFC)],
    ),
    (
        "classification",
        {
            "topk": [{"class": "a", "confidence": 1}, {"class": NFD, "confidence": 0.123456789, "id": 4}],
            "scores": {},
        },
        [
            ("topk.1.class", "text", NFD, NFC),
            ("topk.1.id", "extra", None, "topk.1.extra.id"),
            ("scores", "extra", None, "extra.scores"),
        ],
    ),
    (
        "heatmap",
        {"width": 64, "height": 48.0, "unit": NFD, "vmin": None},
        [("unit", "text", NFD, NFC), ("vmin", "omitted")],
    ),
    ("heatmap", {"width": 64, "height": 48, "vmax": 2**53 + 1}, [("vmax", "rounded", 2**53 + 1, 2.0**53)]),
    # as PostgreSQL has 4.867403759409229e16, which is 48674037594092288
    ("heatmap", {"width": 64, "height": 48, "vmax": 48674037594092290}, []),
    ("segmentation", {"format": "rle", "counts": [640 * 480]}, [("size", "filled", None, [480, 640])]),
    (
        "segmentation",
        {"format": "rle", "counts": [12], "image_width": 4, "image_height": 3, "bbox": None},
        [
            ("image_width", "extra", None, "extra.image_width"),
            ("image_height", "extra", None, "extra.image_height"),
            ("bbox", "omitted"),
            ("size", "filled", None, [3, 4]),
        ],
    ),
    ("mask", {"format": None}, [("format", "filled", None, "png")]),
    ("mask", {}, [("format", "filled", None, "png")]),
    (
        "segmentation",
        {"format": "polygon", "polygons": [[1, 2, 11, 2, 11, 22]], "image_width": 64, "image_height": 48},
        [("", "scaled", [64, 48], [640, 480])],
    ),
    ("polygon", {"points": [[1, 2], [11, 2], [11, 22]], "holes": []}, [("holes", "omitted")]),
    (
        "polygon",
        {"points": [[0.5, 0.5], [0, 1], [1, 1]], "normalized": True},
        [("normalized", "scaled", [1, 1], [640, 480])],
    ),
    (
        "keypoint",
        {
            "keypoints": [
                {"name": None, "x": 3, "y": 4, "visible": 2},
                {"name": NFD, "x": 5, "y": 6, "z": 7},
            ],
            "skeleton": None,
        },
        [
            ("keypoints.0.name", "omitted"),
            ("keypoints.1.name", "text", NFD, NFC),
            ("keypoints.1.z", "extra", None, "keypoints.1.extra.z"),
            ("skeleton", "omitted"),
        ],
    ),
]


@pytest.mark.parametrize(("kind", "data", "wanted"), CASES)
def test_each_change_is_named(kind: str, data: dict[str, Any], wanted: list[tuple[Any, ...]]) -> None:
    assert told(kind, data) == [Note(*each) for each in wanted]


def test_every_kind_of_note_is_met() -> None:
    assert {each[1] for _, _, wanted in CASES for each in wanted} == set(KINDS)


@pytest.mark.parametrize("name", TYPES)
def test_what_is_canonical_has_no_note(name: str) -> None:
    assert told(name, TYPES[name].example) == []


# --- properties --------------------------------------------------------------------------------------------------

places = st.tuples(st.integers(0, 500), st.integers(0, 400), st.integers(1, 120), st.integers(1, 70))
names = st.text(st.sampled_from("ab e\u0301\u00e9\u0308\u1100\u1161"), min_size=1, max_size=6)
values = st.one_of(st.none(), st.booleans(), st.integers(-5, 5), names, st.just([]), st.just({}))
besides = st.dictionaries(
    st.sampled_from(["track", "id", "extra", "image_width", "image_height", "normalized", "width", "left"]),
    values,
    max_size=3,
)


@st.composite
def forms(draw: st.DrawFn) -> tuple[str, dict[str, Any]]:
    """Any type in any form, with and without the keys that go beside."""
    x, y, width, height = draw(places)
    ring = [[x, y], [x + width, y], [x, y + height]]
    box = draw(
        st.sampled_from(
            [
                {"x_min": x, "y_min": y, "x_max": x + width, "y_max": y + height},
                {"left": x, "top": y, "right": x + width, "bottom": y + height},
                {"x": x, "y": y, "width": width, "height": height},
                {"bbox": [x, y, width, height], "format": "xywh"},
                {"bbox": [x, y, width, height], "format": "cxcywh"},
                {"bbox": [x, y, x + width, y + height], "format": "xyxy"},
            ]
        )
    )
    entry = {"class": draw(names), "confidence": draw(st.floats(0, 1))}
    joint = {"name": draw(st.one_of(names, st.none())), "x": x, "y": y}
    return draw(
        st.sampled_from(
            [
                ("bounding_box", box),
                ("classification", {"topk": [entry | draw(besides)]}),
                ("classification", {"scores": {entry["class"]: entry["confidence"]}}),
                ("heatmap", {"width": width, "height": height, "unit": draw(st.one_of(names, st.none()))}),
                ("segmentation", {"format": "polygon", "polygons": [[*ring[0], *ring[1], *ring[2]]]}),
                ("segmentation", {"format": "rle", "counts": [640 * 480]}),
                ("segmentation", {"format": "png"}),
                ("mask", {}),
                ("polygon", {"points": ring, "holes": draw(st.sampled_from([None, [], [ring]]))}),
                ("keypoint", {"keypoints": [joint, joint | draw(besides)], "skeleton": [[0, 1]]}),
                ("custom", {"any": box}),
            ]
        )
    )


@settings(max_examples=500, deadline=None)
@given(
    forms(), besides, st.sampled_from([{}, {"normalized": True}, {"image_width": 2000, "image_height": 900}])
)
def test_there_are_notes_exactly_where_something_is_otherwise(
    form: tuple[str, dict[str, Any]], more: dict[str, Any], frame: dict[str, Any]
) -> None:
    kind, data = form[0], form[1] | more | frame
    try:
        loaded = loaded_from(kind, data)
    except ValidationError:
        event("refused")
        return
    event("otherwise" if loaded.data != data else "canonical")
    found = list(notes(data, loaded, FRAME))
    assert bool(found) == (loaded.data != data)
    assert {note.kind for note in found} <= set(KINDS)
    assert told("segmentation" if kind == "mask" else kind, loaded.data) == []
    # every key that is not where it was is named itself, or by the alias it is a part of
    named = {note.field for note in found} | {
        key.partition(":")[0] for note in found if note.kind == "alias" for key in note.sent.split(", ")
    }
    assert {key for key in data if key not in loaded.data} <= named


@settings(max_examples=200, deadline=None)
@given(places, st.booleans(), st.integers(0, 4))
def test_every_form_of_a_box_is_named(corners: tuple[int, int, int, int], normal: bool, which: int) -> None:
    x, y, width, height = corners
    across, down = (640, 480) if normal else (1, 1)
    x_min, y_min, x_max, y_max = x / across, y / down, (x + width) / across, (y + height) / down
    forms: list[dict[str, Any]] = [
        {"left": x_min, "top": y_min, "right": x_max, "bottom": y_max},
        {"x": x_min, "y": y_min, "width": x_max - x_min, "height": y_max - y_min},
        {"bbox": [x_min, y_min, x_max, y_max], "format": "xyxy"},
        {"bbox": [x_min, y_min, x_max - x_min, y_max - y_min], "format": "xywh"},
        {
            "bbox": [(x_min + x_max) / 2, (y_min + y_max) / 2, x_max - x_min, y_max - y_min],
            "format": "cxcywh",
        },
    ]
    sent = forms[which]
    found = told("bounding_box", sent | ({"normalized": True} if normal else {}))
    keys = ", ".join(f"{key}: {value}" if key == "format" else key for key, value in sent.items())
    scaled = [Note("normalized", "scaled", [1, 1], [640, 480])] if normal else []
    assert found == [*scaled, Note("", "alias", keys, TO_CORNERS)]
