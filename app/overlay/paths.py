"""Numbers and path data (the `d` of a path), in relative commands."""

from collections.abc import Sequence
from dataclasses import dataclass

from app.geometry import Point, Points, Polygon, Rect, signed_area, simplify


def number(value: float, per: int = 10) -> float:
    """Rounded to a tenth, or whatever `per` says; an int when whole, so that it prints shortest."""
    parts = round(value * per)
    return parts // per if parts % per == 0 else parts / per


@dataclass(frozen=True, slots=True)
class Pen:
    """How finely shapes are written: coordinates in steps of 1/`per` pixel, outlines simplified to `tolerance` pixels.

    Steps are taken between rounded points, so errors do not add up.
    """

    per: int = 10
    tolerance: float = 0.5

    def ring(self, ring: Sequence[Point]) -> str:
        """A closed ring."""
        per = self.per
        parts = [(round(x * per), round(y * per)) for x, y in simplify(ring, self.tolerance)]
        x, y = parts[0]
        start, steps = f"M{self._part(x)} {self._part(y)}l", []
        for to_x, to_y in parts[1:]:
            if (to_x, to_y) != (x, y):
                steps.append(f"{self._part(to_x - x)} {self._part(to_y - y)}")
                x, y = to_x, to_y
        return start + (" ".join(steps) or "0 0") + "z"

    def polygon(self, polygon: Polygon) -> str:
        return "".join(self.ring(ring) for ring in (polygon.points, *polygon.holes))

    def dots(self, shape: Points) -> str:
        """Lines of no length, which round ends make dots."""
        per = self.per
        return "".join(
            f"M{self._part(round(x * per))} {self._part(round(y * per))}h0" for x, y in shape.points
        )

    def lines(self, shape: Points) -> str:
        return "".join(self._segment(shape.points[i], shape.points[j]) for i, j in shape.lines)

    def shape(self, shape: Rect | Polygon | Points) -> str:
        """For a path of many shapes, with the fill rule nonzero: holes are wound the other way."""
        if isinstance(shape, Polygon):
            return self.polygon(_wound(shape))
        if isinstance(shape, Points):
            return self.dots(shape) + self.lines(shape)
        per = self.per
        return self.box(*(round(side * per) for side in (shape.x_min, shape.y_min, shape.x_max, shape.y_max)))

    def box(self, left: int, top: int, right: int, bottom: int) -> str:
        """A box whose sides are given in steps."""
        width, height = self._part(right - left), self._part(bottom - top)
        return f"M{self._part(left)} {self._part(top)}h{width}v{height}h-{width}z"

    def _segment(self, start: Point, end: Point) -> str:
        per = self.per
        x, y = round(start[0] * per), round(start[1] * per)
        to_x, to_y = round(end[0] * per), round(end[1] * per)
        return f"M{self._part(x)} {self._part(y)}l{self._part(to_x - x)} {self._part(to_y - y)}"

    def _part(self, parts: int) -> str:
        return str(parts // self.per) if parts % self.per == 0 else str(parts / self.per)


def pen_for(zoom: float) -> Pen:
    """Fine enough for so many CSS pixels to one of the image: nothing is off by more than half of what is seen."""
    return Pen(per=10 if zoom <= 4 else 100, tolerance=0.5 / max(zoom, 0.1))


def _wound(polygon: Polygon) -> Polygon:
    """The outer ring one way round and the holes the other, as the nonzero fill rule wants them."""
    points = polygon.points if signed_area(polygon.points) >= 0 else polygon.points[::-1]
    holes = tuple(hole if signed_area(hole) <= 0 else hole[::-1] for hole in polygon.holes)
    return Polygon(points, holes)
