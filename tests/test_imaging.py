import hashlib
import io
import struct
import threading
import warnings
import zlib
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageCms, ImageOps

from app.errors import InvalidPayload
from app.imaging import DECODING, MAX_PIXELS, UprightImage, make_preview, make_upright

ORIENTATION = 0x0112
SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()

# What each orientation does to the upright picture before it is stored, from the EXIF standard: 6, say, means
# that row 0 of the file is the right-hand side of the scene. In numpy, so that Pillow is not its own judge.
STORED = {
    1: lambda upright: upright,
    2: lambda upright: upright[:, ::-1],
    3: lambda upright: upright[::-1, ::-1],
    4: lambda upright: upright[::-1],
    5: lambda upright: upright.swapaxes(0, 1),
    6: lambda upright: upright[:, ::-1].swapaxes(0, 1),
    7: lambda upright: upright[::-1, ::-1].swapaxes(0, 1),
    8: lambda upright: upright[::-1].swapaxes(0, 1),
}


def scene() -> np.ndarray:
    """48 wide, 32 high: red, green, blue, yellow quarters, in blocks that JPEG keeps apart."""
    upright = np.zeros((32, 48, 3), np.uint8)
    upright[:16, :24] = (230, 20, 20)
    upright[:16, 24:] = (20, 200, 20)
    upright[16:, :24] = (20, 20, 230)
    upright[16:, 24:] = (220, 220, 20)
    return upright


def exif_with(orientation: Any) -> bytes:
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    exif[0x010F] = "The maker"
    return exif.tobytes()


def encoded(picture: Image.Image, kind: str, **more: Any) -> io.BytesIO:
    if kind == "JPEG":
        more = {"quality": 95, "subsampling": 0} | more
    if kind == "WEBP":
        more = {"lossless": True} | more
    file = io.BytesIO()
    picture.save(file, kind, **more)
    file.seek(0)
    return file


def opened(upright: UprightImage) -> Image.Image:
    assert upright.file.tell() == 0
    content = upright.file.read()
    assert len(content) == upright.size_bytes
    assert hashlib.sha256(content).hexdigest() == upright.sha256
    picture = Image.open(io.BytesIO(content))
    assert picture.size == (upright.width, upright.height)
    assert Image.MIME[str(picture.format)] == upright.content_type
    assert picture.getexif().get(ORIENTATION, 1) == 1
    upright.file.close()
    return picture


def refusal(file: io.BytesIO, make=make_upright) -> str:
    with pytest.raises(InvalidPayload) as refused:
        make(file)
    assert refused.value.errors is not None
    assert refused.value.errors[0]["field"] == "file"
    return str(refused.value.errors[0]["reason"])


# Orientation


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_every_orientation_ends_upright(kind, orientation):
    stored = Image.fromarray(np.ascontiguousarray(STORED[orientation](scene())))
    upright = make_upright(encoded(stored, kind, exif=exif_with(orientation)))
    assert (upright.width, upright.height) == (48, 32)
    assert upright.exif_orientation == orientation
    pixels = np.asarray(opened(upright).convert("RGB")).astype(int)
    tolerance = 12 if kind == "JPEG" else 0
    assert np.abs(pixels - scene()).max() <= tolerance


def test_the_orientations_of_this_test_are_those_of_pillow():
    for orientation, store in STORED.items():
        picture = Image.open(
            encoded(Image.fromarray(np.ascontiguousarray(store(scene()))), "PNG", exif=exif_with(orientation))
        )
        assert np.array_equal(np.asarray(ImageOps.exif_transpose(picture)), scene())


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
@pytest.mark.parametrize(
    "exif", [None, exif_with(1), exif_with(0), exif_with(9), exif_with(65_535), b"Exif\0\0rubbish"]
)
def test_what_is_upright_stays_the_same_bytes(kind, exif):
    file = encoded(Image.fromarray(scene()), kind, **({"exif": exif} if exif else {}))
    upright = make_upright(file)
    assert upright.file.read() == file.getvalue()
    assert upright.sha256 == hashlib.sha256(file.getvalue()).hexdigest()
    assert upright.exif_orientation == (1 if exif == exif_with(1) else None)


def test_an_orientation_counts_although_other_exif_is_broken():
    exif = bytearray(exif_with(6))
    place = exif.index(b"\x01\x0f\0\x02") + 2
    exif[place : place + 2] = b"\0\x0c"  # now the maker is ten doubles, which are not there
    stored = Image.fromarray(np.ascontiguousarray(STORED[6](scene())))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Pillow warns, and goes on
        upright = make_upright(encoded(stored, "JPEG", exif=bytes(exif)))
    assert (upright.width, upright.height, upright.exif_orientation) == (48, 32, 6)
    assert opened(upright).size == (48, 32)


def test_an_orientation_in_xmp_alone_turns_nothing():
    """Pillow believes it, browsers do not."""
    xmp = b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:Description tiff:Orientation="6"/></x:xmpmeta>'
    file = encoded(Image.fromarray(scene()), "JPEG", xmp=xmp)
    upright = make_upright(file)
    assert (upright.file.read(), upright.exif_orientation) == (file.getvalue(), None)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
def test_other_exif_is_kept_when_turned(kind):
    picture = opened(make_upright(encoded(Image.fromarray(scene()), kind, exif=exif_with(6))))
    assert picture.getexif()[0x010F] == "The maker"
    assert ORIENTATION not in picture.getexif()


def test_the_source_may_stand_anywhere_and_stays_open():
    file = encoded(Image.fromarray(scene()), "JPEG")
    file.seek(0, io.SEEK_END)
    assert make_upright(file).size_bytes == len(file.getvalue())
    assert not file.closed


# Profile and resolution


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF"])
def test_the_colour_profile_is_kept(kind):
    file = encoded(Image.fromarray(scene()), kind, exif=exif_with(6), icc_profile=SRGB)
    assert opened(make_upright(file)).info["icc_profile"] == SRGB


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "TIFF"])
@pytest.mark.parametrize(("orientation", "expected"), [(3, (300, 150)), (6, (150, 300))])
def test_the_resolution_is_kept_and_turned(kind, orientation, expected):
    file = encoded(Image.fromarray(scene()), kind, exif=exif_with(orientation), dpi=(300, 150))
    assert tuple(round(side) for side in opened(make_upright(file)).info["dpi"]) == expected


# Modes


def grey16() -> np.ndarray:
    return (np.arange(48 * 32, dtype=np.uint16) * 40).reshape(32, 48)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_16_bit_grey_png_keeps_its_16_bits(orientation):
    stored = np.ascontiguousarray(STORED[orientation](grey16()))
    upright = make_upright(encoded(Image.fromarray(stored), "PNG", exif=exif_with(orientation)))
    picture = opened(upright)
    assert (picture.mode, upright.content_type) == ("I;16", "image/png")
    assert np.array_equal(np.asarray(picture), grey16())


@pytest.mark.parametrize("orientation", [1, 6])
def test_cmyk_jpeg(orientation):
    cmyk = Image.fromarray(np.ascontiguousarray(STORED[orientation](scene()))).convert("CMYK")
    upright = make_upright(encoded(cmyk, "JPEG", exif=exif_with(orientation)))
    picture = opened(upright)
    assert (picture.mode, upright.content_type) == ("CMYK", "image/jpeg")
    assert np.abs(np.asarray(picture.convert("RGB")).astype(int) - scene()).max() <= 30


@pytest.mark.parametrize("compression", [None, "tiff_lzw", "tiff_deflate", "jpeg"])
def test_tiff_becomes_png(compression):
    upright = make_upright(encoded(Image.fromarray(scene()), "TIFF", compression=compression))
    assert upright.content_type == "image/png"
    tolerance = 12 if compression == "jpeg" else 0
    assert np.abs(np.asarray(opened(upright).convert("RGB")).astype(int) - scene()).max() <= tolerance


@pytest.mark.parametrize(
    "mode", ["1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "YCbCr", "LAB", "RGBX", "I", "F"]
)
def test_every_mode_of_tiff_becomes_something_a_browser_shows(mode):
    base = Image.fromarray(scene())
    if mode == "LAB":
        profiles = ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB")
        picture = ImageCms.profileToProfile(base, *profiles, outputMode="LAB")
    else:
        picture = base.convert("L").convert(mode) if mode in ("I", "F", "LA") else base.convert(mode)
    shown = opened(make_upright(encoded(picture, "TIFF")))
    assert shown.mode in {"1", "L", "LA", "P", "RGB", "RGBA", "I;16"}
    if mode in ("P", "RGB", "RGBA", "CMYK", "YCbCr", "LAB", "RGBX"):
        tolerance = {"P": 60, "YCbCr": 8, "LAB": 12}.get(mode, 0)
        assert np.abs(np.asarray(shown.convert("RGB")).astype(int) - scene()).max() <= tolerance


@pytest.mark.parametrize("order", ["<", ">"])
def test_16_bit_tiff_keeps_its_16_bits(order):
    picture = Image.frombytes(
        "I;16" if order == "<" else "I;16B", (48, 32), grey16().astype(order + "u2").tobytes()
    )
    shown = opened(make_upright(encoded(picture, "TIFF")))
    assert shown.mode == "I;16"
    assert np.array_equal(np.asarray(shown), grey16())


def test_measurements_in_floats_are_stretched():
    values = np.array([[-5.0, 0.0, 5.0], [np.nan, np.inf, -np.inf]], np.float32)
    shown = opened(make_upright(encoded(Image.fromarray(values), "TIFF")))
    assert np.asarray(shown).tolist() == [[0, 128, 255], [0, 0, 0]]


@pytest.mark.parametrize("value", [0.0, 7.5, float("nan"), 3e38, -3e38])
def test_measurements_that_are_all_the_same(value):
    values = np.full((4, 5), value, np.float32)
    assert np.asarray(opened(make_upright(encoded(Image.fromarray(values), "TIFF")))).max() == 0


def test_the_widest_range_of_floats_does_not_overflow():
    values = np.array([[-3.4e38, 0.0, 3.4e38]], np.float32)
    assert np.asarray(opened(make_upright(encoded(Image.fromarray(values), "TIFF")))).tolist() == [
        [0, 128, 255]
    ]


def test_32_bit_measurements_are_stretched():
    values = np.array([[-100_000, 0, 100_000]], np.int32)
    assert np.asarray(opened(make_upright(encoded(Image.fromarray(values), "TIFF")))).tolist() == [
        [0, 128, 255]
    ]


def test_a_palette_with_transparency_stays_transparent_when_turned():
    picture = Image.new("P", (4, 2), 1)
    picture.putpalette([0, 0, 0, 255, 0, 0])
    picture.putpixel((0, 0), 0)
    shown = opened(make_upright(encoded(picture, "PNG", exif=exif_with(3), transparency=0))).convert("RGBA")
    assert shown.getpixel((3, 1)) == (0, 0, 0, 0)
    assert shown.getpixel((0, 0)) == (255, 0, 0, 255)


@pytest.mark.parametrize("kind", ["PNG", "WEBP", "TIFF"])
def test_of_several_frames_the_first_is_kept(kind):
    others = [Image.new("RGB", (48, 32), colour) for colour in ("white", "black", "red")]
    file = encoded(Image.fromarray(scene()), kind, save_all=True, append_images=others)
    assert getattr(Image.open(file), "n_frames", 1) == 4
    picture = opened(make_upright(file))
    assert getattr(picture, "n_frames", 1) == 1
    assert np.array_equal(np.asarray(picture.convert("RGB")), scene())


@pytest.mark.parametrize("orientation", [1, 6])
def test_a_jpeg_of_several_pictures(orientation):
    """Phones write MPO: a JPEG with more behind it, which browsers show as the JPEG it begins with."""
    stored = Image.fromarray(np.ascontiguousarray(STORED[orientation](scene())))
    exif = exif_with(orientation)
    file = encoded(stored, "MPO", save_all=True, append_images=[stored], exif=exif, quality=95, subsampling=0)
    upright = make_upright(file)
    assert upright.content_type == "image/jpeg"
    pixels = np.asarray(Image.open(upright.file).convert("RGB")).astype(int)
    assert np.abs(pixels - scene()).max() <= 12
    upright.file.close()


# What is refused


@pytest.mark.parametrize("kind", ["GIF", "BMP", "ICO", "PPM", "TGA", "PDF", "AVIF", "JPEG2000"])
def test_other_formats(kind):
    file = encoded(Image.fromarray(scene()), kind)
    assert (
        refusal(file)
        == refusal(file, lambda source: make_preview(source, 10))
        == "this is not a JPEG, PNG, WebP or TIFF image"
    )


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\0",
        b"text",
        b"<svg xmlns='http://www.w3.org/2000/svg'/>",
        b"%PDF-1.7",
        b"<!doctype html><script>",
        b"\x89PNG\r\n\x1a\n",
        b"\xff\xd8\xff",
        b"RIFF\0\0\0\0WEBP",
        b"II*\0",
        b"MM\0*" + b"\xff" * 50,
    ],
)
def test_what_is_no_picture(content):
    assert refusal(io.BytesIO(content))
    assert refusal(io.BytesIO(content), lambda source: make_preview(source, 10))


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF"])
@pytest.mark.parametrize("part", [0.3, 0.5, 0.9])
def test_cut_off(kind, part):
    noise = np.random.default_rng(1).integers(0, 255, (64, 64, 3), np.uint8)
    content = encoded(Image.fromarray(noise), kind).getvalue()
    assert refusal(io.BytesIO(content[: int(len(content) * part)])) in (
        "the image is damaged or cut off",
        "this is not a JPEG, PNG, WebP or TIFF image",
    )


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF"])
def test_damaged_files_never_break_the_server(kind):
    noise = np.random.default_rng(2).integers(0, 255, (24, 24, 3), np.uint8)
    content = bytearray(encoded(Image.fromarray(noise), kind, exif=exif_with(6)).getvalue())
    random = np.random.default_rng(3)
    outcomes = set()
    for _ in range(300):
        damaged = bytearray(content)
        for place in random.integers(0, min(len(content), 400), 3):
            damaged[place] = random.integers(0, 256)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            try:
                make_upright(io.BytesIO(damaged)).file.close()
                outcomes.add("kept")
            except InvalidPayload:
                outcomes.add("refused")
    assert "refused" in outcomes


def png(width: int, height: int, rows: bytes) -> io.BytesIO:
    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    parts = [chunk(b"IHDR", header), chunk(b"IDAT", zlib.compress(rows, 9)), chunk(b"IEND", b"")]
    return io.BytesIO(b"\x89PNG\r\n\x1a\n" + b"".join(parts))


@pytest.mark.parametrize(
    "size", [(10_001, 10_000), (14_000, 14_000), (20_000, 20_000), (2**31 - 1, 2**31 - 1)]
)
def test_a_bomb_is_refused_before_it_is_decoded(size, monkeypatch):
    def decode(*_):
        raise AssertionError("decoded")

    monkeypatch.setattr("PIL.ImageFile.ImageFile.load", decode)
    assert "pixels" in refusal(png(*size, b"")) or size[0] > 2**30
    assert refusal(png(*size, b""), lambda source: make_preview(source, 10))


def test_the_limit_on_pixels():
    file = encoded(Image.fromarray(scene()), "PNG")
    assert make_upright(file, max_pixels=48 * 32).width == 48
    with pytest.raises(InvalidPayload):
        make_upright(file, max_pixels=48 * 32 - 1)


def test_bombs_are_refused_in_threads_while_warnings_stay_as_they_are():
    """The default filters print a warning once and go on: ours must be a refusal whatever the filters are."""
    barrier = threading.Barrier(4)
    small = encoded(Image.fromarray(scene()), "PNG").getvalue()

    def work(n):
        barrier.wait()
        for _ in range(20):
            if n % 2:
                assert make_upright(io.BytesIO(small)).width == 48
            else:
                assert "pixels" in refusal(png(11_000, 11_000, b""))

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        filters = list(warnings.filters)
        with ThreadPoolExecutor(4) as pool:
            assert list(pool.map(work, range(4))) == [None] * 4
        assert list(warnings.filters) == filters
    assert Image.MAX_IMAGE_PIXELS == MAX_PIXELS


@pytest.mark.parametrize("make", [make_upright, lambda file: make_preview(file, 10)])
def test_only_two_pictures_are_decoded_at_once(make):
    done = threading.Event()
    file = encoded(Image.fromarray(scene()), "PNG")

    def third():
        make(file)
        done.set()

    thread = threading.Thread(target=third)
    with DECODING:
        with DECODING:
            thread.start()
            assert not done.wait(0.2)
        assert done.wait(10)
    thread.join()


def test_a_refused_picture_gives_its_turn_back():
    """More often than there are turns; a turn that was kept would let the next one wait for ever."""
    for _ in range(5):
        assert refusal(io.BytesIO(b"not a picture"))
        assert refusal(io.BytesIO(b"not a picture"), lambda file: make_preview(file, 10))


# Previews


@pytest.mark.parametrize(
    ("size", "expected"),
    [((400, 200), (100, 50)), ((200, 400), (50, 100)), ((40, 20), (40, 20)), ((3_000, 1), (100, 1))],
)
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
def test_previews_fit_and_never_grow(kind, size, expected):
    preview = Image.open(io.BytesIO(make_preview(encoded(Image.new("RGB", size, "red"), kind), 100)))
    assert (preview.format, preview.size) == ("WEBP", expected)
    red, green, blue = np.asarray(preview.convert("RGB"))[0, 0].astype(int)
    assert red > 240
    assert max(green, blue) < 15


@pytest.mark.parametrize(
    ("mode", "more"),
    [
        ("1", {}),
        ("L", {}),
        ("LA", {}),
        ("P", {}),
        ("P", {"transparency": 0}),
        ("RGBA", {}),
        ("I;16", {}),
        ("CMYK", {}),
    ],
)
def test_previews_of_every_mode(mode, more):
    base = Image.fromarray(scene())
    picture = base.convert("L").convert("I;16") if mode == "I;16" else base.convert(mode)
    preview = Image.open(
        io.BytesIO(make_preview(encoded(picture, "JPEG" if mode == "CMYK" else "PNG", **more), 24))
    )
    assert preview.size == (24, 16)


def test_the_preview_of_16_bits_shows_what_a_browser_shows():
    preview = Image.open(
        io.BytesIO(make_preview(encoded(Image.fromarray(np.full((20, 20), 0x8000, np.uint16)), "PNG"), 10))
    )
    assert abs(int(np.asarray(preview.convert("L"))[5, 5]) - 0x80) <= 2


def test_a_preview_keeps_the_profile_and_nothing_else():
    file = encoded(Image.fromarray(scene()), "JPEG", icc_profile=SRGB, exif=exif_with(1), xmp=b"<x/>")
    info = Image.open(io.BytesIO(make_preview(file, 24))).info
    assert info["icc_profile"] == SRGB
    assert "exif" not in info
    assert "xmp" not in info
