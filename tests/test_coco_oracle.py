"""Run-length masks against pycocotools: decoded, measured and outlined exactly as it says."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image as Picture
from PIL import ImageDraw
from pycocotools import mask as coco

from app.annotations import TYPES
from app.geometry import Frame, Point, Raster, decode_crop, outlines, raster_area, raster_box, shape_bounds

# pycocotools 2.0.11 has not caught up with the copy keyword of numpy 2
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")
Mask = NDArray[np.uint8]
ROOT = Path(__file__).resolve().parent.parent
SEGMENTATION = TYPES["segmentation"]


def random_masks(count: int) -> Iterator[Mask]:
    """Noise, blobs, blobs with holes, single pixels, full and empty ones, of all sizes and some 1 pixel wide."""
    random = np.random.default_rng(2026)
    for n in range(count):
        height, width = (int(side) for side in random.integers(1, 80, 2))
        y, x = np.mgrid[:height, :width]
        away = np.hypot(x - random.integers(0, width), y - random.integers(0, height))
        radius = random.integers(1, 60)
        pixel = np.zeros((height, width))
        pixel[random.integers(0, height), random.integers(0, width)] = 1
        kinds = (
            random.random((height, width)) < random.random(),
            away < radius,
            (away < radius) & (away > radius / 2) & (random.random((height, width)) < 0.97),
            pixel,
            np.full((height, width), n % 16 == 4),
        )
        yield np.asfortranarray(kinds[n % len(kinds)], dtype=np.uint8)


def uncompressed(mask: Mask) -> list[int]:
    flat = mask.ravel(order="F")
    borders = np.concatenate(([0], np.flatnonzero(np.diff(flat)) + 1, [flat.size]))
    runs: list[int] = np.diff(borders).tolist()
    return [0, *runs] if flat[0] else runs


def filled(rings: list[tuple[Point, ...]], frame: Frame) -> Mask:
    """Even-odd by the book: each vertical side turns all that is to its right."""
    turned = np.zeros((frame.height, frame.width), dtype=np.uint8)
    for ring in rings:
        for (x, y), (next_x, next_y) in zip(ring, [*ring[1:], ring[0]], strict=True):
            assert (x == next_x) != (y == next_y), "a side is upright or level, and goes somewhere"
            if x == next_x:
                turned[int(min(y, next_y)) : int(max(y, next_y)), int(x) :] ^= 1
    return turned


def assert_as_coco_says(mask: Mask, counts: str | list[int]) -> None:
    height, width = mask.shape
    frame = Frame(width, height)
    loaded = SEGMENTATION.load({"format": "rle", "counts": counts, "size": [height, width]}, frame)
    (raster,) = SEGMENTATION.shapes(loaded.data, frame)
    assert isinstance(raster, Raster)
    encoded = coco.encode(mask)
    assert raster_area(raster) == coco.area(encoded)
    assert SEGMENTATION.row(loaded.data)["area"] == coco.area(encoded)
    decoded, crop = np.zeros_like(mask), decode_crop(raster)
    if crop is not None:
        (left, top, right, bottom), inside = crop
        assert [left, top, right - left, bottom - top] == coco.toBbox(encoded).tolist()
        decoded[top:bottom, left:right] = inside
    assert (crop is None) == (raster_box(raster) is None) == (not mask.any())
    assert np.array_equal(decoded, coco.decode(encoded))
    assert np.array_equal(filled(outlines(raster, frame), frame), mask)


def test_a_thousand_random_masks() -> None:
    for n, mask in enumerate(random_masks(1000)):
        assert_as_coco_says(mask, uncompressed(mask) if n % 2 else coco.encode(mask)["counts"].decode())


def coins() -> list[Mask]:
    """The coins of the example picture, as its pipeline finds them: Otsu's threshold, then what hangs together."""
    pixels = np.asarray(Picture.open(ROOT / "scripts" / "demo_images" / "coins.png").convert("L"))
    counts, levels = np.bincount(pixels.ravel(), minlength=256), np.arange(256)
    below, total = np.cumsum(counts), np.cumsum(counts * levels)
    between = (total[-1] * below / below[-1] - total) ** 2 / np.maximum(below * (below[-1] - below), 1)
    picture = Picture.fromarray(np.where(pixels > between.argmax(), 255, 0).astype(np.uint8)).copy()
    found = []
    for y, x in np.argwhere(np.asarray(picture) == 255).tolist():
        if picture.getpixel((x, y)) == 255:
            ImageDraw.floodfill(picture, (x, y), 128)
            coin = np.asarray(picture) == 128
            ImageDraw.floodfill(picture, (x, y), 1)
            if coin.sum() >= 100:
                found.append(np.asfortranarray(coin, dtype=np.uint8))
    return found


def test_the_real_coins() -> None:
    masks = coins()
    assert len(masks) >= 22
    for mask in masks:
        assert_as_coco_says(mask, coco.encode(mask)["counts"].decode())


def test_polygons_are_bounded_as_coco_draws_them() -> None:
    random, frame = np.random.default_rng(7), Frame(120, 90)
    for _ in range(100):
        corners = random.integers(0, (121, 91), (int(random.integers(3, 9)), 2))
        ring = corners.ravel().astype(float).tolist()
        loaded = SEGMENTATION.load({"format": "polygon", "polygons": [ring]}, frame)
        (shape,) = SEGMENTATION.shapes(loaded.data, frame)
        box = shape_bounds(shape, frame)
        (encoded,) = coco.frPyObjects([ring], frame.height, frame.width)
        x, y, width, height = coco.toBbox(encoded)
        assert box is not None
        assert box.x_min - 1 <= x and x + width <= box.x_max + 1
        assert box.y_min - 1 <= y and y + height <= box.y_max + 1


def test_an_outline_is_stretched_over_the_image() -> None:
    mask = np.zeros((4, 8), dtype=np.uint8)
    mask[1:3, 2:4] = 1
    raster = Raster(8, 4, np.array(uncompressed(mask)))
    assert outlines(raster, Frame(80, 80)) == [((20, 20), (40, 20), (40, 60), (20, 60))]


def test_an_outline_of_noise_is_bounded() -> None:
    noise = np.asfortranarray(np.random.default_rng(1).random((900, 1100)) < 0.5, dtype=np.uint8)
    raster = Raster(1100, 900, np.array(uncompressed(noise)))
    rings = outlines(raster, Frame(1100, 900), most=5000)
    assert 500 < sum(map(len, rings)) <= 5000
    assert all(0 <= x <= 1100 and 0 <= y <= 900 for ring in rings for x, y in ring)
