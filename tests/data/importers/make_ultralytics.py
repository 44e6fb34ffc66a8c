"""Writes ultralytics-*.json and yolo-*.txt beside this file: what ultralytics writes of a model's output.

Made with ultralytics 8.4.190, torch 2.13.0 (CPU) and opencv-python-headless 5.0.0. The output itself is made up here,
so that no model is needed: `Results` with its own `to_json` and `save_txt` do the rest.
"""

from pathlib import Path

import numpy as np
import torch
from ultralytics.engine.results import Results

HERE = Path(__file__).parent
WIDTH, HEIGHT = 64, 48
NAMES = {0: "leaf", 1: "stem", 2: "tree"}
BOXES = torch.tensor([[4.25, 3.5, 30.75, 20.125, 0.93123456, 0], [10, 8, 60, 47.5, 0.5, 1]])
TRACKED = torch.tensor([[4.25, 3.5, 30.75, 20.125, 17, 0.93123456, 0]])  # the fifth is the track's id
TURNED = torch.tensor([[30, 20, 20, 10, 0.5, 0.75, 1]])  # x, y, width, height, angle
POINTS = torch.tensor(
    [[[10, 5, 0.99], [20, 15.5, 0.5], [30, 40, 0.01]], [[1, 2, 1], [3, 4, 0], [5, 6, 0.25]]]
)

down, across = np.mgrid[:HEIGHT, :WIDTH]
discs = [np.hypot(across - 17, down - 12) < 8, np.hypot(across - 35, down - 28) < 15]
MASKS = torch.tensor(np.array(discs)).float()
SCORES = torch.tensor([0.2, 0.7, 0.1])


def results(**output: torch.Tensor) -> Results:
    return Results(np.zeros((HEIGHT, WIDTH, 3), np.uint8), "leaf.png", NAMES, **output)


made = {
    "detect": results(boxes=BOXES),
    "track": results(boxes=TRACKED),
    "segment": results(boxes=BOXES, masks=MASKS),
    "pose": results(boxes=BOXES, keypoints=POINTS.clone()),
    "obb": results(obb=TURNED),
    "classify": results(probs=SCORES),
}
for task, one in made.items():
    (HERE / f"ultralytics-{task}.json").write_text(one.to_json() + "\n")
    if task != "classify":
        lines = HERE / f"yolo-{task}.txt"
        lines.unlink(missing_ok=True)
        one.save_txt(lines, save_conf=True)
(HERE / "ultralytics-normalized.json").write_text(made["detect"].to_json(normalize=True) + "\n")
bare = HERE / "yolo-bare.txt"
bare.unlink(missing_ok=True)
made["detect"].save_txt(bare)
