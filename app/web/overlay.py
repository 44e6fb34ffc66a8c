"""What is drawn over an image in the part of it that is in view, and what is at a point of it."""

from collections.abc import Sequence
from uuid import UUID

from flask import Response, render_template, request, url_for

from app import access, storage
from app.errors import NotFound
from app.geometry import Frame
from app.guards import at_a_glance, ml_feature, principal
from app.kept import Kept
from app.models import Analysis, Image, Status
from app.overlay import title_of
from app.overlay.tiles import LEVELS, SIDE
from app.overlay.window import tile_at
from app.responses import asked_by_htmx, page_or
from app.services import renders, snapshots
from app.web import scene, web
from app.web.glances import look
from app.web.images import wanted_analysis
from app.web.keeping import keepable, name_of
from app.web.picked import hits, under
from app.web.place import read_window
from app.web.release import release
from app.web.versions import Versioned, drawing_version, version_of
from app.web.view import View, read_view, reals

HTML = "text/html; charset=utf-8"
_tiles: Kept[bytes] = Kept(32 * 1024 * 1024, len)
# nine of 2,000 boxes or two hundred of fifty: with 16 MB a worker grew by 30 MB in 100,000 requests, with 4 by 18
_fragments: Kept[bytes] = Kept(4 * 1024 * 1024, len)


def _kept(user_id: UUID, session_version: int, image_id: UUID) -> Response | None:
    """The fragment when this process has drawn it before, or 304 when the browser has it."""
    seen = look(user_id, session_version, image_id) if asked_by_htmx() else None
    if seen is None:
        return None
    response = _empty(image_id, seen.sha256, seen.analyses)
    if response.status_code == 304:
        return response
    fragment = _fragments.ready(name_of(response))
    return _filled(response, image_id, fragment) if fragment is not None else None


@web.get("/images/<uuid:image_id>/overlay")
@ml_feature
@at_a_glance(_kept)
def show_overlay(image_id: UUID) -> Response:
    """What is drawn in a window, as fragments that take their places; with `table=1` the table and the legend too."""
    image = access.image_for(principal(), image_id)
    view = read_view(request.args)
    if not asked_by_htmx():
        return _page(image, view)
    rows = scene.analyses_shown(image)
    response = _empty(image.id, image.sha256, rows)
    if response.status_code == 304:
        return response
    release()  # nothing is held while another draws the same
    return _filled(response, image.id, _fragments.get(name_of(response), lambda: _drawn(image, view, rows)))


def _empty(image_id: UUID, sha256: str, analyses: Sequence[Versioned]) -> Response:
    """The answer without the fragment, under the name that it is kept under; see `keepable`."""
    version = version_of(analyses)
    query = sorted((name, values) for name, values in request.args.lists() if name != "v")
    ended = all(Status(row.status).is_terminal for row in analyses)
    kept = ended and request.args.get("v") == drawing_version(version)
    response = keepable(HTML, image_id, sha256, version, query, for_good=kept)
    response.vary.add("HX-Request")
    return response


def _filled(response: Response, image_id: UUID, fragment: bytes) -> Response:
    response.data = fragment
    if request.args.get("table") == "1":
        response.headers["HX-Replace-Url"] = url_for(
            "web.show_image", image_id=image_id, **read_view(request.args).query(wanted_analysis())
        )
    return response


def _page(image: Image, view: View) -> Response:
    shown = scene.build(principal(), image, view, wanted_analysis())
    return page_or("images/show.html", "images/_viewer.html", scene=shown, image=image)


def _drawn(image: Image, view: View, rows: Sequence[Analysis]) -> bytes:
    """Of the analyses as they were read when the fragment got its name."""
    window = read_window(request.args, view, Frame(image.width, image.height))
    shown = scene.build(principal(), image, view, wanted_analysis(), window, rows=rows)
    template = "analyses/_filtered.html" if request.args.get("table") == "1" else "images/_drawn.html"
    return render_template(template, scene=shown, image=image, swapped=True).encode()


@web.get("/images/<uuid:image_id>/hit")
@ml_feature
def show_hit(image_id: UUID) -> Response:
    """What is at a point (`x`, `y` in pixels of the image), in words."""
    image = access.image_for(principal(), image_id)
    view, point = read_view(request.args), _point()
    if not asked_by_htmx():
        return _page(image, view)
    selected = _selected(image, scene.analyses_shown(image))
    window = read_window(request.args, view, Frame(image.width, image.height))
    release()
    subject = scene.subject(selected, view.opacity, view, window)
    found = hits(subject, *point) if point is not None else []
    colours = subject.snapshot.colours
    text = render_template("analyses/_hint.html", image=image, hits=found, colours=colours, title_of=title_of)
    return Response(text)


def _point() -> list[float] | None:
    return reals(f"{request.args.get('x', '')},{request.args.get('y', '')}", 2)


def _selected(image: Image, rows: Sequence[Analysis]) -> Analysis:
    selected = scene.choose(image, rows, wanted_analysis())
    if selected is None:
        raise NotFound("This image has no analysis.")
    return selected


@web.get("/images/<uuid:image_id>/pick")
@ml_feature
def show_pick(image_id: UUID) -> Response:
    """The annotation at a point (`x`, `y` in pixels of the image), or the one named by `pick`, with its outline."""
    image = access.image_for(principal(), image_id)
    view, point = read_view(request.args), _point()
    window = read_window(request.args, view, Frame(image.width, image.height))
    rows = scene.analyses_shown(image)
    selected = _selected(image, rows)
    if point is not None:
        release()
        found = under(scene.subject(selected, view.opacity, view, window), point[0], point[1], view.pick)
        view = view.with_pick(found)
    shown = scene.build(principal(), image, view, selected.id, window, draws=not asked_by_htmx(), rows=rows)
    return page_or("images/show.html", "analyses/_pick.html", scene=shown, image=image, swapped=True)


@web.get("/analyses/<uuid:analysis_id>/tiles/<int(signed=True):level>/<int:column>/<int:row>.png")
@ml_feature
def show_tile(analysis_id: UUID, level: int, column: int, row: int) -> Response:
    """The outlines of all shapes of an analysis that a filter lets through, in one tile of the grid."""
    analysis = access.analysis_for(principal(), analysis_id)
    frame, chosen = Frame(analysis.image.width, analysis.image.height), read_view(request.args).filter
    if level not in LEVELS or max(column, row) > 2**20:
        raise NotFound("The image has no such tile.")
    tile = tile_at(frame, level, column, row, SIDE)
    if tile.rect.width <= 0 or tile.rect.height <= 0:
        raise NotFound("The image has no such tile.")
    kept = request.args.get("v") == drawing_version(str(analysis.revision))
    made_from = (analysis.id, analysis.revision, level, column, row, chosen.key)
    response = keepable(renders.PNG, *made_from, for_good=kept)
    if response.status_code == 304:
        return response
    release()  # nothing is held while the tile is made

    def make() -> bytes:
        snapshot = snapshots.of(analysis, storage.current())
        shown, _ = snapshot.passing(chosen)
        return renders.outlines(snapshot, shown & snapshot.is_vector, tile)

    response.data = _tiles.get(name_of(response), make)
    return response
