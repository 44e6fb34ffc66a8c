"""The files of tests/data/importers, by their format."""

from typing import Any

import pytest

from tests.importers.reading import DATA

GOLDEN: dict[str, tuple[str, dict[str, Any]]] = {
    "json": ("loupe.json", {}),
    "ndjson": ("loupe.ndjson", {}),
    "coco": ("coco.json", {}),
    "coco-results": ("coco-results-*.json", {"called": "7"}),
    "ultralytics": ("ultralytics-*.json", {}),
    "label-studio": ("label-studio.json", {}),
    "geojson": ("geojson*.json", {}),
    "supervision": ("supervision*.json", {}),
    "fiftyone": ("fiftyone*.json", {}),
    "torchvision": ("torchvision-*.json", {}),
    "detectron2": ("detectron2-*.json", {"called": "7"}),
    "mmdetection": ("mmdetection.json", {}),
    "rekognition": ("rekognition.json", {}),
    "google-vision": ("google-vision.json", {}),
    "azure-vision": ("azure-vision*.json", {}),
    "yolo": ("yolo-*.txt", {"names": {"0": "leaf", "1": "stem"}}),
}
"""By format: what its files are called, and what is told with them."""

FILES = [
    pytest.param(name, file, told, id=file.name)
    for name, (pattern, told) in GOLDEN.items()
    for file in sorted(DATA.glob(pattern))
]
