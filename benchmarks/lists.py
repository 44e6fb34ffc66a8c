"""Lists among many analyses: the gallery of a project and the list of its analyses, each page held against what was
written. Both are asked over HTTP as anybody asks; the rows come straight into the tables, see crowd.py.
"""

import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing, contextmanager
from typing import NamedTuple
from urllib.parse import urlencode
from uuid import UUID

from sqlalchemy import Engine, create_engine, text

from app.schemas.queries import cursor
from benchmarks.bench import Bench, timed
from benchmarks.crowd import MODELS, PER_IMAGE, RARE, Crowd, Made, seed
from benchmarks.figures import MILLISECONDS, Figure
from benchmarks.serve import OWNER, Servers
from benchmarks.wire import Answer, Request, Skipped, expect

PAGE = 50  # of the analyses; a page of the gallery has 60 images
SHOWN = 60
FILTERS = {
    "": ("", ""),
    "common status": ("completed", ""),
    "rare status": ("processing", ""),
    "status of the oldest": ("failed", ""),
    "status of the newest": ("canceled", ""),
    "status of none": ("queued", ""),
    "common model": ("", MODELS[0]),
    "rare model": ("", RARE),
    "both": ("completed", MODELS[1]),
    "both, at the end": ("failed", MODELS[2]),
}
UNCOUNTED = 1  # request for a page before those that count: statement and template are made
Asking = Callable[[Request, Figure, str], Answer]  # the last is the filter that is asked for
CARD = re.compile(rb'<li id="image-([0-9a-f-]{36})">')
GALLERY, NONE, NEXT = b'<div id="gallery"', b"<h2>No image matches</h2>", b'rel="next"'


class Wanted(NamedTuple):
    """A gallery that is asked for; `title` names what it is narrowed by."""

    title: str
    status: str = ""
    model: str = ""
    text: str = ""
    sort: str = "newest"


NARROWED = [
    *(Wanted(title, *filtered) for title, filtered in FILTERS.items()),
    Wanted("", sort="oldest"),
    Wanted("", sort="name"),
    Wanted("rare model", "", RARE, sort="name"),
]


def lists(bench: Bench) -> Iterator[Figure]:
    """Not where a server runs already, whose database is nobody's business."""
    if bench.servers is None:
        raise Skipped("it writes into a database of its own")
    yield from read(bench, bench.servers, bench.sizes.crowd, make(bench.servers, bench.sizes.crowd))


def read(bench: Bench, servers: Servers, analyses: int, crowds: tuple[Crowd, Crowd]) -> Iterator[Figure]:
    """The lists of the large project and of the small one."""
    crowd, beside = crowds
    size = f"{analyses:,}"
    small = ("", "common status", "common model")
    with _asking(bench, servers) as asked:
        yield from _analyses(bench, asked, crowd, f"list among {size}", tuple(FILTERS))
        yield from _analyses(bench, asked, beside, f"list of a small project beside {size}", small)
        person = servers.as_person()
        yield from _gallery(bench, asked, person, crowd, f"gallery among {size}", NARROWED)
        yield from _gallery(bench, asked, person, crowd, f"gallery by text among {size}", _by_text(crowd))


def make(servers: Servers, analyses: int, salt: int = 0) -> tuple[Crowd, Crowd]:
    """A project with nearly all of them, and one with a hundredth; another even `salt` for more in one database."""
    names = {"Crowd": 99, "Beside": 1}
    crowds = [
        Crowd(
            UUID(servers.flask("project", "create", name, "--owner", OWNER)).hex,
            max(2, analyses * share // 100 // PER_IMAGE),
            salt + number,
        )
        for number, (name, share) in enumerate(names.items())
    ]
    engine = create_engine(servers.environ["DATABASE_URL"])
    for crowd in crowds:
        with engine.begin() as connection:
            seed(connection, crowd)
    settle(engine)
    engine.dispose()
    servers.flask("sweep", "large-projects")
    return crowds[0], crowds[1]


def _analyses(bench: Bench, asked: Asking, crowd: Crowd, name: str, only: Iterable[str]) -> Iterator[Figure]:
    """The first page, one in the middle and the last one, of each filter."""
    figures = {place: Figure(f"{name}: {place}", MILLISECONDS) for place in ("first", "middle", "last")}
    for title in only:
        status, model = FILTERS[title]
        rows = [one for one in reversed(crowd.analyses) if _is_wanted(status, model)(one)]
        for place, start in _places(len(rows), PAGE):
            query = {"limit": str(PAGE), "status": status, "model": model}
            if start:
                query["cursor"] = _cursor(rows[start - 1])
            path = f"/api/projects/{UUID(crowd.project)}/analyses?{_written(query)}"
            for _ in range(UNCOUNTED + bench.sizes.asked):
                answer = asked(bench.loupe.reading(path), figures[place], title or "all")
                body = answer.json()
                ids = [UUID(one["id"]).hex for one in body["analyses"]]
                expect(f"{name}, {title}, {place}", ids, [one.id for one in rows[start : start + PAGE]])
                expect("more", body["next_cursor"] is not None, start + PAGE < len(rows))
    yield from (figure for figure in figures.values() if figure.samples)


def _gallery(
    bench: Bench, asked: Asking, headers: dict[str, str], crowd: Crowd, name: str, pages: Iterable[Wanted]
) -> Iterator[Figure]:
    """The same of the gallery."""
    figures = {place: Figure(f"{name}: {place}", MILLISECONDS) for place in ("first", "middle", "last")}
    for wanted in pages:
        is_wanted = _is_wanted(wanted.status, wanted.model) if wanted.status or wanted.model else None
        ids = crowd.shown(wanted.sort, is_wanted, wanted.text)
        filtered = f"{wanted.title or 'all'}, {wanted.sort}"
        for place, start in _places(len(ids), SHOWN):
            query = {"q": wanted.text, "state": wanted.status, "model": wanted.model, "sort": wanted.sort}
            if start:
                query |= {"page": str(start // SHOWN + 1), "after": ids[start - 1]}
            path = f"/projects/{UUID(crowd.project)}?{_written(query)}"
            for _ in range(UNCOUNTED + bench.sizes.asked):
                answer = asked(Request("GET", path, headers=headers), figures[place], filtered)
                _check_gallery(f"{name}, {filtered}, {place}", answer, ids[start:])
    yield from (figure for figure in figures.values() if figure.samples)


def _check_gallery(what: str, answer: Answer, ids: list[str]) -> None:
    """`ids` are those of its images and of all that follow. A page without any must say so: an error shows none."""
    expect(f"{what}: the status", answer.status, 200)
    expect(f"{what}: it is a gallery", GALLERY in answer.body, True)
    shown = [UUID(one.decode()).hex for one in CARD.findall(answer.body)]
    expect(what, shown, ids[:SHOWN])
    expect(f"{what}: no image matches", NONE in answer.body, not ids)
    expect(f"{what}: more", NEXT in answer.body, len(ids) > SHOWN)


def _by_text(crowd: Crowd) -> list[Wanted]:
    """A part of every name, the digits of a single one, and what no name has."""
    (digits,) = re.findall(r"\d+", crowd.filename(crowd.images // 2))
    return [
        Wanted("text of all", text="Shot"),
        Wanted("text of one", text=digits),
        Wanted("text of none", text="nowhere"),
    ]


@contextmanager
def _asking(bench: Bench, servers: Servers) -> Iterator[Asking]:
    """Asks for one page after the other. The figure sums up how long server and database were busy with it."""
    watch, times = bench.watches["loupe"], Counter[str]()

    def ask(request: Request, figure: Figure, filtered: str) -> Answer:
        before = watch.busy_seconds()
        taken, answer = timed(bench.loupe, request)
        served = log.took()
        times[request.path] += 1
        if times[request.path] <= UNCOUNTED:
            return answer
        figure.add("loupe", round(taken * 1000, 2))
        figure.served.setdefault(filtered, []).append(served)
        busy = (watch.busy_seconds() - before) * 1000
        figure.more["busy_milliseconds"] = round(figure.more.get("busy_milliseconds", 0.0) + busy, 1)
        return answer

    with closing(servers.log("loupe")) as log:
        yield ask


def _is_wanted(status: str, model: str) -> Callable[[Made], bool]:
    return lambda one: (not status or one.status == status) and (not model or one.model == model)


def _places(rows: int, size: int) -> Iterator[tuple[str, int]]:
    """Where the first page begins, one in the middle and the last one, as far as there are so many."""
    yield "first", 0
    if rows > 2 * size:
        yield "middle", rows // 2 // size * size
        yield "last", (rows - 1) // size * size


def _written(query: dict[str, str]) -> str:
    return urlencode({name: value for name, value in query.items() if value})


def _cursor(one: Made) -> str:
    return cursor([one.created_at.isoformat(), str(UUID(one.id))])


SETTLING = {"sqlite": ("ANALYZE",), "postgresql": ("VACUUM ANALYZE", "CHECKPOINT")}


def settle(engine: Engine) -> None:
    """What autovacuum has done a while after so many rows came; and none of them is still to be written to its file."""
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        for statement in SETTLING[engine.dialect.name]:
            connection.execute(text(statement))
