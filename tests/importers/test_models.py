"""Detections as libraries of models give them: supervision, torchvision, Detectron2, MMDetection."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pycocotools import mask as masks

from app.geometry import Frame
from tests.importers.reading import DATA, data, faults, load, rows, said

# pycocotools 2.0.11 has not caught up with the copy keyword of numpy 2
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")
NAMES = {"0": "leaf", "1": "stem", "2": "tree", "3": "fruit"}
ROWS = "has a mask as rows of pixels: those above 0.5 become COCO run-lengths"
UNNAMED = "has a class without a name, whose number is taken for it"


def content(name: str) -> Any:
    return json.loads((DATA / name).read_bytes())


def pixels(stored: Any) -> Any:
    """A mask as pycocotools reads it."""
    return masks.decode({"size": stored["size"], "counts": stored["counts"].encode()}).astype(bool)


def corners(stored: Any) -> list[float]:
    return [stored[name] for name in ("x_min", "y_min", "x_max", "y_max")]


# --- supervision -------------------------------------------------------------------------------------------------


def test_a_json_sink() -> None:
    bulk = load(Path("supervision-sink.json"), "supervision")
    assert rows(bulk) == [
        ("bounding_box", "leaf", 0.875),
        ("bounding_box", "stem", 0.25),
        ("bounding_box", None, None),
    ]
    assert corners(data(bulk)[2]) == [1.5, 2.5, 9, 12]
    assert data(bulk)[0]["extra"] == {
        "class_id": 3,
        "tracker_id": 11,
        "file_name": "pictures/leaf.png",
        "frame_index": 0,
    }
    assert said(bulk, "left_out") == {"is of another image": 2}
    (fault,) = faults(Path("supervision-sink.json"), "supervision", filename="x.png")
    assert "It has: pictures/leaf.png, pictures/tree.png" in fault["reason"]


def test_detections_with_masks() -> None:
    bulk = load(Path("supervision.json"), "supervision")
    assert rows(bulk) == [("segmentation", "leaf", 0.875), ("segmentation", "stem", 0.25)]
    sent = content("supervision.json")
    for i, stored in enumerate(data(bulk)):
        assert (pixels(stored) == np.array(sent["mask"][i], dtype=bool)).all()
        assert stored["extra"]["box"] == sent["xyxy"][i]
    assert said(bulk, "told") == {ROWS: 2}
    assert said(bulk, "left_out") == {"says something of the detections as a whole": 1}


def test_detections_without_names() -> None:
    sent = {"xyxy": [[1, 2, 3, 4]], "class_id": [1], "mask": None, "data": {"xyxy": [0], "size": [5]}}
    bulk = load(sent, "supervision", names=NAMES)
    assert rows(bulk) == [("bounding_box", "stem", None)]
    assert data(bulk)[0]["extra"] == {"class_id": 1, "size": 5}
    assert said(bulk, "left_out") == {"is called like a column that the Detections have themselves": 1}
    assert said(load(sent, "supervision"), "told") == {UNNAMED: 1}
    assert load(sent | {"data": []}, "supervision").items
    (fault,) = faults(sent | {"data": [{"class_name": "leaf"}]}, "supervision")
    assert fault == {"field": "data", "reason": "Must be an object of columns."}


# --- torchvision, MMDetection ------------------------------------------------------------------------------------


def test_boxes_of_torchvision() -> None:
    bulk = load(Path("torchvision-boxes.json"), "torchvision", names=NAMES)
    assert rows(bulk) == [("bounding_box", "fruit", 0.2545)] * 2
    (sent,) = content("torchvision-boxes.json")
    assert [corners(stored) for stored in data(bulk)] == sent["boxes"]
    assert [stored["extra"] for stored in data(bulk)] == [{"labels": 3}] * 2


def test_masks_of_torchvision() -> None:
    bulk = load(Path("torchvision-masks.json"), "torchvision", names=NAMES)
    assert rows(bulk) == [("segmentation", "tree", 0.998), ("segmentation", "tree", 0.9972)]
    (sent,) = content("torchvision-masks.json")
    assert [int(pixels(stored).sum()) for stored in data(bulk)] == [88, 4]
    for i, stored in enumerate(data(bulk)):
        assert (pixels(stored) == (np.array(sent["masks"][i][0]) > 0.5)).all()
        assert stored["extra"] == {"labels": 2, "box": sent["boxes"][i]}
    assert said(bulk, "told") == {ROWS: 2}


def test_keypoints_of_torchvision() -> None:
    bulk = load(Path("torchvision-keypoints.json"), "torchvision", names=NAMES)
    assert rows(bulk) == [
        ("bounding_box", "stem", 0.9999),
        ("keypoint", "stem", 0.9999),
        ("bounding_box", "stem", 0.9998),
        ("keypoint", "stem", 0.9998),
    ]
    (sent,) = content("torchvision-keypoints.json")
    for i in range(2):
        box, points = data(bulk)[2 * i : 2 * i + 2]
        assert corners(box) == sent["boxes"][i]
        assert box["extra"] == {"labels": 1, "keypoints_scores": sent["keypoints_scores"][i]}
        assert [[p["x"], p["y"], p["visible"]] for p in points["keypoints"]] == sent["keypoints"][i]


def test_a_mask_and_keypoints_of_one_detection() -> None:
    """No ready-made model of torchvision gives both, but its `RoIHeads` can."""
    (masked,), (pointed,) = content("torchvision-masks.json"), content("torchvision-keypoints.json")
    bulk = load([pointed | masked], "torchvision", names=NAMES)
    assert [row[0] for row in rows(bulk)] == ["segmentation", "keypoint"] * 2
    assert data(bulk)[0]["extra"] == {
        "labels": 2,
        "keypoints_scores": pointed["keypoints_scores"][0],
        "box": masked["boxes"][0],
    }


def test_the_image_by_its_number() -> None:
    outputs = [{"boxes": [[1, 1, 5, 5]], "labels": [n], "scores": [0.5]} for n in range(2)]
    assert rows(load(outputs, "torchvision", called="1"))[0][1] == "1"
    (fault,) = faults(outputs, "torchvision")
    assert "It has: 0, 1." in fault["reason"]
    outputs[0]["image_id"] = 139
    assert rows(load(outputs, "torchvision", filename="000139.jpg"))[0][1] == "0"


def test_images_that_are_called_alike() -> None:
    outputs = [{"file_name": f"{folder}/leaf.png", "boxes": [[1, 1, 5, 5]]} for folder in "ab"]
    (fault,) = faults(outputs, "torchvision")
    assert fault["reason"] == (
        "Several images of the file are called like this one: a/leaf.png, b/leaf.png. Name one with `called`."
    )
    assert load(outputs, "torchvision", called="b/leaf.png").places == ["1.boxes.0"]


@pytest.mark.parametrize(
    ("name", "filename", "same"),
    [
        ("C:\\pictures\\leaf.png", "leaf.png", True),
        ("https://x.test/a%20b/leaf.png?width=3#x", "leaf.png", True),
        ("https://x.test/?file=a%2Fleaf.png", "leaf.png", True),
        ("a/tree=leaf.png", "leaf.png", False),
        ("0a1b2c3d-leaf.png", "leaf.png", False),
        ("139", "000139.jpg", True),
        ("0" * 5000 + "139", "139.jpg", True),
        ("9" * 5000, "139.jpg", False),
        ("leaf", "leaf.png", False),
    ],
)
def test_what_the_image_is_called(name: str, filename: str, same: bool) -> None:
    outputs = [{"file_name": called, "boxes": [[1, 1, 5, 5]]} for called in (name, "x.png")]
    if same:
        assert load(outputs, "torchvision", filename=filename).places == ["0.boxes.0"]
    else:
        assert faults(outputs, "torchvision", filename=filename)


def test_mmdetection() -> None:
    sent = content("mmdetection.json")
    bulk = load(Path("mmdetection.json"), "mmdetection", names=NAMES)
    assert rows(bulk) == [("segmentation", "leaf", 0.9873), ("segmentation", "tree", 0.25)]
    for i, stored in enumerate(data(bulk)):
        assert {"size": stored["size"], "counts": stored["counts"]} == sent["masks"][i]
        assert stored["extra"] == {"box": sent["bboxes"][i], "labels": sent["labels"][i]}
    del sent["masks"]
    bulk = load({"predictions": [sent], "visualization": []}, "mmdetection", names=NAMES)
    assert [corners(stored) for stored in data(bulk)] == sent["bboxes"]
    assert bulk.places == ["predictions.0.labels.0", "predictions.0.labels.1"]


# --- Detectron2 --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["results", "predictions"])
def test_predictions_of_detectron2(name: str) -> None:
    bulk = load(Path(f"detectron2-{name}.json"), "detectron2", names=NAMES, filename="0007.png")
    assert rows(bulk) == [
        ("segmentation", "stem", 0.9873),
        ("bounding_box", "tree", 0.25),
        ("keypoint", "tree", 0.25),
    ]
    assert corners(data(bulk)[1]) == [40.5, 4.25, 60, 44]
    assert said(bulk, "left_out") == {"is of another image": 1}


def test_a_dataset_of_detectron2() -> None:
    """Every mode of a box, in a frame twice as large as the image."""
    bulk = load(Path("detectron2-dataset.json"), "detectron2", names=NAMES)
    stored = data(bulk)
    assert [row[0] for row in rows(bulk)] == [
        *["bounding_box"] * 3, "polygon", "segmentation", "keypoint",
    ]  # fmt: skip
    assert corners(stored[0]) == corners(stored[1]) == [5, 10, 25, 30]
    assert corners(stored[2]) == [16, 24, 32, 48]
    # 40 wide and 20 high, a quarter turn around (64, 48): 20 wide and 40 high, then halved
    points = np.round(stored[3]["points"], 9)
    assert points.min(axis=0).tolist() == [27, 14] and points.max(axis=0).tolist() == [37, 34]
    assert stored[4]["polygons"] == [[5, 10, 25, 10, 25, 30]]
    assert [point["visible"] for point in stored[5]["keypoints"]] == [2, 1]
    assert said(bulk, "told") == {"is a box that is turned, and becomes a polygon": 1}


def test_boxes_turn_against_the_clock() -> None:
    """By detectron2.structures.RotatedBoxes: 45 degrees lift the right end of a flat box."""
    entry = {"bbox": [30, 20, 20, 0.002, 45], "bbox_mode": 4, "category_id": 0}
    points = data(load([{"file_name": "leaf.png", "annotations": [entry]}], "detectron2"))[0]["points"]
    right = max(points)
    assert right[0] == pytest.approx(37.07, abs=0.01) and right[1] == pytest.approx(12.93, abs=0.01)


def test_instances_of_detectron2() -> None:
    bulk = load(Path("detectron2-instances.json"), "detectron2", names=NAMES, frame=Frame(128, 96))
    assert [row[0] for row in rows(bulk)] == ["segmentation", "keypoint"] * 2
    sent = content("detectron2-instances.json")["instances"]
    assert (pixels(data(bulk)[0]) == np.array(sent["pred_masks"][0])).all()
    assert data(bulk)[1]["keypoints"] == [{"x": 16, "y": 24, "confidence": 0.75}]


# --- what is refused ---------------------------------------------------------------------------------------------

BOX = [1, 2, 30, 40]


@pytest.mark.parametrize(
    ("format", "file", "place", "field", "reason"),
    [
        ("supervision", {"xyxy": [BOX], "confidence": [7]}, "xyxy.0", "confidence", None),
        ("supervision", {"xyxy": [[1, 2, 3]]}, "xyxy.0", "data.bbox", "must be 4 numbers"),
        ("supervision", [{"x_min": 1}], "0", "data.bbox.1", "must be a finite number"),
        (
            "supervision",
            {"xyxy": [BOX], "class_id": [[1]]},
            "xyxy.0",
            "class_id",
            "must be the number of a class",
        ),
        (
            "supervision",
            {"xyxy": [BOX], "mask": [[[1, 0], [1]]]},
            "xyxy.0",
            "mask.1",
            "must be a row of 2 numbers",
        ),
        ("torchvision", {"boxes": [BOX], "masks": [5]}, "boxes.0", "masks", None),
        ("torchvision", {"boxes": [BOX], "keypoints": [[1]]}, "boxes.0", "keypoints", None),
        ("mmdetection", {"labels": [1]}, "labels.0", "", "has neither a box nor a mask nor keypoints"),
        ("detectron2", [{"bbox": BOX, "bbox_mode": 9}], "0", "bbox_mode", None),
        ("detectron2", [{"annotations": [{"bbox": BOX}]}], "0.annotations.0", "bbox_mode", None),
        ("detectron2", [{"keypoints": [1, 2]}], "0", "keypoints", None),
        ("detectron2", [{"bbox": [1, 2], "bbox_mode": 4}], "0", "bbox", "must be 5 numbers"),
        (
            "detectron2",
            {"pred_boxes": [BOX], "pred_masks": [{"counts": "x"}]},
            "pred_boxes.0",
            "data.counts",
            None,
        ),
    ],
)
def test_refused(format: str, file: Any, place: str, field: str, reason: str | None) -> None:
    (fault,) = faults(file, format)
    assert (fault["place"], fault["field"]) == (place, field)
    assert reason is None or fault["reason"] == reason


@pytest.mark.parametrize(
    ("format", "first"), [("supervision", "xyxy"), ("torchvision", "boxes"), ("detectron2", "pred_boxes")]
)
def test_columns_of_different_lengths(format: str, first: str) -> None:
    scores = "confidence" if format == "supervision" else "scores"
    (fault,) = faults({first: [BOX], scores: [0.5, 0.5]}, format)
    assert fault == {"field": scores, "reason": f"Has 2 entries, but {first} has 1."}
    (fault,) = faults({first: [BOX], scores: 0.5}, format)
    assert fault == {"field": scores, "reason": "Must be a list."}


@pytest.mark.parametrize("format", ["supervision", "torchvision", "mmdetection", "detectron2"])
@pytest.mark.parametrize("file", ["x", {"a": 1}, None, 5])
def test_what_is_no_file_of_it(format: str, file: Any) -> None:
    assert faults(file, format)
    assert not load([], format).items


def test_annotations_that_are_no_list_are_refused_alone() -> None:
    box = {"bbox": [1, 2, 3, 4], "bbox_mode": 0}
    sent = [{"file_name": "leaf.png", "annotations": found} for found in (5, [box])]
    bulk = load(sent, "detectron2", skips=True)
    assert len(bulk.items) == 1
    assert bulk.skipped[0]["errors"] == [{"field": "annotations", "reason": "must be a list"}]
