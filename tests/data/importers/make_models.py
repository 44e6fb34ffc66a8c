"""Writes detectron2-*.json and mmdetection.json beside this file.

Neither library was run. Detectron2 is not on PyPI. MMDetection 3.3.0 is, with mmcv-lite, but beside that `mmdet.apis`
cannot be imported: it needs `mmcv._ext`, the compiled operators. mmcv itself (2.1.0, as 2.2.0 is refused) is there only
as source. Its setup.py imports pkg_resources, which setuptools has dropped; with one below 81 it compiles some 80 files
against torch, which was begun but not waited for. So the answers are written down as their
documentation and source have them (Detectron2 0.6 `instances_to_coco_json`, `BoxMode`, dataset dicts, `Instances`;
MMDetection 3.3 `DetInferencer.pred2dict`). The run-lengths are made by pycocotools 2.0.11, as both do it themselves.
"""

import json
from pathlib import Path
from typing import Any

import numpy as np
from pycocotools import mask as masks

HERE = Path(__file__).parent
WIDTH, HEIGHT = 64, 48
BOXES = [[5.0, 10.0, 25.0, 30.0], [40.5, 4.25, 60.0, 44.0]]
SCORES = [0.9873046875, 0.25]


def drawn(box: list[float]) -> Any:
    down, across = np.mgrid[:HEIGHT, :WIDTH]
    x_min, y_min, x_max, y_max = box
    x, y = (x_min + x_max) / 2, (y_min + y_max) / 2
    return ((across - x) / (x_max - x)) ** 2 + ((down - y) / (y_max - y)) ** 2 < 1


def rle(box: list[float]) -> dict[str, Any]:
    found = masks.encode(np.asfortranarray(drawn(box), dtype=np.uint8))
    return {"size": found["size"], "counts": found["counts"].decode()}


def write(name: str, content: Any) -> None:
    (HERE / name).write_text(json.dumps(content) + "\n")


write(
    "mmdetection.json",
    {"labels": [0, 2], "scores": SCORES, "bboxes": BOXES, "masks": [rle(box) for box in BOXES]},
)

xywh = [[x_min, y_min, x_max - x_min, y_max - y_min] for x_min, y_min, x_max, y_max in BOXES]
results = [
    {"image_id": 7, "category_id": 1, "bbox": xywh[0], "score": SCORES[0], "segmentation": rle(BOXES[0])},
    {
        "image_id": 7,
        "category_id": 2,
        "bbox": xywh[1],
        "score": SCORES[1],
        "keypoints": [44.0, 10.0, 0.5] * 2,
    },
]
write("detectron2-results.json", [*results, {**results[0], "image_id": 8}])
write(
    "detectron2-predictions.json", [{"image_id": 7, "instances": results}, {"image_id": 8, "instances": []}]
)
write(
    "detectron2-dataset.json",
    [
        {
            "file_name": "pictures/leaf.png",
            "height": 96,
            "width": 128,
            "image_id": 7,
            "annotations": [
                {"bbox": [10.0, 20.0, 50.0, 60.0], "bbox_mode": 0, "category_id": 0, "iscrowd": 0},
                {"bbox": [10.0, 20.0, 40.0, 40.0], "bbox_mode": 1, "category_id": 1},
                {"bbox": [0.25, 0.5, 0.5, 1.0], "bbox_mode": "BoxMode.XYXY_REL", "category_id": 1},
                {"bbox": [64.0, 48.0, 40.0, 20.0, 90.0], "bbox_mode": 4, "category_id": 1},
                {
                    "bbox": [10.0, 20.0, 40.0, 40.0],
                    "bbox_mode": 1,
                    "category_id": 2,
                    "segmentation": [[10.0, 20.0, 50.0, 20.0, 50.0, 60.0]],
                    "keypoints": [10.0, 20.0, 2, 50.0, 60.0, 1],
                },
            ],
        },
        {"file_name": "pictures/tree.png", "height": 9, "width": 9, "image_id": 8, "annotations": []},
    ],
)
fields = {
    "pred_boxes": BOXES,
    "scores": SCORES,
    "pred_classes": [0, 1],
    "pred_masks": [drawn(box).tolist() for box in BOXES],
    "pred_keypoints": [[[8.0, 12.0, 0.75]], [[44.0, 10.0, 0.5]]],
    "image_size": [HEIGHT, WIDTH],
}
write("detectron2-instances.json", {"instances": fields})
