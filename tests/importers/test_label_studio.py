"""Label Studio's predictions: a file that its own SDK takes, and its brush."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from app.annotations import TYPES
from app.geometry import Frame, Raster, decode, runs_from_text
from app.importers.base import Pixels
from app.importers.masks import NONE_LEFT
from tests.importers.reading import DATA, data, faults, load, rows, said

FILE = Path("label-studio.json")
TURNED = "a turned image is not understood: turn it back in the tool"
BOX = {"x": 12.5, "y": 25.0, "width": 50.0, "height": 12.5}


def result(value: dict[str, Any], kind: str = "rectanglelabels", **more: Any) -> dict[str, Any]:
    return {"type": kind, "value": value, **more}


def take(*results: dict[str, Any], **target: Any) -> Any:
    return load([*results], "label-studio", **target)


def test_predictions() -> None:
    bulk = load(FILE, "label-studio")
    assert rows(bulk) == [
        ("bounding_box", "leaf", 0.93),
        ("polygon", "stem", 0.5),
        ("bounding_box", "leaf", 0.7),
        ("polygon", "fruit", 0.25),
        ("polygon", "leaf", 0.75),
        ("keypoint", "tip", 0.8),
        ("segmentation", "rust", 0.625),
        ("classification", "tree", 0.875),
        ("custom", None, 0.7),
    ]
    assert bulk.places == [f"0.predictions.0.result.{i}" for i in range(9)]
    assert said(bulk, "left_out") == {
        "is of another image": 1,
        "is a person's, not a prediction": 1,
        "says something of the task, not of what a model saw": 2,
        "says something of the prediction as a whole": 1,
    }
    assert said(bulk, "told") == {
        "is a box that is turned, and becomes a polygon": 1,
        "has no score of its own, and is given that of its prediction": 2,
        "has several labels: the first is the class, all are kept in extra.labels": 1,
        "is an ellipse, and becomes a polygon of 64 corners; it is kept in extra.ellipse": 1,
        "is a brush: its alpha, where it is not 0, becomes COCO run-lengths": 1,
        "is of type 'textarea', and is kept as custom": 1,
    }


def test_percents_become_pixels_and_the_receipt_says_so() -> None:
    bulk = load(FILE, "label-studio")
    stored = data(bulk)
    assert [stored[0][name] for name in ("x_min", "y_min", "x_max", "y_max")] == [8, 12, 40, 18]
    assert stored[4]["points"] == [[16, 12], [48, 12], [32, 36]]
    assert stored[5]["keypoints"] == [{"name": "tip", "x": 32, "y": 6}]
    assert {one["place"][-1] for one in bulk.scaled} == set("0245")
    assert bulk.scaled[0]["from"] == [100, 100]
    assert stored[7]["topk"] == [{"class": "tree", "confidence": 0.875}]
    assert stored[8]["value"] == {"text": ["a leaf, seen from below"]}


def test_a_turned_box_stands_where_the_tool_draws_it() -> None:
    """A quarter turn, clockwise around its top left corner: what went right goes down, what went down goes left."""
    turned = data(load(FILE, "label-studio"))[1]
    assert np.round(turned["points"], 9).tolist() == [[32, 12], [32, 44], [26, 44], [26, 12]]
    assert turned["extra"]["rotation"] == 90


def test_an_ellipse() -> None:
    """Half axes of 8 and 12 pixels around (32, 24)."""
    oval = data(load(FILE, "label-studio"))[3]
    points = np.array(oval["points"])
    assert points.min(axis=0).tolist() == [24, 12] and points.max(axis=0).tolist() == [40, 36]
    assert oval["extra"]["ellipse"]["radiusX"] == 12.5


def test_a_brush_has_the_pixels_that_the_sdk_encoded() -> None:
    mask = data(load(FILE, "label-studio"))[6]
    drawn = [list(row) for row in (DATA / "label-studio-brush.txt").read_text().split()]
    pixels = decode(Raster(64, 48, runs_from_text(mask["counts"])), 0, 0, 64, 48)
    assert (pixels == (np.array(drawn) == "#")).all()
    assert mask["size"] == [48, 64]
    assert TYPES["segmentation"].row(mask)["area"] == pixels.sum() == 628


def test_a_brush_of_another_size_is_drawn_stretched() -> None:
    bulk = load(FILE, "label-studio", frame=Frame(128, 96))
    assert data(bulk)[6]["size"] == [48, 64]
    assert data(bulk)[0]["x_max"] == 80
    assert np.round(data(bulk)[1]["points"], 9).tolist() == [[64, 24], [64, 88], [52, 88], [52, 24]]


BRUSH = {"format": "rle", "brushlabels": ["rust"]}
SIZE = {"original_width": 2, "original_height": 1}


@pytest.mark.parametrize(
    ("rle", "reason"),
    [
        ("abc", "must be a list of whole numbers from 0 to 255"),
        ([1, 256], "must be a list of whole numbers from 0 to 255"),
        ([1, 2.5], "must be a list of whole numbers from 0 to 255"),
        ([], "ends before all pixels are there"),
        ([0, 0, 0, 8, 57, 27, 252], "ends before all pixels are there"),
        ([255, 255, 255, 255, 57, 27, 252, 0], "is of 4294967295 values, but 2 × 1 pixels have 8"),
        ([0, 0, 0, 8, 57, 25, 191, 223, 255, 224], "has more values than it says"),
    ],
)
def test_a_brush_that_cannot_be_read(rle: Any, reason: str) -> None:
    (fault,) = faults([result({**BRUSH, "rle": rle}, "brushlabels", **SIZE)], "label-studio")
    assert (fault["place"], fault["field"], fault["reason"]) == ("0", "value.rle", reason)


@pytest.mark.parametrize(
    ("kind", "value", "becomes"),
    [
        ("rectangle", BOX, ("bounding_box", None)),
        ("polygon", {"points": [[0, 0], [9, 0], [9, 9]]}, ("polygon", None)),
        ("labels", {**BOX, "labels": ["leaf"]}, ("bounding_box", "leaf")),
        ("labels", {"points": [[0, 0], [9, 0], [9, 9]], "labels": ["leaf"]}, ("polygon", "leaf")),
        ("labels", {"x": 1, "y": 2, "labels": ["tip"]}, ("keypoint", "tip")),
        ("choices", {"choices": ["tree", "shrub"]}, ("classification", "tree")),
        ("taxonomy", {"taxonomy": [["plant", "tree"]]}, ("custom", None)),
    ],
)
def test_other_types(kind: str, value: dict[str, Any], becomes: tuple[str, Any]) -> None:
    (row,) = rows(take(result(value, kind)))
    assert row == (*becomes, None)


def test_a_region_and_its_labels_are_one() -> None:
    pair = [result(BOX, "rectangle", id="a"), result({**BOX, "labels": ["leaf"]}, "labels", id="a")]
    bulk = take(*pair)
    assert rows(bulk) == [("bounding_box", "leaf", None)]
    assert said(bulk, "left_out") == {"is the region of a result of type labels, which is taken": 1}


def test_the_models_of_several_predictions() -> None:
    predictions = [{"model_version": name, "result": [result(BOX)]} for name in ("one", "two")]
    bulk = load(
        {"data": {"image": "https://x.test/a/leaf.png?sign=1"}, "predictions": predictions}, "label-studio"
    )
    assert [one["extra"] for one in data(bulk)] == [{"model_version": "one"}, {"model_version": "two"}]


@pytest.mark.parametrize(
    ("name", "target"),
    [
        ("/data/upload/2/0a1b2c3d-leaf.png", {}),
        ("/data/local-files/?d=pictures%2Fleaf.png", {}),
        ("s3://bucket/leaf.png", {}),
        ("https://x.test/1234", {"called": "1234"}),
    ],
)
def test_the_image_by_its_address(name: str, target: dict[str, Any]) -> None:
    tasks = [
        {"data": {"image": address}, "predictions": [{"result": [result(BOX)]}]}
        for address in (name, "b.png")
    ]
    assert len(load(tasks, "label-studio", **target).items) == 1
    (fault,) = faults(tasks, "label-studio", called="c.png")
    assert fault["reason"].startswith(f"The file has no image called c.png. It has: {name}, b.png.")


def test_two_uploads_of_one_name() -> None:
    names = [f"/data/upload/2/{prefix}-leaf.png" for prefix in ("0a1b2c3d", "0a1b2c3e")]
    tasks = [{"data": {"image": name}, "predictions": [{"result": [result(BOX)]}]} for name in names]
    (fault,) = faults(tasks, "label-studio")
    assert fault["reason"].startswith(
        "Several images of the file are called like this one: /data/upload/2/0a1b2c3d"
    )
    assert load(tasks, "label-studio", called=names[1]).places == ["1.predictions.0.result.0"]


@pytest.mark.parametrize(
    ("entry", "field", "reason"),
    [
        (result({**BOX, "width": 0}), "data.width", "must lie right of the left edge"),
        (result({**BOX, "x": "1"}), "data.x", "must be a number"),
        (result({**BOX, "rotation": "90"}), "value.rotation", "must be a finite number"),
        (result(BOX, image_rotation=90), "image_rotation", TURNED),
        (result(BOX, score=93), "confidence", "Must be a number from 0 to 1."),
        (result({"points": [[1, 2]]}, "polygonlabels"), "data.points", "must have 3 to 100000 points"),
        ({"type": "rectanglelabels"}, "value", "must be an object"),
        ({"type": 5, "value": BOX}, "type", "must be a text"),
    ],
)  # fmt: skip
def test_refused(entry: dict[str, Any], field: str, reason: str) -> None:
    (fault,) = faults([result(BOX), entry], "label-studio")
    assert (fault["index"], fault["place"], fault["field"]) == (1, "1", field)
    assert fault["reason"] == reason


@pytest.mark.parametrize("file", ["x", 5, None, {}, {"a": 1}, [], [5], [{"data": {"image": "leaf.png"}}]])
def test_what_is_no_file_of_it(file: Any) -> None:
    if file == [{"data": {"image": "leaf.png"}}]:
        assert not load(file, "label-studio").items
    else:
        assert faults(file, "label-studio")


def test_the_brushes_of_a_file_share_so_many_pixels() -> None:
    """A stroke of a few bytes is as large as the frame that it claims."""
    assert load(FILE, "label-studio", pixels=Pixels(64 * 48)).items
    (fault,) = faults(FILE, "label-studio", pixels=Pixels(64 * 48 - 1))
    assert (fault["field"], fault["reason"]) == ("value.rle", NONE_LEFT)


@pytest.mark.parametrize(
    ("kind", "value", "field"),
    [
        ("rectanglelabels", {"x": 120, "y": 1, "width": 5, "height": 5}, "value.x"),
        ("rectanglelabels", {"x": 1, "y": 1, "width": 130, "height": 5}, "value.width"),
        ("polygonlabels", {"points": [[1, 1], [9, 1], [9, 101]]}, "value.points.2.1"),
        ("keypointlabels", {"x": 1, "y": 100.5, "width": 1}, "value.y"),
    ],
)
def test_more_than_all_of_the_image(kind: str, value: Any, field: str) -> None:
    result = {"type": kind, "value": {**value, kind: ["leaf"]}}
    (fault,) = faults([result], "label-studio")
    assert (fault["place"], fault["field"]) == ("0", field)
    assert fault["reason"].startswith("must be at most 100")


def test_a_percent_that_was_rounded_up() -> None:
    value = {"x": 0, "y": 0, "width": 100.00000000000001, "height": 5, "rectanglelabels": ["leaf"]}
    assert load([{"type": "rectanglelabels", "value": value}], "label-studio").items


def test_predictions_that_are_no_list_are_refused_alone() -> None:
    point = {"type": "keypointlabels", "value": {"x": 1, "y": 2, "keypointlabels": ["tip"]}}
    sent: tuple[Any, ...] = ("x", [{"result": 5}, {"result": [point]}])
    tasks = [{"data": {"image": "leaf.png"}, "predictions": predictions} for predictions in sent]
    bulk = load(tasks, "label-studio", skips=True)
    assert bulk.places == ["0", "1.predictions.0", "1.predictions.1.result.0"] and len(bulk.items) == 1
    assert [one["errors"][0]["field"] for one in bulk.skipped] == ["predictions", "result"]
