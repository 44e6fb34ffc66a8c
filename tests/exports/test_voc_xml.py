"""Boxes as Pascal VOC has them, read back by xml.etree as its readers do: counted from 1, the last pixel inside."""

from collections import Counter
from typing import Any
from xml.etree import ElementTree

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.annotations import TYPES
from app.exports.voc_xml import document, object_of
from app.geometry import Frame
from tests.support.said import said

FRAME = Frame(200, 100)


def read(kind: str, data: dict[str, Any], frame: Frame = FRAME, **columns: Any) -> tuple[Any, Counter[str]]:
    """The object as an element that was written and read, or None; and what was dropped."""
    dropped = Counter[str]()
    element = object_of(said(kind, data, frame, **columns), frame, lambda what: dropped.update([what]))
    whole = b"".join(document({"size": {"width": 200}}, [] if element is None else [element]))
    return ElementTree.fromstring(whole).find("object"), dropped


def box(x_min: float, y_min: float, x_max: float, y_max: float) -> dict[str, Any]:
    return {"x_min": x_min, "y_min": y_min, "x_max": x_max, "y_max": y_max}


def corners(element: Any) -> list[int]:
    """From 0, as the edges of the box: what supervision and Detectron2 make of it."""
    found = [int(element.findtext(f"bndbox/{name}")) for name in ("xmin", "ymin", "xmax", "ymax")]
    return [found[0] - 1, found[1] - 1, *found[2:]]


def test_a_box() -> None:
    element, dropped = read("bounding_box", box(20, 10, 60, 90), class_name="<leaf & twig>", confidence=0.5)
    assert [(part.tag, part.text) for part in element if not len(part)] == [
        ("name", "<leaf & twig>"),
        ("pose", "Unspecified"),
        ("truncated", "0"),
        ("difficult", "0"),
        ("confidence", "0.5"),
        ("loupe_id", "01900000-0000-7000-8000-0000000000ab"),
    ]
    assert corners(element) == [20, 10, 60, 90] and not dropped


def test_what_is_missing() -> None:
    element, dropped = read("bounding_box", {**box(0, 0, 1, 1), "k": 1}, class_name=None, confidence=None)
    assert element.findtext("name") == "unlabeled" and element.find("confidence") is None
    assert dropped == {"no_class": 1, "extra": 1}


@settings(deadline=None)
@given(st.data())
def test_boxes_come_back_within_half_a_pixel_or_as_one(data: st.DataObject) -> None:
    frame = Frame(data.draw(st.integers(1, 5000)), data.draw(st.integers(1, 5000)))
    sides = []
    for side in frame:
        low = data.draw(st.floats(0, side * 0.999))
        sides.append((low, data.draw(st.floats(low, side, exclude_min=True))))
    (x_min, x_max), (y_min, y_max) = sides
    element, dropped = read("bounding_box", box(x_min, y_min, x_max, y_max), frame)
    left, top, right, bottom = corners(element)
    whole = all(value == int(value) for value in (x_min, y_min, x_max, y_max))
    assert dropped == ({} if whole else {"rounded": 1})
    for low, high, sent_low, sent_high, side in (
        (left, right, x_min, x_max, frame.width),
        (top, bottom, y_min, y_max, frame.height),
    ):
        assert 0 <= low < high <= side
        if high - low > 1:
            assert abs(low - sent_low) <= 0.5 and abs(high - sent_high) <= 0.5
        else:
            assert abs(low - sent_low) <= 1 and abs(high - sent_high) <= 1


def test_what_is_beyond_the_edge_is_cut() -> None:
    element, dropped = read("bounding_box", box(-20, -10, 60, 190))
    assert corners(element) == [0, 0, 60, 100] and dropped == {"cut": 1}
    assert read("bounding_box", box(-20, 0, -5, 10)) == (None, {"outside": 1})


SHAPES = [
    (
        "segmentation",
        {"format": "rle", "counts": [29, 4, 5, 4, 5, 4, 39], "size": [10, 9]},
        "segmentation_shape",
    ),
    ("polygon", {"points": [[0, 0], [100, 0], [100, 50]]}, "polygon_shape"),
    ("keypoint", {"keypoints": [{"x": 4, "y": 5}, {"x": 14, "y": 25}]}, "keypoint_shape"),
]


@pytest.mark.parametrize(("kind", "data", "word"), SHAPES)
def test_shapes_leave_their_boxes(kind: str, data: dict[str, Any], word: str) -> None:
    bounds = TYPES[kind].load(data, FRAME).bounds
    element, dropped = read(kind, data)
    assert bounds is not None
    sides = [bounds.x_min, bounds.y_min, bounds.x_max, bounds.y_max]
    assert corners(element) == pytest.approx(sides, abs=0.5)
    assert dropped.pop(word) == 1 and dropped.keys() <= {"rounded"}


def test_a_single_keypoint_is_one_pixel() -> None:
    for x, y, expected in ((4, 5, [4, 5, 5, 6]), (200, 100, [199, 99, 200, 100])):
        assert corners(read("keypoint", {"keypoints": [{"x": x, "y": y}]})[0]) == expected


NOWHERE = [
    ("heatmap", TYPES["heatmap"].example, "heatmap"),
    ("segmentation", {"format": "png"}, "png_mask"),
    ("segmentation", {"format": "rle", "counts": [20_000]}, "empty_mask"),
    ("classification", TYPES["classification"].example, "classification"),
    ("custom", TYPES["custom"].example, "custom"),
    ("keypoint", {"keypoints": [{"x": 4, "y": 5, "visible": False}]}, "unseen"),
]


@pytest.mark.parametrize(("kind", "data", "word"), NOWHERE)
def test_what_has_no_place(kind: str, data: dict[str, Any], word: str) -> None:
    assert read(kind, data, storage_path="ml_outputs/x/y.png") == (None, {word: 1})


def test_texts_that_no_xml_can_hold() -> None:
    element, dropped = read("bounding_box", box(0, 0, 1, 1), class_name="a\ufffeb]]>&#0;<!--")
    assert dropped == {"text": 1}
    assert element.findtext("name") == "a\ufffdb]]>&#0;<!--"
    whole = b"".join(document({"filename": "x\x00\udcff<>&'\".png", "source": {"database": "Loupe"}}, []))
    root = ElementTree.fromstring(whole)
    assert (
        root.findtext("filename") == "x\ufffd\ufffd<>&'\".png" and root.findtext("source/database") == "Loupe"
    )
