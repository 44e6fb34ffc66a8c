"""Numbers and path data (the `d` of a path), rounded to 0.1 px, in relative commands."""

from collections.abc import Sequence

from app.geometry import Point, Points, Polygon, Rect, signed_area, simplify

TOLERANCE = 0.5


def number(value: float) -> float:
    """Rounded to 0.1; an int when whole, so that it prints shortest."""
    tenths = round(value * 10)
    return tenths // 10 if tenths % 10 == 0 else tenths / 10


def _ring_path(ring: Sequence[Point]) -> str:
    """A closed ring in relative commands; steps are taken between rounded points, so errors do not add up."""
    tenths = [(round(x * 10), round(y * 10)) for x, y in simplify(ring, TOLERANCE)]
    x, y = tenths[0]
    start, steps = f"M{_tenth(x)} {_tenth(y)}l", []
    for to_x, to_y in tenths[1:]:
        if (to_x, to_y) != (x, y):
            steps.append(f"{_tenth(to_x - x)} {_tenth(to_y - y)}")
            x, y = to_x, to_y
    return start + (" ".join(steps) or "0 0") + "z"


def _tenth(tenths: int) -> str:
    return str(tenths // 10) if tenths % 10 == 0 else str(tenths / 10)


def polygon_path(polygon: Polygon) -> str:
    return "".join(_ring_path(ring) for ring in (polygon.points, *polygon.holes))


def lines_path(shape: Points) -> str:
    return "".join(_segment(shape.points[i], shape.points[j]) for i, j in shape.lines)


def _segment(start: Point, end: Point) -> str:
    x, y = round(start[0] * 10), round(start[1] * 10)
    return f"M{_tenth(x)} {_tenth(y)}l{_tenth(round(end[0] * 10) - x)} {_tenth(round(end[1] * 10) - y)}"


def _wound(polygon: Polygon) -> Polygon:
    """The outer ring one way round and the holes the other, as the nonzero fill rule wants them."""
    points = polygon.points if signed_area(polygon.points) >= 0 else polygon.points[::-1]
    holes = tuple(hole if signed_area(hole) <= 0 else hole[::-1] for hole in polygon.holes)
    return Polygon(points, holes)


def shape_path(shape: Rect | Polygon | Points) -> str:
    if isinstance(shape, Polygon):
        return polygon_path(_wound(shape))
    if isinstance(shape, Points):
        dots = "".join(f"M{_tenth(round(x * 10))} {_tenth(round(y * 10))}h0" for x, y in shape.points)
        return dots + lines_path(shape)
    left, top = round(shape.x_min * 10), round(shape.y_min * 10)
    width, height = round(shape.x_max * 10) - left, round(shape.y_max * 10) - top
    return f"M{_tenth(left)} {_tenth(top)}h{_tenth(width)}v{_tenth(height)}h{_tenth(-width)}z"
