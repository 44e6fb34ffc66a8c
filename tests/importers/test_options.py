"""What the caller says of a file besides its format: `READ_BY` tells which formats read it, and the others say so."""

import json
from pathlib import Path
from typing import Any

import pytest

from app.importers import FORMATS, READ_BY, Target, unread
from app.models import Analysis
from tests.importers.golden import FILES
from tests.importers.reading import ANALYSIS, DATA, IMAGE, target_of
from tests.steps import check_problem

NO_OTHERS = {"called": "leaf.png", "normalized": "1", "keypoints": "3", "names": "leaf"}
POINT = {"type": "Feature", "geometry": {"type": "Point", "coordinates": [0.1, 0.5]}, "properties": {}}

CALLED = ("json", "ndjson", "torchvision", "mmdetection", "google-vision")
OF_OTHER_FILES = {name: {"called"} for name in CALLED} | {"coco": {"names"}, "ultralytics": {"names"}}
"""What is looked at for files that name no class, or several images, as those here do not."""


class Watched(Target):
    """A target that notes which of its options are looked at."""

    def __getattribute__(self, name: str) -> Any:
        if name in READ_BY:
            seen.add(name)
        return super().__getattribute__(name)


seen: set[str] = set()


@pytest.mark.parametrize("format", FORMATS)
def test_a_format_looks_at_what_it_is_said_to_read(format: str) -> None:
    seen.clear()
    for name, file, more in (one.values for one in FILES):
        if name == format:
            plain = target_of(**more)
            importer = FORMATS[format]
            watched = Watched(ANALYSIS, IMAGE, plain.filename, plain.frame, plain.names, plain.called)
            assert [*importer.read(importer.parse(file.read_bytes()), watched)]
    told = {name for name, formats in READ_BY.items() if format in formats}
    assert seen - told == set()
    assert told - seen <= OF_OTHER_FILES.get(format, set())


def test_what_is_not_read() -> None:
    assert unread("geojson", NO_OTHERS) == [*NO_OTHERS]
    assert unread("coco", NO_OTHERS) == ["normalized", "keypoints"]
    assert unread("yolo", [*NO_OTHERS, "format", "mode"]) == ["called", "normalized"]


@pytest.mark.parametrize(("option", "said"), [("normalized=1", ["normalized"]), ("normalized=", None)])
def test_the_answer_names_it(pipeline: Any, analysis: Analysis, option: str, said: Any) -> None:
    path = f"/api/analyses/{analysis.id}/annotations:import?format=geojson&{option}"
    answer = pipeline.post(path, raw=json.dumps(POINT).encode())
    if said is None:
        check_problem(answer, 422, "invalid-payload")
        return
    assert (answer.json["inserted"], answer.json["ignored"]) == (1, said)
    assert "ignored" not in pipeline.post(path.partition("&")[0], raw=json.dumps(POINT).encode()).json


def test_typos_are_named_beside_it(pipeline: Any, analysis: Analysis) -> None:
    path = (
        f"/api/analyses/{analysis.id}/annotations:import?format=coco&called=leaf.png&keypoints=3&keypoint=3"
    )
    answer = pipeline.post(path, raw=(DATA / "coco.json").read_bytes())
    assert answer.json["ignored"] == ["keypoints", "keypoint"]


def test_the_command_says_it_of_each_image(run: Any, write: Any, leaves: Any, tmp_path: Path) -> None:
    files = [write(f"{name}.geojson", POINT) for name in "ab"]
    said = run("geojson", *files, "--normalized", "--keypoints", "3")
    assert [one["ignored"] for one in said["image"]] == [["normalized", "keypoints"]] * 2
    assert "ignored" not in run("geojson", *files)["image"][0]
