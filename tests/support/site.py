"""Every page a person can meet, in every state it can be in: one table, and a live server on which all of it is there.

To add a page: a line in STOPS. To say that an endpoint is none: a line in NOT_PAGES. A test holds the URL map against
both, so that no page is left out of what is asked of all pages.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any
from uuid import uuid4

import requests
from playwright.sync_api import Page, Response
from sqlalchemy import update

from app.extensions import db
from app.models import Analysis, Image
from app.models.columns import now
from app.services import sign_ins
from tests.cast import Person
from tests.conftest import LiveServer
from tests.factories import gradient, picture, some_id, spots
from tests.steps import finalize

WIDTH, HEIGHT = 640, 480
LARGEST_IMAGE = 64 * 1024
LONG = "a name that is far longer than any column has room for, as people like to give them, " * 3
UNBROKEN = "a_file_name_that_is_far_too_long_for_any_card_" * 4
MANY = 230  # annotations: more than one page of the table

# what a page is brought into by hand; gives the answer of the server if one came
Act = Callable[[Page], Response | None]


@dataclass(frozen=True)
class Stop:
    """A page in one state. `address` names rows of the site in braces, `who` one of its people or nobody.

    `lost` says that something on the page cannot be fetched, on purpose.
    """

    name: str
    address: str
    who: str = "owner"
    endpoint: str = ""
    status: int = 200
    act: Act | None = None
    lost: bool = False


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


def opened(selector: str) -> Act:
    """Opens a fold or a menu by the keyboard."""

    def act(page: Page) -> None:
        page.locator(f"{selector} > summary").first.press("Enter")

    return act


def made_anew(page: Page) -> Response | None:
    """An account that nobody has made before, however often the page is visited."""
    return submit(MAKE, email=f"{uuid4().hex}@example.org", name="Made Just Now")(page)


SLOWED = "somebody@example.org"
NOTES = {"notes.png": 12, UNBROKEN + ".png": 12}
SIGN_IN = "form[action='/sign-in']"
CREATE = "form[action='/projects']"
ADD = "#add-title + form"
KEYS = "form[action='/account/keys']"
MAKE = "form[action='/admin/users/new']"
PASSWORD = "form[action='/account/password']"

STOPS = (
    Stop("sign-in", "/sign-in", "", "web.sign_in"),
    Stop("sign-in-expired", "/projects/{leaves}", "", "web.sign_in"),
    Stop("sign-in-refused", "/sign-in", "", "web.check_sign_in", 401, submit(SIGN_IN, email="a@b", password="c")),
    Stop("sign-in-slowed", "/sign-in", "", "web.check_sign_in", 429, submit(SIGN_IN, email=SLOWED, password="c")),
    Stop("reference", "/reference", "owner", "web.show_reference"),
    Stop("reference-nobody", "/reference", "", "web.show_reference"),
    Stop("account", "/account", "long", "web.show_account"),
    Stop("account-key", "/account", "owner", "web.create_key", 201, submit(KEYS, name="laptop")),
    Stop("account-key-refused", "/account", "owner", "web.create_key", 422, submit(KEYS, name=LONG * 2)),
    Stop("account-revoke", "/account", "owner", "web.show_account", act=opened(".confirm")),
    Stop(
        "account-password-refused", "/account", "editor", "web.change_password", 422,
        submit(PASSWORD, current="a", password="long enough", again="another"),
    ),
    Stop("projects", "/", "owner", "web.list_projects"),
    Stop("projects-empty", "/", "newcomer", "web.list_projects"),
    Stop("projects-refused", "/", "owner", "web.create_project", 422, submit(CREATE, name="", description=LONG)),
    Stop("account-menu", "/", "long", "web.list_projects", act=opened("#account")),
    Stop("gallery", "/projects/{leaves}", "owner", "web.show_project"),
    Stop("gallery-viewer", "/projects/{leaves}", "viewer", "web.show_project"),
    Stop("gallery-empty", "/projects/{empty}", "owner", "web.show_project"),
    Stop("gallery-empty-viewer", "/projects/{empty}", "viewer", "web.show_project"),
    Stop("gallery-no-match", "/projects/{leaves}?q=nothing&state=failed", "owner", "web.show_project"),
    Stop("gallery-long", "/projects/{long}", "owner", "web.show_project"),
    Stop("gallery-lost", "/projects/{lost}", "unlucky", "web.show_project", lost=True),
    Stop("gallery-refused", "/projects/{leaves}", "owner", "web.upload_images", 422, submit("#drop", NOTES)),
    Stop("members", "/projects/{leaves}/members", "owner", "web.list_members"),
    Stop("members-viewer", "/projects/{leaves}/members", "viewer", "web.list_members"),
    Stop("members-remove", "/projects/{leaves}/members", "owner", "web.list_members", act=opened(".confirm")),
    Stop(
        "members-refused", "/projects/{leaves}/members", "owner", "web.add_member", 422,
        submit(ADD, email=LONG[:240]),
    ),
    Stop("image-plain", "/images/{plain}", "owner", "web.show_image"),
    Stop("image-queued", "/images/{queued}", "owner", "web.show_image"),
    Stop("image-processing", "/images/{processing}", "owner", "web.show_image"),
    Stop("image-cancel", "/images/{processing}", "owner", "web.show_image", act=opened(".confirm")),
    Stop("image-failed", "/images/{failed}", "owner", "web.show_image"),
    Stop("image-canceled", "/images/{canceled}", "owner", "web.show_image"),
    Stop("image-completed", "/images/{completed}", "owner", "web.show_image"),
    Stop("image-viewer", "/images/{processing}", "viewer", "web.show_image"),
    Stop("image-side", "/images/{completed}?view=side&opacity=60", "owner", "web.show_image"),
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
    Stop("admin-user-disable", "/admin/users/{owner}", "admin", "admin.show_user", act=opened("#state")),
    Stop("admin-projects", "/admin/projects", "admin", "admin.list_projects"),
    Stop("admin-projects-no-match", "/admin/projects?q=nothing", "admin", "admin.list_projects"),
    Stop(
        "admin-projects-refused", "/admin/projects", "admin", "admin.create_project", 422,
        submit("form[action='/admin/projects/new']", name="", owner="nobody@example.org", description=LONG),
    ),
    Stop("admin-project", "/admin/projects/{long}", "admin", "admin.show_project"),
    Stop("admin-exports", "/admin/exports", "admin", "admin.show_exports"),
    Stop("admin-exports-counted", "/admin/exports?count=1&format=csv", "admin", "admin.show_exports"),
    Stop("admin-exports-none", "/admin/exports?count=1&status=queued&model=none", "admin", "admin.show_exports"),
    Stop(
        "admin-exports-refused", "/admin/exports?count=1&created_from=2026-05-02&created_to=2026-05-01", "admin",
        "admin.show_exports", 422,
    ),
    Stop("admin-exports-no-day", "/admin/exports?count=1&created_from=soon", "admin", "admin.show_exports", 422),
    Stop("admin-audit", "/admin/audit", "admin", "admin.list_events"),
    Stop("admin-audit-open", "/admin/audit", "admin", "admin.list_events", act=opened(".trail details")),
    Stop("admin-audit-no-match", "/admin/audit?who=nobody", "admin", "admin.list_events"),
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
    Stop("error-503", "/images/{lost_image}/content", "unlucky", "web.image_content", 503),
)  # fmt: skip

# GET endpoints of people's pages that are no page, and why
NOT_PAGES = {
    "web.export_analysis": "a download",
    "web.image_content": "a picture",
    "web.image_preview": "a picture",
    "web.show_layer": "leads to a picture",
    "web.show_mask_layer": "leads to a picture",
    "web.return_to_projects": "leads to the page that holds the form",
    "web.return_to_project": "leads to the page that holds the form",
    "web.return_to_members": "leads to the page that holds the form",
    "web.return_to_analysis": "leads to the page that holds the form",
    "web.return_to_account": "leads to the page that holds the form",
    "web.return_to_keys": "leads to the page that holds the form",
    "admin.show_admin": "leads to the accounts",
    "admin.return_to_users": "leads to the page that holds the form",
    "admin.return_to_user": "leads to the page that holds the form",
    "admin.return_to_keys": "leads to the page that holds the form",
    "admin.return_to_projects": "leads to the page that holds the form",
    "admin.return_to_exports": "leads to the page that holds the form",
}


class Site:
    """A live server on which every stop is there. `rows` are the ids the addresses name."""

    def __init__(self, server: LiveServer) -> None:
        self.server, self.world = server, server.world
        self.people: dict[str, Person] = {
            name: self.world.person(f"{name}@example.org")
            for name in ("owner", "editor", "viewer", "stranger", "newcomer", "unlucky")
        }
        self.people["long"] = self.world.person(
            "some.body.with.a.long.address@" + "department." * 12 + "example.org"
        )
        self.people["admin"] = self.world.person("admin@example.org", role="admin")
        self.rows: dict[str, Any] = {"nothing": some_id()}
        self.rows |= {name: self.people[name].id for name in ("owner", "admin")}
        self.rows["long_person"] = self.people["long"].id
        self._slow_down()
        self._projects()
        self._images()
        self._seven_types()
        self._lose()

    def address(self, stop: Stop) -> str:
        return stop.address.format(**self.rows)

    def person(self, stop: Stop) -> Person | None:
        return self.people[stop.who] if stop.who else None

    def _slow_down(self) -> None:
        """As many failures as an account may have; from another address, so that nobody else is slowed down, and from
        a later time, so that it stays slow for as long as anybody looks.
        """
        later = now() + timedelta(minutes=10)
        with self.world.app.app_context():
            for _ in range(sign_ins.MOST_OF_ACCOUNT):
                sign_ins.begin(SLOWED, "192.0.2.1", later)
            db.session.commit()

    def _projects(self) -> None:
        owner, editor, viewer = (self.people[name] for name in ("owner", "editor", "viewer"))
        about = "Photographs of leaves under glass. " * 12
        make = self.world.project
        self.leaves = make("Leaves", description=about, owner=owner, editor=editor, viewer=viewer)
        self.world.member(self.leaves, self.people["long"], "viewer")
        self.empty = make("Moss", description="Nothing yet.", owner=owner, viewer=viewer)
        self.long = make(LONG.strip(), description=UNBROKEN, owner=owner)
        self.lost = make("Lost", owner=self.people["unlucky"])
        self.rows |= {name: getattr(self, name).id for name in ("leaves", "empty", "long", "lost")}

    def _images(self) -> None:
        shot = picture(WIDTH, HEIGHT, colour="#7d8f69")
        names = ("plain", "queued", "processing", "failed", "canceled", "completed", "many", "deleted")
        images: dict[str, Image] = {
            name: self.world.image(self.leaves, f"{name}.png", shot) for name in names
        }
        images["long_image"] = self.world.image(self.long, UNBROKEN + ".png", shot)
        images["lost_image"] = self.world.image(self.lost, "lost.png", shot)
        self.rows |= {name: image.id for name, image in images.items()}
        self.world.analysis(images["queued"], "queued", priority=3)
        self.world.analysis(images["canceled"], "canceled")
        reason = (
            "Traceback (most recent call last):\n  File “worker.py”, line 12\nOutOfMemory: 7.2 GiB wanted"
        )
        self.world.analysis(images["failed"], "failed", error_message=reason)
        long = self.world.analysis(
            images["long_image"], "processing", model_name=LONG[:250], external_job_id=UNBROKEN
        )
        self.world.analysis(images["long_image"], "failed", model_name=UNBROKEN, error_message="x" * 400)
        boxes = [box(f"class {n % 14}", n) for n in range(MANY)]
        self.store(self.world.analysis(images["many"], "processing"), boxes, "completed")
        self.store(long, [box(UNBROKEN, 1), box(LONG[:250], 2)])
        running = self.world.analysis(images["processing"], "processing")
        self.store(running, [box("leaf", 3)])
        with self.world.app.app_context():
            db.session.execute(update(Image).where(Image.id == images["deleted"].id).values(deleted_at=now()))
            db.session.commit()
        self.completed = images["completed"]

    def _seven_types(self) -> None:
        columns = {
            "parameters": {"threshold": 0.5, "tiles": {"size": [512, 512]}},
            "provenance": {"commit": "4f1c2ab"},
        }
        self.world.analysis(self.completed, "completed", model_name="older-net")
        analysis = self.world.analysis(
            self.completed,
            "processing",
            model_name="leaf-net",
            external_job_id="job-17",
            group_id="run-4",
            **columns,
        )
        self.rows["analysis"] = analysis.id
        heat = self.upload(analysis, "heatmap", gradient(64, 48))
        mask = self.upload(analysis, "mask", spots(64, 48))
        self.store(analysis, seven_types(heat, mask), "completed")

    def _lose(self) -> None:
        """A link that leads to itself where the file of an image was: the disk cannot give it any more."""
        path = self.server.instance / "storage" / "images" / str(self.rows["lost_image"])
        path.unlink()
        path.symlink_to(path)

    def store(self, analysis: Analysis, annotations: list[dict[str, Any]], status: str = "") -> None:
        path = f"/api/analyses/{analysis.id}/annotations:bulk"
        answer = self.server.pipeline.post(path, {"annotations": annotations})
        assert answer.status_code == 200, answer.text
        if status:
            finalize(self.server.pipeline, analysis, status)

    def upload(self, analysis: Analysis, kind: str, content: bytes) -> str:
        """The storage path of an artifact that has been put there."""
        path = f"/api/analyses/{analysis.id}/artifacts/presign"
        signed = self.server.pipeline.post(path, {"artifact_type": kind}).json()
        sent = requests.put(signed["upload_url"], data=content, headers=signed["headers"], timeout=60)
        assert sent.status_code == 200, sent.text
        return str(signed["storage_path"])


def box(name: str, number: int) -> dict[str, Any]:
    x, y = 10 + number % 20 * 30, 10 + number // 20 * 36
    data = {"x_min": x, "y_min": y, "x_max": x + 24, "y_max": y + 28}
    return {
        "annotation_type": "bounding_box",
        "class_name": name,
        "confidence": 0.5 + number % 50 / 100,
        "data": data,
    }


def seven_types(heat: str, mask: str) -> list[dict[str, Any]]:
    """Every type, and the three forms of a segmentation."""
    counts = [40_000, 3_000, WIDTH * HEIGHT - 43_000]
    corners = [[420, 60], [560, 90], [520, 200], [430, 170]]
    points = [("tip", 120, 300), ("stem", 200, 400), ("edge", 260, 320)]
    return [
        box("leaf", 2),
        box("stem", 31),
        {"annotation_type": "polygon", "class_name": "blade", "confidence": 0.91, "data": {"points": corners}},
        {
            "annotation_type": "keypoint", "class_name": "veins", "confidence": 0.8,
            "data": {"keypoints": [{"name": n, "x": x, "y": y} for n, x, y in points], "skeleton": [[0, 1], [1, 2]]},
        },
        {"annotation_type": "segmentation", "class_name": "rust", "data": {"format": "rle", "counts": counts}},
        {
            "annotation_type": "segmentation", "class_name": "rim",
            "data": {"format": "polygon", "polygons": [[420, 300, 600, 320, 560, 440, 440, 420]]},
        },
        {"annotation_type": "mask", "class_name": "shade", "data": {"format": "png"}, "storage_path": mask},
        {
            "annotation_type": "heatmap", "storage_path": heat,
            "data": {"width": 64, "height": 48, "vmin": 0, "vmax": 1, "unit": "probability"},
        },
        {
            "annotation_type": "classification", "class_name": "oak", "confidence": 0.91,
            "data": {"topk": [{"class": "oak", "confidence": 0.91}, {"class": "ash", "confidence": 0.06}]},
        },
        {
            "annotation_type": "custom", "class_name": "report",
            "data": {"verdict": "retake", "reasons": ["blurred", "too dark"], "light": {"lux": 120, "lamp": None}},
        },
    ]  # fmt: skip
