"""COCO files read back by pycocotools: numbers, masks pixel for pixel, areas, scores, and its own evaluation."""

import json
from collections.abc import Callable
from contextlib import redirect_stdout
from datetime import UTC, datetime
from io import StringIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from flask import Flask
from pycocotools import mask as coco
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from app.exports import Selection
from app.exports.coco_file import write_coco, write_coco_results
from app.exports.losses import Losses
from app.exports.many import entries
from app.models import Analysis, Annotation, Image, Project
from tests.cast import Pipeline
from tests.factories import World
from tests.steps import box, store, upload

# pycocotools 2.0.11 has not caught up with the copy keyword of numpy 2
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")
Writer = Callable[..., Any]
Export = Callable[[Writer], tuple[bytes, dict[str, int]]]
NOW = datetime(2100, 1, 1, tzinfo=UTC)
RINGS = ([4, 4, 40, 4, 40, 30, 4, 30], [50, 10, 60, 10, 55, 40.5])
POSE = {
    "keypoints": [{"name": "tip", "x": 9, "y": 9, "confidence": 0.75}, {"name": "stem", "x": 30.5, "y": 40}],
    "skeleton": [[0, 1]],
}


def item(kind: str, data: dict[str, Any], **fields: Any) -> dict[str, Any]:
    return {"annotation_type": kind, "data": data, "class_name": "leaf", "confidence": 0.9, **fields}


def masks() -> list[Any]:
    random = np.random.default_rng(4)
    return [random.random((48, 64)) < share for share in (0.1, 0.5, 0.9)]


@pytest.fixture
def filled(world: World, app: Flask, pipeline: Pipeline, project: Project, image: Image) -> list[Analysis]:
    """Two analyses of one image, one of another in two classes, and one that says nothing."""
    other = world.image(project, "bark.png")
    made = [
        world.analysis(image, "processing"),
        world.analysis(image, "processing", model_name="bark-net"),
        world.analysis(other, "processing"),
        world.analysis(other, "failed"),
    ]
    counts = [coco.encode(np.asfortranarray(mask, dtype=np.uint8))["counts"].decode() for mask in masks()]
    masked = [
        item("segmentation", {"format": "rle", "counts": text, "size": [48, 64]}, confidence=n / 10 + 0.1234)
        for n, text in enumerate(counts)
    ]
    outlined = [item("segmentation", {"format": "polygon", "polygons": [*RINGS]})]
    store(pipeline, made[0], [box(class_name="leaf", confidence=0.9), *masked, *outlined])
    store(pipeline, made[1], [item("keypoint", POSE), item("keypoint", POSE, class_name="twig")])
    path = upload(app, pipeline, made[2], "heatmap")
    heat = item("heatmap", {"width": 16, "height": 12}, storage_path=path)
    hole = item(
        "polygon", {"points": [[0, 0], [60, 0], [60, 40], [0, 40]], "holes": [[[9, 9], [30, 9], [30, 30]]]}
    )
    store(pipeline, made[2], [heat, hole, box(), item("custom", {"a": 1}), box(class_name="twig")])
    return made


@pytest.fixture
def export(app: Flask, project: Project) -> Export:
    def run(write: Writer) -> tuple[bytes, dict[str, int]]:
        losses = Losses()
        with app.app_context():
            chosen = entries(Selection(project_id=project.id), NOW, None)
            written = b"".join(write({"schema_version": "1.0"}, chosen, losses))
        return written, dict(losses.counts)

    return run


def opened(content: bytes, folder: Path) -> COCO:
    (folder / "dataset.json").write_bytes(content)
    with redirect_stdout(StringIO()):
        return COCO(str(folder / "dataset.json"))


def results_for(dataset: COCO, found: Any) -> COCO:
    with redirect_stdout(StringIO()):
        return dataset.loadRes(found)


def test_a_dataset(world: World, filled: list[Analysis], export: Export, tmp_path: Path) -> None:
    content, dropped = export(write_coco)
    dataset = opened(content, tmp_path)
    assert [image["file_name"] for image in dataset.dataset["images"]] == ["leaf.png", "bark.png"]
    assert {(image["width"], image["height"]) for image in dataset.dataset["images"]} == {(64, 48)}
    assert [row["name"] for row in dataset.loadCats(dataset.getCatIds())] == ["leaf", "twig", "unlabeled"]
    annotations = dataset.loadAnns(dataset.getAnnIds())
    assert [one["id"] for one in annotations] == list(range(1, 11))
    assert [one["image_id"] for one in annotations] == [1] * 7 + [2] * 3
    kept = [row for row in world.rows(Annotation) if row.annotation_type not in ("heatmap", "custom")]
    assert [one["loupe_id"] for one in annotations] == [str(row.id) for row in kept]
    assert [one["analysis_id"] for one in annotations] == [str(row.analysis_id) for row in kept]
    assert [one.get("score") for one in annotations] == [row.confidence for row in kept]
    assert [one["id"] for one in dataset.dataset["analyses"]] == [str(analysis.id) for analysis in filled]
    assert dropped == {"heatmap": 1, "custom": 1, "outline": 1}
    assert {one["what"]: one["count"] for one in dataset.dataset["dropped"]} == dropped


def test_masks_and_areas(filled: list[Analysis], export: Export, tmp_path: Path) -> None:
    dataset = opened(export(write_coco)[0], tmp_path)
    with_masks = [one for one in dataset.loadAnns(dataset.getAnnIds()) if "segmentation" in one]
    for one, mask in zip(with_masks[:3], masks(), strict=True):
        assert np.array_equal(dataset.annToMask(one).astype(bool), mask)
        assert one["area"] == mask.sum() == coco.area(dataset.annToRLE(one))
        assert one["bbox"] == coco.toBbox(dataset.annToRLE(one)).tolist()
    outlined, cut = with_masks[3:]
    assert outlined["segmentation"] == [*RINGS] and outlined["area"] == 36 * 26 + 10 * 30.5 / 2
    assert coco.area(dataset.annToRLE(outlined)) == pytest.approx(outlined["area"], rel=0.02)
    assert coco.area(dataset.annToRLE(cut)) == cut["area"] == pytest.approx(2400 - 441 / 2, rel=0.01)
    assert not dataset.annToMask(cut)[12, 25] and dataset.annToMask(cut)[25, 12]


def test_keypoints(filled: list[Analysis], export: Export, tmp_path: Path) -> None:
    dataset = opened(export(write_coco)[0], tmp_path)
    leaf, twig, without = dataset.loadCats(dataset.getCatIds())
    for category in (leaf, twig):
        assert category["keypoints"] == ["tip", "stem"] and category["skeleton"] == [[1, 2]]
    assert "keypoints" not in without
    found = [one for one in dataset.loadAnns(dataset.getAnnIds()) if "keypoints" in one]
    assert [one["keypoints"] for one in found] == [[9, 9, 2, 30.5, 40, 2]] * 2
    assert [one["num_keypoints"] for one in found] == [2, 2]
    assert found[0]["keypoint_scores"] == [0.75, None] and found[0]["bbox"] == [9, 9, 21.5, 31]


def test_results_beside_the_dataset(filled: list[Analysis], export: Export, tmp_path: Path) -> None:
    dataset = opened(export(write_coco)[0], tmp_path)
    content, dropped = export(write_coco_results)
    listed = json.loads(content)
    results = results_for(dataset, listed)
    assert dropped == {"heatmap": 1, "custom": 1, "outline": 2, "no_score": 2}
    said = dataset.loadAnns(dataset.getAnnIds())
    for one, other in zip(said, results.loadAnns(results.getAnnIds()), strict=True):
        same = ("image_id", "category_id", "loupe_id")
        assert {key: one[key] for key in same} == {key: other[key] for key in same}
        assert other["score"] == one.get("score", 1.0)
        assert other["bbox"] == one["bbox"]
        if "segmentation" in one:
            assert np.array_equal(dataset.annToMask(one), results.annToMask(other))


@pytest.mark.parametrize("kind", ["bbox", "segm", "keypoints"])
def test_an_export_evaluated_against_itself(
    world: World,
    pipeline: Pipeline,
    project: Project,
    image: Image,
    export: Export,
    tmp_path: Path,
    kind: str,
) -> None:
    made = {
        "bbox": [box(class_name=name, confidence=0.5) for name in ("leaf", "twig")],
        "segm": [item("segmentation", {"format": "polygon", "polygons": [ring]}) for ring in RINGS],
        "keypoints": [item("keypoint", POSE)],
    }
    store(pipeline, world.analysis(image, "processing"), made[kind])
    dataset = opened(export(write_coco)[0], tmp_path)
    results = results_for(dataset, json.loads(export(write_coco_results)[0]))
    with redirect_stdout(StringIO()):
        evaluation = COCOeval(dataset, results, kind)
        if kind == "keypoints":
            evaluation.params.kpt_oks_sigmas = np.array([0.05, 0.05])
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    assert evaluation.stats[0] == pytest.approx(1)
    assert [one["score"] for one in results.loadAnns(results.getAnnIds())] == [
        one["confidence"] for one in made[kind]
    ]


def test_the_same_again(filled: list[Analysis], export: Export) -> None:
    for write in (write_coco, write_coco_results):
        assert export(write) == export(write)


def test_of_nothing(export: Export, tmp_path: Path) -> None:
    assert json.loads(export(write_coco_results)[0]) == []
    assert opened(export(write_coco)[0], tmp_path).getAnnIds() == []
