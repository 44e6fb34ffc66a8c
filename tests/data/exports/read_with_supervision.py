"""What supervision reads from the files that `tests/exports/test_read_back.py` writes: makes supervision.json.

pip install supervision==0.31.2
python -m pytest tests/exports/test_read_back.py --basetemp=/tmp/written
python tests/data/exports/read_with_supervision.py /tmp/written/*/out > tests/data/exports/supervision.json
"""

import hashlib
import json
import sys
from pathlib import Path

import supervision

READ = (".txt", "data.yaml", ".xml", "dataset.json")


def digest(folder: Path) -> str:
    """As the tests compute it of the files that are read."""
    paths = (path for path in folder.rglob("*") if path.name.endswith(READ))
    read = {path.relative_to(folder).as_posix(): path.read_bytes().decode() for path in paths}
    return hashlib.sha256(json.dumps(read, sort_keys=True).encode()).hexdigest()


def told(dataset: supervision.DetectionDataset) -> dict[str, object]:
    found = {}
    for path, _, detections in dataset:
        found[Path(path).name] = [
            {
                "class": dataset.classes[number],
                "box": [round(float(value), 3) for value in box],
                **({} if detections.mask is None else {"pixels": int(detections.mask[at].sum())}),
            }
            for at, (box, number) in enumerate(zip(detections.xyxy, detections.class_id, strict=True))
        ]
    return {name: found[name] for name in sorted(found)}


def yolo(folder: Path, labels: Path, masks: bool) -> dict[str, object]:
    return told(
        supervision.DetectionDataset.from_yolo(
            images_directory_path=str(folder / "images"),
            annotations_directory_path=str(labels / "labels"),
            data_yaml_path=str(labels / "data.yaml"),
            force_masks=masks,
        )
    )


def main(folder: Path) -> None:
    pictures = str(folder / "images")
    voc = folder / "voc/net-1/Annotations"
    dataset = folder / "dataset.json"
    said = {
        "supervision": supervision.__version__,
        "files": digest(folder),
        "yolo/detect": yolo(folder, folder / "yolo/net-1/detect", masks=False),
        "yolo/segment": yolo(folder, folder / "yolo/net-1/segment", masks=True),
        "yolo/pose2": yolo(folder, folder / "yolo/net-1/pose2", masks=False),
        "voc": told(supervision.DetectionDataset.from_pascal_voc(pictures, str(voc))),
        "coco": told(supervision.DetectionDataset.from_coco(pictures, str(dataset), force_masks=True)),
    }
    print(json.dumps(said).replace('], "', '],\n "').replace('}, "', '},\n"'))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
