"""What supervision 0.31.2 reads from these files, as `tests/data/exports/read_with_supervision.py` had it say.

That library is not installed with the tests: the answer is kept, and with it the hash of the files that it read.
"""

import hashlib
import io
import json
import zipfile
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from uuid import UUID

import numpy as np
import pytest

from app.annotations import TYPES
from app.exports.coco_file import write_coco
from app.exports.losses import Losses
from app.exports.many import Entry
from app.exports.voc_file import write_voc
from app.exports.yolo_file import write_yolo
from app.geometry import Frame, runs_of, shape_bounds, union
from tests.factories import picture
from tests.support.said import said

KEPT = Path(__file__).parent.parent / "data" / "exports" / "supervision.json"
SIZES = {"a.png": Frame(64, 48), "b c.png": Frame(333, 77)}
ENDING = {".txt": "yolo", ".yaml": "yolo", ".xml": "voc"}


def rows_of(number: int, frame: Frame) -> list[Any]:
    """Boxes, masks with holes and parts, outlines and keypoints; the classes have names that need quoting."""
    width, height = frame
    mask = np.zeros((height, width), dtype=bool)
    mask[5:30, 7:40] = True
    mask[10:20, 15:30] = False
    mask[35:40, 50:60] = True
    ring = [[3, 4], [width - 6, 9], [width / 2, height - 5]]
    hole = [[20, 12], [40, 12], [30, 20]]
    data: list[tuple[str, dict[str, Any], str]] = [
        ("bounding_box", {"x_min": 4, "y_min": 6, "x_max": 44, "y_max": 40}, "leaf"),
        ("bounding_box", {"x_min": -5, "y_min": 10, "x_max": width + 5, "y_max": 33.25}, "# <oak> & 'ash'"),
        ("segmentation", {"format": "rle", "counts": runs_of(mask).tolist()}, "no"),
        ("polygon", {"points": ring, "holes": [hole]}, "leaf"),
        ("keypoint", {"keypoints": [{"name": "a", "x": 9, "y": 9}, {"name": "b", "x": 30, "y": 40}]}, "tip"),
    ]
    return [
        said(kind, one, frame, 10 * number + n, class_name=name) for n, (kind, one, name) in enumerate(data)
    ]


def entries() -> Iterator[Entry]:
    for number, (filename, frame) in enumerate(SIZES.items(), 1):
        image_id = UUID(int=number)
        row = SimpleNamespace(
            filename=filename, width=frame.width, height=frame.height, image_id=image_id, project_id=image_id
        )
        about = {"id": str(UUID(int=number)), "image_id": str(image_id), "status": "completed"}
        about |= {"model_name": "net", "model_version": "1"}
        yield Entry(about, row, iter([rows_of(number, frame)]))  # type: ignore[arg-type]


@pytest.fixture
def files(tmp_path: Path) -> dict[str, bytes]:
    """Every file by its name, and in the folder `out` for whoever reads it with other programs."""
    head = {"schema_version": "1.0"}
    found = {"dataset.json": b"".join(write_coco(head, entries(), Losses()))}
    for name, write in (("yolo", write_yolo), ("voc", write_voc)):
        with zipfile.ZipFile(io.BytesIO(b"".join(write(head, entries(), Losses())))) as opened:
            found |= {f"{name}/{one}": opened.read(one) for one in opened.namelist()}
    for name, (width, height) in SIZES.items():
        found[f"images/{name}"] = picture(width, height)
    for name, content in found.items():
        path = tmp_path / "out" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    return found


READ = (".txt", "data.yaml", ".xml", "dataset.json")


def digest(files: dict[str, bytes]) -> str:
    read = {name: content.decode() for name, content in files.items() if name.endswith(READ)}
    return hashlib.sha256(json.dumps(read, sort_keys=True).encode()).hexdigest()


def expected(row: Any, frame: Frame) -> list[float]:
    box = union(shape_bounds(shape, frame) for shape in TYPES[row.annotation_type].shapes(row.data, frame))
    assert box is not None
    return [
        max(box.x_min, 0),
        max(box.y_min, 0),
        min(box.x_max, frame.width),
        min(box.y_max, frame.height),
    ]


def test_the_files_are_those_that_were_read(files: dict[str, bytes]) -> None:
    assert json.loads(KEPT.read_text())["files"] == digest(files), "write supervision.json again"


@pytest.mark.parametrize(
    ("read", "kinds", "within"),
    [
        ("yolo/detect", {"bounding_box"}, 0.001),
        ("yolo/segment", {"segmentation", "polygon"}, 1.01),  # the box of the pixels that it fills
        ("yolo/pose2", {"keypoint"}, 0.001),
        ("voc", {"bounding_box", "segmentation", "polygon", "keypoint"}, 0.5),
    ],
)
def test_boxes_and_classes(read: str, kinds: set[str], within: float) -> None:
    told = json.loads(KEPT.read_text())[read]
    for number, (name, frame) in enumerate(SIZES.items(), 1):
        rows = [row for row in rows_of(number, frame) if row.annotation_type in kinds]
        assert [one["class"] for one in told[name]] == [row.class_name for row in rows]
        for one, row in zip(told[name], rows, strict=True):
            assert one["box"] == pytest.approx(expected(row, frame), abs=within)


def test_masks() -> None:
    """From YOLO it fills the pixels on the border too; from COCO it decodes what was written."""
    told = json.loads(KEPT.read_text())
    for name in SIZES:
        kept = {one["class"]: one["pixels"] for one in told["coco"][name]}
        assert kept["no"] == 25 * 33 - 10 * 15 + 5 * 10
        (mask,) = (one for one in told["yolo/segment"][name] if one["class"] == "no")
        assert kept["no"] <= mask["pixels"] <= kept["no"] + 160
