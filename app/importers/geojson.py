"""GeoJSON (RFC 7946) whose coordinates are pixels, as QuPath and others write it of images.

QuPath (https://qupath.readthedocs.io) writes a list of features or a collection, with the class under
`properties.classification`, a cell's nucleus as `nucleusGeometry` and, if asked to, objects within objects as
`properties.childObjects`.
"""

from collections.abc import Callable, Iterator
from typing import Any

from app.importers.base import (
    Found,
    Json,
    LeftOut,
    Taken,
    Target,
    Told,
    json_file,
    not_this_format,
)
from app.importers.reading import (
    Unfit,
    each,
    head,
    inner,
    is_number,
    json_object,
    kept,
    one,
    says_nothing,
    under,
    without,
)

CLASSES = ("class_name", "class", "label", "category")
SCORES = ("confidence", "score", "probability")
_FEATURE = frozenset({"type", "geometry", "properties", "nucleusGeometry"})
_GEOMETRY = frozenset({"type", "coordinates"})
EARTH = "Coordinates are in a reference system of the earth; only pixels are taken."
NEGATIVE = "has negative coordinates, taken as pixels: are they longitude and latitude?"
PLANAR = "has a third coordinate, which is left out"


def read_features(file: Any, target: Target) -> Found:
    """A FeatureCollection, a list of features, or one."""
    if isinstance(file, list):
        yield from each(file, "", _feature)
    elif isinstance(file, dict) and file.get("type") == "FeatureCollection":
        if file.get("crs") is not None:
            not_this_format(EARTH, "crs")
        yield from head(file, ("type", "features"), "", "says something of the collection")
        yield from each(file.get("features"), "features", _feature)
    elif isinstance(file, dict) and file.get("type") == "Feature":
        yield from one("", file, _feature)
    else:
        not_this_format("This is no FeatureCollection, no Feature and no list of features.")


def _feature(place: str, feature: Json) -> Found:
    if feature.get("type") != "Feature":
        raise Unfit("type", "must be Feature")
    if feature.get("crs") is not None:
        not_this_format(EARTH, under(place, "crs"))
    properties = json_object(feature.get("properties") or {}, "properties")
    about, rest = _about(properties)
    children = rest.pop("childObjects", None)
    rest = kept(without(feature, _FEATURE), properties=rest).get("extra", {})
    geometry = feature.get("geometry")
    if geometry is not None:
        yield from _annotations(place, json_object(geometry, "geometry"), about, rest)
    elif feature.get("bbox") is not None:
        if _is_negative(feature["bbox"]):
            yield Told(place, NEGATIVE)
        box = {"bbox": feature["bbox"], "format": "xyxy"} | kept(without(rest, ("bbox",)))
        yield Taken(place, {**about, "annotation_type": "bounding_box", "data": box})
    elif "root" in (properties.get("objectType"), properties.get("object_type")):
        yield LeftOut(place, "is the whole image")
    else:
        raise Unfit("geometry", "is missing, and there is no bbox")
    if feature.get("nucleusGeometry") is not None:
        nucleus = json_object(feature["nucleusGeometry"], "nucleusGeometry")
        yield Told(place, "has a nucleus, which stands beside it with the class nucleus")
        of = {"nucleus_of": feature["id"]} if feature.get("id") is not None else {}
        yield from _annotations(place, nucleus, {"class_name": "nucleus", "confidence": None}, of)
    if not says_nothing(children):
        yield from inner(children, place, "properties.childObjects", _feature)


def _about(properties: Json) -> tuple[Json, Json]:
    """Class and confidence, and the properties that are neither."""
    rest = dict(properties)
    name: Any = None
    found = rest.get("classification")
    if isinstance(found, str):
        name = rest.pop("classification")
    elif isinstance(found, dict):
        name, parts = found.get("name"), found.get("names")
        if name is None and isinstance(parts, list) and parts:
            name = ": ".join(map(str, parts))
        rest["classification"] = {key: value for key, value in found.items() if key not in ("name", "names")}
        if not rest["classification"]:
            del rest["classification"]
    name = _first(rest, CLASSES) if name is None else name
    return {"class_name": name, "confidence": _first(rest, SCORES)}, rest


def _first(properties: Json, keys: tuple[str, ...]) -> Any:
    """The first of these that has a value, taken out."""
    return next((properties.pop(key) for key in keys if properties.get(key) is not None), None)


# --- geometries --------------------------------------------------------------------------------------------------


def _annotations(place: str, geometry: Json, about: Json, rest: Json) -> Found:
    kind = geometry.get("type")
    if kind == "GeometryCollection":
        yield Told(place, "is a collection of geometries, each of which is an annotation")
        for i, inner in enumerate(_list(geometry.get("geometries"), "geometry.geometries")):
            yield from _annotations(place, json_object(inner, f"geometry.geometries.{i}"), about, rest)
        return
    read = GEOMETRIES.get(kind) if isinstance(kind, str) else None
    if read is None:
        raise Unfit("geometry.type", f"must be one of {', '.join(GEOMETRIES)} and GeometryCollection")
    beside = {"geometry": beside} if (beside := without(geometry, _GEOMETRY)) else {}
    if _is_negative(geometry.get("coordinates")):
        yield Told(place, NEGATIVE)
    for one_kind, data, told in read(geometry.get("coordinates")):
        if told:
            yield Told(place, told)
        if data:
            part = {"part": data.pop("part")} if "part" in data else {}
            data = data | kept(rest, feature=beside | part)
            yield Taken(place, {**about, "annotation_type": one_kind, "data": data})


Parts = Iterator[tuple[str, Json, str | None]]  # a type, its data, and what to tell of it


def _polygon(rings: Any) -> Parts:
    rings = [_open(ring) for ring in _list(rings, "geometry.coordinates")]
    outer, *holes = rings
    told = PLANAR if any(deep for _, deep in rings) else None
    yield "polygon", {"points": outer[0]} | ({"holes": [hole for hole, _ in holes]} if holes else {}), told


def _multipolygon(polygons: Any) -> Parts:
    """One thing of several parts, unless holes keep it from being that."""
    parts = [part for polygon in _list(polygons, "geometry.coordinates") for part in _polygon(polygon)]
    if len(parts) == 1:
        yield parts[0]
    elif any("holes" in data for _, data, _ in parts):
        yield "", {}, "has several parts, some with holes: each is a polygon, with its number in extra.part"
        for i, (kind, data, told) in enumerate(parts):
            yield kind, data | {"part": [i + 1, len(parts)]}, told
    else:
        told = next((told for _, _, told in parts if told), None)
        polygons = [_flat(data["points"]) for _, data, _ in parts]
        yield "segmentation", {"format": "polygon", "polygons": polygons}, told


def _points(positions: Any, joined: bool = False) -> Parts:
    found, deep = _positions(positions)
    keypoints = [{"x": x, "y": y} for x, y in found]
    lines = {"skeleton": [[i, i + 1] for i in range(len(found) - 1)]} if joined else {}
    if deep:
        yield "", {}, PLANAR
    yield (
        "keypoint",
        {"keypoints": keypoints} | lines,
        "is a line, and becomes joined keypoints" if joined else None,
    )


def _line(positions: Any) -> Parts:
    return _points(positions, joined=True)


def _lines(lines: Any) -> Parts:
    for line in _list(lines, "geometry.coordinates"):
        yield from _line(line)


GEOMETRIES: dict[str, Callable[[Any], Parts]] = {
    "Polygon": _polygon,
    "MultiPolygon": _multipolygon,
    "Point": lambda position: _points([position]),
    "MultiPoint": _points,
    "LineString": _line,
    "MultiLineString": _lines,
}


def _open(ring: Any) -> tuple[list[Any], bool]:
    """The ring without the last point that closes it, which is its first again; whether it has heights."""
    points, deep = _positions(ring)
    return (points[:-1] if len(points) > 1 and points[0] == points[-1] else points), deep


def _positions(positions: Any) -> tuple[list[Any], bool]:
    """`[[x, y], …]`, and whether there was more to some."""
    found = _list(positions, "geometry.coordinates")
    if not all(isinstance(position, list) and len(position) >= 2 for position in found):
        raise Unfit("geometry.coordinates", "must be positions [x, y]")
    return [position[:2] for position in found], any(len(position) > 2 for position in found)


def _is_negative(coordinates: Any) -> bool:
    """Whether a number of a position, or of positions in lists of any depth, is; a height may be."""
    if not isinstance(coordinates, list):
        return False
    return any(is_number(value) and value < 0 for value in coordinates[:2]) or any(
        map(_is_negative, coordinates)
    )


def _flat(points: list[Any]) -> list[Any]:
    return [value for point in points for value in point]


def _list(value: Any, field: str) -> list[Any]:
    if not isinstance(value, list) or not value:
        raise Unfit(field, "must be a list, and not empty")
    return value


FORMAT = json_file("GeoJSON in pixels, as of QuPath", read_features, endings=(".geojson", ".json"))
