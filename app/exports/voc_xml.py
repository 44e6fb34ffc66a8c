"""An image's boxes as a Pascal VOC annotation (the development kit of VOC2012, section 5).

Boxes are whole pixels, counted from 1, and the last one is inside: the box 0 to 10 is 1 to 10. So they are read by
torchvision, Detectron2 and supervision alike.
"""

import math
import re
from collections.abc import Callable, Iterable, Iterator
from typing import Any, TypeAlias
from xml.etree.ElementTree import Element, tostring

from app.annotations import TYPES
from app.geometry import Frame, Raster, Rect, clamp, shape_bounds, union

Drop: TypeAlias = Callable[[str], None]

OPENING, CLOSING = b"<annotation>", b"</annotation>"
AT_ONCE = 500
UNKNOWN = {"pose": "Unspecified", "truncated": 0, "difficult": 0}
NO_CLASS = "unlabeled"
REFUSED = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def document(about: dict[str, Any], objects: Iterable[Element | None]) -> Iterator[bytes]:
    """An annotation file, some objects at a time; `about` is what stands before them. For None it gives nothing."""
    yield OPENING + _inside(_element("annotation", about))
    some = Element("annotation")
    for element in objects:
        if element is None:
            yield b""
            continue
        some.append(element)
        if len(some) == AT_ONCE:
            yield _inside(some)
            some.clear()
    yield _inside(some) + CLOSING


def _inside(root: Element) -> bytes:
    text = tostring(root, encoding="unicode", short_empty_elements=False)  # faster than as bytes
    return text.encode()[len(OPENING) : -len(CLOSING)]


def object_of(row: Any, frame: Frame, drop: Drop) -> Element | None:
    """The annotation's box; None when it has none in the image."""
    box = _box(row, frame, drop)
    if box is None:
        return None
    for what, happened in _lost(row):
        if happened:
            drop(what)
    score = {} if row.confidence is None else {"confidence": row.confidence}
    corners = dict(zip(("xmin", "ymin", "xmax", "ymax"), _pixels(box, frame, drop), strict=True))
    return _element(
        "object",
        {
            "name": NO_CLASS if row.class_name is None else row.class_name,
            **UNKNOWN,
            **score,
            "bndbox": corners,
            "loupe_id": row.id,
        },
    )


def _lost(row: Any) -> Iterator[tuple[str, bool]]:
    """What there is of the annotation besides its box, and whether it has that."""
    yield "no_class", row.class_name is None
    yield "text", REFUSED.search(row.class_name or "") is not None
    yield "extra", "extra" in row.data
    yield "mask_numbers", "counts" in row.data and ("bbox" in row.data or "area" in row.data)


def _box(row: Any, frame: Frame, drop: Drop) -> Rect | None:
    kind = row.annotation_type
    shapes = TYPES[kind].shapes(row.data, frame)
    if not shapes:
        drop("unseen" if kind == "keypoint" else kind)
        return None
    if isinstance(shapes[0], Raster) and shapes[0].runs is None:
        drop(kind if kind == "heatmap" else "png_mask")
        return None
    boxes = [shape_bounds(shape, frame) for shape in shapes]
    box = union(boxes)
    inside = box and clamp(box, frame)
    if box is None or inside is None or (kind != "keypoint" and not (inside.width > 0 and inside.height > 0)):
        drop("empty_mask" if box is None else "outside")
        return None
    if inside != box:
        drop("cut")
    if kind != "bounding_box":
        drop(f"{kind}_shape")
    return inside


def _pixels(box: Rect, frame: Frame, drop: Drop) -> tuple[int, int, int, int]:
    left, right = _whole(box.x_min, box.x_max, frame.width)
    top, bottom = _whole(box.y_min, box.y_max, frame.height)
    if Rect(left, top, right, bottom) != box:
        drop("rounded")
    return left + 1, top + 1, right, bottom


def _whole(low: float, high: float, side: int) -> tuple[int, int]:
    """Rounded to whole pixels; the pixel that its middle is in, where nothing would be left."""
    first, end = math.floor(low + 0.5), math.floor(high + 0.5)
    if end > first:
        return first, end
    pixel = min(math.floor((low + high) / 2), side - 1)
    return pixel, pixel + 1


def _element(tag: str, content: Any) -> Element:
    """What a dictionary holds are elements inside it. What no XML can hold becomes U+FFFD."""
    element = Element(tag)
    if isinstance(content, dict):
        element.extend(_element(name, value) for name, value in content.items())
    else:
        element.text = REFUSED.sub("\ufffd", content) if isinstance(content, str) else str(content)
    return element
