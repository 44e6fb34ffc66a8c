"""What can be lost is in the documentation, by the word that stands in the files."""

import re
from collections import Counter
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from uuid import UUID

import numpy as np
import pytest

from app.annotations import TYPES
from app.exports import FORMATS
from app.exports.losses import REASONS, Losses
from app.exports.many import Entry
from app.geometry import Frame, runs_of, text_from_runs
from tests.support.said import said

DOCS = Path(__file__).parent.parent.parent / "docs" / "exports.md"
ROWS = re.findall(r"^\| `([a-z_]+)` \|.*\| ([^|]+) \|$", DOCS.read_text(), re.MULTILINE)[1:]
LOSSY = ("coco", "coco-results", "yolo", "yolo-scores", "voc")
FRAME = Frame(400, 300)
NOISE = runs_of(np.random.default_rng(1).random((FRAME.height, FRAME.width)) < 0.5)


def ring(*points: float) -> dict[str, Any]:
    return {"points": [[x, y] for x, y in zip(points[::2], points[1::2], strict=True)]}


def pose(**point: Any) -> dict[str, Any]:
    return {"keypoints": [{"name": "a", "x": 9, "y": 9, **point}, {"name": "b", "x": 30, "y": 40}]}


BOX = {"x_min": 4.5, "y_min": 4, "x_max": 20, "y_max": 30}
MASK = {"format": "rle", "counts": [29, 4, 5, 4, 5, 4, 39], "size": [9, 10]}
ZOO: list[tuple[str, dict[str, Any]]] = [
    *((name, one.example) for name, one in TYPES.items()),
    ("segmentation", {"format": "png"}),
    ("segmentation", {"format": "rle", "counts": [FRAME.width * FRAME.height]}),
    ("segmentation", {**MASK, "area": 12}),
    ("segmentation", {"format": "rle", "counts": text_from_runs(NOISE)}),
    ("polygon", ring(10, 10, 60, 10, 60, 60)),
    ("polygon", {**ring(10, 10, 60, 10, 60, 60), "holes": [[[20, 15], [50, 15], [50, 40]]]}),
    ("polygon", ring(-20, 10, 60, 10, 60, 60)),
    ("polygon", ring(-20, 10, -60, 10, -60, 60)),
    ("bounding_box", {**BOX, "track": 1}),
    ("keypoint", pose(confidence=0.5, visible=True, side="left")),
    ("keypoint", {**pose(), "skeleton": [[0, 1]]}),
    ("keypoint", {"keypoints": [{"x": 1, "y": 2}]}),
    ("keypoint", {"keypoints": [{"x": 1, "y": 2, "visible": False}]}),
]


def lost(form: str) -> Counter[str]:
    """What befalls these in a format, each with a confidence and a class and without."""
    rows = [
        said(kind, data, FRAME, n, storage_path="ml_outputs/x/y.png", class_name=name, confidence=score)
        for n, (kind, data) in enumerate(ZOO)
        for name, score in (("leaf\ufffe", 0.5), (None, None))
    ]
    place = UUID(int=1)
    row = SimpleNamespace(
        filename="a.png", width=FRAME.width, height=FRAME.height, image_id=place, project_id=place
    )
    about = dict.fromkeys(("id", "image_id", "status", "model_name", "model_version"), str(place))
    losses = Losses()
    for _ in FORMATS[form].write({"schema_version": "1.0"}, [Entry(about, row, iter([rows]))], losses):  # type: ignore[arg-type]
        pass
    return losses.counts


def test_every_loss_has_its_row() -> None:
    assert [what for what, _ in ROWS] == list(REASONS)


@pytest.mark.parametrize("form", LOSSY)
def test_the_rows_say_which_format_loses_what(monkeypatch: pytest.MonkeyPatch, form: str) -> None:
    found = lost(form)
    monkeypatch.setattr("app.exports.yolo_file.MOST_AT_ONCE", 3)
    found += lost(form)
    monkeypatch.setattr("app.geometry.fill.MAX_STRETCHES", 2)
    monkeypatch.setattr("app.geometry.fill.MAX_CROSSINGS", 2)
    found += lost(form)
    told = {what for what, formats in ROWS if formats == "all" or f"`{form}`" in formats}
    assert set(found) == told


def test_only_what_happened_is_named() -> None:
    losses = Losses()
    assert losses.as_json() == []
    for what in ("score", "heatmap", "score"):
        losses(what)
    assert [(one["what"], one["count"]) for one in losses.as_json()] == [("heatmap", 1), ("score", 2)]
    with pytest.raises(AssertionError):
        losses("unheard-of")
