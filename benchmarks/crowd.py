"""A crowd: images by the ten thousand with ten analyses each, straight into the tables, and what any list of them
must then show.

The same numbers always give the same rows but for the project. Many were created at the same moment; some of what can
be asked for is common, some is rare and spread out, some stands all at one end, and nothing at all is queued.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cached_property
from itertools import islice
from typing import Any, NamedTuple
from uuid import UUID

from sqlalchemy import Connection

from app.models.columns import now

PER_IMAGE = 10
MODELS = ("detector", "segmenter", "classifier")
RARE = "rare-net"
BEGAN = datetime(2026, 1, 1, tzinfo=UTC)
AT_ONCE = 50_000  # rows in one statement, which PostgreSQL ends after half a minute

IMAGE = (
    *("id", "project_id", "filename", "content_type", "size_bytes", "sha256", "width", "height"),
    *("storage_path", "created_at"),
)
ANALYSIS = (
    *("id", "image_id", "model_name", "model_version", "status", "priority", "created_at", "updated_at"),
    *("annotation_count", "next_position", "revision", "project_id", "image_created_at"),
)


class Made(NamedTuple):
    """An analysis: sorted as they are, they are in the order of time."""

    created_at: datetime
    id: str
    image: int
    status: str
    model: str


@dataclass(frozen=True)
class Crowd:
    """So many images of one project; `salt` makes their ids others than those of another crowd."""

    project: str
    images: int
    salt: int = 0

    def image_id(self, image: int) -> str:
        return _id(self.image_created_at(image), self.salt * 10**9 + image)

    def image_created_at(self, image: int) -> datetime:
        """Four at a time."""
        return BEGAN + timedelta(seconds=image // 4)

    def filename(self, image: int) -> str:
        """In another order than that of time."""
        return f"Shot-{image * 7919 % 1_000_003:07}.png"

    def annotations(self, number: int) -> int:
        return number % 7

    @cached_property
    def analyses(self) -> list[Made]:
        """Oldest first, as they are written: one model after the other goes over all images."""
        return sorted(self._analysis(image, run) for run in range(PER_IMAGE) for image in range(self.images))

    def _analysis(self, image: int, run: int) -> Made:
        created_at = BEGAN + timedelta(days=90, seconds=(run * self.images + image) // 3)
        analysis_id = _id(created_at, self.salt * 10**9 + image * PER_IMAGE + run + 10**12)
        model = RARE if image % 1000 == 7 and run == 3 else MODELS[run % 3]
        return Made(created_at, analysis_id, image, self._status(image, run), model)

    def _status(self, image: int, run: int) -> str:
        if run == 5 and image < max(3, self.images // 100):
            return "failed"  # all of the oldest images
        if run == 9 and image >= self.images - 50:
            return "canceled"  # all of the newest
        return "processing" if run == 1 and image % 500 == 3 else "completed"

    def listed(self, is_wanted: Callable[[Made], bool] = lambda _: True) -> list[str]:
        """The ids of the analyses of a list, newest first."""
        return [one.id for one in reversed(self.analyses) if is_wanted(one)]

    def shown(self, sort: str, is_wanted: Callable[[Made], bool] | None = None, text: str = "") -> list[str]:
        """The ids of the images of a gallery."""
        found: Iterable[int] = range(self.images)
        if is_wanted:
            found = {one.image for one in self.analyses if is_wanted(one)}
        named = [image for image in found if text.lower() in self.filename(image).lower()]
        by_name = sort == "name"
        ordered = sorted(
            named,
            key=lambda n: (
                self.filename(n).lower() if by_name else self.image_created_at(n),
                self.image_id(n),
            ),
        )
        ids = [self.image_id(image) for image in ordered]
        return ids[::-1] if sort == "newest" else ids


def _id(moment: datetime, number: int) -> str:
    """As a UUID of version 7 is: by time, and within a moment by chance."""
    chance = (number * 0x9E3779B97F4A7C15) % 2**62
    return UUID(
        int=int(moment.timestamp() * 1000) << 80 | 7 << 76 | number % 2**12 << 64 | 2 << 62 | chance
    ).hex


def seed(connection: Connection, crowd: Crowd) -> None:
    """Writes a crowd, in the caller's transaction. A hundred thousand analyses take some five seconds."""
    write(connection, "data_instances", IMAGE, _image_rows(crowd))
    write(connection, "ml_analyses", ANALYSIS, _analysis_rows(crowd))


def _image_rows(crowd: Crowd) -> Iterator[tuple[Any, ...]]:
    for image in range(crowd.images):
        image_id = crowd.image_id(image)
        about = ("image/png", 4321, "0" * 64, 640, 480, f"images/{image_id}")
        yield image_id, crowd.project, crowd.filename(image), *about, written(crowd.image_created_at(image))


def _analysis_rows(crowd: Crowd) -> Iterator[tuple[Any, ...]]:
    touched = written(now())  # just now, or what has not ended would be swept
    for number, one in enumerate(crowd.analyses):
        moment, count = written(one.created_at), crowd.annotations(number)
        yield (
            *(one.id, crowd.image_id(one.image), one.model, "1.0.0", one.status, 0, moment, touched),
            *(count, count, 1, crowd.project, written(crowd.image_created_at(one.image))),
        )


def written(moment: datetime) -> str:
    return f"{moment:%Y-%m-%d %H:%M:%S.%f}"


def write(
    connection: Connection, table: str, columns: Sequence[str], rows: Iterable[tuple[Any, ...]]
) -> None:
    """Rows of texts and numbers into a table, in the way that costs the database in question least."""
    names, rows = ", ".join(columns), iter(rows)
    while some := list(islice(rows, AT_ONCE)):
        if connection.dialect.name == "sqlite":
            marks = ", ".join("?" * len(columns))
            connection.exec_driver_sql(f"INSERT INTO {table} ({names}) VALUES ({marks})", some)
            continue
        cursor: Any = connection.connection.cursor()
        with cursor.copy(f"COPY {table} ({names}) FROM STDIN") as copy:
            copy.write("".join("\t".join(map(str, row)) + "\n" for row in some))
