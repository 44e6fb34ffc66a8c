"""What the colours of a heatmap mean: the scale beside the image, over the range that is chosen."""

from collections.abc import Sequence
from dataclasses import dataclass

from app import storage
from app.bitmaps import COLOR_MAPS, color_map_named
from app.overlay import StoredBitmap
from app.services import renders
from app.web.release import release
from app.web.view import View

RAMP_STOPS = 16


@dataclass(frozen=True)
class Scale:
    """`stops` are places from 0 to 1 with their colours; `low`, `middle` and `high` say what stands at its ticks."""

    id: str
    name: str
    low: str
    middle: str
    high: str
    label: str
    stops: Sequence[tuple[float, str]]


def scales_of(layers: Sequence[StoredBitmap], revision: int, view: View) -> list[Scale]:
    """The scale of each heatmap, but for those that a pipeline coloured. It may end the transaction."""
    heatmaps = [layer for layer in layers if layer.kind == "heatmap"]
    if not all(renders.remembered(layer, revision) for layer in heatmaps):
        release()  # nothing is held while the storage is asked
    kept = storage.current()
    return [scale_of(layer, view) for layer in heatmaps if not renders.is_coloured(layer, revision, kept)]


def scale_of(layer: StoredBitmap, view: View) -> Scale:
    """The scale of a heatmap in this view, in the unit of its values, or in per cent where these are not known."""
    name = view.color_map or color_map_named(layer.color_map)
    colours = COLOR_MAPS[name]
    places = [round(step / (RAMP_STOPS - 1), 3) for step in range(RAMP_STOPS)]
    low, middle, high = (_told(layer, share) for share in (view.low, (view.low + view.high) / 2, view.high))
    return Scale(
        id=layer.annotation_id,
        name=name,
        low=low,
        middle=middle,
        high=high,
        label=layer.unit or layer.title,
        stops=[(place, "#{:02x}{:02x}{:02x}".format(*colours[round(place * 255)])) for place in places],
    )


def _told(layer: StoredBitmap, share: float) -> str:
    """The value at this many per cent of the range."""
    known = layer.vmin if share == 0 else layer.vmax if share == 100 else None
    if known is None and layer.vmin is not None and layer.vmax is not None:
        known = layer.vmin + (layer.vmax - layer.vmin) * share / 100
    if known is not None:
        return f"{known:.4g}"
    return "low" if share == 0 else "high" if share == 100 else f"{share:g} %"
