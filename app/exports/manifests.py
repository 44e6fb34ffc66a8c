"""What an export could not carry: told in a header before the first byte, and in full in a manifest."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, func, select

from app.exports.csv_file import COLUMNS, columns_of_many
from app.exports.formats import Format
from app.exports.losses import Losses
from app.exports.many import Counts, Entry, Selection
from app.exports.reading import ON_THE_WIRE, read
from app.models import Analysis, Annotation, Image
from app.schemas.analyses import AnalysisOut

HEADER = "X-ML-Export-Dropped"
COUNTED = 500_000  # annotations at most that are counted by their types before the first byte

# names of fields where an analysis and an annotation have the same one, or a column has another
OF_ANALYSIS = {"id": "analysis_id", "created_at": "analysis_created_at"}
OF_ANNOTATION = {"id": "annotation_id"}
ANALYSIS = (*(OF_ANALYSIS.get(name, name) for name in AnalysisOut().fields), "filename", "artifacts")
ANNOTATION = tuple(OF_ANNOTATION.get(name, name) for name in ON_THE_WIRE if name != "analysis_id")
OF_COLUMNS = {"data_json": "data"}


@dataclass(frozen=True)
class Scope:
    """What a file is asked to hold: one analysis alone or many, with annotations or without, some columns or all."""

    alone: bool
    annotations: bool = True
    columns: Collection[str] = ()


def by_type(scope: UUID | Selection, types: Collection[str]) -> dict[str, int]:
    """How many annotations there are of each of these types, in one analysis or a selection.

    All types are counted: asked for some, SQLite would go through those of the whole database by the index of types.
    """
    statement = select(Annotation.annotation_type, func.count())
    clauses: Sequence[ColumnElement[bool]] = [Annotation.analysis_id == scope]
    if isinstance(scope, Selection):
        statement = statement.join(Analysis, Annotation.analysis_id == Analysis.id).join(Image)
        clauses = [*scope.of_images(), *scope.of_analyses()]
    rows: Sequence[Any] = read(statement.where(*clauses).group_by(Annotation.annotation_type))
    return {kind: number for kind, number in rows if kind in types}


def header(format: Format, counts: Mapping[str, int] | None, scope: Scope) -> dict[str, str]:
    """`heatmap=12, polygon_shape=3, fields="parameters provenance"` (RFC 9651); absent where nothing is dropped.

    `counts` are keys of losses.REASONS with the number of annotations; None is not counted.
    """
    parts = [f"{what}={number}" for what, number in (counts or {}).items() if number]
    if counts is None and format.drops:
        parts.append("uncounted")
    if never := missing(format, scope):
        parts.append(f'fields="{" ".join(never)}"')
    return {HEADER: ", ".join(parts)} if parts else {}


def missing(format: Format, scope: Scope) -> list[str]:
    """The fields of an analysis, and of annotations where these come along, that the file does not have."""
    if format.has_columns:
        there = COLUMNS if scope.alone else columns_of_many(annotations=scope.annotations)
        chosen = set(scope.columns or there)
        written: Collection[str] = {OF_COLUMNS.get(name, name) for name in there if name in chosen}
    elif format.writes is None:
        return []
    else:
        written = format.writes
    return [name for name in ANALYSIS + (ANNOTATION if scope.annotations else ()) if name not in written]


def told(name: str, format: Format, scope: Scope) -> dict[str, Any]:
    """What is known of a format before anything is written."""
    return {"format": name, "keeps": format.keeps, "never": missing(format, scope)}


def manifest(
    name: str, format: Format, head: Mapping[str, Any], entries: Iterable[Entry], scope: Scope
) -> dict[str, Any]:
    """The exact counts: the file is written to nowhere, as most losses depend on what is in the single annotation."""
    losses, counts = Losses(), {"analysis_count": 0, "annotation_count": 0}

    def counted() -> Iterable[Entry]:
        for entry in entries:
            counts["analysis_count"] += 1
            yield entry if entry.pages is None else replace(entry, pages=_counted(entry.pages, counts))

    for _ in format.write(dict(head), counted(), losses):
        pass
    return {**head, **told(name, format, scope), **counts, "dropped": losses.as_json()}


def manifest_of_counts(
    name: str, format: Format, head: Mapping[str, Any], counts: Counts, scope: Scope
) -> dict[str, Any]:
    """The same of a format that leaves no annotation out and changes none: nothing has to be read for it."""
    numbers = {"analysis_count": counts.analyses, "annotation_count": counts.annotations}
    return {**head, **told(name, format, scope), **numbers, "dropped": []}


def _counted(pages: Iterable[Any], counts: dict[str, int]) -> Any:
    for rows in pages:
        counts["annotation_count"] += len(rows)
        yield rows
