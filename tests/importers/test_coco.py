"""COCO datasets and results: files made with pycocotools, and what people make of the format."""

import contextlib
import io
import json
import re
from pathlib import Path
from typing import Any

import pytest
from pycocotools.coco import COCO

from app.annotations import TYPES
from app.annotations.keypoint import MAX_LINES
from app.errors import InvalidPayload
from app.geometry import Frame
from app.importers import split_file
from app.importers.base import LeftOut, Taken, Target
from app.importers.coco import read_dataset
from app.schemas.receipts import said_of
from tests.importers.reading import ANALYSIS, DATA, IMAGE, data, faults, load, load_part, rows, said

# pycocotools 2.0.11 has not caught up with the copy keyword of numpy 2
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")
NAMES = {"1": "leaf", "2": "stem", "3": "tree"}


def oracle(results: Path | None = None) -> COCO:
    with contextlib.redirect_stdout(io.StringIO()):
        dataset = COCO(DATA / "coco.json")
        return dataset.loadRes(str(DATA / results)) if results else dataset


def test_a_dataset() -> None:
    bulk = load(Path("coco.json"), "coco")
    assert rows(bulk) == [
        ("segmentation", "leaf", None),
        ("segmentation", "leaf", None),
        ("segmentation", "stem", None),
        ("bounding_box", "tree", None),
        ("keypoint", "tree", None),
        ("bounding_box", "tree", None),
    ]
    assert bulk.places == [f"annotations.{n}" for n in (0, 1, 2, 4, 4, 5)]
    assert bulk.skipped_count == 0 and not bulk.ignored and not bulk.scaled
    assert said(bulk, "left_out") == {
        "is of another image": 1,
        "is another image": 1,
        "says something of the whole dataset": 2,
        "says something of a class besides its name and keypoints": 2,
        "has keypoints of which none is labelled": 1,
    }
    assert said(bulk, "told") == {"is a crowd: `iscrowd` is kept in `data.extra`": 1}


def test_masks_and_boxes_measure_what_pycocotools_measures() -> None:
    """The area of each mask, by the file's own `area` and by pycocotools; a box is `[x, y, width, height]`."""
    items = load(Path("coco.json"), "coco").items
    for item, entry_id in zip(items, (100, 101, 102, 104, 104, 105), strict=True):
        (entry,) = oracle().loadAnns([entry_id])
        stored = item.values["data"]
        if item.values["annotation_type"] == "bounding_box":
            x, y, width, height = entry["bbox"]
            assert [stored[name] for name in ("x_min", "y_min", "x_max", "y_max")] == [
                x, y, x + width, y + height,
            ]  # fmt: skip
        elif item.values["annotation_type"] == "segmentation":
            row = TYPES["segmentation"].row(stored)
            assert row["area"] == pytest.approx(entry["area"], rel=0.01)
            left, top, width, height = entry["bbox"]
            assert (row["x_min"], row["y_min"]) == (left, top)
            assert (row["x_max"], row["y_max"]) == (left + width, top + height)
            if stored["format"] == "rle":
                assert int(oracle().annToMask(entry).sum()) == row["area"] == stored["area"]


def test_keypoints_have_the_names_and_lines_of_their_category() -> None:
    stored = data(load(Path("coco.json"), "coco"))[4]
    assert stored["keypoints"] == [
        {"name": "tip", "x": 20, "y": 5, "visible": 2},
        {"name": "base", "x": 20, "y": 25, "visible": 2},
        {"name": "left", "x": 10, "y": 15, "visible": 1},
        {"name": "right", "x": 0, "y": 0, "visible": 0},
    ]
    assert stored["skeleton"] == [[0, 1], [2, 3]]
    assert stored["extra"] == {"id": 104, "area": 600, "iscrowd": 0, "num_keypoints": 3}


RESULTS = {"bbox": "bounding_box", "segm": "segmentation", "keypoints": "keypoint"}


@pytest.mark.parametrize("kind", RESULTS)
def test_results(kind: str) -> None:
    """Scores, areas and extents as pycocotools has them."""
    file = Path(f"coco-results-{kind}.json")
    bulk = load(file, "coco-results", names=NAMES, called="7")
    coco = oracle(file)
    entries = coco.loadAnns(coco.getAnnIds(imgIds=[7]))
    assert entries and rows(bulk) == [
        (RESULTS[kind], NAMES[str(entry["category_id"])], round(entry["score"], 4)) for entry in entries
    ]
    for stored, entry in zip(data(bulk), entries, strict=True):
        row = TYPES[RESULTS[kind]].row(stored)
        left, top, width, height = entry["bbox"]
        assert [row[name] for name in ("x_min", "y_min", "x_max", "y_max")] == [
            left, top, left + width, top + height,
        ]  # fmt: skip
        if kind == "segm":
            assert row["area"] == entry["area"]
    assert said(bulk, "left_out") == ({"is of another image": 1} if kind == "bbox" else {})
    assert said(bulk, "told") == {}


def test_the_third_number_of_a_keypoint() -> None:
    stored = data(load(Path("coco-results-keypoints.json"), "coco-results", called="7"))
    assert stored[0]["keypoints"][0] == {"x": 20, "y": 5, "confidence": 0.9}
    entry = {"image_id": 7, "category_id": 3, "keypoints": [20, 5, 2, 20, 25, 1]}
    stored = data(load([entry], "coco-results", called="7"))
    assert stored[0]["keypoints"][0] == {"x": 20, "y": 5, "visible": 2}


@pytest.mark.parametrize("filename", ["000000000007.jpg", "7.png", "7"])
def test_results_name_the_image_by_the_number_in_its_name(filename: str) -> None:
    bulk = load(Path("coco-results-bbox.json"), "coco-results", filename=filename)
    assert len(bulk.items) == 2
    assert rows(bulk)[0][1] == "1"
    assert said(bulk, "told") == {"has a class without a name, whose number is taken for it": 2}


def test_an_image_that_is_not_in_the_file() -> None:
    (fault,) = faults(Path("coco.json"), "coco", filename="root.png")
    assert "root.png" in fault["reason"] and "train/leaf.png, train/stem.png" in fault["reason"]
    (fault,) = faults(Path("coco-results-bbox.json"), "coco-results")
    assert fault["reason"].endswith("It has: 7, 8. If one of them is this image, name it with `called`.")
    assert faults(Path("coco.json"), "coco", called="leaf")
    assert load(Path("coco.json"), "coco", filename="root.png", called="7").items


def dataset(entries: Any, **more: Any) -> dict[str, Any]:
    image = {"id": 1, "file_name": "leaf.png", "width": 64, "height": 48}
    categories = [{"id": 1, "name": "leaf"}]
    return {"images": [image], "annotations": entries, "categories": categories, **more}


def one(**more: Any) -> dict[str, Any]:
    return {"id": 1, "image_id": 1, "category_id": 1, "bbox": [1, 2, 3, 4], **more}


def test_two_images_of_the_same_name() -> None:
    images = [{"id": 1, "file_name": "a/leaf.png"}, {"id": 2, "file_name": "b/leaf.png"}]
    (fault,) = faults(dataset([one()], images=images), "coco")
    assert fault["reason"].startswith("2 images of the file are called like this one")
    assert len(load(dataset([one()], images=images), "coco", called="1").items) == 1
    assert len(load(dataset([one()], images=images), "coco", called="a/leaf.png").items) == 1


def test_two_images_of_the_same_id() -> None:
    images = [{"id": 1, "file_name": "leaf.png"}, {"id": 1.0, "file_name": "stem.png"}]
    (fault,) = faults(dataset([one()], images=images), "coco")
    assert fault["reason"] == "The id 1 of the image is that of several images of the file."


def test_an_image_of_another_size_is_a_frame() -> None:
    image = {"id": 1, "file_name": "leaf.png", "width": 128, "height": 96}
    bulk = load(dataset([one(bbox=[2, 4, 6, 8])], images=[image]), "coco")
    assert data(bulk)[0]["x_max"] == 4
    assert [(entry["from"], entry["place"]) for entry in bulk.scaled] == [([128, 96], "annotations.0")]


def test_an_image_that_is_not_upright_is_told() -> None:
    image = {"id": 1, "file_name": "leaf.png", "width": 48, "height": 64}
    bulk = load(dataset([one()], images=[image]), "coco")
    assert said(bulk, "told") == {
        "gives the image's sides the other way round: is it the one that is upright?": 1
    }


@pytest.mark.parametrize(
    ("entry", "field"),
    [
        (one(bbox=[1, 2, 0, 4]), "data.bbox.2"),
        (one(bbox=[1, 2, 3]), "data.bbox"),
        (one(bbox="1 2 3 4"), "data.bbox"),
        (one(bbox=[1, 2, 1e9, 4]), "data.bbox.2"),
        (one(bbox=None), ""),
        (one(score=1.5), "confidence"),
        (one(score="high"), "confidence"),
        (one(segmentation=[[1, 2, 3]]), "data.polygons.0"),
        (one(segmentation="mask.png"), "segmentation"),
        (one(segmentation={"counts": [1, 2], "size": [48, 64]}), "data.counts"),
        (one(segmentation={}), "data.counts"),
        (one(keypoints=[1, 2]), "keypoints"),
        (one(keypoints={"x": 1}), "keypoints"),
        (one(keypoints=["a", 2, 1]), "data.keypoints.0.x"),
        (one(keypoints=[1, 2, 3]), "data.keypoints.0.visible"),
        ([1], ""),
    ],
)
def test_what_is_refused_is_named_with_its_place(entry: Any, field: str) -> None:
    found = faults(dataset([one(), entry]), "coco")
    assert {fault["place"] for fault in found} == {"annotations.1"}
    assert field in [fault["field"] for fault in found]
    bulk = load(dataset([one(), entry]), "coco", skips=True)
    assert bulk.skipped_count == 1 and bulk.skipped[0]["place"] == "annotations.1"


def test_categories_that_say_little() -> None:
    categories = [{"id": 1}, {"id": 2, "name": "stem"}, "leaf", {"name": "no id"}]
    entries = [one(category_id=number) for number in (1, 2.0, 3, None)]
    bulk = load(dataset(entries, categories=categories), "coco", names={"3": "root"})
    assert [row[1] for row in rows(bulk)] == ["1", "stem", "root", None]
    assert said(bulk, "told") == {"has a class without a name, whose number is taken for it": 1}
    assert said(bulk, "left_out") == {"is no class with an id": 2}
    bad = {"id": 1, "name": ["leaf"], "keypoints": "tip", "skeleton": [["a"], 1, [9, 9]]}
    assert faults(dataset([one(keypoints=[1, 2, 2])], categories=[bad]), "coco")


def test_two_categories_of_one_id() -> None:
    categories = [{"id": 1, "name": "leaf"}, {"id": 1.0, "name": "leaf"}]
    assert rows(load(dataset([one()], categories=categories), "coco"))[0][1] == "leaf"
    (fault,) = faults(dataset([one()], categories=[*categories, {"id": 1, "name": "stem"}]), "coco")
    assert fault == {"field": "categories.2", "reason": "The id 1 is that of several categories."}


def test_keys_of_its_own_are_kept() -> None:
    bulk = load(dataset([one(attributes={"age": 3}, x_min=5, normalized=True)]), "coco")
    assert data(bulk) == [
        {
            "x_min": 1.0,
            "y_min": 2.0,
            "x_max": 4.0,
            "y_max": 6.0,
            "extra": {"id": 1, "attributes": {"age": 3}, "x_min": 5, "normalized": True},
        }
    ]
    assert bulk.file is not None
    assert bulk.file["extra"] == [
        {"key": key, "count": 1} for key in ("id", "attributes", "x_min", "normalized")
    ]


@pytest.mark.parametrize("file", [[], {}, {"images": {}}, {"images": [], "annotations": []}, 1, None])
def test_what_is_no_dataset(file: Any) -> None:
    assert faults(file, "coco")


@pytest.mark.parametrize("file", [{}, {"images": []}, 1, None, "text"])
def test_what_is_no_results_file(file: Any) -> None:
    assert faults(file, "coco-results")


@pytest.mark.parametrize("images", [[1], [None, {}], [{"id": [], "file_name": {}}]])
def test_images_that_are_none(images: Any) -> None:
    assert faults(dataset([], images=images), "coco")


def test_an_empty_file_takes_nothing() -> None:
    assert load(dataset([]), "coco").items == load([], "coco-results").items == []


def test_the_receipt_that_the_docs_show() -> None:
    """But for the ids, which nobody can know."""
    docs = (DATA.parents[2] / "docs" / "importing.md").read_text()
    (block,) = re.findall(r"^```json\n(.*?)^```", docs, re.DOTALL | re.MULTILINE)
    shown = json.loads(block.replace("5a1c…", "b"))
    image = {"id": 2, "file_name": "stem.png"}
    entries = [
        {"image_id": 1, "category_id": 1, "bbox": [1, 2, 3, 4], "iscrowd": 0},
        {"image_id": 2, "bbox": [1, 2, 3, 4]},
        {"image_id": 1, "category_id": 1, "bbox": [1, 2, 0, 4]},
    ]
    file = dataset(entries)
    bulk = load({**file, "images": [*file["images"], image]}, "coco", skips=True)
    assert said_of(bulk) == {name: shown[name] for name in said_of(bulk)}


def person(lines: int, entries: int) -> dict[str, Any]:
    """So many entries of a category with so many lines."""
    entry = {"image_id": 1, "category_id": 1, "keypoints": [1, 1, 2, 5, 5, 2]}
    category = {"id": 1, "name": "person", "skeleton": [[1, 2]] * lines}
    return dataset([entry] * entries, categories=[category])


def test_entries_share_the_lines_of_their_category() -> None:
    """Lines made anew for each entry are the product of both: a small file would fill the memory."""
    target = Target(ANALYSIS, IMAGE, "leaf.png", Frame(64, 48))
    found = [one for one in read_dataset(person(3, 4), target) if isinstance(one, Taken)]
    assert [one.annotation["data"]["skeleton"] for one in found] == [[[0, 1]] * 3] * 4
    assert len({id(one.annotation["data"]["skeleton"]) for one in found}) == 1


def test_too_many_lines_are_refused_and_not_copied() -> None:
    target = Target(ANALYSIS, IMAGE, "leaf.png", Frame(64, 48))
    file = person(MAX_LINES + 1, 2)
    found = [one for one in read_dataset(file, target) if isinstance(one, Taken)]
    assert {id(one.annotation["data"]["skeleton"]) for one in found} == {
        id(file["categories"][0]["skeleton"])
    }
    assert [(fault["place"], fault["field"]) for fault in faults(file, "coco")] == [
        ("annotations.0", "data.skeleton"),
        ("annotations.1", "data.skeleton"),
    ]


def test_what_is_said_of_the_image_has_its_own_place() -> None:
    """Which is not searched for: another image may be equal to it, as true is to 1, and there may be many."""
    others = {"file_name": "leaf.png", "width": 64, "height": 48, "licence": 3}
    images = [{"id": True, **others}, {"id": 1, **others}]
    target = Target(ANALYSIS, IMAGE, "leaf.png", Frame(64, 48), called="1")
    found = {
        one.place for one in read_dataset(dataset([], images=images), target) if isinstance(one, LeftOut)
    }
    assert found == {"images.0", "images.1.licence"}


def test_a_line_whose_end_is_the_least_number() -> None:
    """Counted from 0 it has more than 64 bits, which no JSON of ours writes: still it is only refused."""
    category = {"id": 1, "name": "person", "skeleton": [[1, -(2**63)]]}
    entry = {"image_id": 1, "category_id": 1, "keypoints": [1, 1, 2, 5, 5, 2]}
    (fault,) = faults(dataset([entry], categories=[category]), "coco")
    assert (fault["place"], fault["field"]) == ("annotations.0", "data.skeleton.0")


def test_names_that_count_from_0_beside_classes_that_count_from_1() -> None:
    entries = [{"image_id": "leaf.png", "category_id": n, "score": 0.5, "bbox": [1, 2, 3, 4]} for n in (1, 2)]
    (fault,) = faults(entries, "coco-results", names={"0": "leaf", "1": "stem"})
    assert fault["reason"].startswith("The classes seem to be numbered from 1 to 2, but the names from 0")
    for names in ({"1": "leaf", "2": "stem"}, {"0": "none", "1": "leaf", "2": "stem"}):
        assert [row[1] for row in rows(load(entries, "coco-results", names=names))] == ["leaf", "stem"]
    (part,) = split_file(json.dumps(entries).encode(), "coco-results").parts  # type: ignore[union-attr]
    with pytest.raises(InvalidPayload):
        load_part(part, "coco-results", names={"0": "leaf", "1": "stem"})
