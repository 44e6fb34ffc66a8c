"""What every annotation type shares: the class it derives from, the frame its numbers are in, its errors.

`null` for an optional key is the same as leaving it out. Every refusal names its path under `data`, such as
`keypoints.3.x`.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar, Literal, NamedTuple, TypeAlias

from marshmallow import Schema, ValidationError

from app.annotations.compiled import compiled
from app.annotations.extra import gather_extra
from app.annotations.fields import Flag, Whole, known_keys
from app.geometry import Frame, Rect, Shape, far_outside

Data: TypeAlias = dict[str, Any]

MAX_SIDE = 1_000_000
_REWORDED: dict[str, str] = {
    "Missing data for required field.": "is missing",
    "Field may not be null.": "must not be null",
    "Invalid input type.": "must be an object",
}
FAR = "lies more than one image size outside the image"


class Loaded(NamedTuple):
    """An annotation's `data` in canonical form.

    `bounds` is the bounding box in pixels of the image, or None for what has no place in it. `scaled_from` is
    the frame the numbers came in, when it differed from the image's and they were scaled.
    """

    data: Data
    bounds: Rect | None
    scaled_from: Frame | None = None


class Scale(NamedTuple):
    """Factors from the sender's numbers to pixels of the image."""

    across: float
    down: float
    frame: Frame
    scaled_from: Frame | None = None


class FrameFields(Schema):
    """Keys that any `data` with coordinates may carry: the frame its numbers are in."""

    image_width = Whole(
        1,
        MAX_SIDE,
        allow_none=True,
        metadata={"description": "Of the frame the numbers are in, if not the image's."},
    )
    image_height = Whole(1, MAX_SIDE, allow_none=True, metadata={"description": "The same."})
    normalized = Flag(
        allow_none=True, metadata={"description": "The numbers go from 0 to 1, whatever the size."}
    )


def scale_of(values: Mapping[str, Any], frame: Frame) -> Scale:
    """How to bring the numbers beside these frame keys into pixels of the image."""
    if values.get("normalized"):
        return Scale(frame.width, frame.height, frame)
    width, height = values.get("image_width"), values.get("image_height")
    if width is None and height is None:
        return Scale(1.0, 1.0, frame)
    sent = Frame(width or frame.width, height or frame.height)
    if sent == frame:
        return Scale(1.0, 1.0, frame)
    for key, side in (("image_width", width), ("image_height", height)):
        if side is None:
            raise ValidationError({key: ["is needed, because the other side is not the image's"]})
    return Scale(frame.width / sent.width, frame.height / sent.height, frame, sent)


def frame_keys(values: Mapping[str, Any], frame: Frame) -> Data:
    """`image_width` and `image_height` as they stand beside scaled numbers, where they were sent."""
    own = {"image_width": frame.width, "image_height": frame.height}
    return {key: side for key, side in own.items() if values.get(key) is not None}


def place(points: list[list[float]], scale: Scale, path: str) -> list[list[float]]:
    """The points in pixels of the image; refused when one is far outside."""
    across, down, frame, _ = scale
    if across != 1.0 or down != 1.0:
        points = [[x * across, y * down] for x, y in points]
    for i, (x, y) in enumerate(points):
        if far_outside(x, frame.width) or far_outside(y, frame.height):
            raise ValidationError({f"{path}.{i}": [FAR]})
    return points


def present(values: Mapping[str, Any], *keys: str) -> Data:
    """Those of the keys that have a value, in this order."""
    return {key: values[key] for key in keys if values.get(key) is not None}


def flat(messages: Any, path: str = "") -> dict[str, list[str]]:
    """Marshmallow's nested messages as `{"keypoints.3.x": ["must be a number"]}`; "" is `data` itself."""
    if not isinstance(messages, dict):
        texts: list[str] = messages if isinstance(messages, list) else [messages]
        return {path: [_REWORDED.get(text, text) for text in texts]}
    out: dict[str, list[str]] = {}
    for key, inner in messages.items():
        deeper = path if key == "_schema" else ".".join(part for part in (path, str(key)) if part)
        for where, texts in flat(inner, deeper).items():
            out.setdefault(where, []).extend(texts)
    return out


class AnnotationType(ABC):
    """One type. To add one: a module with a subclass, its entry in `TYPES`, its section in the docs."""

    name: ClassVar[str]
    title: ClassVar[str]
    example: ClassVar[Data]
    drawn_as: ClassVar[Literal["vector", "bitmap", "none"]]
    Payload: ClassVar[type[Schema]]
    forms: ClassVar[tuple[type[Schema], ...]] = ()  # every canonical form, where `Payload` is not all of it
    aliases: ClassVar[tuple[type[Schema], ...]] = ()  # what is accepted besides and made canonical
    columns: ClassVar[tuple[str, ...]] = ()

    def load(self, data: object, frame: Frame, storage_path: str | None = None) -> Loaded:
        """The canonical form of what a pipeline sent for an image of this frame.

        Raises marshmallow.ValidationError with `messages` flat: `{path under data: [reason, …]}`. The path is
        "" for `data` itself and `storage_path` when the annotation lacks the artifact its type needs.
        Loading what came out once more changes nothing.
        """
        if not isinstance(data, dict):
            raise ValidationError({"": ["must be an object"]})
        try:
            return self._load(data, frame, storage_path)
        except ValidationError as error:
            raise ValidationError(flat(error.messages)) from None

    @abstractmethod
    def _load(self, data: Data, frame: Frame, storage_path: str | None) -> Loaded:
        """`load` of this type, with Marshmallow's nested messages."""

    def needs_storage_path(self, data: Data) -> bool:
        """Whether this canonical `data` is nothing without a PNG in the object store."""
        return False

    def shapes(self, data: Data, frame: Frame) -> list[Shape]:
        """What to draw of canonical `data`, in pixels of the image."""
        return []

    def row(self, data: Data) -> Data:
        """The flat export columns of canonical `data`: exactly `columns`, None where there is nothing."""
        return {column: data.get(column) for column in self.columns}


def require_artifact(storage_path: str | None, what: str) -> None:
    if not storage_path:
        raise ValidationError({"storage_path": [f"is needed: {what} is a PNG artifact"]})


class Part:
    """What a schema knows of a `data`, and all the rest."""

    def __init__(self, schema: Schema) -> None:
        self.schema, self.known, self._load = schema, known_keys(schema), compiled(schema)

    def load(self, data: Data) -> tuple[Data, Data]:
        """The validated values of the schema's own keys, and the extra keys."""
        values = self._load(data)
        extra = {} if self.known.issuperset(data) else gather_extra(data, self.known)
        return values, extra
