"""Pictures that are laid over an image.

As a pipeline meant them they are kept in the object store, and answered with a signed address there. What somebody
chose (a colour map, a range, a filter, a tile) is answered from here and never stored, so that nobody fills the store.
"""

from datetime import timedelta
from uuid import UUID

from flask import Response, current_app, redirect, request

from app import access, storage
from app.bitmaps import color_map_named
from app.errors import NotFound
from app.geometry import Frame, Rect
from app.guards import ml_feature, principal
from app.models import Analysis
from app.overlay import Colours, bitmaps_of
from app.overlay.masks import shown_masks
from app.overlay.window import tile_at
from app.responses import base_url
from app.services import masks, renders, snapshots
from app.web import web
from app.web.keeping import keepable
from app.web.release import release
from app.web.session import moment
from app.web.view import read_view

TILE_SIDE = 1024
LEVELS = range(12)


@web.get("/annotations/<uuid:annotation_id>/layer.png")
@ml_feature
def show_layer(annotation_id: UUID) -> Response:
    """A heatmap or mask; `map`, `low` and `high` choose other colours for a heatmap."""
    annotation = access.annotation_for(principal(), annotation_id)
    analysis, view = annotation.analysis, read_view(request.args)
    analysis_id, kept = analysis.id, _is_kept(_takes_no_artifact(analysis))
    release()  # nothing is held while the layer is made
    bitmaps = bitmaps_of([annotation], _colours(analysis))
    if not bitmaps:
        raise NotFound("This annotation has no picture of its own.")
    bitmap, content = bitmaps[0], annotation.content_hash
    name = view.color_map or color_map_named(bitmap.color_map)
    wanted = (name, view.low, view.high)
    if bitmap.kind != "heatmap" or wanted == (color_map_named(bitmap.color_map), 0, 100):
        return to_stored(renders.layer(analysis_id, bitmap, storage.current()), kept)
    source = renders.etag(bitmap, storage.current())  # of what was put there last: no revision counts that
    answer = keepable(renders.PNG, content, source, *map(str, wanted), for_good=kept)
    if answer.status_code != 304:
        answer.data = renders.heatmap(analysis_id, bitmap, *wanted, storage.current())
    return answer


@web.get("/analyses/<uuid:analysis_id>/masks.png")
@ml_feature
def show_mask_layer(analysis_id: UUID) -> Response:
    """All run-length masks in one picture; a filter leaves some of them out."""
    analysis = access.analysis_for(principal(), analysis_id)
    chosen, frame = read_view(request.args).filter, _frame(analysis)
    revision, ended = analysis.revision, analysis.state.is_terminal
    if chosen:
        answer = keepable(
            renders.PNG, str(analysis_id), str(revision), repr(_filter()), for_good=_is_kept(ended)
        )
        if answer.status_code == 304:
            return answer
    rows = masks.of_analysis(analysis)
    if not any(row.data["format"] == "rle" for row in rows):
        raise NotFound("This analysis has no masks.")
    release()  # nothing is held while the layer is made
    shown = shown_masks(rows, frame, chosen, _colours(analysis))
    if not chosen:
        return to_stored(
            renders.masks(analysis_id, revision, shown, frame, storage.current()), _is_kept(ended)
        )
    answer.data = renders.mask_part(shown, frame)
    return answer


@web.get("/analyses/<uuid:analysis_id>/masks/<int:level>/<int:column>/<int:row>.png")
@ml_feature
def show_mask_tile(analysis_id: UUID, level: int, column: int, row: int) -> Response:
    """The masks of one tile of the grid, 1024 pixels along its side, at level 0 those of the image."""
    analysis = access.analysis_for(principal(), analysis_id)
    part, chosen, frame = (
        _part(analysis, level, column, row),
        read_view(request.args).filter,
        _frame(analysis),
    )
    revision, ended = analysis.revision, analysis.state.is_terminal
    named = (level, column, row, _filter())
    answer = keepable(renders.PNG, str(analysis_id), str(revision), repr(named), for_good=_is_kept(ended))
    if answer.status_code == 304:
        return answer
    rows = masks.of_analysis(analysis, part)
    release()  # nothing is held while the tile is made
    answer.data = renders.mask_part(
        shown_masks(rows, frame, chosen, _colours(analysis)), frame, part, TILE_SIDE
    )
    return answer


def _colours(analysis: Analysis) -> Colours:
    return snapshots.of(analysis, storage.current()).colours


def _frame(analysis: Analysis) -> Frame:
    return Frame(analysis.image.width, analysis.image.height)


def _part(analysis: Analysis, level: int, column: int, row: int) -> Rect:
    """The part of the image a tile shows. Raises NotFound for one that is not in the grid."""
    if level in LEVELS and max(column, row) < 2**20:
        rect = tile_at(_frame(analysis), level, column, row, TILE_SIDE).rect
        if rect.width > 0 and rect.height > 0:
            return rect
    raise NotFound("The image has no such tile.")


def _filter() -> list[tuple[str, list[str]]]:
    """What of the query changes which masks are shown."""
    return [(name, request.args.getlist(name)) for name in ("off", "only", "q", "min")]


def _is_kept(ended: bool) -> bool:
    """Whether what is at this address stays: a page put the version into it, and the analysis has ended."""
    return ended and "v" in request.args


def _takes_no_artifact(analysis: Analysis) -> bool:
    """Whether nothing is put any more where its artifacts are: the last address for that was given before it ended."""
    valid = timedelta(seconds=current_app.config["ML_PRESIGNED_URL_EXPIRY_SECONDS"])
    ended_at = analysis.completed_at
    return analysis.state.is_terminal and ended_at is not None and ended_at + valid < moment()


def to_stored(key: str, kept: bool) -> Response:
    """The browser fetches it from the store itself; where it is kept, again only when the address changes."""
    expires_in = current_app.config["ML_PRESIGNED_URL_EXPIRY_SECONDS"]
    signed = storage.current().download_url(
        key, expires_in, base_url(), content_type=renders.PNG, inline=True, unchanging=True
    )
    response: Response = redirect(signed.url, 302)  # type: ignore[assignment]
    left = max(0, int((signed.same_until - moment()).total_seconds()))
    response.headers["Cache-Control"] = f"private, max-age={left}" if kept else "private, no-cache"
    return response
