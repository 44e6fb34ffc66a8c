"""The query of an import: which format, and what the file does not say itself."""

from typing import Any

from marshmallow import ValidationError, fields, validate

from app.errors import MalformedRequest
from app.importers import FORMATS
from app.schemas import strict_json
from app.schemas.annotations import MODES
from app.schemas.base import Text
from app.schemas.queries import BulkQuery, QueryInteger

MAX_NAMES = 10_000


class Names(fields.Field[dict[str, str]]):
    """Class names by number: a JSON list or object, else names between commas or line ends."""

    def _deserialize(self, value: Any, attr: Any, data: Any, **more: Any) -> dict[str, str]:
        return names_of(value)

    def json_form(self) -> dict[str, Any]:
        return {"type": "string"}


def names_of(text: str) -> dict[str, str]:
    """`{"0": "leaf", "1": "stem"}` of a text in one of the forms above. Raises ValidationError."""
    text = text.removeprefix("\ufeff").strip()
    if text[:1] in ("[", "{"):
        try:
            found = strict_json.parse(text.encode())
        except (MalformedRequest, UnicodeEncodeError) as error:
            raise ValidationError(str(error)) from None
    else:
        found = [name.strip() for name in (text.splitlines() if "\n" in text else text.split(","))]
    pairs = found.items() if isinstance(found, dict) else enumerate(found)
    names = {str(number): name for number, name in pairs}
    if len(names) > MAX_NAMES or not all(isinstance(name, str) for name in names.values()):
        raise ValidationError(f"Must be at most {MAX_NAMES} texts.")
    return names


class ImportQuery(BulkQuery):
    format = fields.String(
        required=True,
        validate=validate.OneOf(list(FORMATS)),
        metadata={"description": "What the file is; `importing.md` says what is taken of each."},
    )
    mode = fields.String(
        load_default="append",
        validate=validate.OneOf(MODES),
        metadata={"description": "As in a bulk request."},
    )
    names = Names(
        load_default=dict,
        metadata={
            "description": "Class names by number, where the file has none: `leaf,stem`, or a JSON list or object."
        },
    )
    called = Text(
        load_default=None,
        metadata={
            "description": "What the file calls the image, where that is neither its file name nor its id here."
        },
    )
    normalized = fields.Boolean(
        load_default=False,
        metadata={"description": "`1`: the file's coordinates go from 0 to 1, where it does not say so."},
    )
    tracks = fields.Boolean(
        load_default=False,
        metadata={"description": "`1`: lines of `yolo` end with the id of a track."},
    )
    keypoints = QueryInteger(
        1,
        10_000,
        load_default=None,
        metadata={"description": "How many keypoints a line of `yolo` has; without it, it has none."},
    )
