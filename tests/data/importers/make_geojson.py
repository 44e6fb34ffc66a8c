"""Writes geojson.json and geojson-qupath.json beside this file.

The first with geojson 3.3.0, of shapes of shapely 2.2.0. The second with the features of qubalab 0.2.1, QuPath's own
library for Python, then with `nucleusGeometry`, `isEllipse` and `childObjects` added where QuPath 0.5 writes them.
"""

import json
import math
from pathlib import Path

import geojson
from qubalab.objects import Classification, ImageFeature, ObjectType
from shapely.geometry import MultiPoint, MultiPolygon, Point, Polygon, box, mapping

HERE = Path(__file__).parent

ring = [(10, 10), (50, 10), (50, 40), (10, 40)]
hole = [(20, 20), (20, 30), (30, 30)]
pieces = [box(1, 1, 5, 5), box(40, 20, 60, 40)]
open_pieces = [Polygon(ring, [hole]), box(55, 1, 60, 5)]
features = [
    geojson.Feature(
        id=7, geometry=mapping(Polygon(ring, [hole])), properties={"class": "leaf", "confidence": 0.75}
    ),
    geojson.Feature(geometry=mapping(MultiPolygon(pieces)), properties={"label": "rust", "score": 0.5}),
    geojson.Feature(geometry=mapping(MultiPolygon(open_pieces)), properties={"class_name": "rust"}),
    geojson.Feature(geometry=mapping(Point(12.5, 30)), properties={"category": "tip"}),
    geojson.Feature(geometry=mapping(MultiPoint([(1, 2), (3, 4)]))),
    geojson.Feature(geometry=geojson.LineString([(5, 5), (10, 5), (10, 9)]), properties={"class": "vein"}),
    geojson.Feature(geometry=None, bbox=[4, 6, 20, 30], properties={"class": "leaf"}),
    geojson.Feature(geometry=geojson.Polygon([[(1, 1, 0), (9, 1, 0), (9, 9, 0), (1, 1, 0)]])),
    geojson.Feature(geometry=geojson.GeometryCollection([geojson.Point((1, 1)), mapping(box(2, 2, 8, 8))])),
]
assert all(geojson.GeoJSON.to_instance(one.geometry).is_valid for one in features[:6])
collection = geojson.FeatureCollection(features, name="leaves")
(HERE / "geojson.json").write_text(geojson.dumps(collection) + "\n")

disc = [(30 + 8 * math.cos(i * math.pi / 8), 20 + 8 * math.sin(i * math.pi / 8)) for i in range(16)]
cell = ImageFeature(
    geojson.Polygon([[*ring, ring[0]]]),
    Classification("Tumor: Positive", (200, 0, 0)),
    name="cell 1",
    measurements={"Nucleus: Area": 201.5, "Broken": math.nan},
    object_type=ObjectType.CELL,
    id="5a8b8f1e-0000-4000-8000-000000000001",
)
cell["nucleusGeometry"] = geojson.Polygon([[*disc, disc[0]]])
oval = ImageFeature(
    geojson.Polygon([[*disc, disc[0]]]), Classification("Stroma", (0, 200, 0)), color=(1, 2, 3)
)
oval["geometry"]["isEllipse"] = True
oval["id"] = "5a8b8f1e-0000-4000-8000-000000000002"
oval["properties"]["childObjects"] = [json.loads(json.dumps(cell))]
for feature in (cell, oval):  # the one within has `names`, as qubalab writes it
    told = feature["properties"]["classification"]
    feature["properties"]["classification"] = {"name": told["names"][0], "color": told["color"]}
(HERE / "geojson-qupath.json").write_text(json.dumps([cell, oval], allow_nan=False) + "\n")
