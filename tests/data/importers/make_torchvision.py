"""Writes torchvision-*.json beside this file: what detection models of torchvision give, with tensors as lists.

Made with torchvision 0.28.0 and torch 2.13.0 as PyPI has it: torchvision's wheel does not load beside a `+cpu` one.
The models are whole but have learned nothing: their weights are drawn from a seed, so that none are fetched. What they
find means nothing; the form and all that is done to it on the way out (boxes, masks and keypoints brought back to the
image's size, which is half of what the models look at) are the library's.
"""

import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torchvision.models import detection

HERE = Path(__file__).parent
WIDTH, HEIGHT = 64, 48
SMALL: dict[str, Any] = {
    "weights": None,
    "weights_backbone": None,
    "num_classes": 4,
    "min_size": 2 * HEIGHT,
    "max_size": 2 * WIDTH,
    "box_detections_per_img": 2,
}

down, across = np.mgrid[:HEIGHT, :WIDTH]
discs = [np.hypot(across - 17, down - 12) < 8, np.hypot(across - 35, down - 28) < 15]
IMAGE = torch.tensor(np.array([discs[1], discs[0], discs[0] & discs[1]])).float()
MODELS = {
    "boxes": (detection.fasterrcnn_mobilenet_v3_large_fpn, {}),
    "masks": (detection.maskrcnn_resnet50_fpn, {}),
    "keypoints": (detection.keypointrcnn_resnet50_fpn, {"num_keypoints": 2}),
}

for name, (make, more) in MODELS.items():
    torch.manual_seed(0)
    model = make(**SMALL, **more).eval()
    with torch.inference_mode():
        outputs = model([IMAGE])
    lists = [{key: tensor.tolist() for key, tensor in output.items()} for output in outputs]
    (HERE / f"torchvision-{name}.json").write_text(json.dumps(lists) + "\n")
