"""Who may do what: every route × everybody who may come along = the status they get. `tests/test_permissions.py` asks.

To add a route: its line in `ROUTES`. A route of the URL map that has none fails the build.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any
from uuid import uuid4

from tests.cast import PASSWORD

# pipelines with keys of their own: what they sign with, and whose key it is. `this` is for the project, as are those
# that are over; `plain` is like `this`, but does not demand v2
PIPELINES = {
    "pipeline key": ("", "this"),
    "pipeline key, elsewhere": ("", "elsewhere"),
    "pipeline key, revoked": ("", "revoked"),
    "pipeline key, expired": ("", "expired"),
    "v2 default": ("v2", "default"),
    "v2": ("v2", "this"),
    "v2, elsewhere": ("v2", "elsewhere"),
    "v2, revoked": ("v2", "revoked"),
    "v2, expired": ("v2", "expired"),
    "plain with its own secret": ("plain", "plain"),
    "plain, but v2 is demanded": ("plain", "this"),
}

CALLERS = (
    "nobody",
    # their session; on people's pages with the CSRF token of a page
    "viewer",
    "editor",
    "owner",
    "stranger",
    "admin",
    # named by a trusted reverse proxy, without a session of Loupe's own
    "editor by proxy",
    # a program with their key, and no session
    "viewer's key",
    "editor's key",
    "owner's key",
    "stranger's key",
    "admin's key",
    "revoked key",
    "disabled account's key",
    # the plain signature of the built-in pipeline, alone and beside a key
    "signature",
    "signature + viewer's key",
    "signature + stranger's key",
    "signature + revoked key",
    *PIPELINES,
)

OK = 0  # stands for the status that the route gives to those who may
TO_SIGN_IN = -303  # a redirect, but to the sign-in page


def _row(
    nobody: str, sessions: str, proxy: str, keys: str, signatures: str, pipelines: str
) -> Mapping[str, int]:
    """Statuses in the order of CALLERS: `ok` is OK, `in` is TO_SIGN_IN."""
    told = " ".join((nobody, sessions, proxy, keys, signatures, pipelines)).split()
    words = {"ok": OK, "in": TO_SIGN_IN}
    statuses = [words[status] if status in words else int(status) for status in told]
    return dict(zip(CALLERS, statuses, strict=True))


EVERYBODY = ("ok", "ok ok ok ok ok", "ok", "ok ok ok ok ok ok ok", "ok ok ok ok", "ok " * len(PIPELINES))
NOT_READ = (
    "in in in in in in in",
    "in in in in",
    "in " * len(PIPELINES),
)  # keys and signatures, on people's pages
# people's pages: a session; whoever has none is sent to the sign-in page
#               nobody  viewer editor owner stranger admin  proxy
PAGE = {
    "anyone": _row(*EVERYBODY),
    "person": _row("in", "ok ok ok ok ok", "ok", *NOT_READ),
    "viewer": _row("in", "ok ok ok 403 ok", "ok", *NOT_READ),
    "editor": _row("in", "403 ok ok 403 ok", "ok", *NOT_READ),
    "owner": _row("in", "403 403 ok 403 ok", "403", *NOT_READ),
    "admin": _row("in", "403 403 403 403 ok", "403", *NOT_READ),
}
# what pipelines may: keys alone · signed with v2 · plain
#                  this elsewhere revoked expired · default this elsewhere revoked expired · its own secret, not allowed
NOT_THEIRS = (
    "      403  403       401     401       403     403  403       401     401       403             403"
)
READING = (
    "         ok   403       401     401       ok      ok   403       401     401       ok              ok"
)
SIGNING = (
    "         401  401       401     401       ok      ok   403       401     401       ok              401"
)
SIGNING_OR_KEY = (
    "  ok   403       401     401       ok      ok   403       401     401       ok              401"
)
# the JSON API: a key, or to read a session; a plain signature binds no address, so it reads nothing
#               nobody  viewer editor owner stranger admin  proxy  the same by key, revoked, disabled  signatures
MEMBERS = ("401", "ok ok ok 403 ok", "ok", "ok ok ok 403 ok 401 401", "401 ok 403 401")
READ = {
    "anyone": _row(*EVERYBODY),
    "person": _row("401", "ok ok ok ok ok", "ok", "ok ok ok ok ok 401 401", "401 ok ok 401", NOT_THEIRS),
    "viewer": _row(*MEMBERS, NOT_THEIRS),
    "viewer, or a pipeline": _row(*MEMBERS, READING),
}
NO_SESSION_WRITES = "401 401 401 401 401"
EDITORS = ("401", NO_SESSION_WRITES, "ok", "403 ok ok 403 ok 401 401")
WRITE = {
    "anyone": _row(*EVERYBODY),
    "person": _row("401", NO_SESSION_WRITES, "ok", "ok ok ok ok ok 401 401", "401 ok ok 401", NOT_THEIRS),
    "editor": _row(*EDITORS, "401 403 403 401", NOT_THEIRS),
    # S of the contract: the signature writes, and a key beside it must be a member's
    "signed": _row("401", NO_SESSION_WRITES, "401", "401 401 401 401 401 401 401", "ok ok 403 401", SIGNING),
    # of no project: a key beside the signature narrows what is found
    "signed anywhere": _row(
        "401",
        NO_SESSION_WRITES,
        "401",
        "401 401 401 401 401 401 401",
        "ok ok ok 401",
        SIGNING.replace("403", "ok"),
    ),
    "signed, or an editor": _row(*EDITORS, "ok ok 403 401", SIGNING),
    "signed, or an editor, or any pipeline": _row(*EDITORS, "ok ok 403 401", SIGNING_OR_KEY),
    # the same route, for what takes a signature and not only an editor
    "signed, although an editor may cancel": _row(
        "401", NO_SESSION_WRITES, "403", "403 403 403 403 403 401 401", "ok ok 403 401", SIGNING
    ),
}
# the address itself is the permission, and this one has no signature
SIGNED_ADDRESS = dict.fromkeys(CALLERS, 403)


@dataclass(frozen=True)
class Route:
    """`values` fill the address and `query` follows it, `json` or `form` is sent; each is a function of the scene.

    `ok` is the status for those who may. What is OK for `but` is the status given there instead.
    """

    expected: Mapping[str, int]
    ok: int = 200
    json: Callable[[Any], Any] | None = None
    form: Callable[[Any], dict[str, Any]] | None = None
    query: Callable[[Any], dict[str, str]] | None = None
    but: Mapping[str, int] = field(default_factory=dict)

    def status(self, caller: str) -> int:
        return self.but.get(caller) or self.expected[caller] or self.ok


def _artifact(scene: Any) -> dict[str, str]:
    return {"path": scene.artifact_path}


def _group(_scene: Any) -> dict[str, str]:
    return {"group_id": "night run"}


def _nothing(_scene: Any) -> dict[str, Any]:
    return {}


def _box(_scene: Any) -> Any:
    data = {"x_min": 1, "y_min": 1, "x_max": 9, "y_max": 9}
    return {"annotations": [{"annotation_type": "bounding_box", "data": data}]}


SIGNED_IN = CALLERS[1:7]

ROUTES: dict[tuple[str, str], Route] = {
    # --- for anyone ---
    ("GET", "static"): Route(PAGE["anyone"]),
    ("GET", "ops.show_health"): Route(PAGE["anyone"]),
    ("GET", "ops.show_readiness"): Route(PAGE["anyone"]),
    ("GET", "files.send_file"): Route(SIGNED_ADDRESS),
    ("PUT", "files.receive_file"): Route(SIGNED_ADDRESS, form=_nothing),
    ("GET", "web.sign_in"): Route(PAGE["anyone"], but=dict.fromkeys(SIGNED_IN, 303)),
    ("POST", "web.check_sign_in"): Route(
        PAGE["anyone"],
        ok=303,
        form=lambda scene: {"email": scene.extra.email, "password": scene.extra.password},
    ),
    ("GET", "web.show_reference"): Route(PAGE["anyone"]),
    ("GET", "api.show_document"): Route(READ["anyone"]),
    # --- people's pages ---
    ("POST", "web.sign_out"): Route(PAGE["person"], ok=TO_SIGN_IN, form=_nothing),
    ("GET", "web.show_account"): Route(PAGE["person"]),
    ("POST", "web.change_name"): Route(PAGE["person"], ok=303, form=lambda _: {"name": "A name"}),
    ("POST", "web.create_key"): Route(
        PAGE["person"], ok=201, form=lambda scene: {"name": "k", "key_id": scene.new_key_id}
    ),
    ("POST", "web.revoke_key"): Route(PAGE["person"], ok=404, form=_nothing),  # a key of somebody else
    ("POST", "web.change_password"): Route(
        PAGE["person"],
        ok=303,
        form=lambda _: {"current": PASSWORD, "password": "another long one", "again": "another long one"},
        but={"editor by proxy": 403},
    ),
    ("POST", "web.sign_out_everywhere"): Route(
        PAGE["person"], ok=TO_SIGN_IN, form=_nothing, but={"editor by proxy": 403}
    ),
    ("GET", "web.return_to_account"): Route(PAGE["person"], ok=303),
    ("GET", "web.return_to_keys"): Route(PAGE["person"], ok=303),
    ("GET", "web.list_projects"): Route(PAGE["person"]),
    ("POST", "web.create_project"): Route(PAGE["person"], ok=303, form=lambda _: {"name": "Moss"}),
    ("GET", "web.return_to_projects"): Route(PAGE["person"], ok=303),
    ("GET", "web.show_project"): Route(PAGE["viewer"]),
    ("GET", "web.return_to_project"): Route(PAGE["viewer"], ok=303),
    ("POST", "web.upload_images"): Route(PAGE["editor"], ok=303, form=lambda scene: {"file": scene.upload()}),
    ("GET", "web.list_groups"): Route(PAGE["viewer"]),
    ("GET", "web.show_group"): Route(PAGE["viewer"], query=_group),
    ("GET", "web.preview_cancel"): Route(PAGE["editor"], query=_group),
    ("POST", "web.cancel_group"): Route(PAGE["editor"], ok=303, form=_group),
    ("GET", "web.preview_export"): Route(PAGE["viewer"], query=_group),
    ("GET", "web.list_members"): Route(PAGE["viewer"]),
    ("POST", "web.add_member"): Route(
        PAGE["owner"], ok=303, form=lambda scene: {"email": scene.newcomer.email, "role": "viewer"}
    ),
    ("GET", "web.return_to_members"): Route(PAGE["viewer"], ok=303),
    ("POST", "web.change_member"): Route(PAGE["owner"], ok=303, form=lambda _: {"role": "editor"}),
    ("POST", "web.remove_member"): Route(PAGE["owner"], ok=303, form=_nothing),
    ("GET", "web.show_image"): Route(PAGE["viewer"]),
    ("GET", "web.show_panel"): Route(PAGE["viewer"]),
    ("GET", "web.image_content"): Route(PAGE["viewer"]),
    ("GET", "web.image_preview"): Route(PAGE["viewer"]),
    # a small image has no pieces; of a large one in tests/web/test_pictures.py
    ("GET", "web.image_base"): Route(PAGE["viewer"], ok=404),
    ("GET", "web.image_tile"): Route(PAGE["viewer"], ok=404),
    ("GET", "web.download_svg"): Route(PAGE["viewer"]),
    ("GET", "web.download_png"): Route(PAGE["viewer"]),
    ("GET", "web.show_overlay"): Route(PAGE["viewer"]),
    ("GET", "web.show_hit"): Route(PAGE["viewer"]),
    ("GET", "web.show_pick"): Route(PAGE["viewer"]),
    ("GET", "web.show_tile"): Route(PAGE["viewer"]),
    ("GET", "web.show_analysis"): Route(PAGE["viewer"]),
    ("POST", "web.cancel_analysis"): Route(PAGE["editor"], ok=303, form=_nothing),
    ("GET", "web.return_to_analysis"): Route(PAGE["viewer"], ok=303),
    ("GET", "web.return_to_image"): Route(PAGE["viewer"], ok=303),
    ("GET", "web.list_deleted"): Route(PAGE["editor"]),
    ("POST", "web.delete_image"): Route(PAGE["editor"], ok=303, form=_nothing),
    ("POST", "web.restore_image"): Route(PAGE["editor"], ok=303, form=_nothing),
    ("POST", "web.delete_analysis"): Route(PAGE["editor"], ok=303, form=_nothing),
    ("POST", "web.restore_analysis"): Route(PAGE["editor"], ok=303, form=_nothing),
    ("GET", "web.export_analysis"): Route(PAGE["viewer"]),
    ("GET", "web.bundle_analysis"): Route(PAGE["viewer"]),
    ("GET", "web.bundle_group"): Route(PAGE["viewer"], query=_group),
    ("GET", "web.show_mask_layer"): Route(PAGE["viewer"], ok=302),
    ("GET", "web.show_mask_tile"): Route(PAGE["viewer"]),
    ("GET", "web.show_layer"): Route(PAGE["viewer"], ok=302),
    # --- the pages of admins ---
    ("GET", "admin.show_admin"): Route(PAGE["admin"], ok=303),
    ("GET", "admin.list_users"): Route(PAGE["admin"]),
    ("POST", "admin.create_user"): Route(
        PAGE["admin"], form=lambda scene: {"email": f"{scene.new_key_id}@example.org"}
    ),
    ("GET", "admin.return_to_users"): Route(PAGE["admin"], ok=303),
    ("GET", "admin.show_user"): Route(PAGE["admin"]),
    ("GET", "admin.return_to_user"): Route(PAGE["admin"], ok=303),
    ("POST", "admin.set_role"): Route(PAGE["admin"], ok=303, form=lambda _: {"role": "admin"}),
    ("POST", "admin.set_state"): Route(PAGE["admin"], ok=303, form=lambda _: {"state": "disabled"}),
    ("POST", "admin.reset_password"): Route(PAGE["admin"], form=lambda _: {"version": "1"}),
    ("POST", "admin.sign_out_user"): Route(PAGE["admin"], ok=303, form=_nothing),
    ("POST", "admin.let_in"): Route(PAGE["admin"], ok=303, form=_nothing),
    ("POST", "admin.revoke_key"): Route(PAGE["admin"], ok=303, form=_nothing),
    ("GET", "admin.return_to_keys"): Route(PAGE["admin"], ok=303),
    ("GET", "admin.list_projects"): Route(PAGE["admin"]),
    ("POST", "admin.create_project"): Route(
        PAGE["admin"], ok=303, form=lambda scene: {"name": "Moss", "owner": scene.extra.email}
    ),
    ("GET", "admin.return_to_projects"): Route(PAGE["admin"], ok=303),
    ("GET", "admin.show_project"): Route(PAGE["admin"]),
    ("POST", "admin.change_project"): Route(PAGE["admin"], ok=303, form=lambda _: {"name": "Moss"}),
    ("GET", "admin.list_pipeline_keys"): Route(PAGE["admin"]),
    ("POST", "admin.create_pipeline_key"): Route(
        PAGE["admin"],
        ok=201,
        form=lambda scene: {"name": "k", "projects": str(scene.project.id), "key_id": scene.new_key_id},
    ),
    ("GET", "admin.return_to_pipeline_keys"): Route(PAGE["admin"], ok=303),
    ("GET", "admin.show_pipeline_key"): Route(PAGE["admin"]),
    ("POST", "admin.change_pipeline_key"): Route(
        PAGE["admin"], ok=303, form=lambda scene: {"name": "k", "projects": str(scene.project.id)}
    ),
    ("POST", "admin.rotate_pipeline_key"): Route(
        PAGE["admin"], ok=201, form=lambda scene: {"overlap": "1h", "key_id": scene.new_key_id}
    ),
    ("POST", "admin.revoke_pipeline_key"): Route(PAGE["admin"], ok=303, form=_nothing),
    ("GET", "admin.return_to_pipeline_key"): Route(PAGE["admin"], ok=303),
    ("GET", "admin.show_exports"): Route(PAGE["admin"]),
    ("POST", "admin.download_analyses"): Route(PAGE["admin"], form=_nothing),
    ("GET", "admin.show_kept_exports"): Route(PAGE["admin"]),
    ("POST", "admin.ask_for_export"): Route(
        PAGE["admin"], ok=303, form=lambda scene: {"export_id": str(uuid4())}
    ),
    ("GET", "admin.download_export"): Route(PAGE["admin"]),
    ("POST", "admin.cancel_export"): Route(PAGE["admin"], ok=303, form=_nothing),
    ("POST", "admin.delete_export"): Route(PAGE["admin"], ok=303, form=_nothing),
    ("GET", "admin.return_to_exports"): Route(PAGE["admin"], ok=303),
    ("GET", "admin.list_events"): Route(PAGE["admin"]),
    ("GET", "admin.list_webhooks"): Route(PAGE["admin"]),
    ("POST", "admin.redeliver_webhook"): Route(PAGE["admin"], ok=303, form=_nothing),
    ("POST", "admin.enable_webhooks"): Route(PAGE["admin"], ok=303, form=_nothing),
    ("GET", "admin.return_to_webhooks"): Route(PAGE["admin"], ok=303),
    ("GET", "admin.show_settings"): Route(PAGE["admin"]),
    # --- the JSON API of people ---
    ("GET", "api.list_projects"): Route(READ["person"]),
    ("POST", "api.create_project"): Route(WRITE["person"], ok=201, json=lambda _: {"name": "Moss"}),
    ("GET", "api.show_project"): Route(READ["viewer"]),
    ("GET", "api.list_images"): Route(READ["viewer"]),
    ("POST", "api.upload_image"): Route(WRITE["editor"], ok=201, form=lambda scene: {"file": scene.upload()}),
    ("GET", "api.list_project_analyses"): Route(READ["viewer, or a pipeline"]),
    ("GET", "api.list_groups"): Route(READ["viewer"]),
    ("GET", "api.show_group"): Route(READ["viewer"], query=_group),
    ("POST", "api.cancel_group"): Route(WRITE["editor"], query=_group),
    ("GET", "api.show_image"): Route(READ["viewer"]),
    ("GET", "api.download_image"): Route(READ["viewer"]),
    ("GET", "api.image_content"): Route(READ["viewer"]),
    ("GET", "api.list_image_analyses"): Route(READ["viewer, or a pipeline"]),
    ("GET", "api.show_analysis"): Route(READ["viewer, or a pipeline"]),
    ("GET", "api.list_annotations"): Route(READ["viewer, or a pipeline"]),
    ("GET", "api.list_receipts"): Route(READ["viewer, or a pipeline"]),
    ("GET", "api.export_analysis"): Route(READ["viewer, or a pipeline"]),
    ("GET", "api.bundle_analysis"): Route(READ["viewer"]),
    ("GET", "api.bundle_group"): Route(READ["viewer"], query=_group),
    ("GET", "api.list_bundle_keys"): Route(READ["person"]),
    ("GET", "api.export_project"): Route(READ["viewer"]),
    ("DELETE", "api.delete_image"): Route(WRITE["editor"]),
    ("POST", "api.restore_image"): Route(WRITE["editor"]),
    ("DELETE", "api.delete_analysis"): Route(WRITE["editor"]),
    ("POST", "api.restore_analysis"): Route(WRITE["editor"]),
    ("GET", "api.download_artifact"): Route(READ["viewer, or a pipeline"], query=_artifact),
    ("GET", "api.artifact_content"): Route(READ["viewer, or a pipeline"], query=_artifact),
    # --- the signed API of pipelines ---
    ("POST", "pipeline.echo_request"): Route(WRITE["anyone"], json=_nothing),
    ("POST", "pipeline.create_analysis"): Route(
        WRITE["signed, or an editor, or any pipeline"],
        ok=201,
        json=lambda _: {"model_name": "leaf-net", "model_version": "1.0.0"},
    ),
    ("PATCH", "pipeline.set_status"): Route(
        WRITE["signed, or an editor"], json=lambda _: {"status": "canceled"}
    ),
    ("POST", "pipeline.store_annotations"): Route(WRITE["signed"], json=_box),
    ("POST", "pipeline.import_annotations"): Route(
        WRITE["signed"], json=_box, query=lambda _: {"format": "json"}
    ),
    ("POST", "pipeline.presign_artifact"): Route(WRITE["signed"], json=lambda _: {"artifact_type": "log"}),
    ("POST", "pipeline.finalize_analysis"): Route(WRITE["signed"], json=lambda _: {"status": "completed"}),
    # the scene's analysis is processing, and nobody's lease
    ("POST", "pipeline.claim_analysis"): Route(WRITE["signed"], ok=409, json=lambda _: {"worker_id": "w"}),
    ("POST", "pipeline.claim_analyses"): Route(WRITE["signed anywhere"], json=lambda _: {"worker_id": "w"}),
    ("POST", "pipeline.keep_analysis"): Route(WRITE["signed"], ok=409, json=_nothing),
}

# routes that allow more or less by what is sent
ALSO: list[tuple[str, str, Route]] = [
    (
        "PATCH",
        "pipeline.set_status",
        Route(WRITE["signed, although an editor may cancel"], json=lambda _: {"status": "failed"}),
    ),
]
