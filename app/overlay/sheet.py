"""A view as a drawing of its own: the picture with its layers, a legend under it. Plain values, in units of the sheet.

The longer side of the picture is `LONG` units whatever its size in pixels, so that lines and letters look the same on
every image. `templates/overlay/standalone.svg` draws a Sheet.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

from app.geometry import Rect
from app.lettering import cut, length, lines
from app.overlay.colours import PALETTE
from app.overlay.labels import FONT_SIZE
from app.overlay.parts import Label, VectorLayer
from app.overlay.window import Window

LONG = 1200.0
NARROWEST = 720.0
MARGIN = 24.0
MAX_PIXELS = 4096
"""Of a side of the picture in the drawing. The long side of the sheet is never drawn smaller than LONG."""
MAX_CLASSES = 60
TITLE, BODY, SMALL = 20.0, 15.0, 13.0
LEADING = 1.45
COLUMN = 232.0
BAR_WIDTH, BAR_HEIGHT = 220.0, 12.0
NOTHING = VectorLayer()


@dataclass(frozen=True, slots=True)
class Embedded:
    """A picture inside the drawing: `href` is a data address, `rect` its place in pixels of the image."""

    href: str
    rect: Rect
    kind: str = "picture"
    title: str = ""


@dataclass(frozen=True, slots=True)
class Scale:
    """The colours of a heatmap: `stops` are places from 0 to 1 with their colours."""

    title: str
    low: str
    high: str
    stops: Sequence[tuple[float, str]]


@dataclass(frozen=True, slots=True)
class Layer:
    """An analysis as it is drawn, in pixels of the image, and what the legend says of it.

    `counts` are words for what was received, drawn and hidden; `classes` are names, their places in the palette, and
    how many are drawn.
    """

    name: str
    counts: str
    opacity: float
    bitmaps: Sequence[Embedded] = ()
    vector: VectorLayer = NOTHING
    labels: Sequence[Label] = ()
    classes: Sequence[tuple[str, int, int]] = ()
    scales: Sequence[Scale] = ()


@dataclass(frozen=True, slots=True)
class Text:
    x: float
    y: float
    size: float
    text: str
    muted: bool = False
    end: bool = False


@dataclass(frozen=True, slots=True)
class Swatch:
    x: float
    y: float
    colour: str


@dataclass(frozen=True, slots=True)
class Bar:
    x: float
    y: float
    stops: Sequence[tuple[float, str]]


@dataclass
class Legend:
    """Set line by line from the top; `y` is where the next line begins."""

    left: float
    width: float
    y: float
    texts: list[Text] = field(default_factory=list)
    swatches: list[Swatch] = field(default_factory=list)
    bars: list[Bar] = field(default_factory=list)

    def say(self, text: str, size: float = SMALL, *, muted: bool = False, most: int = 3) -> None:
        for line in lines(text, self.width, size, most):
            self.texts.append(Text(self.left, self.y + size, size, line, muted))
            self.y += size * LEADING

    def gap(self, room: float = 10.0) -> None:
        self.y += room

    def list_classes(self, classes: Sequence[tuple[str, int, int]]) -> None:
        """In columns: a swatch, the name, how many."""
        columns = max(1, int(self.width // COLUMN))
        wide, top, high = self.width / columns, self.y, SMALL * 1.7
        for place, (name, index, count) in enumerate(classes[:MAX_CLASSES]):
            x, y = self.left + place % columns * wide, top + place // columns * high
            number = f"{count:,}"
            room = wide - 40 - length(number, SMALL)
            self.swatches.append(Swatch(x, y + 2, PALETTE[index]))
            self.texts.append(Text(x + 20, y + SMALL, SMALL, cut(name, room, SMALL)))
            self.texts.append(Text(x + wide - 14, y + SMALL, SMALL, number, muted=True, end=True))
            self.y = y + high
        if len(classes) > MAX_CLASSES:
            self.say(f"and {len(classes) - MAX_CLASSES} more classes", muted=True)

    def draw_scale(self, scale: Scale) -> None:
        self.say(scale.title, most=1)
        self.bars.append(Bar(self.left, self.y, scale.stops))
        y = self.y + BAR_HEIGHT + SMALL * 1.1
        room = BAR_WIDTH / 2 - 6
        self.texts.append(Text(self.left, y, SMALL, cut(scale.low, room, SMALL), muted=True))
        self.texts.append(
            Text(self.left + BAR_WIDTH, y, SMALL, cut(scale.high, room, SMALL), muted=True, end=True)
        )
        self.y = y + SMALL * 0.8


@dataclass(frozen=True, slots=True)
class Sheet:
    """`window` is the part of the image, its zoom says how many units of the sheet one of its pixels takes.

    `outline` is the `d` of the one that is picked. `pixel_width` and `pixel_height` are the size of the drawing where
    it is shown as pixels.
    """

    title: str
    window: Window
    picture: Embedded
    layers: Sequence[Layer]
    outline: str
    legend: Legend
    width: float
    height: float
    place: Rect
    pixel_width: int
    pixel_height: int

    @property
    def unit(self) -> float:
        """How many pixels of the image a unit of the sheet is wide."""
        return 1 / self.window.zoom

    @property
    def label_size(self) -> float:
        return round(FONT_SIZE * self.unit, 4)

    @property
    def colours(self) -> Sequence[str]:
        return PALETTE

    @property
    def bar_width(self) -> float:
        return BAR_WIDTH

    @property
    def bar_height(self) -> float:
        return BAR_HEIGHT


def window_over(region: Rect) -> Window:
    """The region as a sheet shows it."""
    scale = LONG / max(region.width, region.height)
    return Window(region.x_min, region.y_min, region.width, region.height, scale)


def sheet_of(
    title: str,
    notes: Sequence[str],
    window: Window,
    picture: Embedded,
    layers: Sequence[Layer],
    outline: str = "",
    most: int = MAX_PIXELS,
) -> Sheet:
    """The picture at the top and the legend under it; `notes` say what part of the image it is and what is hidden.

    The picture is drawn in its own pixels, in `most` a side at the most.
    """
    across, down = window.width * window.zoom, window.height * window.zoom
    width = max(across, NARROWEST) + 2 * MARGIN
    left = (width - across) / 2
    place = Rect(left, MARGIN, left + across, MARGIN + down)
    legend = Legend(MARGIN, width - 2 * MARGIN, place.y_max + 16)
    legend.say(title, TITLE, most=2)
    for note in notes:
        legend.say(note, muted=True)
    for layer in layers:
        _explain(legend, layer)
    height = legend.y + MARGIN
    density = min(max(1 / window.zoom, 1.0), most / LONG)
    return Sheet(
        title, window, picture, layers, outline, legend, round(width, 2), round(height, 2), place,
        round(width * density), round(height * density),
    )  # fmt: skip


def _explain(legend: Legend, layer: Layer) -> None:
    legend.gap()
    legend.say(layer.name, BODY, most=2)
    legend.say(layer.counts, muted=True)
    if layer.classes:
        legend.gap(4)
        legend.list_classes(layer.classes)
    for scale in layer.scales:
        legend.gap(6)
        legend.draw_scale(scale)
