"""What an importer is: a function from a parsed file and the image it is meant for to what the file says.

It yields, in the file's own order, a `Taken` for each annotation, in the shape that a bulk request takes it; a
`Refused` for each that cannot be one; a `LeftOut` for whatever is passed over on purpose (entries of other images), and
a `Told` for what is worth knowing of what was taken. `place` is where a thing stands in the file: `annotations.17`,
`line 3`.

Rules for annotations are those of bulk requests and stand in `schemas/` and `annotations/`: an importer hands numbers
on as they are, whatever they are, and never repairs them. Keys it does not know go into `data.extra`, see `extra`.
"""

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from types import MappingProxyType
from typing import Any, NamedTuple, NoReturn, Protocol, TypeAlias
from uuid import UUID

from app.annotations.segmentation import MAX_PIXELS
from app.errors import InvalidPayload, MalformedRequest
from app.geometry import Frame
from app.schemas import strict_json

Json: TypeAlias = dict[str, Any]

FILE_DEPTH = strict_json.MAX_DEPTH + 8  # what was taken 32 deep is exported a little deeper, and comes back
MAX_LINES = 1_000_000
BYTE_ORDER_MARK = b"\xef\xbb\xbf"


class Taken(NamedTuple):
    """An annotation: the fields of an item of a bulk request; `name` is a name that Loupe itself gave it."""

    place: str
    annotation: Json
    name: str | None = None


class Refused(NamedTuple):
    """Something that should be an annotation and cannot be: what of it is at fault, and why."""

    place: str
    field: str
    reason: str


class LeftOut(NamedTuple):
    """Something that is no annotation of this image; `reason` is the same text for all that are left out alike."""

    place: str
    reason: str


class Told(NamedTuple):
    """Something to know of what was taken; `what` is the same text for all that are alike."""

    place: str
    what: str


Found: TypeAlias = Iterator[Taken | Refused | LeftOut | Told]


class Part(NamedTuple):
    """What a file of many images says of one of them, for `read` to read as an importer does.

    `names` are what the file calls the image, without an ending where `bare`. Those of two parts are the same where
    both are of one image on purpose; `key` then tells them apart. `about` is as an Importer's.
    """

    names: tuple[str, ...]
    read: "Callable[[Target], Found]"
    bare: bool = False
    key: str = ""
    about: Mapping[str, Any] = MappingProxyType({})


Parts: TypeAlias = Iterator[Part | Taken | Refused | LeftOut | Told]


@dataclass
class Pixels:
    """How many more pixels, or bytes of arrays, the masks of one file may be unpacked to."""

    left: int = 20 * MAX_PIXELS


class Artifacts(Protocol):
    """The files that come along with Loupe's own exports, as whoever imports one has them."""

    def listed(self, artifacts: Any) -> None:
        """What the export has as the analysis's `artifacts`."""

    def fault(self, path: str, annotation_type: Any) -> str | None:
        """Why the file at this `storage_path` of the export cannot come along; None where it does."""


@dataclass(frozen=True)
class Target:
    """What the file is read for: an analysis of an image, whose size in pixels is `frame`, and what the caller said.

    `names` are class names by number, where the file has none; `called` is what the file calls the image, where it is
    neither the image's file name nor its id. For files that do not tell, `keypoints` is how many a line has,
    `normalized` that coordinates go from 0 to 1, and `tracks` that lines end with the id of a track. `facts` are the
    fields of a new analysis that are taken from the file.
    `pixels` is what is left for masks, of which a few bytes can be millions. `artifacts` are the files that come along;
    without it those that annotations refer to are uploaded by somebody else.
    """

    analysis_id: UUID
    image_id: UUID
    filename: str
    frame: Frame
    names: Mapping[str, str] = field(default_factory=dict)
    called: str | None = None
    keypoints: int | None = None
    normalized: bool = False
    tracks: bool = False
    facts: frozenset[str] = frozenset()
    pixels: Pixels = field(default_factory=Pixels, compare=False)
    artifacts: Artifacts | None = field(default=None, compare=False)

    @property
    def calls(self) -> frozenset[str]:
        """What the image may be called in the file."""
        return frozenset({self.called} if self.called is not None else {self.filename, str(self.image_id)})


@dataclass(frozen=True)
class Importer:
    """A format. `parse` makes of the file's bytes what `read` takes.

    `split` gives a part for each image of such a file, and what there is to say of the whole; None where the file is of
    one image. Without it every file of the format is. `endings` are those of its files in a folder.

    `about` gives the fields of a new analysis that a file of one image has: its model, parameters and provenance.
    """

    title: str
    read: Callable[[Any, Target], Found]
    parse: Callable[[bytes], Any]
    split: Callable[..., Parts | None] | None = None
    endings: tuple[str, ...] = (".json",)
    about: Callable[[Any, Target], Json] | None = None


# --- what files are parsed with ----------------------------------------------------------------------------------


def parse_json(body: bytes) -> Any:
    """As strictly as the body of any request, but for a byte order mark. Raises MalformedRequest."""
    return strict_json.parse(body.removeprefix(BYTE_ORDER_MARK), FILE_DEPTH)


def parse_lines(body: bytes) -> list[str]:
    """Lines of UTF-8 text without their ends, of any system. Raises MalformedRequest."""
    try:
        text = body.removeprefix(BYTE_ORDER_MARK).decode("utf-8")
    except UnicodeDecodeError as reason:
        raise MalformedRequest(f"The file is not UTF-8 (byte {reason.start}).") from None
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    if text.count("\n") > MAX_LINES:
        raise MalformedRequest(f"The file has more than {MAX_LINES} lines.")
    return text.removesuffix("\n").split("\n") if text else []


# --- what importers share ----------------------------------------------------------------------------------------


def not_this_format(reason: str, place: str = "") -> NoReturn:
    """The file as a whole is something else. Raises InvalidPayload."""
    raise InvalidPayload(reason, errors=[{"field": place, "reason": reason}])


def objects(values: Any, path: str) -> Iterator[tuple[str, Json] | Refused]:
    """Each object of a list with its place in the file; what is no object is refused."""
    if not isinstance(values, list):
        not_this_format("Must be a list.", path)
    for index, value in enumerate(values):
        place = f"{path}.{index}" if path else str(index)
        yield (place, value) if isinstance(value, dict) else Refused(place, "", "must be an object")


def extra(entry: Mapping[str, Any], known: Collection[str], **more: Any) -> Json:
    """`{"extra": …}` with the keys of a file's entry that have no place of their own, for `data`; {} if there are none.

    They stand under `extra` from the start: beside the coordinates one could be taken for another form of these.
    """
    rest = {key: value for key, value in entry.items() if key not in known} | more
    return {"extra": rest} if rest else {}


def frame_of(width: Any, height: Any, frame: Frame) -> Json:
    """`image_width` and `image_height` for `data`, where the file says that its numbers are in another frame."""
    if (width is None and height is None) or (width, height) == (frame.width, frame.height):
        return {}
    return {"image_width": width, "image_height": height}


def class_of(place: str, number: Any, names: Mapping[str, Any]) -> tuple[Any, list[Told]]:
    """The class name of this number, and what is to be told of it: where there is none, the number stands for it."""
    name = names.get(str(number))
    if name is not None or number is None:
        return name, []
    return str(number), [Told(place, "has a class without a name, whose number is taken for it")]


def thing(place: str, about: Json, shape: tuple[str, Json] | None, keypoints: Json | None) -> Found:
    """One thing as annotations: its shape (a type and data of it), and beside it its keypoints."""
    if shape is not None:
        yield Taken(place, {**about, "annotation_type": shape[0], "data": shape[1]})
    if keypoints is not None:
        yield Taken(place, {**about, "annotation_type": "keypoint", "data": keypoints})


def third_of_keypoints(values: Iterable[Any]) -> str:
    """What the number after a keypoint's x and y is: `visible` if all are COCO's 0, 1 or 2, else `confidence`."""
    return "visible" if all(value in (0, 1, 2) for value in values) else "confidence"


json_file = partial(Importer, parse=parse_json)
text_file = partial(Importer, parse=parse_lines)
