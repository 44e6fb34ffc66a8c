"""How a person looks at an image. It lives in the query, so that a view can be sent to a colleague."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Any
from uuid import UUID

from flask import url_for
from werkzeug.datastructures import MultiDict

from app.bitmaps import COLOR_MAPS
from app.models import Image
from app.overlay.filters import Filter

MODES = ("overlay", "side", "swipe")
SORTS = ("order", "confidence", "class", "area")
OPACITIES = range(10, 101)
PERCENT = range(101)
FILTERS = ("off", "only", "q", "min")
SWITCHES = ("boxes", "bitmaps", "labels")
ZOOMS = (1 / 256, 64.0)
MAX_OTHERS = 8
MAX_NAMES = 500
MAX_NAME = 255


@dataclass(frozen=True)
class At:
    """What is in the middle of the stage, in pixels of the image, and how many CSS pixels one of them takes."""

    x: float
    y: float
    zoom: float

    def __str__(self) -> str:
        return f"{self.x:g},{self.y:g},{self.zoom:g}"


@dataclass(frozen=True)
class View:
    """`others` are the analyses drawn besides the chosen one, each with its opacity; `at` is None for all of the image.

    Opacities are in per cent, `low` and `high` in per cent of a heatmap's range, `divider` in per cent of the stage's
    width, `page` counts the pages of the table. `off` are classes that are hidden ("" for what has none), `only` is the
    one that is shown, `text` is looked for in the names of classes.
    """

    boxes: bool = True
    bitmaps: bool = True
    labels: bool = True
    opacity: int = 100
    others: tuple[tuple[UUID, int], ...] = ()
    mode: str = "overlay"
    divider: int = 50
    at: At | None = None
    off: tuple[str, ...] = ()
    only: str | None = None
    text: str = ""
    confidence: float = 0.0
    color_map: str = ""
    low: int = 0
    high: int = 100
    sort: str = "order"
    page: int = 1
    pick: UUID | None = None

    @property
    def filter(self) -> Filter:
        return Filter(frozenset(self.off), self.only, self.text, self.confidence)

    def with_pick(self, annotation_id: UUID | None) -> "View":
        return replace(self, pick=annotation_id)

    def on_page(self, page: int) -> "View":
        return replace(self, page=page)

    def address(self, image: Image, analysis_id: UUID | None = None, **changes: Any) -> str:
        """The image page in this view; only what differs from a first visit is in the query."""
        return url_for("web.show_image", image_id=image.id, **self.query(analysis_id, **changes))

    def query(self, analysis_id: UUID | None = None, **changes: Any) -> dict[str, Any]:
        view, first = replace(self, **changes), View()
        query: dict[str, Any] = {"analysis": analysis_id} if analysis_id else {}
        for field in fields(View):
            value = getattr(view, field.name)
            if value != getattr(first, field.name):
                query[NAMES.get(field.name, field.name)] = _written(field.name, value)
        return query


# The word in the address, where it is another than in the code.
NAMES = {"others": "with", "mode": "view", "text": "q", "confidence": "min", "color_map": "map"}


def _written(name: str, value: Any) -> Any:
    if name in SWITCHES:
        return 0
    if name == "others":
        return [
            str(analysis_id) if opacity == 100 else f"{analysis_id}:{opacity}"
            for analysis_id, opacity in value
        ]
    if name == "confidence":
        return f"{value:g}"
    return list(value) if name == "off" else str(value) if name in ("at", "pick") else value


def read_view(args: MultiDict[str, str]) -> View:
    """The view of a query; with `clear` it has no filter, whatever else was sent.

    A value that makes no sense counts as not given: an old or mistyped link still opens.

    What is sent twice counts as it is sent last: a switch comes from a form as 0 by a hidden field and then as 1 by
    the box that is ticked, and a form that carries the view it was drawn with is followed by what was changed since.
    """
    first, sent = View(), {name: values[-1] for name, values in args.lists()}
    low, high = _whole(sent, "low", PERCENT, 0), _whole(sent, "high", PERCENT, 100)
    if low >= high:
        low, high = 0, 100
    if "clear" in sent:
        args = MultiDict((name, value) for name, value in args.items(multi=True) if name not in FILTERS)
        sent = {name: value for name, value in sent.items() if name not in FILTERS}
    return View(
        **{name: sent.get(name) != "0" for name in SWITCHES},
        opacity=_whole(sent, "opacity", OPACITIES, first.opacity),
        others=_others(args),
        mode=_one_of(sent, "view", MODES, first.mode),
        divider=_whole(sent, "divider", PERCENT, first.divider),
        at=_at(sent.get("at", "")),
        off=tuple(dict.fromkeys(name for name in args.getlist("off")[:MAX_NAMES] if len(name) <= MAX_NAME)),
        only=sent["only"] if len(sent.get("only", "x" * (MAX_NAME + 1))) <= MAX_NAME else None,
        text=sent.get("q", "").strip()[:MAX_NAME],
        confidence=_confidence(sent.get("min", "")),
        color_map=_one_of(sent, "map", COLOR_MAPS, first.color_map),
        low=low,
        high=high,
        sort=_one_of(sent, "sort", [sign + name for name in SORTS for sign in ("", "-")], first.sort),
        page=max(_whole(sent, "page", range(10**7), first.page), 1),
        pick=_uuid(sent.get("pick", "")),
    )


def _one_of(sent: Mapping[str, str], name: str, choices: Any, otherwise: str) -> str:
    return sent[name] if sent.get(name) in choices else otherwise


def _whole(sent: Mapping[str, str], name: str, within: range, otherwise: int) -> int:
    text = sent.get(name, "")
    value = int(text) if text.isascii() and text.isdigit() and len(text) < 8 else otherwise
    return value if value in within else otherwise


def _real(text: str) -> float | None:
    """A plain number; None for what is none, or has no end."""
    try:
        value = float(text) if len(text) < 32 else math.nan
    except ValueError:
        return None
    return value if math.isfinite(value) else None


def _confidence(text: str) -> float:
    value = _real(text) or 0.0
    return round(value, 4) if 0 < value <= 1 else 0.0


def reals(text: str, count: int) -> list[float] | None:
    """So many plain numbers with commas between them; None for anything else."""
    values = [_real(part) for part in text.split(",", count)]
    found = [value for value in values if value is not None]
    return found if len(found) == len(values) == count else None


def _at(text: str) -> At | None:
    values = reals(text, 3)
    if values is None or not ZOOMS[0] <= values[2] <= ZOOMS[1] or max(map(abs, values[:2])) >= 1e7:
        return None
    x, y, zoom = values
    return At(round(x, 1), round(y, 1), float(f"{zoom:.4g}"))


def _others(args: MultiDict[str, str]) -> tuple[tuple[UUID, int], ...]:
    """Each analysis once, with its opacity; a form sends that by itself, as `opacity:` and the analysis."""
    found: dict[UUID, int] = {}
    for text in args.getlist("with"):
        name, _, opacity = text.partition(":")
        analysis_id = _uuid(name)
        if analysis_id is not None:
            sent = {"opacity": args.get(f"opacity:{analysis_id}", opacity)}
            found[analysis_id] = _whole(sent, "opacity", OPACITIES, 100)
    return tuple(found.items())[:MAX_OTHERS]


def _uuid(text: str) -> UUID | None:
    try:
        return UUID(text)
    except ValueError:
        return None
