from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from marshmallow import ValidationError
from numpy.typing import NDArray
from pycocotools import mask as coco

from app.annotations import ALIASES, TYPES, Loaded
from app.annotations.base import Data
from app.geometry import Frame, Polygon, Raster, Rect

SEGMENTATION = TYPES["segmentation"]
FRAME = Frame(10, 9)
RING = [1, 1, 8, 1, 8, 7]

masks = hnp.arrays(
    np.uint8, hnp.array_shapes(min_dims=2, max_dims=2, max_side=40), elements=st.integers(0, 1)
)


def load(data: Any, frame: Frame = FRAME, storage_path: str | None = None) -> Loaded:
    return SEGMENTATION.load(data, frame, storage_path)


def refusal(data: Any, storage_path: str | None = None) -> list[str]:
    with pytest.raises(ValidationError) as caught:
        load(data, storage_path=storage_path)
    return list(caught.value.messages)


def uncompressed(mask: NDArray[np.uint8]) -> list[int]:
    """Runs by the book, one pixel after the other."""
    runs, value = [0], 0
    for pixel in mask.T.ravel().tolist():
        if pixel != value:
            runs.append(0)
            value = pixel
        runs[-1] += 1
    return runs


@given(masks)
def test_both_kinds_of_counts_mean_the_same(mask: NDArray[np.uint8]) -> None:
    height, width = mask.shape
    encoded = coco.encode(np.asfortranarray(mask))
    frame = Frame(width * 2, height * 3)
    size = {"size": [height, width]}
    text = load({"format": "rle", "counts": encoded["counts"].decode()} | size, frame)
    runs = load({"format": "rle", "counts": uncompressed(mask)} | size, frame)
    assert text.bounds == runs.bounds
    assert load(text.data, frame).data == text.data
    assert load(runs.data, frame).data == runs.data
    x, y, w, h = coco.toBbox(encoded)
    if mask.any():
        assert text.bounds == Rect(x * 2, y * 3, (x + w) * 2, (y + h) * 3)
    else:
        assert text.bounds is None
    assert SEGMENTATION.row(text.data)["area"] == SEGMENTATION.row(runs.data)["area"] == coco.area(encoded)


def test_the_size_is_the_images_where_it_is_left_out() -> None:
    assert load({"format": "rle", "counts": [90]}).data["size"] == [9, 10]
    assert load({"format": "rle", "counts": [90], "size": None}).data["size"] == [9, 10]
    framed = load({"format": "rle", "counts": [6], "image_width": 3, "image_height": 2})
    assert framed.data == {
        "format": "rle", "counts": [6], "size": [2, 3], "extra": {"image_width": 3, "image_height": 2},
    }  # fmt: skip
    assert load(framed.data).data == framed.data


def test_counts_may_be_whole_floats_and_extras_stay() -> None:
    loaded = load({"format": "rle", "counts": [10.0, 5, 75], "bbox": [1, 1, 1, 5], "area": 5, "id": 3})
    assert loaded.data == {
        "format": "rle", "counts": [10, 5, 75], "size": [9, 10], "bbox": [1.0, 1.0, 1.0, 5.0], "area": 5.0,
        "extra": {"id": 3},
    }  # fmt: skip
    assert loaded.bounds == Rect(1, 1, 2, 6)
    (shape,) = SEGMENTATION.shapes(loaded.data, FRAME)
    assert isinstance(shape, Raster)
    assert (shape.width, shape.height) == (10, 9)


@pytest.mark.parametrize(
    ("data", "field"),
    [
        ({"counts": [90]}, "format"),
        ({"format": "coco", "counts": [90]}, "format"),
        ({"format": None, "counts": [90]}, "format"),
        ({"format": ["rle"], "counts": [90]}, "format"),
        ({"format": "rle"}, "counts"),
        ({"format": "rle", "counts": [89]}, "counts"),
        ({"format": "rle", "counts": []}, "counts"),
        ({"format": "rle", "counts": ""}, "counts"),
        ({"format": "rle", "counts": "garbage counts"}, "counts"),
        ({"format": "rle", "counts": "\u00e9"}, "counts"),
        ({"format": "rle", "counts": "PPPPPPPPPP"}, "counts"),
        ({"format": "rle", "counts": "oooooooooooooooo0"}, "counts"),
        ({"format": "rle", "counts": {"0": 90}}, "counts"),
        ({"format": "rle", "counts": [80, 5.5, 4.5]}, "counts.1"),
        ({"format": "rle", "counts": [95, -5]}, "counts.1"),
        ({"format": "rle", "counts": [89, True]}, "counts.1"),
        ({"format": "rle", "counts": [90], "size": [10, 10]}, "counts"),
        ({"format": "rle", "counts": [90], "size": [9]}, "size"),
        ({"format": "rle", "counts": [0], "size": [0, 10]}, "size"),
        ({"format": "rle", "counts": [90], "size": [90_000, 90_000]}, "size"),
        ({"format": "rle", "counts": [90], "bbox": [1, 2, 3]}, "bbox"),
        ({"format": "rle", "counts": [90], "area": -1}, "area"),
        ({"format": "polygon"}, "polygons"),
        ({"format": "polygon", "polygons": []}, "polygons"),
        ({"format": "polygon", "polygons": [[1, 1, 2, 2]]}, "polygons.0"),
        ({"format": "polygon", "polygons": [RING, [*RING, 1]]}, "polygons.1"),
        ({"format": "polygon", "polygons": [RING, [[1, 1], [2, 2], [3, 3]]]}, "polygons.1"),
        ({"format": "polygon", "polygons": [[*RING, 1, "1"]]}, "polygons.0.7"),
        ({"format": "polygon", "polygons": [[*RING, 1, 19]]}, "polygons.0.3"),
        ({"format": "png"}, "storage_path"),
    ],
)
def test_refusals(data: Data, field: str) -> None:
    names = refusal(data)
    assert names[0] == field or names[0].startswith(field + ".")


def test_the_sum_is_named() -> None:
    with pytest.raises(ValidationError, match="adds up to 89"):
        load({"format": "rle", "counts": [89]})


def test_polygons_are_parts_of_one_thing() -> None:
    sent = {"format": "polygon", "polygons": [RING, [2, 2, 3, 2, 3, 3]], "area": 21}
    loaded = load(sent)
    assert loaded.data == {"format": "polygon", "polygons": sent["polygons"], "extra": {"area": 21}}
    assert loaded.bounds == Rect(1, 1, 8, 7)
    first, second = SEGMENTATION.shapes(loaded.data, FRAME)
    assert first == Polygon(((1, 1), (8, 1), (8, 7)))
    assert isinstance(second, Polygon)
    assert SEGMENTATION.row(loaded.data)["area"] == 21.5


def test_polygons_in_another_frame_are_scaled() -> None:
    loaded = load(
        {"format": "polygon", "polygons": [[0, 0, 2, 0, 2, 2]], "image_width": 5, "image_height": 3}
    )
    assert loaded.data["polygons"] == [[0, 0, 4, 0, 4, 6]]
    assert loaded.scaled_from == Frame(5, 3)
    assert load(loaded.data) == loaded._replace(scaled_from=None)


def test_png_stands_at_its_path() -> None:
    loaded = load({"format": "png", "labels": {"1": "road"}}, storage_path="m.png")
    assert loaded.data == {"format": "png", "extra": {"labels": {"1": "road"}}}
    assert loaded.bounds == Rect(0, 0, 10, 9)
    assert SEGMENTATION.needs_storage_path(loaded.data)
    assert SEGMENTATION.row(loaded.data)["area"] is None


def test_the_name_mask_is_a_segmentation_as_png() -> None:
    mask = ALIASES["mask"]
    assert mask.load({}, FRAME, "m.png").data == {"format": "png"}
    assert mask.load({"format": None, "w": 1}, FRAME, "m.png").data == {"format": "png", "extra": {"w": 1}}
    assert mask.load({"format": "rle", "counts": [90]}, FRAME, None).data["format"] == "rle"
    with pytest.raises(ValidationError):
        mask.load({}, FRAME, None)
