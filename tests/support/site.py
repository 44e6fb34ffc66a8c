"""A live server on which every stop of the table is there."""

from collections.abc import Callable
from datetime import timedelta
from functools import cached_property
from typing import Any
from urllib.parse import quote

import requests
from sqlalchemy import text, update

from app.extensions import db
from app.models import SYSTEM, Analysis, Image, PipelineKey, Project, WebhookTarget
from app.models.columns import now
from app.services import accounts, pipeline_keys, sign_ins, webhooks
from tests.cast import Person
from tests.conftest import LiveServer
from tests.factories import WEBHOOKS, gradient, picture, some_id, spots
from tests.steps import finalize
from tests.support.crowds import crowd
from tests.support.stops import LONG, SLOWED, UNBROKEN, Stop

WIDTH, HEIGHT = 640, 480
LARGEST_IMAGE = 64 * 1024
MANY = 230  # annotations: more than one page of the table
PROXY_SECRET = "shared-with-the-proxy-0123456789"
BY_PROXY = ("proxied", "cut-off")
CROWDS = {"paths": 5_000, "tiles": 25_000, "crowd": 100_000}
"""Boxes of images that are made when their address is first asked for: most tests look at none."""
SEALED = "what signing secrets are encrypted under"
SETTINGS = {
    "MAX_IMAGE_BYTES": str(LARGEST_IMAGE),
    "AUTH_PROXY_SECRET": PROXY_SECRET,
    "ML_KEY_ENCRYPTION_KEYS": SEALED,
    **WEBHOOKS,
}


class Site:
    """`rows` are the ids the addresses name. `serve` starts servers: one now, another when its loss is looked at."""

    def __init__(self, serve: Callable[..., LiveServer]) -> None:
        self.serve, self.server = serve, serve(**SETTINGS)
        self.world = self.server.world
        self.people: dict[str, Person] = {
            name: self.world.person(f"{name}@example.org")
            for name in (
                "owner",
                "editor",
                "viewer",
                "stranger",
                "newcomer",
                "unlucky",
                "hasty",
                "proxied",
                "former",
            )
        }
        self.people["long"] = self.world.person(
            "some.body.with.a.long.address@" + "department." * 12 + "example.org"
        )
        self.people["admin"] = self.world.person("admin@example.org", role="admin")
        self.rows: dict[str, Any] = {"nothing": some_id()}
        self.rows |= {name: self.people[name].id for name in ("owner", "admin", "former")}
        self.rows["long_person"] = self.people["long"].id
        self._keep_out()
        self._slow_down()
        self._projects()
        self._keys()
        self._images()
        self._seven_types()
        self._webhooks()
        self._exports()
        self._lose()

    def address(self, stop: Stop) -> str:
        for name, count in CROWDS.items():
            if f"{{{name}}}" in stop.address and name not in self.rows:
                image = self.world.image(self.streets, f"{name}.png", picture(3200, 2400))
                crowd(self.world, image, count)
                self.rows[name] = image.id
        return stop.address.format(**self.rows)

    def person(self, stop: Stop) -> Person | None:
        """Who signs in through the form; a proxy sends its people along by itself."""
        return None if stop.who in ("", *BY_PROXY) else self.people[stop.who]

    def context(self, who: str) -> dict[str, Any]:
        server = self.without_database if who == "cut-off" else self.server
        if who not in BY_PROXY:
            return {"base_url": server.url}
        headers = {"X-User-Email": f"{who}@example.org", "X-Proxy-Secret": PROXY_SECRET}
        return {"base_url": server.url, "extra_http_headers": headers}

    @cached_property
    def without_database(self) -> LiveServer:
        """A server that came up well. Then somebody took the tables of its database away."""
        server = self.serve(**SETTINGS)
        with server.world.app.app_context():
            db.drop_all()
        return server

    def _keep_out(self) -> None:
        with self.world.app.app_context():
            accounts.set_disabled(accounts.get(self.people["former"].email), True, by=SYSTEM)
            db.session.commit()

    def _slow_down(self) -> None:
        """As many failures as an account may have; from another address, so that nobody else is slowed down, and from
        a later time, so that it stays slow for as long as anybody looks.
        """
        later = now() + timedelta(minutes=90)
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
        self.streets = make("Streets", owner=self.people["unlucky"])
        self.spoilt = make("Spoilt", owner=self.people["unlucky"])
        self.rows |= {name: getattr(self, name).id for name in ("leaves", "empty", "long", "lost")}

    def _keys(self) -> None:
        """One key that is in use and was rotated, one with long texts for many projects, one that is over."""
        used = {"last_used_at": now(), "last_used_from": "192.0.2.17", "last_used_agent": "leaf-worker/1.4"}
        long = used | {"last_used_agent": UNBROKEN, "last_used_from": "2001:db8::1234:5678:9abc:def0"}
        wanted = {
            "worker": ("Leaf worker", [self.leaves], used),
            "old_worker": ("Leaf worker", [self.leaves, self.empty], {"revoked_at": now()}),
            "long_worker": (LONG.strip()[:255], [self.leaves, self.empty, self.long, self.lost], long),
        }
        with self.world.app.app_context():
            for place, (name, of, columns) in wanted.items():
                rows = [db.session.get_one(Project, project.id) for project in of]
                made = pipeline_keys.create(name, rows, encryption_keys=[SEALED], by=SYSTEM).key
                for column, value in columns.items():
                    setattr(made, column, value)
                self.rows[place] = made.id
            worker = db.session.get_one(PipelineKey, self.rows["worker"])
            pipeline_keys.rotate(worker, timedelta(days=3), encryption_keys=[SEALED], by=SYSTEM)
            db.session.commit()

    def _images(self) -> None:
        shot = picture(WIDTH, HEIGHT, colour="#7d8f69")
        names = ("plain", "queued", "processing", "failed", "canceled", "completed", "many", "deleted")
        in_groups = ("night", "dusk", "dawn")
        images: dict[str, Image] = {
            name: self.world.image(self.leaves, f"{name}.png", shot) for name in (*in_groups, *names)
        }
        images["long_night"] = self.world.image(self.long, f"night {UNBROKEN}.png", shot)
        images["long_image"] = self.world.image(self.long, UNBROKEN + ".png", shot)
        images["lost_image"] = self.world.image(self.lost, "lost.png", shot)
        images["spoilt_image"] = self.world.image(self.spoilt, "spoilt.png", shot)
        images["nothing_found"] = self.world.image(self.streets, "nothing.png", shot)
        self.rows |= {name: image.id for name, image in images.items()}
        self.world.analysis(images["nothing_found"], "completed")
        self.world.analysis(images["queued"], "queued", priority=3)
        self.world.analysis(images["plain"], "failed", model_name=LONG[:250], deleted_at=now())
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
            # a row that no program of ours wrote, and none can read
            spoilt = Image.id == images["spoilt_image"].id
            db.session.execute(update(Image).where(spoilt).values(details=text("'{'")))
            db.session.commit()
        self.completed = images["completed"]
        self._groups(images)

    def _groups(self, images: dict[str, Image]) -> None:
        """One under way, of more analyses than a page has; one of which nothing is left; one with a long name."""
        statuses = ("completed", "completed", "completed", "failed", "processing", "queued", "queued")
        for n in range(28):
            image = images[("night", "dusk", "dawn")[n % 3]]
            status = statuses[n % len(statuses)]
            reason = {"error_message": "out of memory"} if status == "failed" else {}
            self.world.analysis(image, status, model_name="night-net", group_id="night run", **reason)
        self.world.analysis(images["night"], "canceled", model_name="night-net", group_id="night run")
        lease = {"lease_epoch": 1, "lease_owner": "w", "lease_expires_at": now() + timedelta(days=9)}
        self.world.analysis(
            images["dawn"], "processing", model_name="night-net", group_id="night run", **lease
        )
        self.world.analysis(images["night"], "failed", group_id="left", deleted_at=now())
        name = "a/../b?c=" + UNBROKEN
        self.world.analysis(images["long_night"], "completed", model_name=UNBROKEN, group_id=name)
        self.rows["long_group"] = quote(name, safe="")

    def _seven_types(self) -> None:
        columns = {
            "parameters": {"threshold": 0.5, "tiles": {"size": [512, 512]}},
            "provenance": {"commit": "4f1c2ab"},
        }
        older = self.world.analysis(self.completed, "processing", model_name="older-net")
        self.store(older, [box("leaf", 5), box("bark", 66)], "completed")
        analysis = self.world.analysis(
            self.completed,
            "processing",
            model_name="leaf-net",
            external_job_id="job-17",
            group_id="run-4",
            **columns,
        )
        self.rows |= {"analysis": analysis.id, "older": older.id}
        heat = self.upload(analysis, "heatmap", gradient(64, 48))
        mask = self.upload(analysis, "mask", spots(64, 48))
        said = seven_types(heat, mask)
        ids = self.store(analysis, said, "completed")
        self.rows |= {str(one.get("class_name")): id for one, id in zip(said, ids, strict=True)}

    def _webhooks(self) -> None:
        """One that was given up, beside those that wait; and the address does not want any more of them."""
        at = "2026-03-04T12:00:0{}+00:00"
        attempts = [
            {"at": at.format(0), "seconds": 0.123, "status": 503, "answer": "<h1>Busy</h1> " + UNBROKEN * 4},
            {"at": at.format(5), "seconds": 15.0, "error": "no answer within 15 seconds"},
            {"at": at.format(9), "seconds": 0.2, "status": 410, "answer": ""},
        ]
        analysis = self.world.analysis(self.completed, "failed")
        self.world.delivery(analysis, "analysis.failed", attempts=attempts)
        with self.world.app.app_context():
            url_hash = webhooks.hash_of(WEBHOOKS["ML_WEBHOOK_URL"])
            db.session.add(WebhookTarget(url_hash=url_hash, disabled_at=now()))
            db.session.commit()

    def _exports(self) -> None:
        """One in each state, one of them with long texts."""
        make, mine = self.world.export, {"requested_by_id": self.people["admin"].id}
        long = {"project_name": LONG[:250], "selection": {"annotations": True, "model_name": UNBROKEN}}
        much = {"analyses_total": 1_200, "annotations_total": 90_000, "estimated_bytes": 48_000_000}
        half = {"analyses_done": 512, "annotations_done": 37_104, "bytes_written": 19_800_000}
        make("canceled", **mine, format="csv", filename="analyses_Leaves_20260304_120000.csv")
        make("failed", **mine, **long, filename=f"analyses_{UNBROKEN}.json", error=LONG * 2)
        make("done", **mine, **long, columns=["client_id"], format="csv", **half)
        make("queued", **mine, **much, error="The object store cannot be reached", attempt=1)
        make("running", **mine, **much, **half, attempt=2)

    def _lose(self) -> None:
        """A link that leads to itself where the file of an image was: the disk cannot give it any more."""
        path = self.server.instance / "storage" / "images" / str(self.rows["lost_image"])
        path.unlink()
        path.symlink_to(path)

    def store(self, analysis: Analysis, annotations: list[dict[str, Any]], status: str = "") -> list[str]:
        """Their ids, in the order sent."""
        path = f"/api/analyses/{analysis.id}/annotations:bulk"
        answer = self.server.pipeline.post(path, {"annotations": annotations})
        assert answer.status_code == 200, answer.text
        if status:
            finalize(self.server.pipeline, analysis, status)
        return [entry["id"] for entry in answer.json()["annotations"]]

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
