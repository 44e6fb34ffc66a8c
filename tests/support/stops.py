"""Every page a person can meet, in every state it can be in: one table. `site.py` has a server on which all is there.

To add a page: a line in STOPS. To say that an endpoint is none: a line in NOT_PAGES. A test holds the URL map against
both, so that no page is left out of what is asked of all pages.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from uuid import uuid4

from flask import Flask
from playwright.sync_api import Page, Response, Route, expect

LONG = "a name that is far longer than any column has room for, as people like to give them, " * 3
UNBROKEN = "a_file_name_that_is_far_too_long_for_any_card_" * 4

# what a page is brought into by hand; gives the answer of the server if one came
Act = Callable[[Page], Response | None]


@dataclass(frozen=True)
class Stop:
    """A page in one state. `address` names rows of the site in braces, `who` one of its people or nobody.

    `lost` says that something on the page cannot be fetched, on purpose; `scripted`, that its state comes about by
    scripts only; `like` names the stop with the same page, whose menu is all that differs; `long`, that it takes as
    long as ten others, or shows what others show: `make test` leaves it out, `make soak` and `make pictures` do not.
    """

    name: str
    address: str
    who: str = "owner"
    endpoint: str = ""
    status: int = 200
    act: Act | None = None
    lost: bool = False
    scripted: bool = False
    like: str = ""
    long: bool = False


def submit(selector: str, files: Mapping[str, int] | None = None, **fields: str) -> Act:
    """Sends a form as it stands but for these fields, whatever the browser's own checks and our scripts would say.

    `files` are names with numbers of bytes, which are no image.
    """

    def act(page: Page) -> Response | None:
        with page.expect_navigation() as answer:
            page.locator(selector).evaluate(
                """(form, [fields, files]) => {
                    for (const [name, value] of Object.entries(fields)) form.elements[name].value = value;
                    const carried = new DataTransfer();
                    for (const [name, size] of Object.entries(files))
                        carried.items.add(new File(["-".repeat(size)], name, {type: "image/png"}));
                    const input = form.querySelector("input[type=file]");
                    if (input) input.files = carried.files;
                    HTMLFormElement.prototype.submit.call(form);
                }""",
                [fields, files or {}],
            )
        return answer.value

    return act


def ticked(selector: str, **fields: str) -> Act:
    """The same, with the first tick box of the form ticked."""

    def act(page: Page) -> Response | None:
        page.locator(f"{selector} input[type=checkbox]").first.check()
        return submit(selector, **fields)(page)

    return act


def opened(selector: str) -> Act:
    """Opens a fold or a menu by the keyboard."""

    def act(page: Page) -> None:
        page.locator(f"{selector} > summary").first.press("Enter")

    return act


def made_anew(page: Page) -> Response | None:
    """An account that nobody has made before, however often the page is visited."""
    return submit(MAKE, email=f"{uuid4().hex}@example.org", name="Made Just Now")(page)


def too_old(act: Act) -> Act:
    """A form that is sent after the browser has forgotten its cookies."""

    def sent(page: Page) -> Response | None:
        page.context.clear_cookies()
        return act(page)

    return sent


def again_and_again(act: Act) -> Act:
    """Until the server slows down whoever does it."""

    def sent(page: Page) -> Response | None:
        for _ in range(10):
            answer = act(page)
            if answer is not None and answer.status == 429:
                break
        return answer

    return sent


def held(address: str, act: Callable[[Page], None], shown: str) -> Act:
    """Stops while the answer to what the page asks for is still to come, and `shown` tells of that."""

    def wait(page: Page) -> None:
        page.route(address, _hold)
        act(page)
        expect(page.locator(shown).first).to_be_visible()

    return wait


def _hold(_: Route) -> None:
    """Neither sent nor refused: given up when the page is left."""


def uploading(page: Page) -> None:
    files = [("leaf.png", 40_000), (UNBROKEN + ".png", 12)]
    page.locator("#files").set_input_files(
        [{"name": name, "mimeType": "image/png", "buffer": b"-" * size} for name, size in files]
    )


def another_chosen(page: Page) -> None:
    page.locator(".analyses a:not([aria-current])").first.click()


SLOWED = "somebody@example.org"
NOTES = {"notes.png": 12, UNBROKEN + ".png": 12}
SIGN_IN = "form[action='/sign-in']"
CREATE = "form[action='/projects']"
ADD = "#add-title + form"
KEYS = "form[action='/account/keys']"
MAKE = "form[action='/admin/users/new']"
MAKE_KEY = "form[action='/admin/pipeline-keys/new']"
ROTATE = "form[action$='/rotate']"
PASSWORD = "form[action='/account/password']"

# of the analysis with every type, the class that one type alone has; what has none is the heatmap
SEEN_ALONE = {
    "bounding-box": "leaf",
    "polygon": "blade",
    "keypoint": "veins",
    "segmentation-rle": "rust",
    "segmentation-polygon": "rim",
    "segmentation-png": "shade",
    "heatmap": "",
    "classification": "oak",
    "custom": "report",
}

STOPS = (
    Stop("sign-in", "/sign-in", "", "web.sign_in"),
    Stop("sign-in-expired", "/projects/{leaves}", "", "web.sign_in"),
    Stop("sign-in-refused", "/sign-in", "", "web.check_sign_in", 401, submit(SIGN_IN, email="a@b", password="c")),
    Stop("sign-in-slowed", "/sign-in", "", "web.check_sign_in", 429, submit(SIGN_IN, email=SLOWED, password="c")),
    Stop(
        "sign-in-too-old", "/sign-in", "", "web.check_sign_in", 403,
        too_old(submit(SIGN_IN, email="a@b", password="c")),
    ),
    Stop("reference", "/reference", "owner", "web.show_reference", long=True),
    Stop("reference-nobody", "/reference", "", "web.show_reference", like="reference"),
    Stop("account", "/account", "long", "web.show_account"),
    Stop("account-key", "/account", "owner", "web.create_key", 201, submit(KEYS, name="laptop")),
    Stop("account-key-refused", "/account", "owner", "web.create_key", 422, submit(KEYS, name=LONG * 2)),
    Stop("account-revoke", "/account", "owner", "web.show_account", act=opened(".confirm")),
    Stop(
        "account-password-refused", "/account", "editor", "web.change_password", 422,
        submit(PASSWORD, current="a", password="long enough", again="another"),
    ),
    Stop(
        "account-password-slowed", "/account", "hasty", "web.change_password", 429,
        again_and_again(submit(PASSWORD, current="wrong", password="long enough", again="long enough")),
    ),
    Stop("account-by-proxy", "/account", "proxied", "web.show_account"),
    Stop("projects", "/", "owner", "web.list_projects"),
    Stop("projects-empty", "/", "newcomer", "web.list_projects"),
    Stop("projects-refused", "/", "owner", "web.create_project", 422, submit(CREATE, name="", description=LONG)),
    Stop(
        "projects-too-old", "/", "owner", "web.create_project", 403,
        submit(CREATE, name="Bark", csrf_token="of yesterday"),
    ),
    Stop("account-menu", "/", "long", "web.list_projects", act=opened("#account")),
    Stop("gallery", "/projects/{leaves}", "owner", "web.show_project"),
    Stop("gallery-viewer", "/projects/{leaves}", "viewer", "web.show_project"),
    Stop("gallery-empty", "/projects/{empty}", "owner", "web.show_project"),
    Stop("gallery-empty-viewer", "/projects/{empty}", "viewer", "web.show_project"),
    Stop("gallery-no-match", "/projects/{leaves}?q=nothing&state=failed", "owner", "web.show_project"),
    Stop("gallery-long", "/projects/{long}", "owner", "web.show_project"),
    Stop("gallery-lost", "/projects/{lost}", "unlucky", "web.show_project", lost=True),
    Stop("gallery-refused", "/projects/{leaves}", "owner", "web.upload_images", 422, submit("#drop", NOTES)),
    Stop(
        "gallery-uploading", "/projects/{leaves}", "owner", "web.show_project", scripted=True,
        act=held("**/images", uploading, "#uploads progress"),
    ),
    Stop("deleted", "/projects/{leaves}/deleted", "owner", "web.list_deleted"),
    Stop("deleted-nothing", "/projects/{empty}/deleted", "owner", "web.list_deleted"),
    Stop("deleted-viewer", "/projects/{leaves}/deleted", "viewer", "web.list_deleted", 403),
    Stop("groups", "/projects/{leaves}/groups", "owner", "web.list_groups"),
    Stop("groups-none", "/projects/{empty}/groups", "owner", "web.list_groups"),
    Stop("groups-long", "/projects/{long}/groups", "owner", "web.list_groups"),
    Stop("group", "/projects/{leaves}/group?group_id=night+run", "owner", "web.show_group"),
    Stop("group-viewer", "/projects/{leaves}/group?group_id=night+run", "viewer", "web.show_group"),
    Stop("group-done", "/projects/{leaves}/group?group_id=run-4", "owner", "web.show_group"),
    Stop("group-failed", "/projects/{leaves}/group?group_id=night+run&status=failed", "owner", "web.show_group"),
    Stop("group-none-canceled", "/projects/{leaves}/group?group_id=run-4&status=canceled", "owner", "web.show_group"),
    Stop("group-left", "/projects/{leaves}/group?group_id=left", "owner", "web.show_group"),
    Stop("group-long", "/projects/{long}/group?group_id={long_group}", "owner", "web.show_group"),
    Stop("group-cancel", "/projects/{leaves}/group/cancel?group_id=night+run", "owner", "web.preview_cancel"),
    Stop("group-cancel-done", "/projects/{leaves}/group/cancel?group_id=run-4", "owner", "web.preview_cancel"),
    Stop("group-export", "/projects/{leaves}/group/export?group_id=night+run", "owner", "web.preview_export"),
    Stop("group-export-left", "/projects/{leaves}/group/export?group_id=left", "owner", "web.preview_export"),
    Stop("members", "/projects/{leaves}/members", "owner", "web.list_members"),
    Stop("members-viewer", "/projects/{leaves}/members", "viewer", "web.list_members"),
    Stop("members-remove", "/projects/{leaves}/members", "owner", "web.list_members", act=opened(".confirm")),
    Stop(
        "members-refused", "/projects/{leaves}/members", "owner", "web.add_member", 422,
        submit(ADD, email=LONG[:240]),
    ),
    Stop(
        "members-last-owner", "/projects/{leaves}/members", "owner", "web.change_member", 409,
        submit("tr:has-text('owner@') form:has(select)", role="viewer"),
    ),
    Stop("image-plain", "/images/{plain}", "owner", "web.show_image"),
    Stop("image-queued", "/images/{queued}", "owner", "web.show_image"),
    Stop("image-processing", "/images/{processing}", "owner", "web.show_image"),
    Stop("image-cancel", "/images/{processing}", "owner", "web.show_image", act=opened(".confirm")),
    Stop("image-delete", "/images/{completed}", "owner", "web.show_image", act=opened("[id^=delete-]")),
    Stop("image-failed", "/images/{failed}", "owner", "web.show_image"),
    Stop("image-canceled", "/images/{canceled}", "owner", "web.show_image"),
    Stop("image-completed", "/images/{completed}", "owner", "web.show_image"),
    Stop("image-viewer", "/images/{processing}", "viewer", "web.show_image"),
    Stop("image-side", "/images/{completed}?view=side&opacity=60", "owner", "web.show_image"),
    Stop(
        "image-loading", "/images/{completed}", "owner", "web.show_image", scripted=True,
        act=held("**/images/*?analysis=*", another_chosen, "a.htmx-request"),
    ),
    Stop("image-nothing", "/images/{nothing_found}", "unlucky", "web.show_image", long=True),
    *(
        Stop(f"image-{kind}", f"/images/{{completed}}?only={name}", "owner", "web.show_image", long=True)
        for kind, name in SEEN_ALONE.items()
    ),
    Stop("image-heatmap-range", "/images/{completed}?map=magma&low=20&high=70", "owner", "web.show_image", long=True),
    Stop("image-zoomed", "/images/{completed}?at=200,330,6", "owner", "web.show_image", long=True),
    Stop("image-swipe", "/images/{completed}?view=swipe&divider=30&off=leaf", "owner", "web.show_image"),
    Stop("image-picked", "/images/{completed}?pick={veins}&at=190,330,3", "owner", "web.show_image"),
    Stop("image-picked-mask", "/images/{completed}?pick={rust}", "owner", "web.show_image", long=True),
    Stop("image-with", "/images/{completed}?with={older}:40&sort=-confidence", "owner", "web.show_image"),
    Stop("image-filtered", "/images/{completed}?off=stem&q=E&min=0.55", "owner", "web.show_image", long=True),
    Stop("image-all-hidden", "/images/{completed}?q=nothing-is-called-this", "owner", "web.show_image", long=True),
    Stop("image-paths", "/images/{paths}", "unlucky", "web.show_image", long=True),
    Stop("image-tiles", "/images/{tiles}", "unlucky", "web.show_image", long=True),
    Stop("image-100000", "/images/{crowd}", "unlucky", "web.show_image", long=True),
    Stop("image-100000-zoomed", "/images/{crowd}?at=1600,1200,6", "unlucky", "web.show_image", long=True),
    Stop("image-export", "/images/{completed}", "owner", "web.show_image", act=opened("#export")),
    Stop("image-page-2", "/images/{many}?page=2", "owner", "web.show_image"),
    Stop("image-long", "/images/{long_image}", "owner", "web.show_image"),
    Stop("image-lost", "/images/{lost_image}", "unlucky", "web.show_image", lost=True),
    Stop("analysis", "/analyses/{analysis}", "owner", "web.show_analysis"),
    Stop("panel", "/images/{processing}/panel", "owner", "web.show_panel"),
    Stop("admin-users", "/admin/users", "admin", "admin.list_users"),
    Stop("admin-users-no-match", "/admin/users?q=nobody-is-called-this", "admin", "admin.list_users"),
    Stop(
        "admin-users-refused", "/admin/users", "admin", "admin.create_user", 422,
        submit(MAKE, email="no address", name=LONG, password="short"),
    ),
    Stop(
        "admin-user-made", "/admin/users", "admin", "admin.create_user", 200,
        made_anew,
    ),
    Stop("admin-user", "/admin/users/{owner}", "admin", "admin.show_user"),
    Stop("admin-user-long", "/admin/users/{long_person}", "admin", "admin.show_user"),
    Stop("admin-user-oneself", "/admin/users/{admin}", "admin", "admin.show_user"),
    Stop("admin-user-disabled", "/admin/users/{former}", "admin", "admin.show_user"),
    Stop("admin-user-disable", "/admin/users/{owner}", "admin", "admin.show_user", act=opened("#state")),
    Stop(
        "admin-user-changed", "/admin/users/{owner}", "admin", "admin.reset_password", 409,
        submit("form[action$='/password']", version="0"),
    ),
    Stop("admin-user-nobody", "/admin/users/{nothing}", "admin", "admin.show_user", 404),
    Stop("admin-projects", "/admin/projects", "admin", "admin.list_projects"),
    Stop("admin-projects-no-match", "/admin/projects?q=nothing", "admin", "admin.list_projects"),
    Stop(
        "admin-projects-refused", "/admin/projects", "admin", "admin.create_project", 422,
        submit("form[action='/admin/projects/new']", name="", owner="nobody@example.org", description=LONG),
    ),
    Stop("admin-project", "/admin/projects/{long}", "admin", "admin.show_project"),
    Stop(
        "admin-project-refused", "/admin/projects/{leaves}", "admin", "admin.change_project", 422,
        submit("main form[method=post]", name=LONG * 2, description=""),
    ),
    Stop("admin-pipeline-keys", "/admin/pipeline-keys?state=all", "admin", "admin.list_pipeline_keys"),
    Stop(
        "admin-pipeline-keys-refused", "/admin/pipeline-keys", "admin", "admin.create_pipeline_key", 422,
        submit(MAKE_KEY, name=LONG * 2, expires_at="2020-01-01"),
    ),
    Stop(
        "admin-pipeline-key-made", "/admin/pipeline-keys", "admin", "admin.create_pipeline_key", 201,
        ticked(MAKE_KEY, name="made just now"),
    ),
    Stop("admin-pipeline-key", "/admin/pipeline-keys/{worker}", "admin", "admin.show_pipeline_key"),
    Stop("admin-pipeline-key-long", "/admin/pipeline-keys/{long_worker}", "admin", "admin.show_pipeline_key"),
    Stop("admin-pipeline-key-over", "/admin/pipeline-keys/{old_worker}", "admin", "admin.show_pipeline_key"),
    Stop(
        "admin-pipeline-key-revoke", "/admin/pipeline-keys/{worker}", "admin", "admin.show_pipeline_key",
        act=opened("#revoke"),
    ),
    Stop(
        "admin-pipeline-key-refused", "/admin/pipeline-keys/{worker}", "admin", "admin.change_pipeline_key", 422,
        submit("#edit-title + form", name=LONG * 2),
    ),
    Stop(
        "admin-pipeline-key-unrotated", "/admin/pipeline-keys/{worker}", "admin", "admin.rotate_pipeline_key", 422,
        submit(ROTATE, key_id="none"),
    ),
    Stop("admin-exports", "/admin/exports", "admin", "admin.show_exports"),
    Stop("admin-exports-counted", "/admin/exports?count=1&format=csv", "admin", "admin.show_exports"),
    Stop(
        "admin-exports-everything", "/admin/exports?count=1&format=everything&project={leaves}", "admin",
        "admin.show_exports",
    ),
    Stop("admin-exports-columns", "/admin/exports?columns=client_id", "admin", "admin.show_exports"),
    Stop("admin-exports-delete", "/admin/exports", "admin", "admin.show_exports", act=opened(".kept .confirm")),
    Stop(
        "admin-exports-not-asked", "/admin/exports?count=1", "admin", "admin.ask_for_export", 422,
        submit("form[action='/admin/exports/new']", export_id="none"),
    ),
    Stop("admin-exports-lost", "/admin/exports/{nothing}/file", "admin", "admin.download_export", 404),
    Stop("admin-exports-none", "/admin/exports?count=1&status=queued&model=none", "admin", "admin.show_exports"),
    Stop(
        "admin-exports-refused", "/admin/exports?count=1&created_from=2026-05-02&created_to=2026-05-01", "admin",
        "admin.show_exports", 422,
    ),
    Stop("admin-exports-no-day", "/admin/exports?count=1&created_from=soon", "admin", "admin.show_exports", 422),
    Stop("admin-audit", "/admin/audit", "admin", "admin.list_events"),
    Stop("admin-audit-open", "/admin/audit", "admin", "admin.list_events", act=opened(".trail details")),
    Stop("admin-audit-no-match", "/admin/audit?who=nobody", "admin", "admin.list_events"),
    Stop("admin-webhooks", "/admin/webhooks", "admin", "admin.list_webhooks"),
    Stop(
        "admin-webhooks-open", "/admin/webhooks?state=given-up", "admin", "admin.list_webhooks",
        act=opened(".trail details"),
    ),
    Stop("admin-webhooks-none", "/admin/webhooks?state=delivered", "admin", "admin.list_webhooks"),
    Stop("admin-settings", "/admin/settings", "admin", "admin.show_settings"),
    Stop("admin-forbidden", "/admin/users", "owner", "admin.list_users", 403),
    Stop("error-403", "/projects/{leaves}", "stranger", "web.show_project", 403),
    Stop("error-404", "/nowhere", "owner", "", 404),
    Stop("error-404-nobody", "/nowhere", "", "", 404),
    Stop("error-404-image", "/images/{nothing}", "owner", "web.show_image", 404),
    Stop("error-405", "/sign-out", "owner", "", 405),
    Stop("error-410", "/images/{deleted}", "owner", "web.show_image", 410),
    Stop(
        "error-413", "/projects/{empty}", "owner", "web.upload_images", 413,
        submit("#drop", {"large.png": 3_000_000}),
    ),
    Stop("error-500", "/images/{spoilt_image}", "unlucky", "web.show_image", 500),
    Stop("error-503-database", "/", "cut-off", "web.list_projects", 503),
    Stop("error-503", "/images/{lost_image}/content", "unlucky", "web.image_content", 503),
)  # fmt: skip


# GET endpoints of people's pages that are no page, and why
NOT_PAGES = {
    "web.export_analysis": "a download",
    "web.bundle_analysis": "a download",
    "web.bundle_group": "a download",
    "web.download_svg": "a download",
    "web.download_png": "a download",
    "web.image_content": "a picture",
    "web.image_preview": "a picture",
    "web.image_base": "a picture",
    "web.image_tile": "a picture",
    "web.show_layer": "leads to a picture",
    "web.show_mask_layer": "leads to a picture",
    "web.show_mask_tile": "a picture",
    "web.show_tile": "a picture",
    "web.show_overlay": "opens as the page of the image",
    "web.show_hit": "opens as the page of the image",
    "web.show_pick": "opens as the page of the image",
    "web.return_to_projects": "leads to the page that holds the form",
    "web.return_to_project": "leads to the page that holds the form",
    "web.return_to_members": "leads to the page that holds the form",
    "web.return_to_analysis": "leads to the page that holds the form",
    "web.return_to_image": "leads to the page that holds the form",
    "web.return_to_account": "leads to the page that holds the form",
    "web.return_to_keys": "leads to the page that holds the form",
    "admin.show_admin": "leads to the accounts",
    "admin.return_to_users": "leads to the page that holds the form",
    "admin.return_to_user": "leads to the page that holds the form",
    "admin.return_to_keys": "leads to the page that holds the form",
    "admin.return_to_projects": "leads to the page that holds the form",
    "admin.return_to_pipeline_keys": "leads to the page that holds the form",
    "admin.return_to_pipeline_key": "leads to the page that holds the form",
    "admin.show_kept_exports": "opens as the page of the exports",
    "admin.download_export": "a download",
    "admin.return_to_exports": "leads to the page that holds the form",
    "admin.return_to_webhooks": "leads to the page that holds the form",
}


def pages_of(app: Flask) -> set[str]:
    """The GET endpoints of people's pages."""
    rules = [rule for rule in app.url_map.iter_rules() if rule.endpoint.startswith(("web.", "admin."))]
    return {rule.endpoint for rule in rules if "GET" in (rule.methods or ())}
