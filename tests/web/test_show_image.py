"""GET /images/{id} and GET /analyses/{id}: the picture, what is drawn over it, the panel, the table."""

import re
from collections.abc import Callable
from typing import Any

import pytest
from flask import Flask

from app.models import Analysis, Image, Project
from tests.cast import Person, Pipeline
from tests.factories import World, gradient, some_id
from tests.html import parse_page
from tests.steps import box, finalize, store, upload

HTMX = {"HX-Request": "true"}
RLE = {
    "annotation_type": "segmentation",
    "data": {"format": "rle", "counts": [100, 40, 2932], "size": [48, 64]},
}


@pytest.fixture
def address(image: Image) -> str:
    return f"/images/{image.id}"


def svg_of(text: str) -> str:
    return text.split('<svg id="canvas"')[1].split("</svg>")[0]


def test_who_may_see_it(
    address: str, owner: Person, editor: Person, viewer: Person, stranger: Person, admin: Person
) -> None:
    for person in (owner, editor, viewer, admin):
        assert person.client.get(address).status_code == 200
    assert stranger.client.get(address).status_code == 403
    assert stranger.client.get(f"/images/{some_id()}").status_code == 404
    assert owner.client.post(address).status_code == 405


def test_an_image_without_analyses_has_no_panel(address: str, viewer: Person) -> None:
    text = viewer.client.get(address).text
    assert 'viewBox="0 0 64 48"' in text
    assert "ML Analyses" not in text and "hx-trigger" not in text and "Export" not in text


def test_the_picture_and_the_overlay_share_one_svg(
    world: World, image: Image, address: str, pipeline: Pipeline, viewer: Person
) -> None:
    analysis = world.analysis(image, "processing")
    (box_id,) = store(pipeline, analysis, [box(class_name="leaf", confidence=0.9)])
    svg = svg_of(viewer.client.get(address).text)
    assert svg.lstrip().startswith('viewBox="0 0 64 48"')
    href = f"{address}/content?v={image.sha256[:16]}"
    assert f'<image id="picture" class="picture" href="{href}" width="64" height="48"/>' in svg
    assert f'id="s-{box_id}"' in svg
    assert '<rect class="shape" x="4" y="4" width="10" height="8"/>' in svg
    assert "leaf 0.90" in svg


def test_the_panel_tells_of_each_analysis(world: World, image: Image, address: str, viewer: Person) -> None:
    world.analysis(image, "completed", annotation_count=3)
    world.analysis(image, "failed", error_message="out of memory\nsecond line")
    for status in ("queued", "processing", "canceled"):
        world.analysis(image, status)
    text = viewer.client.get(address).text
    panel = text.split('id="panel"')[1].split("</section>")[0]
    for status in ("completed", "failed", "queued", "processing", "canceled"):
        assert f'class="badge {status}"' in panel
    assert "leaf-net" in panel and "1.0.0" in panel and "3 annotations" in panel
    assert "out of memory" in panel and "second line" not in panel


def test_the_newest_completed_analysis_is_chosen_first(
    world: World, image: Image, address: str, viewer: Person
) -> None:
    world.analysis(image, "completed", model_name="older")
    world.analysis(image, "completed", model_name="newer")
    world.analysis(image, "failed", model_name="newest")
    assert 'id="layers-of">newer<' in viewer.client.get(address).text


def test_without_a_completed_one_the_newest_is_chosen(
    world: World, image: Image, address: str, viewer: Person
) -> None:
    world.analysis(image, "failed", model_name="older")
    world.analysis(image, "queued", model_name="newest")
    assert 'id="layers-of">newest<' in viewer.client.get(address).text


def test_choosing_another_one_is_a_link(world: World, image: Image, address: str, viewer: Person) -> None:
    older = world.analysis(image, "completed", model_name="older")
    world.analysis(image, "completed", model_name="newer")
    text = viewer.client.get(address).text
    assert f'href="{address}?analysis={older.id}"' in text
    answer = viewer.client.get(f"{address}?analysis={older.id}", headers=HTMX)
    assert 'id="layers-of">older<' in answer.text
    assert answer.headers["HX-Push-Url"] == f"{address}?analysis={older.id}"
    assert "HX-Request" in answer.vary
    whole = viewer.client.get(
        f"{address}?analysis={older.id}", headers={**HTMX, "HX-History-Restore-Request": "true"}
    )
    assert whole.text.lstrip().startswith("<!doctype html>")


@pytest.mark.parametrize("wanted", ["nonsense", "01900000-0000-7000-8000-000000000000"])
def test_an_analysis_that_is_not_of_this_image_is_404(
    world: World, image: Image, address: str, viewer: Person, wanted: str
) -> None:
    world.analysis(image, "completed")
    assert viewer.client.get(f"{address}?analysis={wanted}").status_code == 404


def test_an_analysis_of_another_image_is_404(
    world: World, project: Project, address: str, viewer: Person, image: Image
) -> None:
    world.analysis(image)
    other = world.analysis(world.image(project), "completed")
    assert viewer.client.get(f"{address}?analysis={other.id}").status_code == 404


def test_an_analysis_has_an_address_of_its_own(
    world: World, image: Image, viewer: Person, stranger: Person
) -> None:
    analysis = world.analysis(image, "completed")
    world.analysis(image, "completed", model_name="newer")
    address = f"/analyses/{analysis.id}"
    assert 'id="layers-of">leaf-net<' in viewer.client.get(address).text
    assert viewer.client.get(address, headers=HTMX).status_code == 200
    assert stranger.client.get(address).status_code == 403
    assert viewer.client.get(f"/analyses/{some_id()}").status_code == 404


# --- the view ----------------------------------------------------------------------------------------------------


@pytest.fixture
def drawn(app: Flask, world: World, image: Image, pipeline: Pipeline) -> str:
    """The address of an image with boxes, masks and a heatmap."""
    analysis = world.analysis(image, "processing")
    path = upload(app, pipeline, analysis, content=gradient(16, 12))
    heatmap = {"width": 16, "height": 12, "color_map": "magma", "vmin": 0, "vmax": 2.5, "unit": "mm"}
    store(
        pipeline,
        analysis,
        [
            box(class_name="leaf"),
            RLE,
            {"annotation_type": "heatmap", "storage_path": path, "data": heatmap, "class_name": "depth"},
            {"annotation_type": "classification", "data": {"topk": [{"class": "oak", "confidence": 0.75}]}},
            {"annotation_type": "custom", "data": {"note": "<b>", "deep": {"list": [1, True, None]}}},
        ],
    )
    finalize(pipeline, analysis)
    return f"/images/{image.id}?analysis={analysis.id}"


def field(text: str, field_id: str) -> dict[str, str]:
    """The attributes of the element with this id."""
    root = parse_page(text)[0]
    return next(dict(element.attrib) for element in root.iter() if element.get("id") == field_id)


def opacity_of_layer(text: str) -> str:
    """That of the chosen analysis."""
    return re.findall(r'<g class="layer" id="layer-[^"]+" opacity="([^"]+)"', text)[0]


def test_a_first_visit_shows_everything(viewer: Person, drawn: str) -> None:
    text = viewer.client.get(drawn).text
    for switch in ("boxes", "bitmaps", "labels", "view-overlay"):
        assert "checked" in field(text, switch), switch
    assert field(text, "opacity")["value"] == "100"
    assert opacity_of_layer(text) == "1.0"
    assert svg_of(text).count(' href="/analyses/') + svg_of(text).count(' href="/annotations/') == 2


def test_the_view_is_in_the_address(viewer: Person, drawn: str) -> None:
    text = viewer.client.get(drawn + "&boxes=0&bitmaps=0&labels=0&opacity=40&view=side").text
    for switch in ("boxes", "bitmaps", "labels", "view-overlay"):
        assert "checked" not in field(text, switch), switch
    assert "checked" in field(text, "view-side")
    assert opacity_of_layer(text) == "0.4"
    assert "3</b> hidden" in text.replace('<b id="hidden">3', "3")
    assert "by boxes and bitmaps switched off" in text


def test_a_bitmap_that_is_switched_off_has_no_address_to_fetch(viewer: Person, drawn: str) -> None:
    svg = svg_of(viewer.client.get(drawn + "&bitmaps=0").text)
    assert re.findall(r'<image[^>]* href="([^"?]+)', svg) == [drawn.split("?")[0] + "/content"]
    assert svg.count("data-href=") == 2


def test_the_form_of_the_view_works_without_javascript(viewer: Person, drawn: str, image: Image) -> None:
    answer = viewer.client.submit(drawn, f"/images/{image.id}", {"opacity": "25"})
    assert opacity_of_layer(answer.text) == "0.25"
    switches = viewer.client.get(drawn + "&boxes=0&boxes=1&bitmaps=0").text
    assert "checked" in field(switches, "boxes") and "checked" not in field(switches, "bitmaps")
    assert "<noscript>" in switches


@pytest.mark.parametrize(
    "query",
    ["opacity=5", "opacity=101", "opacity=x", "opacity=-20", "view=upside", "page=0", "page=abc", "boxes="],
)
def test_a_view_that_makes_no_sense_is_the_first_one(viewer: Person, drawn: str, query: str) -> None:
    answer = viewer.client.get(f"{drawn}&{query}")
    assert answer.status_code == 200
    assert opacity_of_layer(answer.text) == "1.0"
    assert "checked" in field(answer.text, "view-overlay")


def test_switches_are_only_for_what_there_is(
    world: World, image: Image, address: str, pipeline: Pipeline, viewer: Person
) -> None:
    analysis = world.analysis(image, "processing")
    store(pipeline, analysis, [box()])
    text = viewer.client.get(address).text
    assert 'id="boxes"' in text and 'id="bitmaps"' not in text


def test_the_status_line_counts_what_came_and_what_is_drawn(viewer: Person, drawn: str) -> None:
    line = viewer.client.get(drawn).text.split('id="statusline"')[1].split("</footer>")[0]
    words = " ".join(re.sub(r"<[^>]+>", " ", line.split(">", 1)[1]).split())
    assert words.startswith("5 received 3 drawn 0 hidden 2 without a shape")


def test_results_that_are_not_drawn_are_told(viewer: Person, drawn: str) -> None:
    text = viewer.client.get(drawn).text
    assert "<span>oak</span>" in text and "75.0 %" in text
    assert "&lt;b&gt;" in text and ">note<" in text
    assert 'aria-label="Colour scale magma from 0 to 2.5"' in text
    assert all(f"<span>{told}</span>" in text for told in ("1.25", "2.5", "mm"))


def test_the_legend_counts_the_classes(viewer: Person, drawn: str) -> None:
    legend = viewer.client.get(drawn).text.split('class="legend"')[1].split("</ul>")[0]
    assert ">leaf<" in legend and ">no class<" in legend and "depth" not in legend


def test_a_legend_of_very_many_classes_says_how_many_more_there_are(
    image: Image, analysis: Analysis, address: str, viewer: Person, pipeline: Pipeline
) -> None:
    store(pipeline, analysis, [box(class_name=f"class {n:02}") for n in range(60)])
    page = viewer.client.get(address).text
    assert page.count('aria-label="Hide class') == 60 and "search for them by name" not in page
    store(pipeline, analysis, [box(class_name=f"rare {n}") for n in range(5)])
    page = viewer.client.get(address).text
    assert page.count('aria-label="Hide ') == 60 and "and 5 more; search for them by name" in page


def test_the_badge_on_the_image_is_the_surest_class_in_whatever_order_they_came(
    analysis: Analysis, address: str, viewer: Person, pipeline: Pipeline
) -> None:
    guesses = {"ash": 0.2, "oak": 0.7, "elm": 0.1}
    topk = [{"class": name, "confidence": sure} for name, sure in guesses.items()]
    store(pipeline, analysis, [{"annotation_type": "classification", "data": {"topk": topk}}])
    badge = viewer.client.get(address).text.split('id="verdicts"')[1].split("</ul>")[0]
    assert "<span>oak</span> <b>70.0 %</b>" in badge and badge.count("<li>") == 1


def test_the_table_has_pages(
    world: World, image: Image, address: str, pipeline: Pipeline, viewer: Person
) -> None:
    analysis = world.analysis(image, "processing")
    store(pipeline, analysis, [box(class_name=f"c{n}", confidence=0.5) for n in range(401)])
    first, last = viewer.client.get(address).text, viewer.client.get(f"{address}?page=3").text
    assert first.count('<tr id="r-') == 200 and "Page 1 of 3" in first
    assert last.count('<tr id="r-') == 1 and ">c400<" in last
    assert field(first, "page-after")["value"] == "2" and field(first, "page-after")["form"] == "view"
    assert viewer.client.get(f"{address}?page=99").text.count('<tr id="r-') == 1


def test_many_shapes_are_drawn_in_paths_and_the_rows_still_point_at_them(
    world: World, image: Image, address: str, pipeline: Pipeline, viewer: Person
) -> None:
    analysis = world.analysis(image, "processing")
    store(pipeline, analysis, [box(class_name="leaf") for _ in range(2001)])
    text = viewer.client.get(address).text
    svg = svg_of(text)
    assert "grouped" in svg and svg.count('<rect class="shape"') == 0
    rows = re.findall(r'class="name" href="([^"]+)" data-pick="([0-9a-f-]+)" data-box="([^"]+)"', text)
    assert len(rows) == 200 and all(pick in href for href, pick, _ in rows)
    assert {place for _, _, place in rows} == {"4.0 4.0 10.0 8.0"}
    href, picked, _ = rows[3]
    answer = viewer.client.get(href.replace("&amp;", "&").split("#")[0]).text
    assert f'data-pick="{picked}"' in answer.split('id="picked"')[1].split("</div>")[0]
    assert '<path class="spot" d="M4 4h10v8h-10z"/>' in answer


def test_names_are_only_text(
    world: World, image: Image, address: str, pipeline: Pipeline, viewer: Person
) -> None:
    evil = '"><script>alert(1)</script>'
    analysis = world.analysis(
        image, "processing", model_name=evil, model_version=evil, parameters={evil: evil}
    )
    custom = {"annotation_type": "custom", "data": {evil: [evil]}, "class_name": evil}
    polygon = {"annotation_type": "polygon", "data": {"points": [[1, 1], [9, 1], [5, 9]]}, "class_name": evil}
    store(pipeline, analysis, [box(class_name=evil), custom, polygon])
    finalize(pipeline, analysis, "failed", error_message=evil)
    assert "<script>alert" not in viewer.client.get(address).text


def test_why_it_failed_with_what_and_where_from(
    world: World, image: Image, address: str, viewer: Person
) -> None:
    world.analysis(
        image,
        "failed",
        error_message="out of memory\nat line 3",
        parameters={"threshold": 0.25, "tiles": {"size": 512}},
        provenance={"commit": "9f2c1e7"},
    )
    text = viewer.client.get(address).text
    assert "Why it failed" in text and "out of memory\nat line 3" in text
    assert "threshold" in text and "0.25" in text and "512" in text and "9f2c1e7" in text


def test_the_neighbours_in_the_gallery(world: World, project: Project, viewer: Person) -> None:
    oldest, middle, newest = (world.image(project, f"{n}.png") for n in range(3))
    text = viewer.client.get(f"/images/{middle.id}?opacity=50").text
    assert field(text, "previous-image")["href"] == f"/images/{newest.id}?opacity=50"
    assert field(text, "next-image")["href"] == f"/images/{oldest.id}?opacity=50"
    assert 'id="no-next-image"' in viewer.client.get(f"/images/{oldest.id}").text


def test_the_page_asks_the_database_a_fixed_number_of_times(
    world: World,
    image: Image,
    address: str,
    pipeline: Pipeline,
    viewer: Person,
    count_queries: Callable[[], Any],
) -> None:
    def queries() -> int:
        with count_queries() as statements:
            assert viewer.client.get(f"{address}?analysis={analysis.id}").status_code == 200
        return len(statements)

    analysis = world.analysis(image, "processing")
    store(pipeline, analysis, [box()])
    queries()  # signs in
    few = queries()
    store(pipeline, analysis, [box(client_id=f"more-{n}") for n in range(50)])
    for _ in range(3):
        world.analysis(image, "failed")
    queries()  # reads all annotations of this revision
    assert queries() == few


def test_without_the_feature_there_is_no_trace_of_it(
    make_app: Callable[..., Flask], world: World, image: Image, address: str, owner: Person
) -> None:
    analysis = world.analysis(image, "processing")
    off = make_app(ML_ANALYSIS_ENABLED="false")
    client = Person(off, owner.id, owner.email, owner.key).client
    text = client.get(address).text.lower()
    assert client.get(f"{address}?analysis={analysis.id}").status_code == 200
    for trace in ("analys", "annotation", "badge", "leaf-net", "hx-trigger", "export", "overlay"):
        assert trace not in text, trace
    for path in (f"/analyses/{analysis.id}", f"/analyses/{analysis.id}/export", f"{address}/panel"):
        assert client.get(path).status_code == 404
    for path in (f"/analyses/{analysis.id}/masks.png", f"/annotations/{some_id()}/layer.png"):
        assert client.get(path).status_code == 404
