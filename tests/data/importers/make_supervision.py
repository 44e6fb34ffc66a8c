"""Writes supervision-sink.json and supervision.json beside this file, with supervision 0.31.2.

Detections have no JSON form of their own: the second is `dataclasses.asdict` with arrays as lists.
"""

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import supervision as sv

HERE = Path(__file__).parent
mask = np.zeros((2, 48, 64), dtype=bool)
mask[0, 10:30, 5:25] = True
mask[0, 12, 12] = False
mask[1, 0:48, 60:64] = True
detections = sv.Detections(
    xyxy=np.array([[5.0, 10.0, 25.0, 30.0], [60.0, 0.0, 64.0, 48.0]]),
    mask=mask,
    confidence=np.array([0.875, 0.25], dtype=np.float32),
    class_id=np.array([3, 0]),
    tracker_id=np.array([11, 12]),
    data={"class_name": np.array(["leaf", "stem"])},
    metadata={"source": "leaf-net"},
)
bare = sv.Detections(xyxy=np.array([[1.5, 2.5, 9.0, 12.0]]))

with sv.JSONSink(str(HERE / "supervision-sink.json")) as sink:
    sink.append(detections, custom_data={"file_name": "pictures/leaf.png", "frame_index": 0})
    sink.append(bare, custom_data={"file_name": "pictures/leaf.png"})
    sink.append(detections, custom_data={"file_name": "pictures/tree.png"})


def plain(value: Any) -> Any:
    return value.tolist() if isinstance(value, np.ndarray) else value


columns = {field.name: getattr(detections, field.name) for field in dataclasses.fields(detections)}
columns["data"] = {name: plain(column) for name, column in detections.data.items()}
columns = {name: plain(column) for name, column in columns.items()}
columns["mask"] = mask.astype(int).tolist()
(HERE / "supervision.json").write_text(json.dumps(columns) + "\n")
