import contextlib
import io
import re
import struct
import subprocess
import sys
import warnings
import zlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray
from PIL import Image
from PIL.PngImagePlugin import PngInfo
from pycocotools import mask as coco

from app.bitmaps import (
    COLOR_MAPS,
    EDGE_ALPHA,
    FILL_ALPHA,
    HEADER,
    MAX_PIXELS,
    MAX_SIDE,
    color_map_named,
    colour_mask,
    kind_of,
    mask_layer,
    recolour,
    with_colours,
)
from app.errors import InvalidPayload
from app.geometry import Frame, Raster, Rect, runs_from_text

PALETTE = ("#ff0000", "#00ff00", "#0000ff")


def raster_of(mask: NDArray[Any]) -> Raster:
    text = coco.encode(np.asfortranarray(mask, dtype=np.uint8))["counts"].decode()
    return Raster(mask.shape[1], mask.shape[0], runs_from_text(text))


def png(values: NDArray[Any], mode: str | None = None, **more: Any) -> bytes:
    picture = Image.fromarray(values)
    out = io.BytesIO()
    (picture.convert(mode) if mode else picture).save(out, "PNG", **more)
    return out.getvalue()


def opened(data: bytes) -> Image.Image:
    picture = Image.open(io.BytesIO(data), formats=["PNG"])
    picture.load()
    return picture


def rgba(data: bytes) -> NDArray[np.uint8]:
    return np.asarray(opened(data).convert("RGBA"))


def box(width: int, height: int, left: int, top: int, right: int, bottom: int) -> Raster:
    mask = np.zeros((height, width), dtype=np.uint8)
    mask[top:bottom, left:right] = 1
    return raster_of(mask)


# --- masks


def test_a_mask_is_half_transparent_with_an_opaque_edge() -> None:
    data = mask_layer([(box(20, 10, 5, 2, 15, 8), 1)], Frame(20, 10), PALETTE)
    picture, pixels = opened(data), rgba(data)
    assert (picture.mode, picture.size) == ("P", (20, 10))
    assert pixels[0, 0].tolist() == [0, 0, 0, 0]
    assert pixels[5, 10].tolist() == [0, 255, 0, FILL_ALPHA]
    assert pixels[2, 10].tolist() == pixels[7, 14].tolist() == [0, 255, 0, EDGE_ALPHA]


def test_later_masks_are_on_top_and_neighbours_stay_apart() -> None:
    data = mask_layer(
        [(box(30, 10, 0, 0, 20, 10), 0), (box(30, 10, 10, 0, 30, 10), 0)], Frame(30, 10), PALETTE
    )
    alpha = rgba(data)[5, :, 3]
    assert alpha[10] == EDGE_ALPHA
    assert alpha[9] == alpha[11] == FILL_ALPHA
    over = rgba(mask_layer([(box(9, 9, 0, 0, 9, 9), 0), (box(9, 9, 0, 0, 9, 9), 2)], Frame(9, 9), PALETTE))
    assert set(map(tuple, over[..., :3].reshape(-1, 3).tolist())) == {(0, 0, 255)}


@settings(max_examples=150, deadline=None)
@given(
    hnp.arrays(np.uint8, hnp.array_shapes(min_dims=2, max_dims=2, max_side=30), elements=st.integers(0, 1)),
    st.integers(1, 4),
)
def test_the_layer_covers_what_the_mask_covers(mask: NDArray[np.uint8], times: int) -> None:
    height, width = mask.shape
    frame = Frame(width * times, height * times)
    covered = rgba(mask_layer([(raster_of(mask), 0)], frame, PALETTE))[..., 3] > 0
    assert np.array_equal(covered, np.kron(mask, np.ones((times, times))) > 0)


def test_a_large_image_gets_a_smaller_layer() -> None:
    picture = opened(mask_layer([(box(100, 50, 10, 10, 90, 40), 0)], Frame(10_000, 5000), PALETTE))
    assert picture.size == (MAX_SIDE, MAX_SIDE // 2)
    assert picture.getpixel((MAX_SIDE // 2, MAX_SIDE // 4)) != 0


def test_many_full_masks_stay_bounded() -> None:
    full = Raster(4000, 4000, np.array([0, 16_000_000]))
    picture = opened(mask_layer([(full, 0)] * 50, Frame(4000, 4000), PALETTE))
    assert 0.1e6 < picture.width * picture.height * 50 <= 110e6


def test_no_mask_is_an_empty_layer() -> None:
    empty = Raster(4, 4, np.array([16]))
    for items in ([], [(empty, 0)]):
        assert not rgba(mask_layer(items, Frame(4, 4), PALETTE)).any()


# --- heatmaps


@pytest.mark.parametrize("name", COLOR_MAPS)
def test_a_grey_heatmap_becomes_an_index_png(name: str) -> None:
    values = np.arange(256, dtype=np.uint8).reshape(16, 16)
    data = recolour(png(values), name)
    assert opened(data).mode == "P"
    pixels = rgba(data)
    assert np.array_equal(pixels[..., :3].reshape(256, 3), COLOR_MAPS[name])
    assert np.array_equal(pixels[..., 3], values)


@pytest.mark.parametrize(
    ("name", "first", "last"),
    [
        ("viridis", (68, 1, 84), (253, 231, 37)),
        ("magma", (0, 0, 4), (252, 253, 191)),
        ("cividis", (0, 34, 78), (254, 232, 56)),
        ("turbo", (48, 18, 59), (122, 4, 3)),
        ("grey", (0, 0, 0), (255, 255, 255)),
    ],
)
def test_the_colour_maps_are_the_ones_of_their_names(name: str, first: Any, last: Any) -> None:
    assert COLOR_MAPS[name].shape == (256, 3)
    assert tuple(COLOR_MAPS[name][0].tolist()) == first
    assert tuple(COLOR_MAPS[name][-1].tolist()) == last


def test_words_for_colour_maps() -> None:
    assert color_map_named("Jet") == "turbo"
    assert color_map_named("grayscale") == "grey"
    assert color_map_named(None) == color_map_named("my own") == "viridis"


def test_other_depths() -> None:
    sixteen = np.array([[0, 257 * 100, 65535]], dtype=np.uint16)
    assert np.asarray(opened(recolour(png(sixteen), "grey"))).tolist() == [[0, 100, 255]]
    one = np.array([[False, True]])
    assert np.asarray(opened(recolour(png(one), "grey"))).tolist() == [[0, 255]]
    grey_alpha = np.array([[[200, 255], [200, 10]]], dtype=np.uint8)
    assert rgba(recolour(png(grey_alpha), "grey")).tolist() == [[[200, 200, 200, 200], [200, 200, 200, 10]]]


def test_a_coloured_heatmap_is_shown_as_it_is() -> None:
    colours = np.random.default_rng(1).integers(0, 256, (8, 9, 3), dtype=np.uint8)
    assert np.array_equal(np.asarray(opened(recolour(png(colours), "magma"))), colours)
    clear = np.random.default_rng(1).integers(0, 256, (8, 9, 4), dtype=np.uint8)
    assert np.array_equal(np.asarray(opened(recolour(png(clear), "magma"))), clear)
    indexed = png(np.full((3, 3, 3), (200, 10, 20), dtype=np.uint8), "P")
    assert np.array_equal(rgba(recolour(indexed, "magma")), rgba(indexed))


def test_metadata_is_left_behind() -> None:
    info = PngInfo()
    info.add_text("Comment", "<script>alert(1)</script>")
    for values in (np.zeros((2, 2), np.uint8), np.zeros((2, 2, 3), np.uint8)):
        assert b"script" not in recolour(png(values, pnginfo=info), "grey")
        assert b"script" not in colour_mask(png(values, pnginfo=info), 0, PALETTE)


@pytest.mark.parametrize(("low", "high"), [(0, 100), (20, 60), (99, 100), (0, 1)])
def test_other_colours_replace_two_chunks_and_no_pixel(low: int, high: int) -> None:
    values = np.arange(256, dtype=np.uint8).reshape(16, 16)
    base = recolour(png(values), "viridis")
    other = with_colours(base, "magma", low, high)
    assert np.array_equal(np.asarray(opened(other)), values)
    assert other == recolour(png(values), "magma", low, high)
    pixels = rgba(other).reshape(256, 4)
    below, above = pixels[: int(255 * low / 100) + 1], pixels[-(-255 * high // 100) :]
    assert (below == [*COLOR_MAPS["magma"][0], 0]).all()
    assert (above == [*COLOR_MAPS["magma"][-1], 255]).all()


def test_sixteen_bits_keep_what_a_narrow_range_shows() -> None:
    values = np.arange(655, 1311, dtype=np.uint16).reshape(1, -1)  # one per cent of the range
    assert np.unique(np.asarray(opened(recolour(png(values), "grey")))).size < 5
    assert np.unique(np.asarray(opened(recolour(png(values), "grey", 1, 2)))).size > 250


KINDS = {"1": "grey", "L": "grey", "I;16": "deep", "LA": "deep", "RGB": "coloured", "P": "coloured"}


@pytest.mark.parametrize(("mode", "kind"), KINDS.items())
def test_the_header_says_what_a_heatmap_is(mode: str, kind: str) -> None:
    out = io.BytesIO()
    Image.new(mode, (3, 3)).save(out, "PNG")
    assert kind_of(out.getvalue()[:HEADER]) == kind
    assert kind_of(b"") == kind_of(b"no PNG, but long enough to be the header of one") == "grey"


def test_tiles_of_masks_fit_together() -> None:
    random = np.random.default_rng(3)
    masks = [
        (raster_of(random.random((60, 70)) < 0.8), 0),
        (box(70, 60, 5, 9, 66, 50), 1),
        (box(35, 30, 2, 2, 9, 28), 2),
    ]
    whole = np.asarray(opened(mask_layer(masks, Frame(70, 60), PALETTE)))
    for left in range(0, 70, 16):
        for top in range(0, 60, 16):
            part = Rect(left, top, min(left + 16, 70), min(top + 16, 60))
            tile = np.asarray(opened(mask_layer(masks, Frame(70, 60), PALETTE, part, 16)))
            assert np.array_equal(tile, whole[top : top + 16, left : left + 16])


# --- stored masks


def test_a_binary_mask_takes_the_colour_of_its_class() -> None:
    for high in (1, 255):
        data = colour_mask(png(np.array([[0, high]], dtype=np.uint8)), 2, PALETTE)
        assert opened(data).mode == "P"
        assert rgba(data).tolist() == [[[0, 0, 0, 0], [0, 0, 255, FILL_ALPHA]]]


def test_labels_take_a_colour_each() -> None:
    pixels = rgba(colour_mask(png(np.array([[0, 1, 2, 4]], dtype=np.uint8)), 1, PALETTE))
    assert pixels[0, :, :3].tolist() == [[0, 0, 0], [0, 255, 0], [0, 0, 255], [0, 255, 0]]
    soft = rgba(colour_mask(png(np.array([[0, 90, 255]], dtype=np.uint8)), 0, PALETTE))
    assert soft[0, 1].tolist() == soft[0, 2].tolist() == [255, 0, 0, FILL_ALPHA]


def test_masks_in_colour_lose_their_black() -> None:
    values = np.array([[[0, 0, 0], [9, 8, 7]]], dtype=np.uint8)
    assert rgba(colour_mask(png(values), 0, PALETTE)).tolist() == [[[0, 0, 0, 0], [9, 8, 7, FILL_ALPHA]]]
    clear = np.array([[[1, 2, 3, 4]]], dtype=np.uint8)
    assert rgba(colour_mask(png(clear), 0, PALETTE)).tolist() == clear.tolist()


def test_other_mask_depths() -> None:
    deep = colour_mask(png(np.array([[0, 40_000]], dtype=np.uint16)), 0, PALETTE)
    assert rgba(deep)[0, :, 3].tolist() == [0, FILL_ALPHA]
    grey_alpha = np.array([[[1, 0], [1, 255]]], dtype=np.uint8)
    assert rgba(colour_mask(png(grey_alpha), 0, PALETTE))[0, :, 3].tolist() == [0, FILL_ALPHA]


# --- large ones


@pytest.mark.parametrize(("mode", "channels"), [("L", 1), ("I;16", 1), ("LA", 2), ("RGB", 3), ("RGBA", 4)])
def test_a_large_heatmap_is_averaged_down(mode: str, channels: int) -> None:
    kind = np.uint16 if mode == "I;16" else np.uint8
    rows = np.linspace(0, np.iinfo(kind).max, 5000).astype(kind)
    values = np.repeat(rows, 60 * channels).reshape((5000, 60, channels))
    if mode.endswith("A"):
        values[..., -1] = 255
    layer = opened(recolour(png(values.squeeze()), "grey"))
    assert layer.size == (49, MAX_SIDE)
    grey = np.asarray(layer.convert("RGBA"))[:, 20, 0].astype(int)
    assert np.abs(grey - np.linspace(0, 255, MAX_SIDE)).max() <= 1.5


def test_a_large_mask_keeps_its_labels() -> None:
    values = np.zeros((50, 6000), dtype=np.uint8)
    values[:, 2000:4000], values[:, 4000:] = 1, 7
    layer = opened(colour_mask(png(values), 0, PALETTE))
    assert layer.size == (MAX_SIDE, 34)
    assert set(np.unique(np.asarray(layer)).tolist()) == {0, 1, 7}
    deep = opened(colour_mask(png(values.astype(np.uint16) * 300), 0, PALETTE))
    assert (deep.size, set(np.unique(np.asarray(deep)).tolist())) == (layer.size, {0, 1})


@pytest.mark.parametrize("more", [{}, {"transparency": 0}])
def test_a_large_picture_of_few_colours_keeps_them(more: dict[str, int]) -> None:
    values = np.zeros((6000, 10), dtype=np.uint8)
    values[3000:] = 200
    picture = Image.fromarray(values).convert("P", palette=Image.Palette.ADAPTIVE)
    out = io.BytesIO()
    picture.save(out, "PNG", **more)
    pixels = rgba(recolour(out.getvalue(), "grey"))
    assert pixels.shape == (MAX_SIDE, 7, 4)
    assert set(map(tuple, pixels.reshape(-1, 4).tolist())) == set(
        map(tuple, rgba(out.getvalue()).reshape(-1, 4).tolist())
    )


PEAK = """
import io, sys
from PIL import Image
from app.bitmaps import recolour
with open("/proc/self/status") as status: before = status.read()
out = recolour(sys.stdin.buffer.read(), "viridis")
with open("/proc/self/status") as status: after = status.read()
print(*(line.split()[1] for text in (before, after) for line in text.splitlines() if line.startswith("VmHWM")))
"""


@pytest.mark.soak
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="only Linux tells a process its own peak")
@pytest.mark.parametrize(("mode", "most_mb"), [("I;16", 350), ("RGBA", 650)])
def test_a_hundred_megapixels_do_not_fill_the_memory(mode: str, most_mb: int) -> None:
    """Decoded they are 2 and 4 bytes a pixel, which Pillow must hold; what comes on top stays small."""
    out = io.BytesIO()
    Image.new(mode, (10_000, 10_000)).save(out, "PNG", compress_level=1)
    root = Path(__file__).resolve().parent.parent
    command = [sys.executable, "-c", PEAK]
    ran = subprocess.run(command, input=out.getvalue(), capture_output=True, cwd=root, check=True)
    before, after = map(int, ran.stdout.split())
    assert after - before < most_mb * 1024


# --- hostile files


def chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def header(width: int, height: int) -> bytes:
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0))


GOOD = png(np.random.default_rng(1).integers(0, 256, (100, 100), dtype=np.uint8))
TEXT_BOMB = chunk(b"zTXt", b"a\0\0" + zlib.compress(b"x" * 10_000_000))

HOSTILE = {
    "empty": b"",
    "text": b"not a picture",
    "svg": b"<svg xmlns='http://www.w3.org/2000/svg'/>",
    "truncated": GOOD[: len(GOOD) // 2],
    "cut in the header": GOOD[:20],
    "too large": header(20_000, 20_000) + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b""),
    "just too large": header(MAX_PIXELS // 5000 + 1, 5000)
    + chunk(b"IDAT", zlib.compress(b""))
    + chunk(b"IEND", b""),
    "no side": header(0, 5) + chunk(b"IEND", b""),
    "no data": header(5, 5) + chunk(b"IEND", b""),
    "bad data": header(5, 5) + chunk(b"IDAT", b"not zlib") + chunk(b"IEND", b""),
    "bad checksum": re.sub(rb"IHDR", b"IHDS", GOOD),
    "text bomb": header(5, 5) + TEXT_BOMB + chunk(b"IDAT", zlib.compress(bytes(30))) + chunk(b"IEND", b""),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_files_are_refused(name: str) -> None:
    with pytest.raises(InvalidPayload):
        recolour(HOSTILE[name], "viridis")
    with pytest.raises(InvalidPayload):
        colour_mask(io.BytesIO(HOSTILE[name]), 0, PALETTE)


def test_threads_leave_the_warnings_of_the_process_alone() -> None:
    def work(n: int) -> None:
        for _ in range(20):
            if n % 2:
                recolour(GOOD, "grey")
            else:
                with pytest.raises(InvalidPayload):
                    recolour(HOSTILE["just too large"], "grey")

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        filters = list(warnings.filters)
        with ThreadPoolExecutor(4) as pool:
            assert list(pool.map(work, range(4))) == [None] * 4
        assert list(warnings.filters) == filters


@pytest.mark.parametrize("kind", ["JPEG", "GIF", "BMP", "TIFF"])
def test_only_png_is_read(kind: str) -> None:
    out = io.BytesIO()
    Image.new("L", (4, 4)).save(out, kind)
    with pytest.raises(InvalidPayload):
        recolour(out.getvalue(), "viridis")


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_a_damaged_png_is_read_or_refused(data: st.DataObject) -> None:
    good = png(np.arange(256, dtype=np.uint8).reshape(16, 16))
    broken = bytearray(good)
    for _ in range(data.draw(st.integers(1, 4))):
        broken[data.draw(st.integers(8, len(good) - 1))] = data.draw(st.integers(0, 255))
    with contextlib.suppress(InvalidPayload):
        assert opened(recolour(bytes(broken), "turbo"))
