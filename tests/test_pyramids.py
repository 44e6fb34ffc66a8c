"""Large pictures in pieces: what stands in them is what stands in the picture."""

import io
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageCms

from app import pyramids
from app.errors import InvalidPayload
from app.geometry import Frame
from app.imaging import make_upright
from app.overlay.window import Tile, Window
from app.pyramids import (
    BASE_SIDE,
    MOST_AT_ONCE,
    SIDE,
    Piece,
    base_level,
    has_tile,
    is_large,
    size_at,
    tiles_in,
)

SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
JPEG_ERROR = 6
ODD = Frame(4099, 1501)


def smooth(frame: Frame) -> Image.Image:
    """A picture whose colour tells the place, without edges that JPEG would blur."""
    x = np.linspace(0, 255, frame.width, dtype=np.float32)
    y = np.linspace(0, 255, frame.height, dtype=np.float32)
    pixels = np.empty((frame.height, frame.width, 3), np.uint8)
    pixels[..., 0], pixels[..., 1], pixels[..., 2] = x, y[:, None], 90
    return Image.fromarray(pixels)


def encoded(picture: Image.Image, kind: str, **more: Any) -> io.BytesIO:
    file = io.BytesIO()
    picture.save(file, kind, **more)
    return file


def opened(piece: Piece) -> Image.Image:
    picture = Image.open(io.BytesIO(piece.content))
    assert Image.MIME[str(picture.format)] == piece.content_type
    return picture


def expected(picture: Image.Image, tile: Tile) -> np.ndarray:
    """The mean of the pixels of the picture under each of the tile, as numpy has it; at far sides of what is there."""
    pixels = np.asarray(picture).astype(np.float64)
    rect, step = tile.rect, 1 << tile.level
    part = pixels[int(rect.y_min) : int(rect.y_max), int(rect.x_min) : int(rect.x_max)]
    lack = [(0, -length % step) for length in part.shape[:2]]
    padded = np.pad(part, [*lack, (0, 0)], mode="edge")
    rows, columns = padded.shape[0] // step, padded.shape[1] // step
    return padded.reshape(rows, step, columns, step, -1).mean(axis=(1, 3))


def off(piece: Piece, wanted: np.ndarray) -> float:
    found = np.asarray(opened(piece)).astype(np.float64)
    assert found.shape == wanted.shape
    return float(np.abs(found - wanted).max())


@pytest.mark.parametrize(
    ("frame", "level", "base"),
    [
        (Frame(4096, 4096), 1, Frame(2048, 2048)),
        (Frame(4097, 1), 2, Frame(1025, 1)),
        (Frame(6000, 4500), 2, Frame(1500, 1125)),
        (Frame(10_000, 10_000), 3, Frame(1250, 1250)),
        (Frame(1, 50_001), 5, Frame(1, 1563)),
    ],
)
def test_levels(frame: Frame, level: int, base: Frame) -> None:
    assert base_level(frame) == level
    assert size_at(frame, level) == base
    assert is_large(frame) is (max(frame) > 4096)


def test_jpeg_tiles_are_the_picture_at_every_level() -> None:
    picture = smooth(ODD)
    source = encoded(picture, "JPEG", quality=98, subsampling=0, icc_profile=SRGB)
    pieces = list(pyramids.make_tiles(source))
    assert [(tile.level, tile.column, tile.row) for tile, _ in pieces] == [
        (1, 0, 0), (1, 1, 0), (1, 2, 0),
        *((0, column, row) for row in range(2) for column in range(5)),
    ]  # fmt: skip
    for tile, piece in pieces:
        assert off(piece, expected(picture, tile)) <= JPEG_ERROR, tile
        assert piece.content_type == "image/jpeg"
        assert opened(piece).info["icc_profile"] == SRGB
        assert max(opened(piece).size) <= SIDE


def test_the_base_copy_lies_where_the_picture_does() -> None:
    picture = smooth(Frame(6001, 1501))  # neither side is a multiple of what JPEG decodes small
    size = size_at(Frame(6001, 1501), 2)
    wanted = np.asarray(smooth(size)).astype(np.float64)
    for kind in ("JPEG", "PNG"):
        piece = pyramids.make_base(encoded(picture, kind, quality=98, subsampling=0))
        assert opened(piece).size == size
        assert off(piece, wanted) <= JPEG_ERROR, kind


def test_transparent_pixels_stay_exactly_what_they_are() -> None:
    generator = np.random.default_rng(4)
    pixels = np.zeros((40, 4100, 4), np.uint8)
    pixels[::7, ::5] = generator.integers(0, 256, (6, 820, 4))
    picture = Image.fromarray(pixels)
    source = encoded(picture, "PNG")
    full = {tile.column: piece for tile, piece in pyramids.make_tiles(source) if tile.level == 0}
    assert len(full) == 5
    for column, piece in full.items():
        assert piece.content_type == "image/png"
        assert np.array_equal(np.asarray(opened(piece)), pixels[:, column * SIDE : (column + 1) * SIDE])
    base = opened(pyramids.make_base(source))
    assert (base.mode, base.size) == ("RGBA", (1025, 10))


def test_one_transparent_colour_is_transparent_in_the_tiles() -> None:
    for mode, key in (("P", 0), ("RGB", (0, 0, 0)), ("L", 0)):
        source = encoded(Image.new(mode, (4100, 2)), "PNG", transparency=key)
        _, piece = list(pyramids.make_tiles(source))[-1]
        assert opened(piece).convert("RGBA").getpixel((0, 0))[3] == 0, mode  # type: ignore[index]


@pytest.mark.parametrize(
    ("mode", "content_type", "shown"),
    [
        ("L", "image/jpeg", "L"),
        ("I;16", "image/png", "L"),
        ("1", "image/jpeg", "RGB"),
        ("CMYK", "image/jpeg", "RGB"),
    ],
)
def test_other_modes(mode: str, content_type: str, shown: str) -> None:
    pixels = np.full((3, 4097), 0x8040, np.uint16)
    picture = Image.fromarray(pixels) if mode == "I;16" else Image.new(mode, (4097, 3))
    source = encoded(picture, "JPEG" if mode == "CMYK" else "PNG")
    pieces = [piece for _, piece in pyramids.make_tiles(source)] + [pyramids.make_base(source)]
    for piece in pieces:
        assert (piece.content_type, opened(piece).mode) == (content_type, shown)
        if mode == "I;16":
            assert set(np.unique(np.asarray(opened(piece)))) == {
                0x80
            }  # the upper eight bits, as browsers show them


def test_a_line_of_pixels() -> None:
    source = encoded(smooth(Frame(4097, 1)), "PNG")
    sizes = {(at.level, at.column): opened(piece).size for at, piece in pyramids.make_tiles(source)}
    assert sizes[0, 3] == (1024, 1) and sizes[0, 4] == (1, 1)
    assert sizes[1, 1] == (1024, 1) and sizes[1, 2] == (1, 1)
    assert opened(pyramids.make_base(source)).size == (1025, 1)


def test_a_photograph_that_lay_on_its_side() -> None:
    picture = Image.new("RGB", (4200, 300), "#808080")
    picture.paste("#f00000", (0, 0, 500, 300))
    exif = Image.Exif()
    exif[0x0112] = 6
    upright = make_upright(encoded(picture, "JPEG", exif=exif.tobytes()))  # type: ignore[arg-type]
    assert (upright.width, upright.height) == (300, 4200)
    tiles = {(tile.level, tile.row): opened(piece) for tile, piece in pyramids.make_tiles(upright.file)}
    for piece in (tiles[0, 0], tiles[1, 0], opened(pyramids.make_base(upright.file))):
        assert piece.getpixel((10, 10))[0] > 200, "the red end is above"  # type: ignore[index]
        assert piece.getexif().get(0x0112, 1) == 1
    assert tiles[0, 4].getpixel((10, 10))[0] < 140  # type: ignore[index]


def test_the_grid_ends_where_the_picture_does() -> None:
    frame = Frame(6000, 4500)
    inside = [(0, 0, 0), (0, 5, 4), (1, 2, 2)]
    outside = [(0, 6, 0), (0, 0, 5), (1, 3, 0), (1, 0, 3), (2, 0, 0), (-1, 0, 0), (0, -1, 0), (0, 0, -1)]
    assert all(has_tile(frame, *place) for place in inside)
    assert not any(has_tile(frame, *place) for place in outside)
    assert not has_tile(Frame(4096, 4096), 0, 0, 0)


def test_the_tiles_of_a_window_are_sharp_enough_and_few() -> None:
    frame = Frame(10_000, 10_000)
    assert tiles_in(frame, Window(0, 0, 10_000, 10_000, 0.1)) == []  # the base copy is as fine
    at_one = tiles_in(frame, Window(4000, 5000, 1280, 800, 1.0))
    assert {(tile.level, tile.column, tile.row) for tile in at_one} == {
        (0, column, row) for column in (3, 4, 5) for row in (4, 5)
    }
    assert {tile.level for tile in tiles_in(frame, Window(4000, 5000, 80, 50, 16.0))} == {0}
    for width in (3000, 6000, 9000):
        for scale in (0.3, 0.6, 1.0, 3.0):
            assert len(tiles_in(frame, Window(10, 10, width, width, scale))) <= MOST_AT_ONCE
    assert tiles_in(frame, Window(-900, -900, 800, 800, 1.0)) == []
    assert tiles_in(Frame(4096, 4096), Window(0, 0, 100, 100, 1.0)) == []


def test_a_picture_that_is_damaged() -> None:
    source = encoded(smooth(Frame(5000, 50)), "JPEG")
    source = io.BytesIO(source.getvalue()[:-800])
    with pytest.raises(InvalidPayload):
        pyramids.make_base(source)
    with pytest.raises(InvalidPayload):
        next(pyramids.make_tiles(source))


def test_the_base_copy_is_short() -> None:
    assert max(size_at(Frame(65_500, 1500), base_level(Frame(65_500, 1500)))) <= BASE_SIDE
