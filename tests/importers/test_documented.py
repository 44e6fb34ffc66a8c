"""Every `flask annotations import` of docs/importing.md is run as it stands, on files as the tools write them."""

import json
import re
import shlex
import shutil
import zipfile
from pathlib import Path
from typing import Any

import pytest
from flask import Flask

from app.config import SETTINGS
from app.importers import FORMATS
from tests.importers.reading import DATA
from tests.importers.test_many_images import coco, entry

DOCS = (Path(__file__).resolve().parents[2] / "docs" / "importing.md").read_text()
COMMAND = re.compile(r"^(\$ )?((?:[A-Z_]+=[0-9]+ )*)flask --app wsgi (annotations import .*)$", re.MULTILINE)
GOLDEN = {  # what lies where, of the files that the tools' own libraries wrote
    "runs/detect/predict/labels/leaf-1.txt": "yolo-detect.txt",
    "runs/pose/predict/labels/leaf-1.txt": "yolo-pose.txt",
    "out/leaf-1.json": "ultralytics-detect.json",
    "predictions.json": "ultralytics-detect.json",
    "qupath/leaf-1.geojson": "geojson-qupath.json",
    "outputs/preds/leaf-1.json": "mmdetection.json",
    "answers/leaf-1.png.json": "rekognition.json",
    "project-1.json": "label-studio.json",
    "fiftyone/samples.json": "fiftyone.json",
}


@pytest.fixture
def ids(world: Any, project: Any, viewer: Any, tmp_path: Path, monkeypatch: Any) -> dict[str, str]:
    """A folder with the files of the examples, and what stands for the ids."""
    image = world.image(project, filename="leaf-1.png")
    world.image(project, filename="leaf.png")  # as the files of the tools call it
    done = world.analysis(image, "completed")
    for place, name in GOLDEN.items():
        (tmp_path / place).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(DATA / name, tmp_path / place)
    labels = coco(
        entry(1, iscrowd=0), entry(1, category_id=2, iscrowd=0), **{"1": "leaf-1.png", "2": "leaf-9.png"}
    )
    exported = viewer.api("GET", f"/api/projects/{project.id}/export?format=json", buffered=True).data
    texts = {"labels.json": labels | {"info": {}}, "instances.json": labels, "results.json": [entry(1)]}
    for place, content in texts.items():
        (tmp_path / place).write_text(json.dumps(content))
    (tmp_path / "names.json").write_text('{"0": "leaf", "1": "stem", "2": "tree"}')
    (tmp_path / "analyses.json").write_bytes(exported)
    (tmp_path / "everything").mkdir()
    with zipfile.ZipFile(tmp_path / "everything.zip", "w") as archive:
        archive.writestr("analyses.json", exported)
    bundle = viewer.api("GET", f"/api/analyses/{done.id}/bundle", buffered=True).data
    (tmp_path / "bundle.zip").write_bytes(bundle)
    with zipfile.ZipFile(tmp_path / "labels.zip", "w") as archive:
        archive.write(DATA / "yolo-detect.txt", "train/leaf-1.txt")
    monkeypatch.chdir(tmp_path)
    running = world.analysis(image, "processing")
    assert done.id != running.id
    return {"PROJECT_ID": str(project.id), "IMAGE_ID": str(image.id), "ANALYSIS_ID": str(running.id)}


def test_every_command(app: Flask, ids: dict[str, str]) -> None:
    ran: set[str] = set()
    for _, settings, command in COMMAND.findall(DOCS):
        if "FORMAT" in command:
            continue
        assert {one.partition("=")[0] for one in settings.split()} <= SETTINGS.keys()
        for name, value in ids.items():
            command = command.replace(name, value)
        words = [path for word in shlex.split(command) for path in expanded(word)]
        result = app.test_cli_runner().invoke(args=words)
        assert result.exit_code == 0, f"{command}\n{result.output}"
        ran.add(words[words.index("--format") + 1])
    assert ran >= {"coco", "coco-results", "yolo", "ultralytics", "label-studio", "fiftyone", "json"}
    assert ran <= FORMATS.keys()


def expanded(word: str) -> list[str]:
    """As a shell does it."""
    return sorted(map(str, Path().glob(word))) if "*" in word else [word]


def test_what_it_prints(app: Flask, ids: dict[str, str]) -> None:
    (block,) = (
        one for one in re.findall(r"^```text\n(.*?)^```", DOCS, re.DOTALL | re.MULTILINE) if one[0] == "$"
    )
    command, _, shown = block.partition("\n")
    words = command.replace("PROJECT_ID", ids["PROJECT_ID"]).split()[4:]
    said = app.test_cli_runner().invoke(args=words).output
    printed = re.sub(r"analysis [0-9a-f-]{36}", "analysis ID", said).replace(ids["PROJECT_ID"], "PROJECT_ID")
    assert printed == re.sub(r"analysis [0-9a-f-]{36}", "analysis ID", shown)
