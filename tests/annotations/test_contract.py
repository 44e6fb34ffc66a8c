"""What holds for every entry of `TYPES`."""

import copy
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from marshmallow import ValidationError

from app.annotations import ALIASES, COLUMNS, TYPES, AnnotationType, type_named
from app.geometry import Frame, Points, Polygon, Raster, Rect, shape_bounds

FRAME = Frame(640, 480)
PATH = "ml_outputs/0198f6e0-0000-7000-8000-000000000001/h.png"
DOCS = Path(__file__).parents[2] / "docs" / "annotation-types.md"

NOT_NUMBERS = [math.nan, math.inf, -math.inf, True, False, "12", None, [], {}, 10**400]


@pytest.fixture(params=TYPES.values(), ids=list(TYPES))
def kind(request: pytest.FixtureRequest) -> AnnotationType:
    one: AnnotationType = request.param
    return one


@pytest.fixture(params=[one for one in TYPES.values() if one.name != "custom"], ids=lambda one: one.name)
def strict(request: pytest.FixtureRequest) -> AnnotationType:
    """The types that have a shape of their own."""
    one: AnnotationType = request.param
    return one


def refusal(kind: AnnotationType, data: Any, storage_path: str | None = PATH) -> dict[str, list[str]]:
    with pytest.raises(ValidationError) as caught:
        kind.load(data, FRAME, storage_path)
    messages = caught.value.messages
    assert isinstance(messages, dict)
    assert all(isinstance(path, str) and reasons for path, reasons in messages.items())
    return messages


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[tuple[Any, ...], Any]]:
    """Every leaf of a JSON value with its path."""
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from places(inner, (*path, key))
    elif isinstance(value, list):
        for i, inner in enumerate(value):
            yield from places(inner, (*path, i))
    else:
        yield path, value


def replaced(data: Any, path: tuple[Any, ...], value: Any) -> Any:
    out = copy.deepcopy(data)
    at = out
    for step in path[:-1]:
        at = at[step]
    at[path[-1]] = value
    return out


def test_names_and_order() -> None:
    assert list(TYPES) == [
        "classification",
        "bounding_box",
        "heatmap",
        "segmentation",
        "polygon",
        "keypoint",
        "custom",
    ]
    assert all(name == one.name and one.title for name, one in TYPES.items())
    assert type_named("mask") is ALIASES["mask"]
    assert type_named("mask").name == "segmentation"  # type: ignore[union-attr]
    assert type_named("boxes") is None
    assert type_named(["polygon"]) is None


def test_the_example_loads_and_is_canonical(kind: AnnotationType) -> None:
    loaded = kind.load(copy.deepcopy(kind.example), FRAME, PATH)
    assert loaded.data == kind.example
    assert loaded.scaled_from is None


def test_loading_twice_changes_nothing(kind: AnnotationType) -> None:
    sent = kind.example | {"model": "x", "extra": {"note": [1, 2]}}
    once = kind.load(sent, FRAME, PATH).data
    assert kind.load(copy.deepcopy(once), FRAME, PATH).data == once
    if kind.name != "custom":
        assert once["extra"] == {"model": "x", "note": [1, 2]}


def test_loading_leaves_what_was_sent_alone(kind: AnnotationType) -> None:
    sent = kind.example | {"image_width": 1280, "image_height": 960, "other": 1}
    before = copy.deepcopy(sent)
    kind.load(sent, FRAME, PATH)
    assert sent == before


@pytest.mark.parametrize("data", [None, [], "text", 5, True, [{"x": 1}]])
def test_what_is_no_object_is_refused(kind: AnnotationType, data: Any) -> None:
    assert refusal(kind, data) == {"": ["must be an object"]}


def test_an_unknown_shape_is_refused(strict: AnnotationType) -> None:
    for data in ({}, {"nothing": 1}, {"extra": {"x_min": 1}}):
        assert "" not in refusal(strict, data)


def test_every_number_must_be_a_number(strict: AnnotationType) -> None:
    optional = (
        ("vmin", "vmax") if strict.name == "heatmap" else ("confidence",) if strict.name == "keypoint" else ()
    )
    for path, value in places(strict.example):
        if isinstance(value, bool) or not isinstance(value, int | float):
            continue
        for wrong in NOT_NUMBERS:
            if wrong is None and path[-1] in optional:
                continue
            where = ".".join(map(str, path))
            named = refusal(strict, replaced(strict.example, path, wrong))
            assert all(where == one or where.startswith(f"{one}.") for one in named), (where, wrong, named)


@pytest.mark.parametrize("value", [math.nan, math.inf, 10**30, "\0", "\ud800", {"\0": 1}])
def test_extra_keys_must_be_storable(kind: AnnotationType, value: Any) -> None:
    named = refusal(kind, kind.example | {"deep": [value]})
    assert next(iter(named)).endswith("deep.0")


def test_deep_nests_are_refused(kind: AnnotationType) -> None:
    nest: Any = 1
    for _ in range(40):
        nest = [nest]
    assert "nested deeper" in str(refusal(kind, kind.example | {"deep": nest}))


def test_oversize_lists_are_refused() -> None:
    many = [[1.0, 1.0]] * 100_001
    oversize: dict[str, list[dict[str, Any]]] = {
        "classification": [
            {"topk": [{"class": "a", "confidence": 0.1}] * 1001},
            {"scores": {str(i): 0.1 for i in range(1001)}},
        ],
        "bounding_box": [{"bbox": [1, 2, 3, 4, 5], "format": "xyxy"}],
        "heatmap": [{"width": 100_000, "height": 100_000}],
        "segmentation": [
            {"format": "rle", "counts": "0" * 2_000_001},
            {"format": "rle", "counts": [0] * 2_000_001},
            {"format": "polygon", "polygons": [[1.0, 2.0] * 100_001]},
            {"format": "polygon", "polygons": [[1, 2, 3, 4, 5, 6]] * 10_001},
            {"format": "polygon", "polygons": [[1, 2] * 60_000] * 2},
        ],
        "polygon": [
            {"points": many},
            {"points": many[:3], "holes": [many]},
            {"points": many[:3], "holes": [many[:60_000]] * 2},
        ],
        "keypoint": [
            {"keypoints": [{"x": 1, "y": 1}] * 10_001},
            {"keypoints": [{"x": 1, "y": 1}], "skeleton": [[0, 0]] * 10_001},
        ],
        "custom": [{"text": "ä" * 40_000}],
    }
    assert set(oversize) == set(TYPES)
    for name, cases in oversize.items():
        for data in cases:
            assert any(
                "at most" in text or "to 100000" in text
                for texts in refusal(TYPES[name], data).values()
                for text in texts
            )


def test_shapes_fit_the_view_box(kind: AnnotationType) -> None:
    loaded = kind.load(kind.example, FRAME, PATH)
    shapes = kind.shapes(loaded.data, FRAME)
    assert bool(shapes) == (kind.drawn_as != "none")
    for shape in shapes:
        assert isinstance(shape, Rect | Polygon | Points | Raster)
        box = shape_bounds(shape, FRAME)
        assert box is not None
        assert 0 <= box.x_min <= box.x_max <= FRAME.width
        assert 0 <= box.y_min <= box.y_max <= FRAME.height
    if shapes:
        assert loaded.bounds == shape_bounds(shapes[0], FRAME)
    else:
        assert loaded.bounds is None


def test_the_row_has_exactly_the_columns(kind: AnnotationType) -> None:
    loaded = kind.load(kind.example, FRAME, PATH)
    assert tuple(kind.row(loaded.data)) == kind.columns
    assert set(kind.columns) <= set(COLUMNS)
    assert COLUMNS[:4] == ("x_min", "y_min", "x_max", "y_max")


def test_an_artifact_is_needed_where_it_is_the_picture(kind: AnnotationType) -> None:
    if kind.needs_storage_path(kind.example):
        assert list(refusal(kind, kind.example, None)) == ["storage_path"]
    else:
        assert kind.load(kind.example, FRAME, None)


def test_the_docs_have_a_section_with_the_example_and_columns(kind: AnnotationType) -> None:
    text = DOCS.read_text(encoding="utf-8")
    assert f"\n## `{kind.name}`\n" in text
    section = text.split(f"\n## `{kind.name}`\n")[1].split("\n## ")[0]
    for part in ("**Canonical form**", "**Aliases**", "**Limits**", "**Drawn**", "**CSV columns**"):
        assert part in section
    assert all(f"`{column}`" in section for column in kind.columns)
    assert "```json" in section
