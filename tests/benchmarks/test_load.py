"""The load driver, with small numbers against a live server: what it prints, and when it prints nothing."""

import json
import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from benchmarks import bench as benches
from benchmarks import floors, load, memory
from benchmarks.bench import Bench, Sizes
from benchmarks.figures import Figure, markdown
from benchmarks.measures import MEASURES
from benchmarks.memory import REQUESTS, Life
from benchmarks.views import sign_in
from benchmarks.watch import Watch
from benchmarks.wire import Answer, Connection, Request, Target, Wrong
from tests.cast import SECRET, Person
from tests.conftest import LiveServer

pytestmark = pytest.mark.one_database

SMALL = Sizes(
    repeats=2,
    long_repeats=2,
    asked=2,
    bulk=(20, 50),
    connections=(1, 3),
    bulk_alone=(60,),
    sample=100,
    growth=200,
    growth_step=20,
    shown=60,
    listed=7,
    changes=3,
    small=3,
    exported=1500,
    found=5,
    polls=3,
    drawn=30,
    overlays=2,
    cached=4,
    crowd=2000,
    mixed=10,
)
NAMES = [
    *("bulk 20 × 1", "bulk 20 × 3", "bulk 50 × 1", "bulk 50 × 3", "bulk 60 × 1", "growth to 200"),
    "GET analysis with 60",
    *("list of 7 analyses", "PATCH status", "export of 1,500 as JSON", "export of 1,500 as CSV"),
    *(
        *("one pipeline run", "heartbeat", "presign", "finalize", "unchanged poll"),
        "overlay of 30 boxes, first time",
        "overlay of 30 boxes, from cache",
    ),
]


@pytest.fixture
def bench(live_server: LiveServer) -> Iterator[Bench]:
    person: Person = live_server.world.person("benchmark@example.org")
    project = live_server.world.project("Benchmark", owner=person)
    target = Target("loupe", live_server.url, SECRET, person.key)
    sign_in(target, person.email, person.password)
    watch = Watch(live_server.gunicorn.process.pid)
    yield Bench([target], str(project.id), SMALL, {"loupe": watch})
    target.connection.close()


def test_every_measure_gives_positive_figures(bench: Bench) -> None:
    skipped: dict[str, str] = {}
    figures = load.measure(bench, skipped=skipped)
    assert list(figures) == NAMES
    assert list(skipped) == ["lists", "memory"]  # they need servers of their own
    for figure in figures.values():
        own = figure["loupe"]
        assert 0 < own["min"] <= own["median"] <= own["max"]
        assert own["samples"] >= SMALL.repeats
        assert figure["times_baseline"] is None
    bulk, growth, export = (
        figures[name] for name in ("bulk 20 × 1", "growth to 200", "export of 1,500 as JSON")
    )
    assert bulk["unit"] == "annotations/s"
    assert bulk["server_microseconds_each"]["loupe"] >= 0
    assert 0 < bulk["client_share"] <= 1.5
    assert len(growth["steps"]) == 10
    assert growth["flat"] is (growth["last_tenth"] / growth["first_tenth"] >= 0.9)
    assert 0 <= export["peak_growth_mb"]["loupe"] < 40
    assert export["peak_growth_mb"]["loupe"] < export["peak_mb"]["loupe"]
    assert export["bytes"]["loupe"] > 1500 * 100
    assert figures["unchanged poll"]["requests_per_second"]["loupe"] > 0
    assert list(figures["one pipeline run"]["steps_ms"]) == [
        *("create", "processing", "bulk", "presign", "PUT", "finalize")
    ]


def test_the_command_prints_json_and_writes_the_tables(
    bench: Bench,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Any,
) -> None:
    monkeypatch.setattr(load, "QUICK", SMALL)
    monkeypatch.setenv("ML_CALLBACK_HMAC_SECRET", SECRET)
    monkeypatch.setenv("API_KEY", bench.loupe.api_key)
    words = ["--quick", "--url", bench.loupe.url, "--project", bench.project, "--only", "list", "patch"]
    tables = tmp_path / "tables.md"
    assert load.main([*words, "--markdown", str(tables)]) == 0
    out, err = capsys.readouterr()
    (run,) = json.loads(out)["runs"]
    assert set(run) == {"about", "figures", "floors"}
    assert list(run["figures"]) == ["list of 7 analyses", "PATCH status"]
    assert "PATCH status" in err
    assert "| list of 7 analyses | ms |" in tables.read_text()


@pytest.mark.parametrize(
    ("most", "words", "status"), [(10**9, ["--check"], 0), (0, ["--check"], 1), (0, [], 0)]
)
def test_the_floors_are_checked_when_asked(
    bench: Bench,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    most: int,
    words: list[str],
    status: int,
) -> None:
    """The figures are printed all the same."""
    monkeypatch.setattr(load, "QUICK", SMALL)
    monkeypatch.setitem(floors.MOST, "list of", most)
    monkeypatch.setenv("ML_CALLBACK_HMAC_SECRET", SECRET)
    monkeypatch.setenv("API_KEY", bench.loupe.api_key)
    words = [*words, "--quick", "--url", bench.loupe.url, "--project", bench.project, "--only", "list"]
    assert load.main(words) == status
    out, err = capsys.readouterr()
    (run,) = json.loads(out)["runs"]
    assert [floor["met"] for floor in run["floors"]] == [most > 0]
    assert ("Below the floor: list of 7 analyses." in err) == bool(status)


@pytest.mark.parametrize(
    ("words", "status"),
    [(["--only", "poll", "overlay", "lists", "memory"], 1), ([], 0)],
    ids=["named", "all"],
)
def test_what_a_running_server_cannot_give_is_named(
    bench: Bench,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    words: list[str],
    status: int,
) -> None:
    """Nobody has signed in, and the database is not the driver's."""
    without = ["poll", "overlay", "lists", "memory"]
    monkeypatch.setattr(load, "QUICK", SMALL)
    monkeypatch.setattr(load, "MEASURES", {name: MEASURES[name] for name in [*without, "patch"]})
    monkeypatch.setenv("ML_CALLBACK_HMAC_SECRET", SECRET)
    monkeypatch.setenv("API_KEY", bench.loupe.api_key)
    server = ["--url", bench.loupe.url, "--project", bench.project]
    assert load.main(["--quick", "--check", *server, *words]) == status
    out, err = capsys.readouterr()
    (run,) = json.loads(out)["runs"]
    assert [name for name in without if f"{name} skipped: it " in err] == without
    assert [(floor["what"], floor["met"]) for floor in run["floors"]] == [
        (name, False) for name in without if words
    ]
    assert list(run["figures"]) == ([] if words else ["PATCH status"])


def test_where_claiming_is_off_only_the_heartbeat_is_left_out(
    serve: Callable[..., LiveServer], capsys: pytest.CaptureFixture[str]
) -> None:
    server = serve(ML_PIPELINE_PULL_ENABLED="false")
    person = server.world.person("benchmark@example.org")
    project = server.world.project("Benchmark", owner=person)
    target = Target("loupe", server.url, SECRET, person.key)
    skipped: dict[str, str] = {}
    figures = load.measure(Bench([target], str(project.id), SMALL), ["heartbeat", "presign"], skipped)
    target.connection.close()
    assert list(figures) == ["presign"]
    assert list(skipped) == ["heartbeat"]
    assert "heartbeat skipped: claiming is switched off" in capsys.readouterr().err


def test_no_figure_is_wrong_where_nothing_may_be_skipped(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert "lists gives no figure: it writes into a database of its own" in refused(bench, "lists")
    monkeypatch.setitem(MEASURES, "show", lambda _bench: iter(()))
    assert refused(bench, "show") == "show gives no figure"


def test_a_life_asks_as_many_requests_of_as_many_kinds_as_is_said(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A kind: the method, the address without ids and versions, and the status."""
    ask, seen = Life.ask, list[tuple[str, str, int]]()

    def noted(self: Life, request: Request, status: int = 200) -> Answer:
        address = re.sub(r"[0-9a-f-]{36}|version=[^&]*", "", request.path)
        seen.append((request.method, address, status))
        return ask(self, request, status)

    monkeypatch.setattr(Life, "ask", noted)
    life = Life(bench)
    life.lead(bench.new_image())
    life.connection.close()
    assert len(seen) == REQUESTS
    kinds = f"{len(set(seen))} kinds"
    assert kinds in (memory.__doc__ or "")
    assert kinds in (Path(__file__).parents[2] / "docs/performance.md").read_text()


@pytest.fixture
def page_without_panel(monkeypatch: pytest.MonkeyPatch) -> None:
    send = Connection.send

    def bent(self: Connection, request: Request) -> Answer:
        answer = send(self, request)
        return replace(answer, body=answer.body.replace(b"/panel", b"/none"))

    monkeypatch.setattr(Connection, "send", bent)


@pytest.mark.usefixtures("page_without_panel")
def test_a_page_that_polls_nothing_is_refused(bench: Bench) -> None:
    assert refused(bench, "poll") == "the page of the image polls nothing (status 200)"
    with pytest.raises(Wrong, match="polls nothing"):
        memory._live(bench, 1)


def test_whatever_ends_a_life_is_refused(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Life, "watch", lambda _self, _image: {}["what is not there"])
    with pytest.raises(Wrong, match=r"a thread ended with KeyError\('what is not there'\)"):
        memory._live(bench, 1)


def test_a_life_that_ends_too_early_is_refused(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Life, "lead", lambda _self, _image: None)
    with pytest.raises(Wrong, match="the requests of all lives is 0, expected 360"):
        memory._live(bench, 1)


def test_whatever_ends_a_connection_of_a_burst_is_refused(bench: Bench) -> None:
    with pytest.raises(Wrong, match="a thread ended with AttributeError"):
        benches.together(bench.loupe.url, [[Request("GET", "/healthz")], [None]])  # type: ignore[list-item]


def refused(bench: Bench, *names: str) -> str:
    with pytest.raises(Wrong) as raised:
        load.measure(bench, names)
    return str(raised.value)


@pytest.mark.parametrize(("name", "what"), [("show", "the analysis shown"), ("export", "what was exported")])
def test_content_that_is_not_what_was_sent_is_refused(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, name: str, what: str
) -> None:
    """The last box is left out, though the server says that it stored all that it was sent."""
    filled = Bench.filled_analysis
    monkeypatch.setattr(Bench, "filled_analysis", lambda self, count: filled(self, count - 1))
    assert what in refused(bench, name)


def test_annotations_that_were_not_stored_are_noticed(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """The receipts are right, but what the server then counts is not."""
    together = benches.together
    monkeypatch.setattr(
        "benchmarks.measures.together", lambda url, queues: together(url, [queue[:-1] for queue in queues])
    )
    assert "the number of annotations stored is 80, expected 100" in refused(bench, "bulk")


def test_a_refusal_prints_no_figure(
    bench: Bench, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ML_CALLBACK_HMAC_SECRET", "not the secret of this server")
    monkeypatch.setenv("API_KEY", bench.loupe.api_key)
    assert (
        load.main(["--quick", "--url", bench.loupe.url, "--project", bench.project, "--only", "patch"]) == 1
    )
    out, err = capsys.readouterr()
    assert out == ""
    assert "No figures" in err
    assert "signature-invalid" in err


def test_the_cost_is_how_many_times_as_long_as_the_baseline() -> None:
    rate = Figure("bulk", "annotations/s", {"loupe": [100, 50, 20], "baseline": [200, 200, 200]})
    took = Figure("GET", "ms", {"loupe": [30, 40, 90], "baseline": [10, 20, 10]})
    alone = Figure("list", "ms", {"loupe": [3]})
    assert (rate.cost(), took.cost(), alone.cost()) == (4.0, 3.0, None)


def test_the_tables_of_the_docs_come_from_a_run() -> None:
    figure = Figure("bulk 1,000 × 1", "annotations/s", {"loupe": [9000.0], "baseline": [18000.0]})
    growth = Figure("growth", "annotations/s", {"loupe": [9000.0]}, {"last_to_first": 0.97, "flat": True})
    figures = {one.name: one.out() for one in (figure, growth)}
    run = {"about": {"database": "PostgreSQL 18"}, "figures": figures, "floors": floors.floors(figures)}
    text = markdown(run)
    assert "| bulk 1,000 × 1 | annotations/s | 9,000 | 9,000 to 9,000 | 18,000 | 50% |" in text
    assert "- growth: the last tenth runs at 0.97 of the first: flat." in text
    assert "- Floor: bulk 1,000 × 1, 45% of the baseline's speed. Met." in text


def test_the_measures_have_names_for_the_command_line() -> None:
    assert list(MEASURES) == [
        *("bulk", "growth", "show", "list", "lists", "patch", "export", "pipeline"),
        *("heartbeat", "presign", "finalize", "poll", "overlay", "memory"),
    ]
