"""Groups among very many analyses: nothing of one reads all of them; and its row, made by many at once."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from functools import partial
from itertools import product
from typing import Any
from uuid import UUID

import pytest
from flask import Flask

from app import background
from app.exports import Selection
from app.exports.many import page_of
from app.extensions import db
from app.models import SYSTEM, Analysis, Group, Image, Project, Status
from app.models.columns import new_id
from app.services import analyses, cancels, groups, leases, listed, locking, surroundings
from tests.factories import World
from tests.support import database as databases
from tests.support.plans import check_walks, plan_of, plans_of, refresh_statistics

NUMBER, GROUPS = 8000, 30
FIRST = datetime(2026, 1, 1, tzinfo=UTC)
ALL, BY_STATUS, BY_MODEL = (
    "ix_ml_analyses_group_row_id_created_at_id",
    "ix_ml_analyses_group_counts",
    "ix_ml_analyses_group_model",
)
FILTERED = (None, Status.COMPLETED, Status.FAILED, Status.QUEUED)
MODELS = (None, "m0", "m2", "m3")


def tidy(app: Flask, *, settled: bool) -> None:
    """Nothing is left of other tests, and the database knows its tables; if `settled`, also that nobody is writing."""
    if databases.KIND == "postgresql":
        with app.app_context(), db.engine.connect() as connection:
            alone = connection.execution_options(isolation_level="AUTOCOMMIT")
            for how in ("FULL", "FREEZE") if settled else ("FULL",):
                alone.exec_driver_sql(f"VACUUM ({how}) ml_analyses")
    refresh_statistics(app)


@pytest.fixture
def crowd(app: Flask, world: World, project: Project, image: Image) -> list[Group]:
    """Thirty groups of the project, the first with a fifth of it, and as many of another one with the same names.

    Some are of the same moment. The model m2 made a third of all, but in the first group only two.
    """
    other = world.project("Bark")
    images = [image.id, world.image(other).id]
    made = [
        {
            "id": new_id(),
            "project_id": of,
            "group_id": f"g{n:03}",
            "created_at": FIRST + timedelta(minutes=n),
        }
        for of in (project.id, other.id)
        for n in range(GROUPS)
    ]
    statuses = [*["completed"] * 16, "queued", "processing", "failed", "canceled"]
    rows = []
    for n in range(NUMBER):
        in_first = n % 20 < 4
        group = made[n % 2 * GROUPS + (0 if in_first else n // 4 % GROUPS)]
        rows.append(
            {
                "id": new_id(),
                "image_id": images[n % 2],
                "model_name": f"m{n // 2 % 2 if in_first and n > 40 else n % 3}",
                "model_version": "1",
                "status": statuses[n * 7 // 20 % 20],
                "group_id": group["group_id"],
                "group_row_id": group["id"],
                "created_at": FIRST + timedelta(seconds=n - n % 5),
            }
        )
    with app.app_context():
        db.session.execute(db.insert(Group), made)
        db.session.execute(db.insert(Analysis), rows)
        db.session.commit()
    tidy(app, settled=True)
    found = world.rows(Group, project_id=project.id)
    assert len(found) == GROUPS
    return sorted(found, key=lambda one: one.group_id)


def check_no_scan(plan: str) -> None:
    """Of the analyses it reads what an index leads to, and nothing else."""
    for bad in ("Seq Scan on ml_analyses", "SCAN ml_analyses"):
        assert bad not in plan, plan


def test_a_group_is_read_along_an_index(app: Flask, project: Project, crowd: list[Group]) -> None:
    """Of a small group along its own. A large one may be read along that of everything by time, not beyond its ends,
    which are looked up in its own."""
    place = (FIRST + timedelta(seconds=3000), new_id())
    for one in (crowd[0], crowd[7]):
        for status in (None, Status.FAILED):
            for where in ({}, {"older_than": place}, {"newer_than": place}):
                read = partial(groups.analyses_of, one, status, limit=25, **where)
                plan = plan_of(app, read)
                check_no_scan(plan)
                assert ALL in plan, plan


def test_a_list_of_a_group_has_every_analysis_once_and_in_order(
    app: Flask, world: World, project: Project, crowd: list[Group]
) -> None:
    """Whatever it is narrowed to; pages end between equal ones."""
    with app.app_context():
        gone = db.select(Analysis.id).order_by(Analysis.created_at.desc(), Analysis.id).limit(1000)
        db.session.execute(db.update(Analysis).where(Analysis.id.in_(gone)).values(deleted_at=FIRST))
        db.session.commit()
    first, last = FIRST + timedelta(seconds=21), FIRST + timedelta(seconds=6000)
    stretches = ({}, {"created_after": first, "created_before": last})
    there = [one for one in world.rows(Analysis) if one.deleted_at is None]
    there.sort(key=lambda one: (one.created_at, one.id), reverse=True)
    for group, status, model, times in product((crowd[0], crowd[7]), FILTERED, MODELS, stretches):
        expected = [
            one.id
            for one in there
            if one.group_row_id == group.id
            and status in (None, one.status)
            and model in (None, one.model_name)
            and (not times or first <= one.created_at < last)
        ]
        wanted = listed.Wanted(status, model, group.group_id, **times)
        seen: list[UUID] = []
        more, after = True, None
        while more:
            with app.app_context():
                rows, more = listed.page(project.id, wanted, limit=len(expected) // 9 | 1, after=after)
                seen += [row.id for row in rows]
                after = (rows[-1].created_at, rows[-1].id) if rows else None
        assert seen == expected, wanted
    with app.app_context():
        assert listed.page(project.id, listed.Wanted(group_id="g030"), limit=7) == ([], False)


def test_a_list_of_a_group_is_read_along_an_index_of_groups(
    app: Flask, project: Project, crowd: list[Group]
) -> None:
    """Also that of a model which is rare in a large group and common elsewhere."""
    place = (FIRST + timedelta(seconds=3000), new_id())
    wide = {"created_after": FIRST, "created_before": FIRST + timedelta(days=9)}
    # that there is none of the last model PostgreSQL knows
    for name, status, model, times in product(("g000", "g007"), FILTERED, MODELS[:-1], ({}, wide)):
        wanted = listed.Wanted(status, model, name, **times)
        for after in (None, place):
            plan = plan_of(app, partial(listed.page, project.id, wanted, limit=100, after=after))
            check_no_scan(plan)
            assert "Bitmap" not in plan, plan
            # of few, each of them reads as little
            much = status in (None, Status.COMPLETED)
            names = [BY_MODEL if model else BY_STATUS] if much else [ALL, BY_STATUS, BY_MODEL]
            assert any(f"{one} " in plan for one in names), plan


def test_an_export_of_a_group_walks_along_it(app: Flask, project: Project, crowd: list[Group]) -> None:
    after = (FIRST + timedelta(seconds=3000), new_id())
    for name in ("g000", "g007"):
        selection = Selection(project_id=project.id, group_id=name)
        for place in (None, after):
            with app.app_context():
                statement = page_of(selection, FIRST + timedelta(days=9), place)
            plan = plan_of(app, partial(db.session.execute, statement))
            check_no_scan(plan)
            assert ALL in plan, plan
            if name == "g000":  # what is small is sorted
                check_walks(plan, "ml_analyses", ALL)


def test_what_has_not_ended_is_found_without_the_rest(app: Flask, crowd: list[Group]) -> None:
    """Reading all of a group for each batch of it would be quadratic."""
    one = crowd[0].id
    check_no_scan(plan_of(app, lambda: groups.pending(one, 50)))
    check_no_scan(plan_of(app, lambda: groups.count_leased(one)))
    check_no_scan(plan_of(app, lambda: groups.first_pending(one, 20)))


def test_a_group_is_counted_from_an_index_alone(app: Flask, crowd: list[Group]) -> None:
    """Also a large one, in which every row would have to be read."""
    for some in (crowd[:1], crowd[7:9]):
        plan = plan_of(app, partial(groups.counts, [group.id for group in some]))
        check_no_scan(plan)
        assert any(f"{how} {BY_STATUS}" in plan for how in ("COVERING INDEX", "Index Only Scan using")), plan


def test_the_groups_of_a_project_are_listed_in_the_order_of_their_rows(
    app: Flask, project: Project, crowd: list[Group]
) -> None:
    place = (FIRST + timedelta(minutes=9), new_id())
    for settled in (True, False):
        tidy(app, settled=settled)
        for read in (
            lambda: groups.page(project.id, limit=5),
            lambda: groups.page(project.id, limit=5, older_than=place),
            lambda: surroundings.of_project(project.id, FIRST, most=9),
        ):
            for plan in plans_of(app, read):
                check_no_scan(plan)
    with app.app_context():
        rows, more = groups.page(project.id, limit=5, older_than=place)
        names = [row.group_id for row in rows]
    assert (names, more) == (["g009", "g008", "g007", "g006", "g004"], True)


def test_its_row_is_made_once(
    app: Flask, world: World, project: Project, at_once: Callable[..., list[Any]]
) -> None:
    def make() -> UUID | None:
        with app.app_context():
            made = groups.row_id(project.id, "night run")
            db.session.commit()
            return made

    assert len(set(at_once([make] * 8))) == 1
    assert world.count(Group) == 1


def test_another_attempt_is_in_the_group_of_the_first(app: Flask, world: World, image: Image) -> None:
    past = datetime.now(UTC) - timedelta(seconds=1)
    lost = world.analysis(image, "processing", group_id="night run", lease_epoch=1, lease_expires_at=past)
    with app.app_context():
        assert leases.expire(lost.id, retries=1)
        db.session.commit()
    [again] = world.rows(Analysis, retry_of_id=lost.id)
    assert again.group_row_id == lost.group_row_id is not None


if databases.KIND == "postgresql":  # SQLite has one writer, who holds everything

    def test_those_that_are_canceled_together_are_held_in_one_order(
        app: Flask, world: World, image: Image
    ) -> None:
        """Whoever is asked for them in another order holds none of them while it waits for the first."""
        ids = sorted(world.analysis(image).id for _ in range(3))
        with app.app_context(), db.engine.begin() as other:
            other.execute(db.select(Analysis.id).where(Analysis.id == ids[0]).with_for_update())
            db.session.execute(db.text("SET LOCAL lock_timeout = '200ms'"))
            with pytest.raises(db.exc.OperationalError):  # type: ignore[attr-defined]
                locking.lock_all(ids[::-1])
            free = db.select(Analysis.id).where(Analysis.id.in_(ids[1:]))
            assert len(other.execute(free.with_for_update(nowait=True)).all()) == 2
            db.session.rollback()


def test_cancel_takes_what_is_given_to_it_in_batches(
    app: Flask, world: World, image: Image, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each is committed by itself: who stops in the middle has canceled what came before."""
    made = [world.analysis(image, group_id="night run") for _ in range(5)]
    row_id = made[0].group_row_id
    monkeypatch.setattr(cancels, "BATCH", 2)
    with app.app_context():
        storage = app.extensions["storage"]
        batches = cancels.cancel(row_id, storage, by=SYSTEM)  # type: ignore[arg-type]
        first = next(batches)
        db.session.commit()
        second = next(batches)
        db.session.rollback()
    assert (first.number, second.number) == (2, 2)
    assert {one.id for one in world.rows(Analysis, status="canceled")} == set(first.ids)


# --- what was created by a process of an earlier release ---------------------------------------------------------


def put_into_groups(app: Flask, *, dry_run: bool = False) -> list[str]:
    with app.app_context():
        return list(background.steps(background.TASKS["groups"], dry_run=dry_run))


@pytest.fixture
def rowless(
    app: Flask, world: World, image: Image, monkeypatch: pytest.MonkeyPatch
) -> dict[UUID, tuple[UUID, str | None]]:
    """Ten analyses in four groups of two projects, one of which has a row, and two in none, as a release before groups
    had rows left them. By id, the project and the name of the group of each."""
    monkeypatch.setattr(groups, "ROWS", 4)
    other = world.image(world.project("Bark"))
    names = ["b", "a", "b", None, "a", "c"]
    made = {}
    for n, name in enumerate(names * 2):
        owner = (image, other)[n % 2]
        columns = {"group_id": name, "created_at": FIRST + timedelta(minutes=n)}
        made[world.analysis(owner, **columns).id] = (owner.project_id, name)
    with app.app_context():
        db.session.execute(db.update(Analysis).values(group_row_id=None))
        db.session.execute(db.delete(Group).where(Group.group_id != "c"))
        db.session.commit()
    return made


def check_all_found(world: World, made: dict[UUID, tuple[UUID, str | None]]) -> None:
    rows = {one.id: (one.project_id, one.group_id) for one in world.rows(Group)}
    assert len(set(rows.values())) == len(rows) == len({one for one in made.values() if one[1]})
    for one in world.rows(Analysis):
        project_id, name = made[one.id]
        assert (rows[one.group_row_id] if one.group_row_id else (project_id, None)) == (project_id, name)


def test_what_knows_only_the_name_of_its_group_finds_its_row(
    app: Flask, world: World, rowless: dict[UUID, tuple[UUID, str | None]]
) -> None:
    before = [(one.id, one.revision, one.updated_at) for one in world.rows(Analysis)]
    would = put_into_groups(app, dry_run=True)
    assert [one.group_row_id for one in world.rows(Analysis)] == [None] * 12
    assert put_into_groups(app) == would == [f"{n} analyses put into groups" for n in (4, 4, 2)]
    assert put_into_groups(app) == []
    check_all_found(world, rowless)
    assert [(one.id, one.revision, one.updated_at) for one in world.rows(Analysis)] == before
    began = {
        (one.project_id, one.group_id): one.created_at for one in world.rows(Group) if one.group_id != "c"
    }
    analyses_of = world.rows(Analysis)
    for of, moment in began.items():
        assert moment == min(one.created_at for one in analyses_of if rowless[one.id] == of)


def test_several_put_them_into_groups_while_they_are_canceled(
    app: Flask,
    world: World,
    rowless: dict[UUID, tuple[UUID, str | None]],
    at_once: Callable[..., list[Any]],
) -> None:
    def cancel_backwards() -> None:
        with app.app_context():
            for one in sorted(rowless, reverse=True):
                analyses.cancel(db.session.get_one(Analysis, one), by=SYSTEM)
                db.session.commit()

    at_once([partial(put_into_groups, app), partial(put_into_groups, app), cancel_backwards])
    put_into_groups(app)  # what was held by others
    check_all_found(world, rowless)
    assert {one.status for one in world.rows(Analysis)} == {"canceled"}


def test_looking_for_them_reads_no_others(app: Flask, crowd: list[Group]) -> None:
    plan = plan_of(app, partial(put_into_groups, app))
    check_walks(plan, "ml_analyses", "ix_ml_analyses_without_group_row")
