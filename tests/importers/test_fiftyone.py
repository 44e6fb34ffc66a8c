"""FiftyOne's samples, as the library writes them, and its masks as the library draws them."""

import io
import zlib
from base64 import b64encode
from collections.abc import Iterator
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from app.geometry import Frame, Raster, decode, runs_from_text
from app.importers.arrays import MAX_HEADER
from app.importers.base import Pixels, Taken, Target
from app.importers.fiftyone import read_samples
from app.importers.masks import NONE_LEFT
from tests.importers.reading import ANALYSIS, DATA, IMAGE, data, faults, load, rows, said

FILE, LABELS = Path("fiftyone.json"), Path("fiftyone-labels.json")
BOX = [0.25, 0.25, 0.5, 0.5]


def pixels(stored: Any) -> Any:
    height, width = stored["size"]
    return decode(Raster(width, height, runs_from_text(stored["counts"])), 0, 0, width, height)


def packed(array: Any) -> str:
    file = io.BytesIO()
    np.save(file, array)
    return b64encode(zlib.compress(file.getvalue())).decode()


def detection(mask: Any = None, box: Any = BOX, **more: Any) -> dict[str, Any]:
    masked = {} if mask is None else {"mask": mask}
    return {"_cls": "Detection", "label": "leaf", "bounding_box": box, **masked, **more}


def test_samples() -> None:
    bulk = load(FILE, "fiftyone")
    assert rows(bulk) == [
        ("bounding_box", "leaf", 0.875),
        ("segmentation", "rust", 0.5),
        ("segmentation", "rust", None),
        ("bounding_box", "stem", None),
        ("polygon", "leaf", None),
        ("segmentation", "spots", 0.75),
        ("keypoint", "vein", None),
        ("keypoint", "plant", None),
        ("classification", "tree", 0.625),
        ("classification", "spring", None),
        ("classification", "dry", 0.25),
    ]
    assert bulk.places and bulk.places[0] == "samples.0.predictions.detections.0"
    assert bulk.places[8] == "samples.0.kind"
    assert said(bulk, "left_out") == {
        "is of another image": 1,
        "is a field without boxes, outlines, keypoints or classes": 4,
    }
    assert said(bulk, "told") == {
        "has a mask of its box: the nearest of its pixels become COCO run-lengths of the image": 2,
        "has its mask in a file of its own: its box is taken": 1,
        "is an open line, and becomes joined keypoints": 1,
        "has missing keypoints: they stand at 0, 0 and are not visible": 1,
        "is a class without a confidence: it stands in data.topk with 1": 1,
    }


def test_what_stands_where() -> None:
    stored = data(load(FILE, "fiftyone"))
    assert [stored[0][name] for name in ("x_min", "y_min", "x_max", "y_max")] == [8, 12, 40, 24]
    assert stored[0]["extra"].keys() == {"field", "_id", "tags", "iscrowd"}
    assert stored[4]["points"] == [[16, 12], [48, 12], [32, 36]]
    assert stored[5]["polygons"][1] == [32, 24, 64, 24, 64, 48]
    assert stored[6]["skeleton"] == [[0, 1], [1, 2]]
    assert stored[7]["keypoints"] == [
        {"x": 32, "y": 12, "confidence": 0.5},
        {"x": 0, "y": 0, "confidence": 0.25, "visible": 0},
        {"x": 16, "y": 48, "confidence": 1},
    ]
    assert stored[8]["topk"] == [{"class": "tree", "confidence": 0.625}]


def test_masks_lie_where_fiftyone_draws_them() -> None:
    """Pixel by pixel where the mask is as large as its box; where it grows, it blurs the edges outwards."""
    texts = (DATA / "fiftyone-masks.txt").read_text().split("\n\n")
    drawn = [np.array([[*row] for row in text.split()]) == "#" for text in texts]
    same, grown = (pixels(stored) for stored in data(load(FILE, "fiftyone"))[1:3])
    assert (same == drawn[0]).all() and same.sum() == 21
    assert (grown <= drawn[1]).all()
    assert grown.sum() == 4 * 21


@pytest.mark.parametrize(
    "array", [np.eye(4, dtype=bool), np.eye(4, dtype="<f8"), np.asfortranarray(np.eye(4, k=1))]
)
def test_arrays_of_every_kind(array: Any) -> None:
    (stored,) = data(load(detection(packed(array), [0, 0, 1, 1]), "fiftyone", frame=Frame(4, 4)))
    assert (pixels(stored) == (array != 0)).all()


def test_every_type_of_number_that_there_is() -> None:
    """Of those that the header could name, `<f1` or `|b8` are none of NumPy's, and refused as any other."""
    for letter, size, order in product("biuf", (1, 2, 4, 8), "<>|="):
        head = f"{{'descr': '{order}{letter}{size}', 'fortran_order': False, 'shape': (1, 1), }}"
        file = detection(forged(head, b"\1" * size), [0, 0, 1, 1])
        try:
            there = np.dtype(f"{order}{letter}{size}")
        except TypeError:
            (fault,) = faults(file, "fiftyone")
            assert (fault["field"], fault["reason"]) == ("mask", "must be an array of two axes, of numbers")
        else:
            assert there.itemsize == size and rows(load(file, "fiftyone")) == [("segmentation", "leaf", None)]


def test_a_mask_beyond_an_edge_or_between_pixels() -> None:
    full = packed(np.ones((3, 3), dtype=bool))
    bulk = load(detection(full, [-0.25, -0.5, 0.5, 1.0]), "fiftyone")
    assert pixels(data(bulk)[0])[:24, :16].sum() == pixels(data(bulk)[0]).sum() == 16 * 24
    bulk = load(detection(full, [0.5001, 0.5001, 0.001, 0.001]), "fiftyone")
    assert rows(bulk) == [("bounding_box", "leaf", None)]
    assert said(bulk, "told") == {"has a mask that covers no pixel: its box is taken": 1}


def test_labels_of_a_dataset() -> None:
    bulk = load(LABELS, "fiftyone")
    assert rows(bulk) == [("bounding_box", "leaf", 0.875), ("bounding_box", "stem", None)]
    assert data(bulk)[0]["extra"] == {"attributes": {"age": 3}}
    assert said(bulk, "left_out") == {"is of another image": 1}
    one = {"classes": ["dog", "cat"], "labels": {"leaf": 1}}
    assert rows(load(one, "fiftyone")) == [("classification", "cat", None)]
    assert rows(load({"labels": {"7": "cat"}}, "fiftyone", called="7")) == [("classification", "cat", None)]
    assert faults(one, "fiftyone", filename="tree.png")


def test_labels_by_themselves() -> None:
    assert rows(load(detection(), "fiftyone")) == [("bounding_box", "leaf", None)]
    assert rows(load({"_cls": "Detections", "detections": [detection()]}, "fiftyone"))
    sample = {"filepath": "a/leaf.png", "found": detection()}
    assert load(sample, "fiftyone").places == ["found"]
    assert load([sample], "fiftyone").places == ["0.found"]


def forged(header: str, content: bytes = b"") -> str:
    head = header.ljust(118).encode() + b"\n"
    return b64encode(
        zlib.compress(b"\x93NUMPY\1\0" + len(head).to_bytes(2, "little") + head + content)
    ).decode()


@pytest.mark.parametrize(
    ("label", "field", "reason"),
    [
        (detection(box=[0.1, 0.2, 0.3]), "data.bbox", "must be 4 numbers"),
        (detection(box=[0.5, 0.5, 0, 0.5]), "data.bbox.2", None),
        (detection(confidence=7), "confidence", None),
        (detection(5), "mask", "must be an array in base64"),
        (detection("!"), "mask", "must be an array in base64, compressed by zlib"),
        (detection(b64encode(b"abc").decode()), "mask", "must be an array in base64, compressed by zlib"),
        (detection(b64encode(zlib.compress(b"abc")).decode()), "mask", "holds no NumPy array"),
        (detection(b64encode(zlib.compress(bytes(10**8 + 5000))).decode()), "mask", "has more than 100004096 bytes"),
        (detection(packed(np.zeros(3))), "mask", "must be an array of two axes, of numbers"),
        (detection(packed(np.zeros((2, 2), dtype="U3"))), "mask", "must be an array of two axes, of numbers"),
        (
            detection(forged("{'descr': '|b1', 'fortran_order': False, 'shape': (99999, 99999), }")),
            "mask",
            "must be at most 100000000 pixels",
        ),
        (
            detection(forged("{'descr': '|b1', 'fortran_order': False, 'shape': (9999, 9999), }")),
            "mask",
            "does not hold 9999 × 9999 values",
        ),
        (detection(packed(np.eye(2)), [5, 5, 1, 1]), "bounding_box", None),
        (detection(packed(np.eye(2)), [0, 0, 0, 1]), "bounding_box", "must have a width and a height"),
        ({"_cls": "Polyline", "points": []}, "points", "must be a list of shapes, and not empty"),
        ({"_cls": "Polyline", "points": [[[1]]]}, "points.0", "must be a list of points [x, y]"),
        ({"_cls": "Keypoint", "points": [[0, 0]], "confidence": []}, "confidence", None),
        ({"_cls": "Classification", "label": 5.5}, "class_name", None),
    ],
)  # fmt: skip
def test_refused(label: Any, field: str, reason: str | None) -> None:
    fault = faults({"filepath": "leaf.png", "found": label}, "fiftyone")[0]
    assert (fault["place"], fault["field"]) == ("found", field)
    assert reason is None or fault["reason"] == reason


@pytest.mark.parametrize("file", ["x", 5, None, {}, {"samples": 5}, {"labels": {}}, {"_cls": "Heatmap"}])
def test_what_is_no_file_of_it(file: Any) -> None:
    assert faults(file, "fiftyone")


def test_the_classes_of_a_dataset_are_gone_through_once() -> None:
    """And not for each label: a file of many of both would take their product."""

    class Classes(list[str]):
        rounds = 0

        def __iter__(self) -> Iterator[str]:
            self.rounds += 1
            return super().__iter__()

    classes = Classes(["leaf", "stem"])
    file = {"classes": classes, "labels": {"leaf": [{"label": 1, "bounding_box": BOX}] * 20}}
    found = [*read_samples(file, Target(ANALYSIS, IMAGE, "leaf.png", Frame(64, 48)))]
    assert [one.annotation["class_name"] for one in found if isinstance(one, Taken)] == ["stem"] * 20
    assert classes.rounds == 1


def test_the_masks_of_a_file_share_so_many_pixels() -> None:
    """A mask of one pixel costs as many as its box covers, 32 × 24 here, and one more of the array."""
    labels = {"_cls": "Detections", "detections": [detection(packed(np.ones((1, 1))))] * 4}
    assert len(load(labels, "fiftyone").items) == 4
    (fault,) = faults(labels, "fiftyone", pixels=Pixels(3 * (32 * 24 + 1) + 700))
    assert (fault["place"], fault["field"], fault["reason"]) == ("detections.3", "mask", NONE_LEFT)


def test_an_array_is_inflated_no_further_than_pixels_are_left() -> None:
    left = Pixels(2 * MAX_HEADER)
    labels = {"_cls": "Detections", "detections": [detection(packed(np.ones((2000, 2000), np.uint8)))] * 2}
    assert {fault["reason"] for fault in faults(labels, "fiftyone", pixels=left)} == {NONE_LEFT}
    assert left.left == 0
