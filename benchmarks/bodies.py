"""What the pipelines of a benchmark send: boxes on a photograph, the same on every machine.

Each box is a function of its rank alone, so a run knows what it must read back without keeping what it sent.
"""

import io
import random
from dataclasses import dataclass
from functools import cache
from typing import Any

import orjson
from PIL import Image

WIDTH, HEIGHT = 4096, 3072
CLASSES = ("car", "truck", "bus", "bicycle", "pedestrian", "traffic light", "traffic sign", "dog")


def box(rank: int) -> dict[str, Any]:
    """A detector's finding: a class, a confidence of four places, corners of two, where it stands in the ranking."""
    chance = random.Random(rank)
    x_min, y_min = chance.uniform(0, WIDTH - 400), chance.uniform(0, HEIGHT - 400)
    corners = {
        "x_min": round(x_min, 2),
        "y_min": round(y_min, 2),
        "x_max": round(x_min + chance.uniform(8, 399), 2),
        "y_max": round(y_min + chance.uniform(8, 399), 2),
    }
    return {
        "client_id": f"box-{rank:07}",
        "annotation_type": "bounding_box",
        "class_name": chance.choice(CLASSES),
        "confidence": round(chance.uniform(0.05, 0.9999), 4),
        "data": corners,
        "ordering": rank,
    }


@cache
def bulk(first: int, count: int) -> bytes:
    """The body of a bulk request with the boxes `first` to `first + count - 1`."""
    return orjson.dumps({"annotations": [box(rank) for rank in range(first, first + count)]})


@dataclass(frozen=True)
class Summary:
    """What tells one set of boxes from another: how many, two sums, and the ends."""

    count: int
    confidences: float
    left_edges: float
    first: str
    last: str


def expected(count: int) -> Summary:
    """Of the boxes 0 to `count - 1`."""
    return summary([box(rank) for rank in range(count)])


def summary(annotations: list[dict[str, Any]]) -> Summary:
    """Of annotations as an answer or an export has them."""
    return Summary(
        len(annotations),
        round(sum(float(one["confidence"]) for one in annotations), 2),
        round(sum(float(one["data"]["x_min"]) for one in annotations), 1),
        annotations[0]["client_id"] if annotations else "",
        annotations[-1]["client_id"] if annotations else "",
    )


@cache
def photograph() -> bytes:
    """An image of WIDTH × HEIGHT pixels that is small as a file."""
    file = io.BytesIO()
    Image.new("RGB", (WIDTH, HEIGHT), "#3f7f5f").save(file, "PNG")
    return file.getvalue()


@cache
def heatmap() -> bytes:
    file = io.BytesIO()
    Image.linear_gradient("L").save(file, "PNG")
    return file.getvalue()
