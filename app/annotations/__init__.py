"""The annotation types. To add one: its module, its entry here, its section in `docs/annotation-types.md`."""

from app.annotations.base import AnnotationType, Loaded
from app.annotations.bounding_box import BoundingBox
from app.annotations.classification import Classification
from app.annotations.custom import Custom
from app.annotations.heatmap import Heatmap
from app.annotations.keypoint import Keypoint
from app.annotations.polygon import PolygonType
from app.annotations.segmentation import MaskAlias, Segmentation
from app.geometry import Frame

__all__ = ["ALIASES", "COLUMNS", "TYPES", "AnnotationType", "Frame", "Loaded", "type_named"]

TYPES: dict[str, AnnotationType] = {
    one.name: one
    for one in (
        Classification(),
        BoundingBox(),
        Heatmap(),
        Segmentation(),
        PolygonType(),
        Keypoint(),
        Custom(),
    )
}

ALIASES: dict[str, AnnotationType] = {"mask": MaskAlias()}
"""Other names a pipeline may send; the `name` of what stands here is the one that is stored."""

COLUMNS: tuple[str, ...] = tuple(
    dict.fromkeys(
        ("x_min", "y_min", "x_max", "y_max", *(column for one in TYPES.values() for column in one.columns))
    )
)
"""Every flat export column once, the bounding box first."""


def type_named(name: object) -> AnnotationType | None:
    """The type of this name or alias; None when there is none."""
    return (TYPES.get(name) or ALIASES.get(name)) if isinstance(name, str) else None
