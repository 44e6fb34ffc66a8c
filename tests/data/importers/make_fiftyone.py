"""Writes fiftyone.json and fiftyone-labels.json beside this file, with fiftyone 1.22.1 and without its database.

The first is what the labels' own `to_json` gives, in the frame of a dataset export (`fo.types.FiftyOneDataset`, whose
`samples.json` is `{"samples": […]}`); fiftyone-masks.txt is how fiftyone draws its
masks. The second is the `labels.json` of a `fo.types.FiftyOneImageDetectionDataset`, by its documentation.
"""

import json
import os
from pathlib import Path

os.environ["FIFTYONE_DO_NOT_TRACK"] = "true"
os.environ["FIFTYONE_DATABASE_VALIDATION"] = "false"

import fiftyone as fo
import numpy as np

HERE = Path(__file__).parent
mask = np.zeros((6, 8), dtype=bool)
mask[1:5, 2:7] = True
mask[0, 0] = True
detections = fo.Detections(
    detections=[
        fo.Detection(
            label="leaf",
            bounding_box=[0.125, 0.25, 0.5, 0.25],
            confidence=0.875,
            iscrowd=False,
            tags=["first"],
        ),
        fo.Detection(label="rust", bounding_box=[0.25, 0.25, 0.125, 0.125], confidence=0.5, mask=mask),
        fo.Detection(
            label="rust", bounding_box=[0.25, 0.25, 0.25, 0.25], mask=mask.astype(np.uint8) * 255, index=3
        ),
        fo.Detection(label="stem", bounding_box=[0.0, 0.0, 0.5, 0.5], mask_path="/masks/1.png"),
    ]
)
polylines = fo.Polylines(
    polylines=[
        fo.Polyline(
            label="leaf", points=[[(0.25, 0.25), (0.75, 0.25), (0.5, 0.75)]], closed=True, filled=True
        ),
        fo.Polyline(
            label="spots",
            points=[[(0.0, 0.0), (0.25, 0.0), (0.25, 0.25)], [(0.5, 0.5), (1.0, 0.5), (1.0, 1.0)]],
            closed=True,
            filled=True,
            confidence=0.75,
        ),
        fo.Polyline(label="vein", points=[[(0.0, 0.5), (0.5, 0.5), (1.0, 0.75)]], closed=False, filled=False),
    ]
)
keypoints = fo.Keypoints(
    keypoints=[
        fo.Keypoint(
            label="plant",
            points=[(0.5, 0.25), (float("nan"), float("nan")), (0.25, 1.0)],
            confidence=[0.5, 0.25, 1.0],
        )
    ]
)
sample = fo.Sample(
    filepath="/data/pictures/leaf.png",
    tags=["validation"],
    metadata=fo.ImageMetadata(width=64, height=48, num_channels=3),
    predictions=detections,
    outlines=polylines,
    pose=keypoints,
    kind=fo.Classification(label="tree", confidence=0.625, logits=np.array([0.5, 1.5])),
    season=fo.Classifications(
        classifications=[fo.Classification(label="spring"), fo.Classification(label="dry", confidence=0.25)]
    ),
    heat=fo.Heatmap(map_path="/maps/1.png"),
    uniqueness=0.75,
)
other = fo.Sample(filepath="/data/pictures/tree.png", predictions=detections)


samples = [json.loads(one.to_json()) for one in (sample, other)]
(HERE / "fiftyone.json").write_text(json.dumps({"samples": samples}) + "\n")
drawn = [
    fo.Detections(detections=[one]).to_segmentation(frame_size=(64, 48)).mask
    for one in detections.detections[1:3]
]
rows = ["\n".join("".join("#" if pixel else "." for pixel in row) for row in mask) for mask in drawn]
(HERE / "fiftyone-masks.txt").write_text("\n\n".join(rows) + "\n")
labels = {
    "classes": ["leaf", "stem"],
    "labels": {
        "leaf": [
            {
                "label": "leaf",
                "bounding_box": [0.125, 0.25, 0.5, 0.25],
                "confidence": 0.875,
                "attributes": {"age": 3},
            },
            {"label": 1, "bounding_box": [0.0, 0.0, 0.5, 0.5]},
        ],
        "tree": None,
    },
}
(HERE / "fiftyone-labels.json").write_text(json.dumps(labels) + "\n")
