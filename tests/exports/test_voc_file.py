"""Zips of Pascal VOC annotations, read by xml.etree."""

import io
import json
import zipfile
from datetime import UTC, datetime
from typing import Any
from xml.etree import ElementTree

import pytest
from flask import Flask

from app.exports import Selection
from app.exports.losses import Losses
from app.exports.many import entries
from app.exports.voc_file import write_voc
from app.models import Annotation, Image, Project
from tests.cast import Pipeline
from tests.factories import World
from tests.steps import box, store

NOW = datetime(2100, 1, 1, tzinfo=UTC)
FILENAME = '<a & b> "é" 😀.png'


@pytest.fixture
def read(app: Flask, project: Project) -> Any:
    """The files by name, and what was dropped."""

    def run() -> tuple[dict[str, bytes], dict[str, int]]:
        losses = Losses()
        with app.app_context():
            contents = [
                b"".join(write_voc({"schema_version": "1.0"}, entries(Selection(), NOW, None), one))
                for one in (losses, Losses())
            ]
        assert contents[0] == contents[1]
        with zipfile.ZipFile(io.BytesIO(contents[0])) as opened:
            assert opened.testzip() is None
            return {name: opened.read(name) for name in opened.namelist()}, dict(losses.counts)

    return run


def test_files(world: World, pipeline: Pipeline, project: Project, image: Image, read: Any) -> None:
    odd = world.image(project, FILENAME)
    first, again, other = (world.analysis(one, "processing") for one in (image, image, odd))
    polygon = {"annotation_type": "polygon", "data": {"points": [[0, 0], [32, 0], [32, 24.75]]}}
    store(pipeline, first, [box(class_name="<leaf>", confidence=0.25), box(), polygon])
    files, dropped = read()
    assert list(files) == [
        "README.md",
        "leaf-net-1.0.0/Annotations/leaf.xml",
        f"leaf-net-1.0.0/Annotations/leaf-{str(again.id)[-12:]}.xml",
        "leaf-net-1.0.0/Annotations/-a & b- -é- 😀.xml",
        "manifest.json",
    ]
    root = ElementTree.fromstring(files["leaf-net-1.0.0/Annotations/leaf.xml"])
    assert root.tag == "annotation" and root.findtext("filename") == "leaf.png"
    assert [root.findtext(f"size/{name}") for name in ("width", "height", "depth")] == ["64", "48", "3"]
    assert root.findtext("loupe/analysis_id") == str(first.id)
    assert [(one.findtext("name"), one.findtext("confidence")) for one in root.findall("object")] == [
        ("<leaf>", "0.25"),
        ("unlabeled", None),
        ("unlabeled", None),
    ]
    corners = [
        [int(value.text or "") for value in one.iterfind("bndbox/*")] for one in root.findall("object")
    ]
    assert corners == [[5, 5, 14, 12], [5, 5, 14, 12], [1, 1, 32, 25]]
    assert [one.findtext("loupe_id") for one in root.iter("object")] == [
        str(row.id) for row in world.rows(Annotation)
    ]
    empty = ElementTree.fromstring(files["leaf-net-1.0.0/Annotations/-a & b- -é- 😀.xml"])
    assert empty.findtext("filename") == FILENAME and empty.find("object") is None
    assert empty.findtext("loupe/image_id") == str(other.image_id)
    assert dropped == {"no_class": 2, "polygon_shape": 1, "rounded": 1}
    said = json.loads(files["manifest.json"])["dropped"]
    assert {one["what"]: one["count"] for one in said} == dropped
