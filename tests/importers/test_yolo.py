"""YOLO text, as `Results.save_txt()` of ultralytics writes it and as datasets have it."""

from pathlib import Path
from typing import Any

import pytest

from app.errors import MalformedRequest
from tests.importers.reading import data, faults, load, rows, said

NAMES = {"0": "leaf", "1": "stem"}
LEAF = {"x_min": 4.25, "y_min": 3.5, "x_max": 30.75, "y_max": 20.125}
NAMELESS = "has a class without a name, whose number is taken for it"
UNCLEAR = "ends with 1, read as a coordinate or the confidence; if it is the id of a track, say `tracks`"
BOX = "0 .5 .5 .2 .2"


def golden(task: str, **more: Any) -> Any:
    return load(Path(f"yolo-{task}.txt"), "yolo", names=NAMES, **more)


def text(*lines: str, **more: Any) -> Any:
    return load("\n".join(lines).encode(), "yolo", **more)


@pytest.mark.parametrize(("task", "confidences"), [("bare", [None, None]), ("detect", [0.9312, 0.5])])
def test_boxes(task: str, confidences: list[Any]) -> None:
    bulk = golden(task)
    assert rows(bulk) == [
        ("bounding_box", name, confidence)
        for name, confidence in zip(("leaf", "stem"), confidences, strict=True)
    ]
    assert data(bulk)[0] == pytest.approx(LEAF, abs=0.001)
    assert bulk.places == ["line 1", "line 2"] and said(bulk, "told") == {}


def test_tracks() -> None:
    bulk = golden("track")
    assert rows(bulk) == [("bounding_box", "leaf", 0.9312)]
    assert data(bulk)[0]["extra"] == {"track_id": 17}
    bulk = text("0 .5 .5 .2 .2 0.9 1", "0 .5 .5 .2 .2 0.8 2")
    assert [one["extra"] for one in data(bulk)] == [{"track_id": 1}, {"track_id": 2}]
    assert UNCLEAR not in said(bulk, "told")


@pytest.mark.parametrize("word", [".9", "1.", "0e1", "+1"])
def test_a_track_is_a_whole_number(word: str) -> None:
    """Whatever else a line ends with stays what it is, though another line has a track."""
    bulk = text(f"{BOX} .9 5", f"{BOX} {word}")
    assert rows(bulk) == [("bounding_box", "0", 0.9), ("bounding_box", "0", float(word))]
    assert [one.get("extra") for one in data(bulk)] == [{"track_id": 5}, None]


def test_a_word_that_is_no_number_beside_a_track() -> None:
    file = f"{BOX} .9 5\n0 .1 .1 .1 .1 1e999".encode()
    assert {(fault["place"], fault["field"]) for fault in faults(file, "yolo")} == {("line 2", "confidence")}
    assert data(load(file, "yolo", skips=True))[0]["extra"] == {"track_id": 5}


def test_a_line_that_is_refused_makes_no_tracks() -> None:
    bulk = text("leaf .5 .5 .2 .2 .9 17", "0 .1 .1 .2 .1 .2 0", skips=True)
    assert rows(bulk) == [("segmentation", "0", None)] and bulk.skipped_count == 1


@pytest.mark.parametrize(
    ("line", "alone", "track"),
    [
        (f"{BOX} 1", ("bounding_box", "0", 1), ("bounding_box", "0", None)),
        (f"{BOX} .9 1", ("segmentation", "0", None), ("bounding_box", "0", 0.9)),
        ("0 .1 .1 .2 .1 .2 .2 1", ("segmentation", "0", 1), ("segmentation", "0", None)),
        ("0 .1 .1 .2 .1 .2 .2 .9 1", ("segmentation", "0", None), ("segmentation", "0", 0.9)),
    ],
)
def test_the_first_track(line: str, alone: Any, track: Any) -> None:
    """Its id is 1, as a coordinate or a confidence may be: the file cannot tell, and the answer says how to."""
    bulk = text(line)
    assert rows(bulk) == [alone] and "extra" not in data(bulk)[0]
    assert said(bulk, "told") == {NAMELESS: 1, UNCLEAR: 1}
    bulk = text(line, tracks=True)
    assert rows(bulk) == [track] and data(bulk)[0]["extra"] == {"track_id": 1}
    assert said(bulk, "told") == {NAMELESS: 1}
    assert said(text(line, line), "told") == {NAMELESS: 2, UNCLEAR: 2}


@pytest.mark.parametrize("other", [BOX, f"{BOX} .9", f"{BOX} 0", "0 .1 .1 .2 .1 .2 .2"])
def test_where_another_line_has_no_track_none_has(other: str) -> None:
    bulk = text(f"{BOX} 1", other)
    assert rows(bulk)[0] == ("bounding_box", "0", 1) and said(bulk, "told") == {NAMELESS: 2}


def test_a_box_as_high_as_the_image_has_no_track() -> None:
    for bulk in (text("0 .5 .5 .2 1"), text("0 .5 .5 .2 1", tracks=True)):
        assert said(bulk, "told") == {NAMELESS: 1} and "extra" not in data(bulk)[0]


def test_tracks_of_keypoints() -> None:
    """A second number after them is one, as there is one confidence."""
    pose = f"{BOX} .5 .25 2"
    bulk = text(f"{pose} .9 1", keypoints=1)
    assert [one["extra"] for one in data(bulk)] == [{"track_id": 1}] * 2
    assert rows(bulk)[0] == ("bounding_box", "0", 0.9) and said(bulk, "told") == {NAMELESS: 1}
    bulk = text(f"{pose} 1", f"{pose} 17", keypoints=1)
    assert [one["extra"]["track_id"] for one in data(bulk)] == [1, 1, 17, 17]
    bulk = text(f"{pose} 1", keypoints=1)
    assert rows(bulk)[0] == ("bounding_box", "0", 1) and said(bulk, "told") == {NAMELESS: 1, UNCLEAR: 1}
    assert said(text(pose, keypoints=1), "told") == {NAMELESS: 1}
    (fault,) = faults(f"{pose} .9 .5".encode(), "yolo", keypoints=1)
    assert fault["reason"] == "must have a box and 1 keypoints of 2 or 3 numbers each"


def test_outlines() -> None:
    bulk = golden("segment")
    assert rows(bulk) == [("segmentation", "leaf", 0.9312), ("segmentation", "stem", 0.5)]
    assert data(bulk)[0]["polygons"][0][:4] == pytest.approx([14, 5, 13, 6], abs=0.001)
    labels = text("0 0.1 0.1 0.5 0.1 0.5 0.5")
    assert rows(labels) == [("segmentation", "0", None)]
    assert data(labels)[0]["polygons"] == [pytest.approx([6.4, 4.8, 32, 4.8, 32, 24])]


def test_turned_boxes_are_outlines_of_four_corners() -> None:
    bulk = golden("obb")
    assert rows(bulk) == [("segmentation", "stem", 0.75)]
    assert len(data(bulk)[0]["polygons"][0]) == 8


def test_keypoints() -> None:
    bulk = golden("pose", keypoints=3)
    assert rows(bulk) == [
        ("bounding_box", "leaf", 0.9312),
        ("keypoint", "leaf", 0.9312),
        ("bounding_box", "stem", 0.5),
        ("keypoint", "stem", 0.5),
    ]
    assert data(bulk)[0] == pytest.approx(LEAF, abs=0.001)
    assert data(bulk)[1]["keypoints"][0] == pytest.approx({"x": 10, "y": 5, "confidence": 0.99}, abs=0.001)


def test_keypoints_of_a_dataset() -> None:
    seen = data(text(f"{BOX} .5 .25 2 .75 .5 1", keypoints=2))[1]["keypoints"]
    assert seen == [{"x": 32, "y": 12, "visible": 2}, {"x": 48, "y": 24, "visible": 1}]
    bare = data(text(f"{BOX} .5 .25 .75 .5", keypoints=2))[1]["keypoints"]
    assert bare == [{"x": 32, "y": 12}, {"x": 48, "y": 24}]
    (fault,) = faults(f"{BOX} .5 .25 .75".encode(), "yolo", keypoints=2)
    assert fault["reason"] == "must have a box and 2 keypoints of 2 or 3 numbers each"


def test_a_file_as_editors_leave_it() -> None:
    bulk = load(b"\xef\xbb\xbf0 .5 .5 .2 .2\r\n\r\n\t1  .5 .5 .2 .2  \r\n", "yolo")
    assert rows(bulk) == [("bounding_box", "0", None), ("bounding_box", "1", None)]
    assert bulk.places == ["line 1", "line 3"] and said(bulk, "told") == {NAMELESS: 2}
    assert load(b"", "yolo").items == load(b"\n", "yolo").items == []


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_the_line_ends_of_every_system(end: str) -> None:
    bulk = load(end.join([BOX, "", BOX, ""]).encode(), "yolo")
    assert rows(bulk) == [("bounding_box", "0", None)] * 2 and bulk.places == ["line 1", "line 3"]


@pytest.mark.parametrize(
    "line",
    [
        "0",
        "0 .5 .5 .2",
        "leaf .5 .5 .2 .2",
        "-1 .5 .5 .2 .2",
        "0 .5 .5 nan .2",
        "0 .5 .5 inf .2",
        "0 .5 .5 1e999 .2",
        "0 .5 .5 1_0 .2",
        "0 .5 .5 0x1 .2",
        "0 .5 .5 .2 ٣",
        "0 .5 .5 0 .2",
        "0 .5 .5 -.2 .2",
        "0 9 .5 .2 .2",
        "0 .5 .5 .2 .2 1.5",
        "0,.5,.5,.2,.2",
        "# leaf",
        "0 " + "1" * 5000 + " .5 .2 .2",
        '{"annotations": []}',
        "\0",
    ],
)
def test_what_is_refused(line: str) -> None:
    found = faults(f"0 .5 .5 .2 .2\n{line}\n".encode(), "yolo")
    assert {fault["place"] for fault in found} == {"line 2"}


def test_what_is_no_text() -> None:
    with pytest.raises(MalformedRequest, match="not UTF-8"):
        load(b"0 .5 .5 .2 .2\n\xff\xfe", "yolo")
