"""Uploaded pictures: checked, turned upright, and made into something every browser shows. No Flask.

A picture is hostile input: its size is checked before anything is decoded, and whatever a decoder raises
means that the file is bad.
"""

import hashlib
import io
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import IO, Any, BinaryIO, cast

import numpy as np
from PIL import Image, ImageCms, UnidentifiedImageError
from PIL.ExifTags import Base
from PIL.Image import Transpose

from app.errors import InvalidPayload

MAX_PIXELS = 100_000_000
FORMATS = ("JPEG", "PNG", "WEBP", "TIFF")

# Pillow warns above this and refuses above twice this; the limit that counts is ours, in `_check_size`.
# Set once, here: warning filters belong to the process and cannot be changed safely beside other threads.
Image.MAX_IMAGE_PIXELS = MAX_PIXELS

DECODING = threading.BoundedSemaphore(2)
"""`with DECODING:` around whatever decodes or draws a picture: of the largest, one takes up to a gigabyte, so
that many at once would end the process. The others wait. What is here takes its turn by itself."""

BAND = 256

_TURNS = {
    2: Transpose.FLIP_LEFT_RIGHT,
    3: Transpose.ROTATE_180,
    4: Transpose.FLIP_TOP_BOTTOM,
    5: Transpose.TRANSPOSE,
    6: Transpose.ROTATE_270,
    7: Transpose.TRANSVERSE,
    8: Transpose.ROTATE_90,
}
_SIDEWAYS = {5, 6, 7, 8}

# By format: the content type of the upright copy, and how Pillow writes it when it must be written anew.
_WRITTEN: dict[str, tuple[str, dict[str, Any]]] = {
    "JPEG": ("image/jpeg", {"format": "JPEG", "quality": 95, "subsampling": 0}),
    "PNG": ("image/png", {"format": "PNG"}),
    "WEBP": ("image/webp", {"format": "WEBP", "lossless": True, "method": 2}),
}
_PNG_MODES = {"1", "L", "LA", "I;16", "P", "RGB", "RGBA"}
_EXIF_LIMIT = 65_000  # what fits into one JPEG marker


@dataclass(frozen=True)
class UprightImage:
    """The copy to store. `file` stands at its beginning; `exif_orientation` is that of the original."""

    file: BinaryIO
    content_type: str
    width: int
    height: int
    size_bytes: int
    sha256: str
    exif_orientation: int | None


def make_upright(source: IO[bytes], max_pixels: int = MAX_PIXELS) -> UprightImage:
    """An upright copy of a JPEG, PNG, WEBP or TIFF picture.

    It is the same bytes where nothing has to change. A picture with an orientation is turned and loses the
    tag, a TIFF becomes PNG, and of several frames the first is kept: overlays need one still picture.
    Colour profile and resolution are kept. Raises InvalidPayload, with `file` as the field.
    """
    with DECODING, _refusing_bad_files():
        source.seek(0)
        with Image.open(source, formats=FORMATS) as picture:
            kind = "JPEG" if picture.format == "MPO" else str(picture.format)
            _check_size(picture, max_pixels)
            tag = _orientation(picture)  # before loading, which turns a TIFF and drops its tag
            picture.load()
            tag = tag or _orientation(picture)  # and after it: a PNG may tell behind its pixels
            turn = _TURNS.get(tag or 1) if kind != "TIFF" else None
            animated = kind != "JPEG" and getattr(picture, "is_animated", False)
            if kind != "TIFF" and turn is None and not animated:
                return _kept(source, kind, picture.size, tag)
            return _rewritten(picture, kind, turn, tag)


def _check_size(picture: Image.Image, max_pixels: int) -> None:
    if picture.width * picture.height > max_pixels:
        raise _refused(f"the image has more than {max_pixels // 1_000_000} megapixels")


def _orientation(picture: Image.Image) -> int | None:
    """The EXIF orientation, 1 to 8. Pillow would also believe one in XMP; browsers do not, so we do not."""
    tags = cast(Any, picture).tag_v2 if picture.format == "TIFF" else _exif(picture)
    value = None
    with suppress(Exception):  # nonsense in a tag
        value = tags.get(Base.Orientation)
    return value if isinstance(value, int) and 1 <= value <= 8 else None


def _exif(picture: Image.Image) -> Image.Exif:
    """What can be read of it: browsers show a picture with broken EXIF all the same."""
    exif = Image.Exif()
    with suppress(Exception):
        exif.load(picture.info.get("exif") or b"")
    return exif


def _kept(source: IO[bytes], kind: str, size: tuple[int, int], tag: int | None) -> UprightImage:
    """The bytes as they are, copied: the source belongs to the request it came with."""
    source.seek(0)
    return _described(io.BytesIO(source.read()), kind, size, tag)


def _rewritten(picture: Image.Image, kind: str, turn: Transpose | None, tag: int | None) -> UprightImage:
    profile = picture.info.get("icc_profile")
    kept: dict[str, Any] = {"exif": _other_exif(picture)}
    dpi = picture.info.get("dpi")
    if dpi and all(0 < side < 65_536 for side in dpi):
        kept["dpi"] = tuple(reversed(dpi)) if tag in _SIDEWAYS else dpi
    upright = picture if turn is None else picture.transpose(turn)  # FLIP_LEFT_RIGHT is 0
    if kind == "TIFF":
        kind = "PNG"
        upright, profile = _for_png(upright, profile)
    target = io.BytesIO()
    upright.save(target, **_WRITTEN[kind][1], **kept, icc_profile=profile or b"")
    return _described(target, kind, upright.size, tag)


def _other_exif(picture: Image.Image) -> bytes:
    """The EXIF without its orientation and thumbnail; empty when that cannot be written, or does not fit."""
    data = b""
    with suppress(Exception):
        exif = _exif(picture)
        exif.pop(Base.Orientation, None)
        data = exif.tobytes() if len(exif) else b""
    return data if len(data) < _EXIF_LIMIT else b""


def _for_png(picture: Image.Image, profile: bytes | None) -> tuple[Image.Image, bytes | None]:
    """The picture in a mode that PNG has and browsers show, and the colour profile that still fits it."""
    if picture.mode in _PNG_MODES:
        return picture, profile
    if picture.mode.startswith("I;16"):
        return Image.fromarray(
            np.asarray(picture).astype(np.uint16)
        ), profile  # Pillow's convert clips at 255
    if picture.mode in ("I", "F"):
        return _stretched(picture), None
    return _to_rgb(picture, profile), None


def _stretched(picture: Image.Image) -> Image.Image:
    """Measurements in 32 bits as 8-bit grey from the smallest to the largest; what is not finite is black."""
    values = np.asarray(picture)
    grey = np.zeros(values.shape, np.uint8)
    finite = np.isfinite(values)
    if finite.any():
        low = float(values.min(where=finite, initial=np.inf if picture.mode == "F" else values.flat[0]))
        high = float(values.max(where=finite, initial=-np.inf if picture.mode == "F" else values.flat[0]))
        for row, line in enumerate(values):  # by rows: in 64 bits the whole would take eight times its size
            scaled = (line.astype(np.float64) - low) * (255.0 / (high - low or 1.0))
            grey[row] = np.where(finite[row], scaled, 0.0).round()
    return Image.fromarray(grey)


def _to_rgb(picture: Image.Image, profile: bytes | None) -> Image.Image:
    """The picture as sRGB, or as RGBA where it is transparent; by its colour profile where it needs one."""
    if picture.has_transparency_data:
        return picture.convert("RGBA")
    if picture.mode not in ("CMYK", "LAB"):
        return picture.convert("RGB")
    with suppress(OSError, ImageCms.PyCMSError):  # a profile that is broken or for other colours: do without
        lab = ImageCms.createProfile("LAB")
        source = lab if picture.mode == "LAB" else ImageCms.ImageCmsProfile(io.BytesIO(profile or b""))
        converted = ImageCms.profileToProfile(
            picture, source, ImageCms.createProfile("sRGB"), outputMode="RGB"
        )
        if converted is not None:
            return converted
    return picture.convert("RGB")


def _described(file: io.BytesIO, kind: str, size: tuple[int, int], tag: int | None) -> UprightImage:
    """In memory: the decoded picture takes far more than its file."""
    content = file.getbuffer()
    length, sha256 = len(content), hashlib.sha256(content).hexdigest()
    file.seek(0)
    return UprightImage(file, _WRITTEN[kind][0], *size, length, sha256, tag)


def make_preview(source: BinaryIO, max_side: int) -> bytes:
    """A small WEBP of an upright copy, neither side longer than `max_side`. Raises InvalidPayload."""
    with decoding(source) as picture:
        picture.draft("RGB", (max_side, max_side))  # a JPEG is decoded at a fraction of its size
        small, profile = as_shown(picture)
        small.thumbnail((max_side, max_side), reducing_gap=3.0)
        profile = b"" if small.mode == "L" else profile  # WEBP has colours only, and this is for grey
        target = io.BytesIO()
        small.save(target, "WEBP", quality=80, method=2, icc_profile=profile, exif=b"", xmp=b"")
        return target.getvalue()


@contextmanager
def decoding(source: IO[bytes]) -> Iterator[Image.Image]:
    """A stored copy, open and not yet decoded, while it is its turn. Raises InvalidPayload for a bad file."""
    with DECODING, _refusing_bad_files():
        source.seek(0)
        with Image.open(source, formats=FORMATS) as picture:
            _check_size(picture, MAX_PIXELS)
            yield picture


def as_shown(picture: Image.Image) -> tuple[Image.Image, bytes]:
    """The picture as browsers show it, in L, RGB or RGBA (where it is transparent), and the colour profile it needs."""
    if picture.mode == "RGBA" or (picture.mode in ("L", "RGB") and not picture.has_transparency_data):
        return picture, picture.info.get("icc_profile") or b""
    if picture.mode.startswith("I"):  # 16 bits: the upper eight, as browsers show them
        grey = np.empty((picture.height, picture.width), np.uint8)
        for top in range(0, picture.height, BAND):  # the whole as an array would be two more copies of it
            strip = picture.crop((0, top, picture.width, min(top + BAND, picture.height)))
            grey[top : top + BAND] = (np.asarray(strip) >> 8).clip(0, 255)
        return Image.fromarray(grey), b""
    return _to_rgb(picture, picture.info.get("icc_profile")), b""


@contextmanager
def _refusing_bad_files() -> Iterator[None]:
    try:
        yield
    except InvalidPayload:
        raise
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise _refused("the image has too many pixels") from error
    except UnidentifiedImageError as error:
        raise _refused("this is not a JPEG, PNG, WebP or TIFF image") from error
    except MemoryError:
        raise
    except Exception as error:  # decoders raise nearly anything: OSError, SyntaxError, struct.error…
        raise _refused("the image is damaged or cut off") from error


def _refused(reason: str) -> InvalidPayload:
    return InvalidPayload("The file cannot be used.", errors=[{"field": "file", "reason": reason}])
