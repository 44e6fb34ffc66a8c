"""GET /projects/{id} page by page: there and back, from places that are gone, and beyond the end; and what is told of
numbers that were not counted just now."""

import sys
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from flask import Flask
from sqlalchemy import update

from app import background
from app.extensions import db
from app.models import Analysis, Image, Project, Status
from app.models.columns import new_id, now
from app.services import counting, galleries
from tests.cast import Person
from tests.factories import World
from tests.fakes import FixedClock
from tests.web.test_projects import HTMX, names_in

SIZE, IMAGES = 2, 9
PAGES = 5


@pytest.fixture(autouse=True)
def small_pages(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys.modules["app.web.gallery"], "PAGE_SIZE", SIZE)


@pytest.fixture
def images(world: World, project: Project) -> list[Image]:
    return [world.image(project, f"{n}.png") for n in range(IMAGES)]


@pytest.fixture
def address(project: Project, images: list[Image]) -> str:
    return f"/projects/{project.id}"


def link(text: str, rel: str) -> str | None:
    """Where Previous or Next leads."""
    _, _, rest = text.partition(f'rel="{rel}" href="')
    return rest.partition('"')[0].replace("&amp;", "&") or None


def page_in(text: str) -> str:
    """As told between them: "Page 2 of 5"."""
    _, _, rest = text.partition("<span>Page ")
    return rest.partition("</span>")[0]


def get(viewer: Person, address: str) -> str:
    answer = viewer.client.get(address)
    assert answer.status_code == 200
    return answer.text


def names_of(page: int, sort: str = "name") -> list[str]:
    every = [f"{n}.png" for n in range(IMAGES)][:: -1 if sort == "newest" else 1]
    return every[(page - 1) * SIZE : page * SIZE]


def delete(world: World, *images: Image) -> None:
    with world.app.app_context():
        of_them = update(Image).where(Image.id.in_([image.id for image in images]))
        db.session.execute(of_them.values(deleted_at=now()))
        db.session.commit()


def keep_numbers(app: Flask) -> None:
    with app.app_context():
        list(background.steps(background.TASKS["large-projects"]))


# --- there and back ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("sort", ["newest", "oldest", "name"])
def test_there_and_back(viewer: Person, address: str, sort: str) -> None:
    text = get(viewer, f"{address}?sort={sort}")
    for page in range(1, PAGES + 1):
        assert names_in(text) == names_of(page, sort) and page_in(text) == f"{page} of {PAGES}"
        if page < PAGES:
            following = link(text, "next")
            assert following and f"page={page + 1}&after=" in following
            text = get(viewer, following)
    assert link(text, "next") is None
    for page in range(PAGES - 1, 0, -1):
        before = link(text, "prev")
        assert before and ("before=" in before) is (page > 1)
        text = get(viewer, before)
        assert names_in(text) == names_of(page, sort)
        assert page_in(text) == f"{page} of {PAGES}"
    assert link(text, "prev") is None


def test_one_page_has_no_pager(world: World, project: Project, viewer: Person) -> None:
    for _ in range(SIZE):
        world.image(project)
    assert '<nav class="pager"' not in get(viewer, f"/projects/{project.id}")


# --- places that are none ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("which", ["after", "before"])
@pytest.mark.parametrize("place", ["gone", "foreign", "malformed", "empty"])
@pytest.mark.parametrize("filters", ["", "&state=completed", "&q=png"])
def test_a_place_that_is_none_leaves_the_number(
    world: World, viewer: Person, address: str, images: list[Image], which: str, place: str, filters: str
) -> None:
    for image in images:
        world.analysis(image, "completed")
    places = {
        "gone": str(new_id()),
        "foreign": str(world.image(world.project("Bark")).id),
        "malformed": "nonsense",
        "empty": "",
    }
    text = get(viewer, f"{address}?sort=oldest{filters}&page=3&{which}={places[place]}")
    assert names_in(text) == names_of(3) and page_in(text) == "3 of 5"
    text = get(viewer, f"{address}?sort=oldest{filters}&{which}={places[place]}")
    assert names_in(text) == names_of(1) and page_in(text) == "1 of 5"


def test_a_deleted_image_is_still_a_place(
    world: World, viewer: Person, address: str, images: list[Image]
) -> None:
    delete(world, images[3])
    text = get(viewer, f"{address}?sort=oldest&page=3&after={images[3].id}")
    assert names_in(text) == ["4.png", "5.png"] and page_in(text) == "3 of 4"


def test_back_at_the_beginning_is_the_first_page(
    world: World, viewer: Person, address: str, images: list[Image]
) -> None:
    delete(world, images[0])
    text = get(viewer, f"{address}?sort=oldest&page=2&before={images[2].id}")
    assert names_in(text) == ["1.png", "2.png"] and page_in(text) == "1 of 4"


# --- beyond the end ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("page", [PAGES + 1, PAGES * 2, 999_999])
@pytest.mark.parametrize("filters", ["", "&q=png"])
def test_beyond_the_end_is_the_last_page(viewer: Person, address: str, page: int, filters: str) -> None:
    text = get(viewer, f"{address}?sort=oldest{filters}&page={page}")
    assert names_in(text) == ["8.png"] and page_in(text) == "5 of 5"


@pytest.mark.parametrize("page", ["0", "-1", "1.5", "nonsense", "9999999", "٣"])
def test_what_is_no_page_is_the_first(viewer: Person, address: str, page: str) -> None:
    assert page_in(get(viewer, f"{address}?page={page}")) == "1 of 5"


@pytest.mark.parametrize("by_place", [False, True])
@pytest.mark.parametrize("is_kept", [False, True])
def test_a_last_page_that_has_become_empty(
    app: Flask,
    world: World,
    viewer: Person,
    address: str,
    images: list[Image],
    monkeypatch: pytest.MonkeyPatch,
    by_place: bool,
    is_kept: bool,
) -> None:
    """Its only image was deleted; where the number of all was counted before, it is one too many."""
    if is_kept:
        monkeypatch.setattr(counting, "COUNTED", 3)
        keep_numbers(app)
    delete(world, images[8])
    place = f"&after={images[7].id}" if by_place else ""
    text = get(viewer, f"{address}?sort=oldest&page=5{place}")
    page = 4 if by_place or not is_kept else 3  # where nothing tells the end, it goes half the way back
    assert names_in(text) == names_of(page)
    assert page_in(text) == f"{page} of {PAGES if is_kept else 4}"


def test_nothing_is_left(world: World, viewer: Person, address: str, images: list[Image]) -> None:
    delete(world, *images)
    assert "No images yet" in get(viewer, f"{address}?page=4&after={images[3].id}")


def test_no_page_is_beyond_the_number_of_pages(
    app: Flask, world: World, project: Project, viewer: Person, address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where more was added since it was counted."""
    monkeypatch.setattr(counting, "COUNTED", 3)
    keep_numbers(app)
    for n in range(IMAGES, IMAGES + 4):
        world.image(project, f"{n}.png")
    text = get(viewer, f"{address}?sort=oldest")
    told = []
    while following := link(text, "next"):
        text = get(viewer, following)
        told.append(page_in(text))
    assert told == ["2 of 5", "3 of 5", "4 of 5", "5 of 6", "6 of 7", "7 of 7"]


# --- what was not counted just now -------------------------------------------------------------------------------


def test_more_than_is_counted(
    world: World,
    viewer: Person,
    address: str,
    images: list[Image],
    admin: Person,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """As 1,000+ with the real bounds, and 100+ of what a filter finds."""
    monkeypatch.setattr(counting, "COUNTED", 4)
    monkeypatch.setattr(galleries, "LOOKED", 5)
    for image in images:
        world.analysis(image, "completed", annotation_count=3)
    text = get(viewer, f"{address}?sort=oldest")
    assert "4+ images · 4+ analyses · 15+ annotations" in text and page_in(text) == "1"
    text = get(viewer, f"{address}?sort=oldest&page=99")  # half the way back, as often as it takes
    assert names_in(text) == names_of(4) and page_in(text) == "4"
    for filters in ("state=completed", "q=png"):
        text = get(viewer, f"{address}?sort=oldest&{filters}")
        assert f"{6 if 'state' in filters else 5}+ of 4+</span>" in text and page_in(text) == "1"
    assert "Of 4+ images none fits" in get(viewer, f"{address}?q=nothing")
    assert "1 project · 4+ images" in get(viewer, "/") and "4+ images · 4+ analyses" in get(viewer, "/")
    assert "4+ images · 4+ analyses" in get(admin, f"/admin{address}")
    assert ">4+<" in get(admin, "/admin/projects")


def test_what_was_counted_a_while_ago_says_so(
    app: Flask,
    world: World,
    viewer: Person,
    admin: Person,
    address: str,
    clock: FixedClock,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(counting, "COUNTED", 4)
    keep_numbers(app)
    pages = (address, f"{address}?q=5", "/", "/admin/projects", f"/admin{address}")

    def told() -> list[str]:
        return [get(admin if "admin" in one else viewer, one) for one in pages]

    for age, about in ((timedelta(minutes=5), ""), (timedelta(days=3), "about ")):
        clock.advance(age.total_seconds())
        gallery, narrowed, listing, all_projects, own = told()
        for text in (gallery, narrowed, listing, all_projects, own):
            assert 'title="Counted 4 March 2026, 12:00 UTC"' in text
            assert ("about 9" in text) is bool(about)
        assert f">{about}9 images · " in gallery and page_in(gallery) == f"1 of {about}5"
        assert f">1 of {about}9</span>" in narrowed
        assert f"1 project · {about}9 images" in listing and f'UTC">{about}9 images<' in listing
        assert f'UTC">{about}9<' in all_projects
        assert f"{about}9 images · " in own


# --- the menu, and the poll --------------------------------------------------------------------------------------


def test_the_chosen_model_is_in_the_menu_whatever_is_offered(
    world: World, viewer: Person, address: str, images: list[Image], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys.modules["app.web.gallery"], "OFFERED", 2)
    for model in ("a-net", "b  net", "c-net", "d-net"):
        world.analysis(images[0], "completed", model_name=model)

    def menu(query: str) -> list[tuple[str, bool]]:
        _, _, rest = get(viewer, f"{address}?{query}").partition('id="filter-model"')
        options = rest.partition("</select>")[0].split("<option")[1:]
        return [(one.split('value="')[1].split('"')[0], " selected" in one) for one in options]

    assert menu("") == [("", False), ("a-net", False), ("b  net", False)]
    assert menu("model=b++net") == [("", False), ("a-net", False), ("b  net", True)]
    assert menu("model=d-net") == [("", False), ("a-net", False), ("b  net", False), ("d-net", True)]
    assert menu("model=%22%3E")[1:2] == [("&#34;&gt;", True)]


def test_the_poll_ends_when_one_that_is_not_shown_has_ended(
    app: Flask, world: World, viewer: Person, address: str, images: list[Image]
) -> None:
    """A card has the four newest; the oldest of five ends, and said nothing."""
    running = world.analysis(images[0], "processing")
    for _ in range(4):
        world.analysis(images[0], "completed")
    text = get(viewer, f"{address}?sort=oldest")
    poll = text.split('hx-get="')[1].split('"')[0].replace("&amp;", "&")
    assert viewer.client.get(poll, headers=HTMX).status_code == 204
    with app.app_context():
        db.session.get_one(Analysis, running.id).move_to(Status.COMPLETED)
        db.session.commit()
    answer = viewer.client.get(poll, headers=HTMX)
    assert answer.status_code == 200 and "hx-trigger" not in answer.text


# --- what it costs -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("query", "most"),
    [
        ("page=3", 2),  # what stands around, the page
        ("page=3&after=", 2),
        ("state=completed", 2),
        ("state=completed&model=unet&page=2&after=", 2),
        ("state=completed&sort=name", 3),  # first how much there is
        ("q=png", 2),
        ("q=png&state=completed", 3),
    ],
)
def test_a_page_is_few_statements(
    app: Flask,
    world: World,
    viewer: Person,
    address: str,
    images: list[Image],
    monkeypatch: pytest.MonkeyPatch,
    count_queries: Callable[[], Any],
    query: str,
    most: int,
) -> None:
    """Beside who asks, and for what project; of one whose numbers are kept."""
    for image in images:
        for _ in range(5):
            world.analysis(image, "completed", model_name="unet")
    monkeypatch.setattr(counting, "COUNTED", 3)
    keep_numbers(app)
    place = str(images[5].id) if query.endswith("after=") else ""
    get(viewer, f"{address}?{query}{place}")  # signs in
    with count_queries() as statements:
        assert names_in(get(viewer, f"{address}?{query}{place}"))
    asked = [one for one in statements if one.startswith(("SELECT", "WITH"))]
    assert len(asked) == 2 + most, asked


def test_states_of_cards_are_escaped(world: World, viewer: Person, address: str, images: list[Image]) -> None:
    """A model may be called anything, also with blanks and signs; each of the few states is written once for all."""
    for image in images:
        world.analysis(image, "failed", model_name="<b>a  b</b> %s %")
    text = get(viewer, address)
    said = "&lt;b&gt;a  b&lt;/b&gt; %s %"
    assert text.count(f'<span>{said}<span class="visually-hidden">: failed') == SIZE
    assert "<b>a" not in text
