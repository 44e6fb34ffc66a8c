"""All seven annotation types, each with its aliases: stored in canonical form and listed."""

import pytest

from app.annotations import TYPES
from app.models import Annotation

BOX = {"x_min": 8.0, "y_min": 6.0, "x_max": 24.0, "y_max": 30.0}
TOPK = [{"class": "oak", "confidence": 0.75}, {"class": "elm", "confidence": 0.25}]
# 4 × 3 pixels: the first column and the first pixel of the second are in the mask
RLE = {"format": "rle", "counts": [0, 4, 8], "size": [3, 4]}
CORNERS = [[1.0, 2.0], [11.0, 2.0], [11.0, 22.0]]

# type sent, data sent, type stored, data stored
CASES = [
    ("bounding_box", BOX, "bounding_box", BOX),
    ("bounding_box", {"left": 8, "top": 6, "right": 24, "bottom": 30}, "bounding_box", BOX),
    ("bounding_box", {"x": 8, "y": 6, "width": 16, "height": 24}, "bounding_box", BOX),
    ("bounding_box", {"bbox": [8, 6, 24, 30], "format": "xyxy"}, "bounding_box", BOX),
    ("bounding_box", {"bbox": [8, 6, 16, 24], "format": "xywh"}, "bounding_box", BOX),
    ("bounding_box", {"bbox": [16, 18, 16, 24], "format": "cxcywh"}, "bounding_box", BOX),
    (
        "bounding_box",
        {"x_min": 0.125, "y_min": 0.125, "x_max": 0.375, "y_max": 0.625, "normalized": True},
        "bounding_box",
        BOX,
    ),
    (
        "bounding_box",
        {"bbox": [0.25, 0.375, 0.25, 0.5], "format": "cxcywh", "normalized": True},
        "bounding_box",
        BOX,
    ),
    ("bounding_box", BOX | {"width": 16, "id": 3}, "bounding_box", BOX | {"extra": {"width": 16, "id": 3}}),
    ("classification", {"topk": TOPK}, "classification", {"topk": TOPK}),
    ("classification", {"scores": {"elm": 0.25, "oak": 0.75}}, "classification", {"topk": TOPK}),
    ("classification", {"topk": TOPK, "t": 1}, "classification", {"topk": TOPK, "extra": {"t": 1}}),
    (
        "heatmap",
        {"width": 64, "height": 48, "color_map": "viridis", "vmin": 0, "vmax": 1, "unit": "p"},
        "heatmap",
        {"width": 64, "height": 48, "color_map": "viridis", "vmin": 0.0, "vmax": 1.0, "unit": "p"},
    ),
    ("segmentation", RLE, "segmentation", RLE),
    (
        "segmentation",
        {"format": "polygon", "polygons": [[1, 2, 11, 2, 11, 22]]},
        "segmentation",
        {"format": "polygon", "polygons": [[1.0, 2.0, 11.0, 2.0, 11.0, 22.0]]},
    ),
    ("segmentation", {"format": "png"}, "segmentation", {"format": "png"}),
    ("mask", {}, "segmentation", {"format": "png"}),
    ("mask", {"format": None}, "segmentation", {"format": "png"}),
    ("mask", None, "segmentation", {"format": "png"}),
    ("mask", {"format": "png", "by": "hand"}, "segmentation", {"format": "png", "extra": {"by": "hand"}}),
    ("mask", RLE, "segmentation", RLE),
    ("polygon", {"points": CORNERS}, "polygon", {"points": CORNERS}),
    (
        "polygon",
        {"points": CORNERS, "holes": [[[5, 4], [6, 4], [6, 5]]]},
        "polygon",
        {"points": CORNERS, "holes": [[[5.0, 4.0], [6.0, 4.0], [6.0, 5.0]]]},
    ),
    (
        "keypoint",
        {
            "keypoints": [{"name": "tip", "x": 3, "y": 4, "visible": 2}, {"x": 5, "y": 6}],
            "skeleton": [[0, 1]],
        },
        "keypoint",
        {
            "keypoints": [{"name": "tip", "x": 3.0, "y": 4.0, "visible": 2}, {"x": 5.0, "y": 6.0}],
            "skeleton": [[0, 1]],
        },
    ),
    (
        "custom",
        {"verdict": "retake", "deep": [{"a": None}]},
        "custom",
        {"verdict": "retake", "deep": [{"a": None}]},
    ),
]
WITH_PICTURE = ("heatmap", "mask")


def item(analysis, kind, data):
    annotation = {"annotation_type": kind, "client_id": "a"}
    if data is not None:
        annotation["data"] = data
    if kind in WITH_PICTURE or (data or {}).get("format") == "png":
        annotation["storage_path"] = f"ml_outputs/{analysis.id}/picture.png"
    return annotation


def test_every_type_is_here():
    assert {stored for _, _, stored, _ in CASES} == set(TYPES)


@pytest.mark.parametrize(("kind", "sent", "stored_kind", "stored"), CASES)
def test_stored_and_listed(ask, bulk_path, analysis, kind, sent, stored_kind, stored):
    annotation = item(analysis, kind, sent)
    answer = ask("pipeline", "POST", bulk_path, {"annotations": [annotation]})
    assert answer.status_code == 200, answer.json
    (listed,) = ask("viewer", "GET", f"/api/analyses/{analysis.id}/annotations").json["annotations"]
    assert (listed["annotation_type"], listed["data"]) == (stored_kind, stored)
    assert listed["storage_path"] == annotation.get("storage_path")
    # what was given out, sent in again, is the same annotation
    back = {name: listed[name] for name in ("annotation_type", "data", "storage_path", "client_id")}
    again = ask("pipeline", "POST", bulk_path, {"annotations": [back]})
    assert again.json["unchanged"] == 1, again.json


@pytest.mark.parametrize("name", TYPES)
def test_examples(ask, bulk_path, analysis, world, name):
    """Those of the documentation; they are made for an image of 512 × 384."""
    kind = TYPES[name]
    data = kind.example
    if name in ("bounding_box", "polygon", "keypoint"):
        data = data | {"image_width": 512, "image_height": 384}
    answer = ask("pipeline", "POST", bulk_path, {"annotations": [item(analysis, name, data)]})
    assert answer.status_code == 200, answer.json
    (row,) = world.rows(Annotation)
    assert row.annotation_type == name


def test_all_together(ask, bulk_path, analysis):
    items = [item(analysis, kind, data) | {"client_id": str(i)} for i, (kind, data, _, _) in enumerate(CASES)]
    assert ask("pipeline", "POST", bulk_path, {"annotations": items}).json["inserted"] == len(CASES)
    detail = ask("viewer", "GET", f"/api/analyses/{analysis.id}").json
    assert [one["data"] for one in detail["annotations"]] == [stored for _, _, _, stored in CASES]
    for name in TYPES:
        page = ask("viewer", "GET", f"/api/analyses/{analysis.id}/annotations?type={name}").json
        assert page["total"] == sum(stored == name for _, _, stored, _ in CASES)


WRONG = [
    ("classification", {"topk": [{"class": "oak", "confidence": 2}]}, "data.topk.0.confidence"),
    ("classification", {}, "data.topk"),
    ("heatmap", {"width": 0, "height": 4}, "data.width"),
    ("segmentation", {"format": "rle", "counts": [1, 2], "size": [3, 4]}, "data.counts"),
    ("segmentation", {"format": "bmp"}, "data.format"),
    ("segmentation", {}, "data.format"),
    ("mask", {"format": "bmp"}, "data.format"),
    ("mask", [], "data"),
    ("polygon", {"points": [[1, 2], [3, 4]]}, "data.points"),
    ("polygon", {"points": [[1, 2], [3, 4], [500, 6]]}, "data.points.2"),
    ("keypoint", {"keypoints": [{"x": 1, "y": 2}], "skeleton": [[0, 1]]}, "data.skeleton.0"),
    ("keypoint", {"keypoints": [{"x": 1, "y": "2"}]}, "data.keypoints.0.y"),
    ("custom", {"x": "y" * 65_600}, "data"),
]


@pytest.mark.parametrize(("kind", "data", "field"), WRONG)
def test_refused_by_type(ask, bulk_path, analysis, kind, data, field, unchanged):
    annotation = {"annotation_type": kind, "data": data}
    annotation["storage_path"] = f"ml_outputs/{analysis.id}/picture.png"
    with unchanged(Annotation):
        answer = ask("pipeline", "POST", bulk_path, {"annotations": [annotation]})
    assert answer.status_code == 422
    (error,) = answer.json["errors"]
    assert (error["index"], error["field"]) == (0, field)
