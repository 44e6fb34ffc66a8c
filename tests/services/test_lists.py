"""Lists of a project and its gallery: exactly what was written, from both ends, and along indexes."""

from collections.abc import Callable
from datetime import timedelta
from functools import partial
from itertools import product
from typing import Any
from uuid import UUID

import pytest
from flask import Flask
from sqlalchemy import update

from app import background
from app.extensions import db
from app.models import Analysis, Image, Project, ProjectCount, Status
from app.models.columns import new_id, now
from app.services import counting, galleries, listed, overviews, placing, surroundings
from app.services.counting import Count
from app.services.galleries import Filter, Page, Part, Place
from benchmarks.crowd import BEGAN, MODELS, RARE, Crowd, Made, seed
from tests.factories import World
from tests.fakes import FixedClock
from tests.support.database import KIND
from tests.support.plans import check_walks, plan_of, plans_of, refresh_statistics

IMAGES, BESIDE = 300, 40
FILTERS: list[tuple[str, str]] = [
    ("", ""),
    ("completed", ""),
    ("failed", ""),
    ("queued", ""),
    ("canceled", ""),
    ("", MODELS[0]),
    ("", RARE),
    ("", "nobody"),
    ("completed", MODELS[1]),
    ("failed", MODELS[2]),
    ("processing", RARE),
]


def is_wanted(status: str, model: str) -> Callable[[Made], bool]:
    return lambda one: (not status or one.status == status) and (not model or one.model == model)


@pytest.fixture
def crowd(app: Flask, world: World, project: Project) -> Crowd:
    """One in the project, and a smaller one in another, of the same times."""
    return make(app, world, project, IMAGES)


def make(app: Flask, world: World, project: Project, images: int) -> Crowd:
    made, other = Crowd(project.id.hex, images), Crowd(world.project("Bark").id.hex, BESIDE, salt=1)
    with app.app_context(), db.engine.begin() as connection:
        seed(connection, made)
        seed(connection, other)
    refresh_statistics(app)
    return made


def hexes(rows: Any) -> list[str]:
    return [row.id.hex for row in rows]


# --- analyses ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("status", "model"), FILTERS)
def test_every_analysis_of_a_list_once_and_in_order(
    app: Flask, project: Project, crowd: Crowd, status: str, model: str
) -> None:
    """Three at a time were made at once, so pages of 50 end between equal ones."""
    wanted = listed.Wanted(status=Status(status) if status else None, model=model or None)
    seen: list[str] = []
    with app.app_context():
        more, after = True, None
        while more:
            rows, more = listed.page(project.id, wanted, limit=50, after=after)
            seen += hexes(rows)
            after = (rows[-1].created_at, rows[-1].id) if rows else None
    assert seen == crowd.listed(is_wanted(status, model))


@pytest.mark.parametrize("model", ["", MODELS[0]])
def test_a_stretch_of_time_begins_with_its_first_moment(
    app: Flask, project: Project, crowd: Crowd, model: str
) -> None:
    first, last = crowd.analyses[700].created_at, crowd.analyses[1900].created_at
    wanted = listed.Wanted(model=model or None, created_after=first, created_before=last)
    with app.app_context():
        rows, more = listed.page(project.id, wanted, limit=500)
        found = hexes(rows)
    inside = crowd.listed(lambda one: first <= one.created_at < last and (not model or one.model == model))
    assert found == inside[:500] and more == (len(inside) > 500)


def test_a_page_is_bounded_by_its_place_or_by_the_end_of_the_stretch() -> None:
    """By one of them, which is where the index is entered."""
    wanted = listed.Wanted(created_after=BEGAN, created_before=BEGAN + timedelta(days=1))
    place, end = {"created_after", "after_created_at", "after_id"}, {"created_after", "created_before"}
    for seconds, names in ((-1, place), (0, end), (1, end)):
        after = (BEGAN + timedelta(days=1, seconds=seconds), new_id())
        assert wanted.values(after).keys() == names
    assert wanted.values(None).keys() == end


def test_what_was_deleted_is_not_listed(app: Flask, project: Project, crowd: Crowd) -> None:
    gone = set(crowd.listed()[:100:3])
    lost = {crowd.image_id(image) for image in (5, 299)}
    with app.app_context():
        tables: tuple[Any, ...] = (Analysis, Image)
        for table, some in zip(tables, (gone, lost), strict=True):
            where = table.id.in_([UUID(one) for one in some])
            db.session.execute(update(table).where(where).values(deleted_at=BEGAN))
        db.session.commit()
        rows = hexes(listed.page(project.id, listed.Wanted(), limit=500)[0])
        wanted = Filter(status=Status.CANCELED)
        found = hexes(galleries.page(project.id, wanted, Count(IMAGES), Part(100)).images)
    left = crowd.listed(lambda one: one.id not in gone and crowd.image_id(one.image) not in lost)
    assert rows == left[:500]
    canceled = crowd.shown("newest", lambda one: one.status == "canceled" and one.id not in gone)
    assert found == [one for one in canceled if one not in lost]


def test_the_models_of_a_project(app: Flask, world: World, project: Project, crowd: Crowd) -> None:
    empty = world.project("Nothing").id

    def models(project_id: UUID, most: int) -> list[str]:
        return surroundings.of_project(project_id, BEGAN, most=most).models

    with app.app_context():
        assert models(project.id, 9) == sorted({*MODELS, RARE})
        assert models(project.id, 2) == sorted({*MODELS, RARE})[:2]
        assert models(project.id, 0) == models(empty, 9) == []
        db.session.execute(update(Analysis).where(Analysis.model_name == RARE).values(deleted_at=BEGAN))
        db.session.commit()
        assert models(project.id, 9) == sorted(MODELS)


# --- galleries ---------------------------------------------------------------------------------------------------


Read = Callable[[Part], Page]


def walk(read: Read, limit: int, *, backwards: bool = False, start: Place | None = None) -> list[str]:
    seen: list[str] = []
    more, place = True, start
    while more:
        page = read(Part(limit, place))
        some, more = hexes(page.images), page.more
        seen = [*some, *seen] if backwards else [*seen, *some]
        if some:
            place = Place(page.images[0 if backwards else -1].id, backwards)
    return seen


@pytest.mark.parametrize("looked", [20, 100_000])
@pytest.mark.parametrize("sort", ["newest", "oldest", "name"])
@pytest.mark.parametrize("text", ["", "00", "nothing"])
def test_every_image_of_a_gallery_once_and_in_order(
    app: Flask,
    project: Project,
    crowd: Crowd,
    monkeypatch: pytest.MonkeyPatch,
    sort: str,
    text: str,
    looked: int,
) -> None:
    """Whether what is looked for counts as little or as much; forwards, and backwards from the last."""
    monkeypatch.setattr(galleries, "LOOKED", looked)
    with app.app_context():
        for status, model in FILTERS:
            wanted = Filter(text, Status(status) if status else None, model, sort)
            expected = crowd.shown(sort, is_wanted(status, model) if status or model else None, text)
            read = partial(galleries.page, project.id, wanted, Count(IMAGES))
            assert walk(read, 37) == expected, wanted
            for part in (Part(37), Part(37, skip=10_000)):  # how many there are it tells also beyond the end
                count = read(part).count
                assert count.number <= len(expected) if count.more else count == Count(len(expected)), wanted
            if expected:
                last = Place(UUID(expected[-1]), backwards=True)
                assert walk(read, 37, backwards=True, start=last) == expected[:-1], wanted
                assert hexes(read(Part(10, skip=5)).images) == expected[5:15]


def test_a_place_that_is_not_in_the_project_is_told(app: Flask, project: Project, crowd: Crowd) -> None:
    of_another = UUID(Crowd(project.id.hex, BESIDE, salt=1).image_id(3))
    with app.app_context():
        for wanted in (Filter(), Filter(status=Status.CANCELED), Filter(status=Status.COMPLETED)):
            for one, backwards in product((new_id(), of_another), (True, False)):
                part = Part(3, Place(one, backwards), shown=4)
                page = galleries.page(project.id, wanted, Count(IMAGES), part)
                assert (page.images, page.more, page.is_placed) == ([], False, False)


def test_a_card_tells_of_all_analyses_of_its_image(app: Flask, project: Project, crowd: Crowd) -> None:
    """Each is of a model of its own here, so that it can be told which ones are the newest. Two are deleted."""
    images = [3, 298]
    deleted = [next(one.id for one in crowd.analyses[::-1] if one.image == image) for image in images]
    with app.app_context():
        for one in crowd.analyses:
            if one.image in images:
                of_it = update(Analysis).where(Analysis.id == UUID(one.id))
                db.session.execute(of_it.values(model_name=one.id))
        gone = update(Analysis).where(Analysis.id.in_(map(UUID, deleted))).values(deleted_at=now())
        db.session.execute(gone)
        db.session.commit()
        shown = galleries.page(project.id, Filter(), Count(IMAGES), Part(IMAGES, shown=4)).images
    cards = {one.id.hex: one.card for one in shown}
    for image in images:
        card = cards[crowd.image_id(image)]
        of_it = [n for n, one in enumerate(crowd.analyses) if one.image == image and one.id not in deleted]
        own = [crowd.analyses[n] for n in of_it]
        assert card is not None
        assert card.newest == tuple((one.status, one.id) for one in reversed(own))[:4]
        assert card.analyses == 9
        assert card.is_running == any(one.status in ("queued", "processing") for one in own)
        assert card.annotations == sum(map(crowd.annotations, of_it))


def test_the_newest_images_of_projects(app: Flask, world: World, project: Project, crowd: Crowd) -> None:
    empty = world.project("Nothing").id
    with app.app_context():
        covers = overviews.covers([project.id, empty], 4)
    assert {one: [image.hex for image in images] for one, images in covers.items()} == {
        project.id: crowd.shown("newest")[:4],
        empty: [],
    }


# --- counting ----------------------------------------------------------------------------------------------------


def count_large(app: Flask) -> None:
    with app.app_context():
        for task in ("counting", "large-projects"):
            list(background.steps(background.TASKS[task]))


def test_what_is_little_is_counted_and_what_is_much_was_counted_before(
    app: Flask,
    world: World,
    project: Project,
    crowd: Crowd,
    clock: FixedClock,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    by_status = {status: len(crowd.listed(is_wanted(status, ""))) for status in Status}
    there = {status.value: Count(number) for status, number in by_status.items() if number}
    said = sum(map(crowd.annotations, range(IMAGES * 10)))

    def totals() -> counting.Totals:
        with app.app_context():
            return counting.totals(project.id, clock())

    monkeypatch.setattr(counting, "COUNTED", IMAGES * 10)
    assert totals() == counting.Totals(Count(IMAGES), Count(said), there)
    monkeypatch.setattr(counting, "COUNTED", 100)
    few = totals()
    assert few.images == Count(100, more=True) and few.by_status["completed"] == Count(100, more=True)
    assert few.by_status["canceled"] == there["canceled"] and few.analyses.more and few.annotations.more

    count_large(app)
    assert totals() == counting.Totals(Count(IMAGES), Count(said), there, clock())
    clock.advance(minutes=5)
    assert totals().images == Count(IMAGES)
    clock.advance(seconds=1)
    assert totals().images == Count(IMAGES, about=True) and totals().analyses.about
    assert totals().annotations.about
    clock.advance(minutes=-5, seconds=-1)
    assert [one.project_id for one in world.rows(ProjectCount)][:1] == [project.id]
    with app.app_context():
        db.session.execute(update(Analysis).where(Analysis.status == "canceled").values(status="queued"))
        db.session.execute(update(ProjectCount).values(milliseconds=1000))
        db.session.commit()
    clock.set(clock() + timedelta(seconds=99))
    count_large(app)
    assert totals().by_status == there
    clock.set(clock() + timedelta(seconds=1))
    count_large(app)
    there["queued"] = there.pop("canceled")
    assert totals().by_status == there
    monkeypatch.setattr(counting, "COUNTED", IMAGES * 10)
    count_large(app)
    assert world.rows(ProjectCount) == []


# --- what was created by a process of an earlier release ---------------------------------------------------------


def test_what_does_not_know_its_project_finds_it(
    app: Flask, world: World, project: Project, crowd: Crowd, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(placing, "ROWS", 4)
    before = world.rows(Analysis)
    some = [one.id for one in before[:10]]
    with app.app_context():
        lost = {"project_id": None, "image_created_at": None}
        db.session.execute(update(Analysis).where(Analysis.id.in_(some)).values(lost))
        db.session.commit()
        task = background.TASKS["placing"]
        would = list(background.steps(task, dry_run=True))
        assert (
            list(background.steps(task)) == would == [f"{n} analyses placed in projects" for n in (4, 4, 2)]
        )
        assert list(background.steps(task)) == []
    columns = [column.name for column in Analysis.__table__.columns]

    def dump(rows: list[Any]) -> list[Any]:
        return sorted([repr([getattr(row, name) for name in columns]) for row in rows])

    assert dump(world.rows(Analysis)) == dump(before)


def test_looking_for_them_reads_no_others(app: Flask, crowd: Crowd) -> None:
    def place() -> None:
        list(background.steps(background.TASKS["placing"]))

    assert "ix_ml_analyses_without_project" in plan_of(app, place)


# --- how the database reads --------------------------------------------------------------------------------------


def check_walks_analyses(plan: str, *names: str) -> None:
    """Of analyses it reads what one of these indexes leads to, or any; what it sorts is as little as a page."""
    for bad in ("Seq Scan on ml_analyses", "SCAN ml_analyses\n", "Bitmap"):
        assert bad not in f"{plan}\n", plan
    assert not names or any(name in plan for name in names), plan


@pytest.fixture
def large(app: Flask, world: World, project: Project) -> Crowd:
    return make(app, world, project, 2000)


OF_FEW = ("ix_ml_analyses_status_created_at_id", "ix_ml_analyses_model_name_created_at_id")


def test_lists_are_read_along_indexes(app: Flask, world: World, project: Project, large: Crowd) -> None:
    place = (large.analyses[9000].created_at, UUID(large.analyses[9000].id))
    for status, model in FILTERS:
        if model == "nobody":
            continue  # PostgreSQL knows that there is none
        wanted = listed.Wanted(Status(status) if status else None, model or None)
        # of none or two in all that it knows of, any index of the status or of the model reads no more than these
        few = status == "queued" or model == RARE
        names = ("ix_ml_analyses_of_project", "ix_ml_analyses_of_project_model") + OF_FEW * few
        for after in (None, place):
            plan = plan_of(app, partial(listed.page, project.id, wanted, limit=50, after=after))
            check_walks_analyses(plan, *names)


BY_MODEL, BY_STATUS = "ix_ml_analyses_images_model ", "ix_ml_analyses_images "
BY_NAME, BY_TIME = (f"ix_data_instances_project_id_{key}" for key in ("name", "created_at"))
# where an index is entered
AT_A_PLACE = ("AND (ROW(", "created_at,id)", "image_created_at,image_id)", "AND <expr>")


def test_galleries_are_read_along_indexes(app: Flask, project: Project, large: Crowd) -> None:
    places = (None, *(Place(UUID(large.image_id(900)), backwards) for backwards in (False, True)))
    for (status, model), sort, place in product(FILTERS, galleries.SORTS, places):
        wanted = Filter("", Status(status) if status else None, model, sort)
        read = partial(galleries.page, project.id, wanted, Count(2000), Part(60, place))
        first, *others = plans_of(app, read)
        if wanted.narrows:
            check_walks_analyses(first, *[BY_MODEL] * bool(model), *[BY_STATUS] * bool(status))
        else:
            check_walks(first, "data_instances", BY_NAME if sort == "name" else BY_TIME)
        if wanted.narrows and sort == "name":
            check_walks_analyses(others[0], BY_MODEL, BY_STATUS)  # for one image after the other
        elif place:
            entered = [line for line in first.splitlines() if "Filter:" not in line]
            assert any(begins in line for line in entered for begins in AT_A_PLACE), first


@pytest.mark.parametrize("text", ["", "00"])
@pytest.mark.parametrize("sort", ["newest", "name"])
def test_looking_for_what_is_little_goes_along_an_order(
    app: Flask, project: Project, large: Crowd, text: str, sort: str
) -> None:
    """Also where it finds no more than a few: what is looked at is bounded by nothing but the end of the index."""
    for status, model in FILTERS:
        if (status or model) and model != "nobody":
            wanted = Filter(text, Status(status) if status else None, model, sort)
            read = partial(galleries.page, project.id, wanted, Count(2000), Part(60))
            plans = [plan for plan in plans_of(app, read) if "ml_analyses" in plan]
            for plan in plans if status in ("failed", "canceled") else plans[:1]:
                check_walks_analyses(plan, *[BY_MODEL] * bool(model), *[BY_STATUS] * bool(status))
                for out_of_order in ("Hash Join", "Seq Scan", "SCAN data_instances", "instances_project_id"):
                    assert out_of_order not in plan, plan
                # which of their images were deleted is asked one by one
                assert "ix_data_instances_deleted on" in plan or "CORRELATED SCALAR SUBQUERY" in plan, plan


@pytest.mark.parametrize("wanted", [Filter(), Filter(status=Status.COMPLETED), Filter("00", sort="name")])
def test_cards_are_read_image_by_image(app: Flask, project: Project, large: Crowd, wanted: Filter) -> None:
    """For the order of their analyses PostgreSQL might walk along those of all images."""
    for place in (None, Place(UUID(large.image_id(900)))):
        read = partial(galleries.page, project.id, wanted, Count(2000), Part(60, place, shown=4))
        plan = plan_of(app, read)
        assert "idx_ml_analyses_image_id" in plan and "ix_ml_analyses_created_at_id" not in plan, plan
        assert "Seq Scan on ml_analyses" not in plan and "SCAN ml_analyses\n" not in plan, plan


def test_looking_for_large_projects_goes_along_indexes(app: Flask, project: Project, large: Crowd) -> None:
    def look() -> None:
        list(counting.find_large(BEGAN, dry_run=True))

    (plan,) = [plan for plan in plans_of(app, look) if "ml_analyses" in plan]
    check_walks_analyses(plan)


def test_what_is_counted_at_once_is_read_along_indexes(app: Flask, project: Project, large: Crowd) -> None:
    for plan in plans_of(app, lambda: surroundings.of_project(project.id, BEGAN, most=9)):
        check_walks_analyses(plan)


@pytest.mark.parametrize("sort", ["newest", "name"])
@pytest.mark.parametrize("status", [None, Status.COMPLETED])
def test_a_part_of_a_name_is_found_in_an_index_of_parts(
    app: Flask, project: Project, large: Crowd, status: Status | None, sort: str
) -> None:
    """Of three letters or digits; for less the index would be read from end to end."""
    name = "0012345"
    for text, is_found in (
        (name, True),
        (f"{name}.PNG", True),
        ("12", False),
        ("_4-", False),
        ("png", None),
    ):
        wanted = Filter(text, status, sort=sort)
        for place in (None, Place(UUID(large.image_id(900)))):
            plans = plans_of(app, partial(galleries.page, project.id, wanted, Count(2000), Part(60, place)))
            by_part = any("ix_data_instances_name_parts" in plan for plan in plans)
            if is_found is not None:  # what all names have is found either way
                assert by_part == (is_found and KIND == "postgresql"), plans
            for plan in plans:
                for bad in ("Seq Scan on ml_analyses", "Heap Scan on ml_analyses", "SCAN ml_analyses\n"):
                    assert bad not in f"{plan}\n", plan
                assert "Seq Scan on data_instances" not in plan, plan
            if text == "png":  # far more than are few, so the last is a walk
                check_walks(plans[-1], "data_instances", BY_NAME if sort == "name" else BY_TIME)
