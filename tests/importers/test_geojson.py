"""GeoJSON in pixels: files of the library geojson and of QuPath's own for Python."""

from pathlib import Path
from typing import Any

import pytest

from tests.importers.reading import data, faults, load, rows, said

FILE, QUPATH = Path("geojson.json"), Path("geojson-qupath.json")
SQUARE = [[1, 1], [9, 1], [9, 9], [1, 9], [1, 1]]


def feature(kind: str = "Polygon", coordinates: Any = (SQUARE,), **properties: Any) -> dict[str, Any]:
    return {
        "type": "Feature",
        "geometry": {"type": kind, "coordinates": coordinates},
        "properties": properties,
    }


def test_a_collection() -> None:
    bulk = load(FILE, "geojson")
    assert rows(bulk) == [
        ("polygon", "leaf", 0.75),
        ("segmentation", "rust", 0.5),
        ("polygon", "rust", None),
        ("polygon", "rust", None),
        ("keypoint", "tip", None),
        ("keypoint", None, None),
        ("keypoint", "vein", None),
        ("bounding_box", "leaf", None),
        ("polygon", None, None),
        ("keypoint", None, None),
        ("polygon", None, None),
    ]
    assert bulk.places == [f"features.{i}" for i in (0, 1, 2, 2, 3, 4, 5, 6, 7, 8, 8)]
    assert said(bulk, "left_out") == {"says something of the collection": 1}
    assert said(bulk, "told") == {
        "has several parts, some with holes: each is a polygon, with its number in extra.part": 1,
        "is a line, and becomes joined keypoints": 1,
        "has a third coordinate, which is left out": 1,
        "is a collection of geometries, each of which is an annotation": 1,
    }


def test_coordinates_stay_and_the_closing_point_goes() -> None:
    stored = data(load(FILE, "geojson"))
    assert stored[0] == {
        "points": [[10, 10], [50, 10], [50, 40], [10, 40]],
        "holes": [[[20, 20], [20, 30], [30, 30]]],
        "extra": {"id": 7},
    }
    assert stored[1]["polygons"] == [[5, 1, 5, 5, 1, 5, 1, 1], [60, 20, 60, 40, 40, 40, 40, 20]]
    assert [len(one.get("holes", ())) for one in stored[2:4]] == [1, 0]
    assert [one["extra"] for one in stored[2:4]] == [{"part": [1, 2]}, {"part": [2, 2]}]
    assert stored[4]["keypoints"] == [{"x": 12.5, "y": 30}]
    assert stored[6] == {
        "keypoints": [{"x": 5, "y": 5}, {"x": 10, "y": 5}, {"x": 10, "y": 9}],
        "skeleton": [[0, 1], [1, 2]],
    }
    assert stored[7] == {"x_min": 4, "y_min": 6, "x_max": 20, "y_max": 30}


def test_what_qupath_writes() -> None:
    bulk = load(QUPATH, "geojson")
    assert [row[:2] for row in rows(bulk)] == [
        ("polygon", "Tumor: Positive"),
        ("polygon", "nucleus"),
        ("polygon", "Stroma"),
        ("polygon", "Tumor: Positive"),
        ("polygon", "nucleus"),
    ]
    assert bulk.places == ["0", "0", "1", "1.properties.childObjects.0", "1.properties.childObjects.0"]
    cell, nucleus, oval, *_ = data(bulk)
    assert cell["extra"] == {
        "id": "5a8b8f1e-0000-4000-8000-000000000001",
        "classification": {"color": [200, 0, 0]},
        "name": "cell 1",
        "measurements": {"Nucleus: Area": 201.5},
        "object_type": "CELL",
        "geometry": {"plane": {"z": 0, "t": 0}},
    }
    assert nucleus["extra"] == {"nucleus_of": cell["extra"]["id"]}
    assert oval["extra"]["geometry"]["isEllipse"] is True
    assert said(bulk, "told") == {"has a nucleus, which stands beside it with the class nucleus": 2}


@pytest.mark.parametrize(
    ("properties", "row"),
    [
        ({"classification": "a"}, ("a", None)),
        ({"classification": {"names": ["a", "b"]}}, ("a: b", None)),
        ({"classification": {"name": "a"}, "class": "b", "probability": 0.5}, ("a", 0.5)),
        ({"class_name": "a", "class": "b", "score": 0.25, "confidence": 0.5}, ("a", 0.5)),
        ({}, (None, None)),
    ],
)
def test_class_and_confidence(properties: dict[str, Any], row: tuple[Any, Any]) -> None:
    assert rows(load(feature(**properties), "geojson")) == [("polygon", *row)]


def test_no_property_is_lost() -> None:
    stored = data(load(feature(known=1, entry=2, points=3, extra=4) | {"id": 5}, "geojson"))
    assert stored[0]["extra"] == {"known": 1, "entry": 2, "points": 3, "extra": 4, "id": 5}
    stored = data(load(feature(id=1) | {"id": 5}, "geojson"))
    assert stored[0]["extra"] == {"id": 5, "properties": {"id": 1}}


def test_the_whole_image_is_left_out() -> None:
    root = {"type": "Feature", "geometry": None, "properties": {"objectType": "root"}}
    assert said(load([root], "geojson"), "left_out") == {"is the whole image": 1}


COORDINATES = "geometry.coordinates"


@pytest.mark.parametrize(
    ("entry", "field", "reason"),
    [
        (feature("Circle", [1, 1]), "geometry.type", None),
        (feature("Polygon", []), COORDINATES, "must be a list, and not empty"),
        (feature("Polygon", [[]]), COORDINATES, "must be a list, and not empty"),
        (feature("Polygon", [[[1], [2], [3]]]), COORDINATES, "must be positions [x, y]"),
        (feature("Polygon", [SQUARE[:2]]), "data.points", "must have 3 to 100000 points"),
        (
            feature("Polygon", [[*SQUARE[:3], [1, "2"]]]),
            "data.points.3",
            "must be a point of two finite numbers",
        ),
        (feature("Point", [500, 1]), "data.keypoints.0.x", "lies more than one image size outside the image"),
        (feature(confidence=7), "confidence", "Must be a number from 0 to 1."),
        (feature("MultiLineString", []), COORDINATES, "must be a list, and not empty"),
        ({"type": "Feature", "geometry": None}, "geometry", "is missing, and there is no bbox"),
        ({"type": "Thing"}, "type", "must be Feature"),
        (5, "", "must be an object"),
    ],
)
def test_refused(entry: Any, field: str, reason: str | None) -> None:
    (fault,) = faults([feature(), entry], "geojson")
    assert (fault["place"], fault["field"]) == ("1", field)
    assert reason is None or fault["reason"] == reason


@pytest.mark.parametrize(
    "file",
    [
        {"type": "FeatureCollection"},
        {"type": "FeatureCollection", "features": [], "crs": {"type": "name"}},
        {"features": []},
        {"type": "Polygon", "coordinates": [SQUARE]},
        "x",
    ],
)
def test_what_is_no_file_of_it(file: Any) -> None:
    assert faults(file, "geojson")


def test_the_earth_is_no_image() -> None:
    point = {"type": "Point", "coordinates": [1, 2, -3]}
    feature = {"type": "Feature", "properties": {}, "geometry": point}
    crs = feature | {"crs": {"type": "name"}}
    assert faults(crs, "geojson")[0]["field"] == "crs"
    assert faults([feature, crs], "geojson")[0]["field"] == "1.crs"
    assert said(load(feature, "geojson"), "told") == {"has a third coordinate, which is left out": 1}


def test_negative_coordinates_are_told() -> None:
    ring = [[1, 2], [9, 2], [9, -3], [1, 2]]
    shapes = [{"type": "Polygon", "coordinates": [ring]}, {"type": "Point", "coordinates": [-1.5, 2]}]
    features: list[Any] = [{"type": "Feature", "properties": {}, "geometry": shape} for shape in shapes]
    features.append({"type": "Feature", "properties": {}, "bbox": [-1, 2, 3, 4]})
    told = "has negative coordinates, taken as pixels: are they longitude and latitude?"
    assert said(load(features, "geojson", skips=True), "told")[told] == 3


def test_children_that_are_no_list_are_refused_alone() -> None:
    feature = {"type": "Feature", "properties": {}, "geometry": {"type": "Point", "coordinates": [1, 2]}}
    bulk = load([feature | {"properties": {"childObjects": 5}}, feature], "geojson", skips=True)
    assert bulk.skipped[0]["place"] == "0" and bulk.places == ["0", "0", "1"]
    assert bulk.skipped[0]["errors"] == [{"field": "properties.childObjects", "reason": "must be a list"}]
