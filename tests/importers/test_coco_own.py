"""What Loupe exports as COCO, imported again: which annotations come back as they were, and what of others does not."""

import json
from collections import Counter
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from app import importers
from app.errors import InvalidPayload
from app.exports.coco_items import Categories, annotation_of, result_of
from app.geometry import Frame, text_from_runs
from tests.importers.anything import annotation
from tests.importers.reading import ANALYSIS, IMAGE, faults, load, load_part, said
from tests.support.said import MOMENT

FRAME = Frame(64, 48)
DOCS = (Path(__file__).resolve().parents[2] / "docs" / "exports.md").read_text()
NOWHERE = {"heatmap", "classification", "custom", "png_mask"}
"""Annotations that are in no COCO file."""


def exported(made: list[Any], analysis: str = str(ANALYSIS), start: int = 1) -> tuple[Any, list[Any]]:
    """The dataset of what a pipeline sent, and each row with what was lost of it."""
    categories, rows, entries = Categories(), [], []
    for number, item in enumerate(load({"annotations": made}, "json", skips=True).items, start):
        about = {"id": f"row-{number}", "analysis_id": analysis, "created_at": MOMENT.isoformat()}
        row, lost = SimpleNamespace(**about, client_id=item.client_id, **item.values), Counter[str]()
        entry = annotation_of(row, FRAME, categories, lambda what, lost=lost: lost.update([what]))
        rows.append((row, lost))
        if entry is not None:
            entries.append({"id": number, "image_id": 1, **entry})
    about = {"id": 1, "file_name": "leaf.png", "width": 64, "height": 48, "loupe_id": str(IMAGE)}
    file = {
        "info": {},
        "images": [about],
        "categories": categories.rows,
        "annotations": entries,
        "analyses": [{"id": analysis, "image_id": str(IMAGE)}],
    }
    return file, rows


def comes_back(row: Any, lost: Counter[str]) -> dict[str, Any]:
    """What docs/exports.md promises: the annotation, but for what was counted as lost and the frame it was sent in."""
    kind = row.annotation_type
    data = {key: value for key, value in row.data.items() if key not in ("image_width", "image_height")}
    if kind == "keypoint":
        data["keypoints"] = [point_back(point, n) for n, point in enumerate(data["keypoints"], 1)]
    elif data.get("format") == "rle" and isinstance(data["counts"], list):
        data["counts"] = text_from_runs(np.array(data["counts"], dtype=np.int64))
    if lost["mask_size"] or lost["outline"]:  # the pixels are there, but others than were sent
        kind, data = "segmentation", {key: data[key] for key in ("bbox", "area", "extra") if key in data}
    columns = ("class_name", "confidence", "ordering", "client_id")
    return {"annotation_type": kind, "data": data, **{name: getattr(row, name) for name in columns}}


def point_back(point: dict[str, Any], number: int) -> dict[str, Any]:
    sight = point.get("visible", True)
    kept = {key: point[key] for key in ("x", "y", "confidence") if key in point}
    return {
        "name": point.get("name") or f"keypoint_{number}",
        **kept,
        "visible": 2 if sight is True else int(sight),
    }


def is_drawn(made: dict[str, Any]) -> bool:
    """Whether COCO may have it; the others are left out, and counted."""
    return made["annotation_type"] not in NOWHERE


@settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.filter_too_much])
@given(made=st.lists(annotation().filter(is_drawn), min_size=1, max_size=5))
def test_what_comes_back(made: list[Any]) -> None:
    try:
        file, rows = exported(made)
    except InvalidPayload:  # none of them is valid
        return
    there = [(row, lost) for row, lost in rows if not NOWHERE & lost.keys()]
    bulk = load(file, "coco")
    assert not bulk.skipped and not bulk.ignored and not bulk.scaled
    for item, (row, lost) in zip(bulk.items, there, strict=True):
        assert not lost.keys() - {"mask_size", "outline", "keypoint_names", "keypoint_extra"}
        expected, data = comes_back(row, lost), dict(item.values["data"])
        if lost["mask_size"] or lost["outline"]:
            assert (data.pop("format"), data.pop("size")) == ("rle", [48, 64]) and data.pop("counts")
        elif row.annotation_type == "bounding_box":  # but for the last bit
            expected["data"] = {
                key: pytest.approx(value) if key != "extra" else value
                for key, value in expected["data"].items()
            }
        found = {name: item.values.get(name) for name in expected} | {
            "data": data,
            "client_id": item.client_id,
        }
        assert found == expected


def test_the_box_of_keypoints_and_masks_is_none_of_its_own() -> None:
    pose = {
        "keypoints": [{"name": "tip", "x": 9, "y": 9}, {"name": "end", "x": 20, "y": 30, "confidence": 0.5}]
    }
    mask = {"format": "rle", "counts": [100, 50, 48 * 64 - 150], "size": [48, 64], "area": 9}
    made = [{"annotation_type": "keypoint", "data": pose}, {"annotation_type": "segmentation", "data": mask}]
    file, _ = exported(made)
    bulk = load(file, "coco")
    assert [item.values["annotation_type"] for item in bulk.items] == ["keypoint", "segmentation"]
    assert "extra" not in bulk.items[0].values["data"] and bulk.items[1].values["data"]["area"] == 9
    assert not said(bulk, "told")


def test_a_polygon_that_was_cut_out_of_comes_back_as_its_pixels() -> None:
    outline = {"points": [[0, 0], [60, 0], [60, 40], [0, 40]], "holes": [[[9, 9], [30, 9], [30, 30]]]}
    file, _ = exported([{"annotation_type": "polygon", "data": outline}])
    bulk = load(file, "coco")
    assert bulk.items[0].values["annotation_type"] == "segmentation"
    assert [*said(bulk, "told")] == [
        "was a polygon, of which the export has the pixels: it is a segmentation"
    ]
    del file["annotations"][0]["segmentation"]
    boxed = load(file, "coco")
    assert boxed.items[0].values["annotation_type"] == "bounding_box"
    assert [*said(boxed, "told")] == ["was a polygon whose shape the export lacks: its box is taken"]


def test_results_come_back_too() -> None:
    made = [
        {"annotation_type": "keypoint", "data": {"keypoints": [{"name": "tip", "x": 9, "y": 9}]}},
        {
            "annotation_type": "bounding_box",
            "data": {"x_min": 1, "y_min": 2, "x_max": 9, "y_max": 8, "lens": 50},
        },
    ]
    _, rows = exported(made)
    entries = [{"image_id": 1, **result_of(row, FRAME, Categories(), print)} for row, _ in rows]  # type: ignore[dict-item]
    bulk = load(entries, "coco-results", called="1")
    assert [(item.values["annotation_type"], item.client_id) for item in bulk.items] == [
        ("keypoint", "b#0"),
        ("bounding_box", "b#1"),
    ]
    assert bulk.items[0].values["data"]["keypoints"][0] == {"x": 9, "y": 9, "visible": 2}
    assert bulk.items[1].values["data"]["extra"] == {"lens": 50}


def test_several_analyses_of_one_image() -> None:
    """Whose annotations may be called alike: one of them is taken, or each by itself."""
    box = {
        "annotation_type": "bounding_box",
        "client_id": "a",
        "data": {"x_min": 1, "y_min": 2, "x_max": 9, "y_max": 8},
    }
    first, _ = exported([box])
    second, _ = exported([box], "other", 2)
    both = first | {name: first[name] + second[name] for name in ("annotations", "analyses")}
    both["analyses"].append({"id": "empty", "image_id": str(IMAGE)})
    for called in (str(ANALYSIS), "other"):
        bulk = load(both, "coco", called=called)
        assert [item.client_id for item in bulk.items] == ["a"]
        assert said(bulk, "left_out")["is of another analysis"] == 1
    (fault,) = faults(both, "coco")
    assert fault["reason"].startswith("2 analyses of the file are of this image")
    (fault,) = faults(both["annotations"], "coco-results", called="1")
    assert fault["reason"].startswith("2 analyses of the file are of this image")
    split = importers.split_file(json.dumps(both).encode(), "coco")
    assert split is not None
    counts = {part.key: len(load_part(part, "coco").items) for part in split.parts}
    assert counts == {str(ANALYSIS): 1, "other": 1, "empty": 0}


@pytest.mark.parametrize(
    ("key", "value"),
    [("bbox", None), ("segmentation", 7), ("segmentation", [[1, 2, 3]]), ("keypoints", [1]), ("extra", 7)],
)
@pytest.mark.parametrize("kind", ["bounding_box", "polygon", "segmentation", "keypoint"])
def test_an_entry_that_was_changed(kind: str, key: str, value: Any) -> None:
    """Is taken or refused like any other."""
    good = {
        "image_id": 1,
        "category_id": 1,
        "bbox": [1, 2, 3, 4],
        "loupe_id": "x",
        "annotation_type": "bounding_box",
    }
    changed = good | {"annotation_type": kind, key: value}
    bulk = load([good, changed], "coco-results", skips=True, called="1")
    assert len(bulk.items) + bulk.skipped_count == 2
