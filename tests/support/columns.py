"""Snapshots of annotations that stand in no database."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from app.annotations import TYPES
from app.geometry import Frame, shape_bounds, union
from app.overlay.snapshot import COLUMNS, KINDS, NOWHERE, UNSURE, WITH_IDS, Snapshot, snapshot_of


def kind_of(one: Any) -> int:
    """The place in KINDS, as the database finds it."""
    formats = {"polygon": "polygons"}
    name = one.annotation_type
    if name == "segmentation":
        name = formats.get(one.data["format"], one.data["format"])
    return KINDS.index(name if name in KINDS else "custom")


def snapshot(said: Sequence[Any], frame: Frame) -> Snapshot:
    """Of objects with `annotation_type`, `data`, `class_name` and `confidence`, in their order; with their ids, where
    they have an `id`."""
    names: dict[str | None, int] = {}
    rows = np.zeros(len(said), dtype=WITH_IDS if all(hasattr(one, "id") for one in said) else COLUMNS)
    for position, one in enumerate(said):
        known = TYPES.get(one.annotation_type)
        shapes = known.shapes(one.data, frame) if known else []
        bounds = union(shape_bounds(shape, frame) for shape in shapes)
        place = (bounds.x_min, bounds.y_min, bounds.x_max, bounds.y_max) if bounds else (NOWHERE,) * 4
        confidence = UNSURE if one.confidence is None else float(one.confidence)
        number = names.setdefault(one.class_name, len(names))
        own = (one.id.bytes,) if "id" in rows.dtype.names else ()
        rows[position] = (position, *place, confidence, number, kind_of(one), *own)
    return snapshot_of({name: rows[name] for name in rows.dtype.names}, tuple(names))
