"""Zips of YOLO labels, read as docs.ultralytics.com says: a line for each thing, `data.yaml` beside `labels`."""

import csv
import io
import json
import zipfile
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import yaml
from flask import Flask

from app.exports import Selection, yolo_file
from app.exports.losses import Losses
from app.exports.many import entries
from app.exports.yolo_file import write_yolo, write_yolo_with_scores
from app.models import Analysis, Annotation, Image, Project
from tests.cast import Pipeline
from tests.factories import World
from tests.steps import box, store, upload

NOW = datetime(2100, 1, 1, tzinfo=UTC)
HOSTILE = Path(__file__).parent.parent / "data" / "hostile_strings.txt"
Export = Callable[..., tuple[dict[str, str], dict[str, int]]]


@pytest.fixture
def export(app: Flask, project: Project) -> Export:
    """The files by name, and what was dropped."""

    def run(write: Callable[..., Any] = write_yolo) -> tuple[dict[str, str], dict[str, int]]:
        losses = Losses()
        with app.app_context():
            chosen = entries(Selection(project_id=project.id), NOW, None)
            content = b"".join(write({"schema_version": "1.0"}, chosen, losses))
            again = entries(Selection(project_id=project.id), NOW, None)
            assert content == b"".join(write({"schema_version": "1.0"}, again, Losses()))
        with zipfile.ZipFile(io.BytesIO(content)) as opened:
            assert opened.testzip() is None
            names = opened.namelist()
            assert len({name.casefold() for name in names}) == len(names)
            return {name: opened.read(name).decode() for name in names}, dict(losses.counts)

    return run


def item(
    kind: str, data: dict[str, Any], name: str | None = "leaf", score: float | None = 0.5
) -> dict[str, Any]:
    return {"annotation_type": kind, "data": data, "class_name": name, "confidence": score}


def pose(count: int, name: str = "tip") -> dict[str, Any]:
    return {"keypoints": [{"name": f"{name}{n}", "x": 8 * n, "y": 6 * n} for n in range(1, count + 1)]}


RING = {"format": "polygon", "polygons": [[0, 0, 32, 0, 32, 24]]}
TRIANGLE = {"points": [[0, 0], [64, 0], [64, 48]]}


@pytest.fixture
def several(app: Flask, world: World, pipeline: Pipeline, project: Project, image: Image) -> list[Analysis]:
    """Of everything a little; two analyses of one model on the first image, one of another model on the second."""
    other = world.image(project, "LEAF.jpg")
    made = [
        world.analysis(image, "processing"),
        world.analysis(image, "processing"),
        world.analysis(other, "processing"),
        world.analysis(other, "processing", model_name="pose net/2"),
        world.analysis(other, "failed"),
    ]
    store(pipeline, made[0], [box(class_name="leaf", confidence=0.5), item("segmentation", RING), box()])
    store(pipeline, made[1], [box(class_name="twig", confidence=0.25)])
    store(pipeline, made[2], [item("polygon", TRIANGLE, "yes"), box(class_name="twig", confidence=1)])
    poses = [item("keypoint", pose(2), "b"), item("keypoint", pose(3)), item("keypoint", pose(2, "end"), "b")]
    path = upload(app, pipeline, made[3], "heatmap")
    heat = {**item("heatmap", {"width": 16, "height": 12}), "storage_path": path}
    store(pipeline, made[3], [*poses, heat])
    return made


def test_files(several: list[Analysis], export: Export) -> None:
    files, dropped = export()
    second = str(several[1].id)[-12:]
    assert {name: text for name, text in files.items() if name.endswith(".txt")} == {
        "leaf-net-1.0.0/detect/labels/leaf.txt": "0 0.140625 0.166667 0.15625 0.166667\n"
        "1 0.140625 0.166667 0.15625 0.166667\n",
        "leaf-net-1.0.0/segment/labels/leaf.txt": "0 0 0 0.5 0 0.5 0.5\n",
        f"leaf-net-1.0.0/detect/labels/leaf-{second}.txt": "2 0.140625 0.166667 0.15625 0.166667\n",
        f"leaf-net-1.0.0/segment/labels/LEAF-{str(several[2].id)[-12:]}.txt": "1 0 0 1 0 1 1\n",
        f"leaf-net-1.0.0/detect/labels/LEAF-{str(several[2].id)[-12:]}.txt": "2 0.140625 0.166667 0.15625 0.166667\n",
        "pose net-2-1.0.0/pose2/labels/LEAF.txt": "0 0.1875 0.1875 0.125 0.125 0.125 0.125 2 0.25 0.25 2\n"
        "0 0.1875 0.1875 0.125 0.125 0.125 0.125 2 0.25 0.25 2\n",
        "pose net-2-1.0.0/pose3/labels/LEAF.txt": "0 0.25 0.25 0.25 0.25 0.125 0.125 2 0.25 0.25 2 0.375 0.375 2\n",
    }
    assert dropped == {"score": 8, "no_class": 1, "heatmap": 1, "keypoint_names": 1}
    said = json.loads(files["manifest.json"])["dropped"]
    assert {one["what"]: one["count"] for one in said} == dropped


def test_data(several: list[Analysis], export: Export) -> None:
    found = {name: yaml.safe_load(text) for name, text in export()[0].items() if name.endswith(".yaml")}
    paths = {"train": "images", "val": "images"}
    assert found == {
        "leaf-net-1.0.0/detect/data.yaml": {**paths, "names": {0: "leaf", 1: "unlabeled", 2: "twig"}},
        "leaf-net-1.0.0/segment/data.yaml": {**paths, "names": {0: "leaf", 1: "yes"}},
        "pose net-2-1.0.0/pose2/data.yaml": {
            **paths,
            "names": {0: "b"},
            "kpt_shape": [2, 3],
            "kpt_names": {0: ["tip1", "tip2"]},
        },
        "pose net-2-1.0.0/pose3/data.yaml": {
            **paths,
            "names": {0: "leaf"},
            "kpt_shape": [3, 3],
            "kpt_names": {0: ["tip1", "tip2", "tip3"]},
        },
    }


def test_scores_stand_last(several: list[Analysis], export: Export) -> None:
    files, dropped = export(write_yolo_with_scores)
    lines = files["leaf-net-1.0.0/detect/labels/leaf.txt"].splitlines()
    assert [line.split()[5:] for line in lines] == [["0.5"], ["1"]]
    assert files["leaf-net-1.0.0/segment/labels/leaf.txt"] == "0 0 0 0.5 0 0.5 0.5 0.5\n"
    assert dropped["no_score"] == 1 and "score" not in dropped


def test_the_list_of_images(several: list[Analysis], export: Export) -> None:
    files, _ = export()
    rows = list(csv.DictReader(io.StringIO(files["images.csv"], newline="")))
    assert {row["file"] for row in rows if row["file"]} == {name for name in files if name.endswith(".txt")}
    assert {row["analysis_id"] for row in rows} == {str(analysis.id) for analysis in several}
    (without,) = (row for row in rows if not row["file"])
    assert without["analysis_id"] == str(several[4].id) and without["filename"] == "LEAF.jpg"
    assert {(row["width"], row["height"]) for row in rows} == {("64", "48")}


def test_hostile_names(world: World, pipeline: Pipeline, project: Project, export: Export) -> None:
    """Of files, models and classes: nothing leads out of the folder, every class is read back."""
    lines = [line for line in HOSTILE.read_text().splitlines() if line.strip() and line.isprintable()][:12]
    lines += [
        "=1+1",
        "#no",
        "yes",
        "- a",
        '"',
        "a: b",
        "\\n",
        "\ufeffx",
        "😀",
        "a\u2028b",
        "null",
        "1e3",
        "\ufffe",
    ]
    names = [line[:200] for line in lines]
    for number, name in enumerate([*names, *names[:3]]):
        image = world.image(project, name.replace("/", "_") + ".png")
        analysis = world.analysis(image, "processing", model_name=name)
        if number < len(names):
            answer = pipeline.post(
                f"/api/analyses/{analysis.id}/annotations:bulk", {"annotations": [box(class_name=name)]}
            )
            assert answer.status_code in (200, 422)  # what is no class name is no class
    files, _ = export()
    for name in files:
        assert not name.startswith("/") and ".." not in name.split("/") and "\\" not in name
    classes = [yaml.safe_load(text)["names"] for name, text in files.items() if name.endswith("data.yaml")]
    sent = {row.class_name for row in world.rows(Annotation)}
    assert {name for one in classes for name in one.values()} == sent and len(sent) > 15


def test_too_many_kinds_at_once(
    monkeypatch: pytest.MonkeyPatch, world: World, pipeline: Pipeline, image: Image, export: Export
) -> None:
    monkeypatch.setattr(yolo_file, "MOST_AT_ONCE", 2)
    analysis = world.analysis(image, "processing")
    store(
        pipeline,
        analysis,
        [box(confidence=None, class_name="a"), *(item("keypoint", pose(n)) for n in (1, 2, 1))],
    )
    files, dropped = export()
    assert len(files["leaf-net-1.0.0/pose1/labels/leaf.txt"].splitlines()) == 2
    assert "leaf-net-1.0.0/pose2/labels/leaf.txt" not in files and dropped["keypoint_count"] == 1
