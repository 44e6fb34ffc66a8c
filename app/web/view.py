"""How a person looks at an image. It lives in the query, so that a view can be sent to a colleague."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any
from uuid import UUID

from flask import url_for
from werkzeug.datastructures import MultiDict

from app.models import Image

MODES = ("overlay", "side")
OPACITIES = range(10, 101)
SWITCHES = ("boxes", "bitmaps", "labels")


@dataclass(frozen=True)
class View:
    """`opacity` is in per cent, `page` that of the table of annotations."""

    boxes: bool = True
    bitmaps: bool = True
    labels: bool = True
    opacity: int = 100
    mode: str = "overlay"
    page: int = 1

    def address(self, image: Image, analysis_id: UUID | None = None, **changes: Any) -> str:
        """The image page in this view; only what differs from a first visit is in the query."""
        return url_for("web.show_image", image_id=image.id, **self.query(analysis_id, **changes))

    def query(self, analysis_id: UUID | None = None, **changes: Any) -> dict[str, Any]:
        view, first = replace(self, **changes), View()
        query: dict[str, Any] = {"analysis": analysis_id} if analysis_id else {}
        query |= {name: 0 for name in SWITCHES if not getattr(view, name)}
        query |= {"opacity": view.opacity} if view.opacity != first.opacity else {}
        query |= {"view": view.mode} if view.mode != first.mode else {}
        query |= {"page": view.page} if view.page != first.page else {}
        return query


def read_view(args: MultiDict[str, str]) -> View:
    """A value that makes no sense counts as not given: an old or mistyped link still opens.

    What is sent twice counts as it is sent last: a switch comes from a form as 0 by a hidden field and then as 1 by
    the box that is ticked, and a form that carries the view it was drawn with is followed by what was changed since.
    """
    first, sent = View(), {name: values[-1] for name, values in args.lists()}
    opacity = _whole(sent, "opacity", first.opacity)
    return View(
        **{name: sent.get(name) != "0" for name in SWITCHES},
        opacity=opacity if opacity in OPACITIES else first.opacity,
        mode=sent["view"] if sent.get("view") in MODES else first.mode,
        page=max(_whole(sent, "page", first.page), 1),
    )


def _whole(sent: Mapping[str, str], name: str, otherwise: int) -> int:
    text = sent.get(name, "")
    return int(text) if text.isascii() and text.isdigit() and len(text) < 8 else otherwise
