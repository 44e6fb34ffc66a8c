"""Writes coco.json and coco-results-*.json beside this file, with the mask functions of pycocotools 2.0.11.

What it wrote was read back by `COCO` and `loadRes` of the same version; tests do so again.
"""

import json
from pathlib import Path
from typing import Any

import numpy as np
from pycocotools import mask as masks

HERE = Path(__file__).parent
WIDTH, HEIGHT = 64, 48
POINTS = ["tip", "base", "left", "right"]


def disc(x: float, y: float, radius: float) -> dict[str, Any]:
    down, across = np.mgrid[:HEIGHT, :WIDTH]
    pixels = np.asfortranarray(np.hypot(across - x, down - y) < radius, dtype=np.uint8)
    encoded = masks.encode(pixels)
    box, area = masks.toBbox(encoded).tolist(), int(masks.area(encoded))
    return {
        "segmentation": {"size": encoded["size"], "counts": encoded["counts"].decode()},
        "bbox": box,
        "area": area,
    }


def uncompressed(mask: dict[str, Any]) -> dict[str, Any]:
    flat = masks.decode({**mask, "counts": mask["counts"].encode()}).ravel(order="F")
    borders = np.flatnonzero(np.diff(flat)) + 1
    runs = np.diff([0, *borders.tolist(), flat.size]).tolist()
    return {"size": mask["size"], "counts": [0, *runs] if flat[0] else runs}


crowd = disc(40, 30, 9)
crowd["segmentation"] = uncompressed(crowd["segmentation"])
keypoints = [20, 5, 2, 20, 25, 2, 10, 15, 1, 0, 0, 0]
entries: list[dict[str, Any]] = [
    {"image_id": 7, "category_id": 1, **disc(20, 20, 8), "iscrowd": 0},
    {"image_id": 7, "category_id": 1, **crowd, "iscrowd": 1},
    {
        "image_id": 7,
        "category_id": 2,
        "segmentation": [[2, 2, 20.5, 2, 20.5, 10.25, 2, 10.25], [30, 30, 40, 30, 40, 40]],
        "bbox": [2, 2, 38, 38],
        "area": 202.6,
        "iscrowd": 0,
    },
    {"image_id": 8, "category_id": 1, **disc(20, 20, 5), "iscrowd": 0},
    {
        "image_id": 7,
        "category_id": 3,
        "segmentation": [],
        "bbox": [5, 2, 20, 30],
        "area": 600,
        "iscrowd": 0,
        "keypoints": keypoints,
        "num_keypoints": 3,
    },
    {
        "image_id": 7,
        "category_id": 3,
        "bbox": [1, 1, 3, 4],
        "area": 12,
        "iscrowd": 0,
        "keypoints": [0] * 12,
        "num_keypoints": 0,
    },
]
dataset = {
    "info": {"description": "Leaves"},
    "licenses": [],
    "images": [
        {"id": 7, "file_name": "train/leaf.png", "width": WIDTH, "height": HEIGHT},
        {"id": 8, "file_name": "train/stem.png", "width": WIDTH, "height": HEIGHT},
    ],
    "annotations": [{"id": 100 + n, **entry} for n, entry in enumerate(entries)],
    "categories": [
        {"id": 1, "name": "leaf", "supercategory": "plant"},
        {"id": 2, "name": "stem", "supercategory": "plant"},
        {"id": 3, "name": "tree", "keypoints": POINTS, "skeleton": [[1, 2], [3, 4]]},
    ],
}
results: dict[str, list[dict[str, Any]]] = {
    "bbox": [
        {"image_id": 7, "category_id": 1, "bbox": disc(20, 20, 8)["bbox"], "score": 0.9612345678},
        {"image_id": 8, "category_id": 2, "bbox": [1.5, 2.5, 10.25, 12], "score": 0.5},
        {"image_id": 7, "category_id": 2, "bbox": [1.5, 2.5, 10.25, 12], "score": 0.25},
    ],
    "segm": [
        {"image_id": 7, "category_id": 1, "segmentation": disc(20, 20, 8)["segmentation"], "score": 0.75},
        {"image_id": 7, "category_id": 2, "segmentation": disc(40, 30, 5)["segmentation"], "score": 0.125},
    ],
    "keypoints": [
        {
            "image_id": 7,
            "category_id": 3,
            "keypoints": [20, 5, 0.9, 20, 25, 0.8, 1, 1, 0.1, 2, 2, 0.05],
            "score": 0.625,
        },
    ],
}
files = {"coco": dataset, **{f"coco-results-{kind}": listed for kind, listed in results.items()}}
for name, content in files.items():
    (HERE / f"{name}.json").write_text(json.dumps(content) + "\n")
