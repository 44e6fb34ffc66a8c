"""Writes label-studio.json beside this file, with label-studio-sdk 2.1.2: `mask2rle` of its converter makes the brush,
and `LabelInterface.validate_prediction` says of the prediction that a labelling set-up of these tags takes it.

The rest is as https://labelstud.io/guide/predictions shows it. label-studio-brush.txt is what the brush covers.
"""

import json
from pathlib import Path
from typing import Any

import numpy as np
from label_studio_sdk.converter.brush import decode_rle, mask2rle
from label_studio_sdk.label_interface import LabelInterface

HERE = Path(__file__).parent
WIDTH, HEIGHT = 64, 48
INTERFACE = """
<View>
  <Image name="img" value="$image"/>
  <RectangleLabels name="box" toName="img"><Label value="leaf"/><Label value="stem"/></RectangleLabels>
  <EllipseLabels name="oval" toName="img"><Label value="fruit"/></EllipseLabels>
  <PolygonLabels name="outline" toName="img"><Label value="leaf"/></PolygonLabels>
  <KeyPointLabels name="point" toName="img"><Label value="tip"/></KeyPointLabels>
  <BrushLabels name="brush" toName="img"><Label value="rust"/></BrushLabels>
  <Choices name="kind" toName="img" choice="single"><Choice value="tree"/><Choice value="shrub"/></Choices>
  <TextArea name="note" toName="img"/>
</View>
"""

down, across = np.mgrid[:HEIGHT, :WIDTH]
mask = (((across - 30) / 18) ** 2 + ((down - 20) / 11) ** 2 <= 1).astype(np.uint8) * 255
mask[5:8, 5:8] = 255
rle = mask2rle(mask)
assert (decode_rle(rle).reshape(HEIGHT, WIDTH, 4)[:, :, 3] == mask).all()


def result(name: str, kind: str, value: dict[str, Any], **more: Any) -> dict[str, Any]:
    size = {"original_width": WIDTH, "original_height": HEIGHT, "image_rotation": 0}
    head = {"id": f"{name}-{kind}"[:10], "from_name": name, "to_name": "img", "type": kind}
    return {**head, **(size if kind not in ("choices", "textarea") else {}), "value": value, **more}


box = {"x": 12.5, "y": 25.0, "width": 50.0, "height": 12.5, "rotation": 0}
results = [
    result("box", "rectanglelabels", {**box, "rectanglelabels": ["leaf"]}, score=0.93),
    result(
        "box", "rectanglelabels", {**box, "rotation": 90, "x": 50.0, "rectanglelabels": ["stem"]}, score=0.5
    ),
    result("box", "rectanglelabels", {**box, "rectanglelabels": ["leaf", "stem"]}),
    result(
        "oval",
        "ellipselabels",
        {"x": 50.0, "y": 50.0, "radiusX": 12.5, "radiusY": 25.0, "rotation": 0, "ellipselabels": ["fruit"]},
        score=0.25,
    ),
    result(
        "outline",
        "polygonlabels",
        {"points": [[25.0, 25.0], [75.0, 25.0], [50.0, 75.0]], "closed": True, "polygonlabels": ["leaf"]},
        score=0.75,
    ),
    result(
        "point", "keypointlabels", {"x": 50.0, "y": 12.5, "width": 0.5, "keypointlabels": ["tip"]}, score=0.8
    ),
    result("brush", "brushlabels", {"format": "rle", "rle": rle, "brushlabels": ["rust"]}, score=0.625),
    result("kind", "choices", {"choices": ["tree"]}, score=0.875),
    result("note", "textarea", {"text": ["a leaf, seen from below"]}),
]
prediction = {"model_version": "leaf-net 1.4.0", "score": 0.7, "result": results}
assert LabelInterface(INTERFACE).validate_prediction(prediction)

person = {"id": 8, "completed_by": 1, "result": [results[0]], "was_cancelled": False}
tasks = [
    {
        "id": 3,
        "data": {"image": "/data/upload/2/0a1b2c3d-leaf.png"},
        "annotations": [person],
        "predictions": [prediction],
    },
    {"id": 4, "data": {"image": "/data/upload/2/0a1b2c3e-tree.png"}, "predictions": [prediction]},
]
(HERE / "label-studio.json").write_text(json.dumps(tasks) + "\n")
rows = ["".join("#" if pixel else "." for pixel in row) for row in mask]
(HERE / "label-studio-brush.txt").write_text("\n".join(rows) + "\n")
