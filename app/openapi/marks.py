"""The mark on a route that says what its code does not tell: its answers, what it takes, what may go wrong.

Path, method and path parameters come from the route itself, summary and description from its docstring, whether it
needs a signature and what every route of a blueprint may answer from the guards and their marks.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

from marshmallow import Schema

from app.errors import LoupeError

View = TypeVar("View", bound=Callable[..., Any])
TAGS = {
    "Projects": "Where images belong, and who may see them.",
    "Images": "Pictures as they are stored: upright, with the size and hash of the stored copy.",
    "Analyses": "One run of one model on one image, and its way through its states.",
    "Groups": "Analyses that were created with the same group_id in one project.",
    "Annotations": "What the model said, one thing each, validated by type.",
    "Artifacts": "The files of an analysis in object storage.",
    "Document": "This description.",
}


@dataclass(frozen=True)
class Answer:
    """What a status means. `schema` is of a JSON body (`many`: a list of it), `types` are those of other bodies.

    `besides` are JSON Schemas of what a JSON body may be instead.
    """

    schema: type[Schema] | None = None
    many: bool = False
    types: tuple[str, ...] = ()
    besides: tuple[Mapping[str, Any], ...] = ()
    says: str = ""
    headers: tuple[str, ...] = ()


@dataclass(frozen=True)
class Operation:
    """What `operation` was told. `role` is what a person must be in the project; "" is any account.

    `limits` are those of a body's fields that a setting draws: the keyword of JSON Schema and the setting. `uploads`
    are the content types of the bytes that go to the address in the answer, `files` those of a body that is a file.
    """

    tag: str
    answers: Mapping[int, Answer]
    role: str = "viewer"
    query: type[Schema] | None = None
    body: type[Schema] | None = None
    form: type[Schema] | None = None
    example: Mapping[str, Any] | None = None
    parameters: tuple[str, ...] = ()
    limits: Mapping[str, tuple[str, str]] = field(default_factory=dict)
    uploads: tuple[str, ...] = ()
    files: tuple[str, ...] = ()
    raises: tuple[type[LoupeError], ...] = field(default=())


def operation(tag: str, answers: Mapping[int, Answer | type[Schema]], **more: Any) -> Callable[[View], View]:
    """Puts the route into the document. `more` are the further fields of Operation."""
    if tag not in TAGS:
        raise ValueError(f"no such tag: {tag}")
    full = {status: one if isinstance(one, Answer) else Answer(one) for status, one in answers.items()}
    mark = Operation(tag, full, **more)

    def put(view: View) -> View:
        view.operation = mark  # type: ignore[attr-defined]
        return view

    return put


def binary(*types: str, says: str, headers: tuple[str, ...] = ()) -> Answer:
    """The bytes of a file of one of these types."""
    return Answer(types=types, says=says, headers=headers)


def nothing(says: str) -> Answer:
    """No body."""
    return Answer(says=says)
