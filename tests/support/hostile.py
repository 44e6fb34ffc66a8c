"""A world in which every text is an attack, and its harmless twin: the same rows, with texts of the same length."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from io import BytesIO
from pathlib import Path
from typing import Any
from unicodedata import normalize
from uuid import UUID

from sqlalchemy import delete

from app import signing
from app.admin.exports import OFFERED
from app.admin.paging import PAGE_SIZE
from app.extensions import db
from app.models import (
    SYSTEM,
    Analysis,
    AuditEvent,
    Export,
    Image,
    Membership,
    PipelineKey,
    Project,
    SignInFailure,
    User,
    UserKey,
    WebhookDelivery,
)
from app.models.analyses import place_of
from app.models.columns import new_id, now
from app.schemas.analyses import CreateAnalysis, Finalize
from app.schemas.base import load
from app.services import accounts, groups, images, pipeline_keys, projects, sign_ins
from tests.cast import Person
from tests.conftest import LiveServer
from tests.factories import QUICK_HASH, WEBHOOKS, gradient, picture
from tests.support.site import PROXY_SECRET, Site, box
from tests.support.stops import Stop

FILE = Path(__file__).resolve().parents[1] / "data" / "hostile_strings.txt"
LONGEST = 250  # characters of a bundle: what one line of text may hold
LONGEST_UNIT = 64
SEALED = "what signing secrets are encrypted under"
FIRST_DAY = datetime(2026, 1, 1, tzinfo=UTC)

STRINGS = [normalize("NFC", line) for line in FILE.read_text("utf-8").splitlines()[1:]]


def harmless(strings: Sequence[str]) -> list[str]:
    """As many, as long, all different, and nothing but letters and digits."""
    return [f"{n:03}".ljust(len(text), "x") for n, text in enumerate(strings)]


def bundles(strings: Sequence[str]) -> Iterator[list[str]]:
    """The strings in order, as many at a time as one line of text can hold."""
    bundle: list[str] = []
    for text in strings:
        if bundle and len(" · ".join([*bundle, text])) > LONGEST:
            yield bundle
            bundle = []
        bundle.append(text)
    yield bundle


def settings(strings: Sequence[str]) -> dict[str, str]:
    """The strings in what a server shows of its environment, a proxy that may say who somebody is, and webhooks."""
    return {
        "ML_ALLOWED_MODELS": ",".join(["*", *strings]),
        "S3_REGION": " · ".join(strings),
        "AUTH_PROXY_SECRET": PROXY_SECRET,
        **WEBHOOKS,
        "ML_KEY_ENCRYPTION_KEYS": SEALED,
    }


def last_used(text: str) -> dict[str, Any]:
    return {"last_used_at": now(), "last_used_from": text, "last_used_agent": text}


class Hostile:
    """Each string by itself wherever there are lists; in bundles where a page shows one text of a kind."""

    def __init__(self, server: LiveServer, strings: Sequence[str], name: str) -> None:
        self.server, self.world, self.strings = server, server.world, strings
        self.bundles = list(bundles(strings))
        self.lines = [" · ".join(bundle) for bundle in self.bundles]
        self.me = self.world.person(f"{name}@example.org")
        self.newcomer = self.world.person(f"new-{name}@example.org")
        self.changing = self.world.person(f"changing-{name}@example.org")
        self.admin = self.world.person(f"admin-{name}@example.org", role="admin")
        with self.world.app.app_context():
            user = db.session.get_one(User, self.me.id)
            user.name = self.lines[0]
            stored = images.store(BytesIO(picture()), self.world.app.extensions["storage"])
            self.stored = stored
            self._make_projects()
            self._make_members()
            self._make_gallery()
            self._make_bundles()
            self._make_workers()
            self._make_events()
            self._make_webhooks()
            self._make_exports()
            db.session.commit()
        self.drawn = self._make_drawn()

    def person(self, stop: Stop) -> Person | None:
        others = {"": None, "new": self.newcomer, "changing": self.changing, "admin": self.admin}
        return others.get(stop.who, self.me)

    def address(self, stop: Stop) -> str:
        return stop.address

    def context(self, _who: str) -> dict[str, Any]:
        return {"base_url": self.server.url}

    def become(self, number: int) -> list[str]:
        """Gives one person the texts of a bundle for name, address and keys; what a page about them should say."""
        bundle, line = self.bundles[number], self.lines[number]
        with self.world.app.app_context():
            user = db.session.get_one(User, self.changing.id)
            user.name, user.email = line, accounts.normalised(line)
            db.session.execute(delete(UserKey).where(UserKey.user_id == user.id))
            self.keys = [signing.mint_key_id() for _ in bundle]
            for n, (key_id, text) in enumerate(zip(self.keys, bundle, strict=True)):
                over = now() if n % 2 else None
                columns = {"name": text, "secret_hash": "0" * 64, "revoked_at": over, **last_used(text)}
                db.session.add(UserKey(id=key_id, user_id=user.id, **columns))
            email = user.email
            db.session.commit()
        return [line, email, *bundle]

    def slow_down(self, emails: Sequence[str]) -> None:
        """As if each of these accounts had failed to sign in as often as one may, just now."""
        with self.world.app.app_context():
            for email in emails:
                subject = sign_ins.subject_of_account(email)
                failures = [SignInFailure(subject=subject, at=now()) for _ in range(sign_ins.MOST_OF_ACCOUNT)]
                db.session.add_all(failures)
            db.session.commit()

    def pages_of_people(self) -> list[list[str]]:
        """What the pages of the members say, in the order of their addresses."""
        emails = sorted(zip(self.emails, self.strings, strict=True), key=lambda it: it[0].encode())
        return [
            [text for pair in emails[start : start + PAGE_SIZE] for text in pair]
            for start in range(0, len(emails), PAGE_SIZE)
        ]

    def pages_of_projects(self) -> list[list[str]]:
        with self.world.app.app_context():
            rows, _ = projects.page("", skip=0, limit=10_000)
            names = [row.name for row in rows]
        return [names[start : start + PAGE_SIZE] for start in range(0, len(names), PAGE_SIZE)]

    def pages_of_workers(self) -> list[list[str]]:
        with self.world.app.app_context():
            rows, _ = pipeline_keys.page(live_only=True, skip=0, limit=10_000)
            names = [row.name for row in rows]
        return [names[start : start + PAGE_SIZE] for start in range(0, len(names), PAGE_SIZE)]

    def offered_projects(self) -> list[str]:
        """The names that the form for exports offers."""
        with self.world.app.app_context():
            return list(projects.names(limit=OFFERED).values())

    def days_of_events(self) -> list[tuple[str, Sequence[str]]]:
        """The days of which the audit trail tells a page each, and the texts on it."""
        starts = range(0, len(self.strings), PAGE_SIZE)
        days = [f"{FIRST_DAY + timedelta(days=n):%Y-%m-%d}" for n in range(len(starts))]
        return [(day, self.strings[n : n + PAGE_SIZE]) for day, n in zip(days, starts, strict=True)]

    def project(self, name: str, description: str = "") -> Project:
        made = Project(name=name, description=description)
        db.session.add(made)
        db.session.flush()
        db.session.add(Membership(project_id=made.id, user_id=self.me.id, role="owner"))
        return made

    def image(self, project: Project, filename: str, metadata: dict[str, Any] | None = None) -> Image:
        """The same picture each time, under another name; also one that no upload could give it."""
        image = images.add(project, replace(self.stored, id=new_id()), "leaf.png", metadata, by=SYSTEM)
        image.filename = filename
        return image

    def analysis(self, image: Image, status: str, error: str | None = None, **sent: Any) -> Analysis:
        """What a pipeline sent, as the schemas let it through."""
        values, _ = load(CreateAnalysis, sent)
        said, _ = load(Finalize, {"status": "failed", "error_message": error})
        del values["image_id"]
        times = {"started_at": now(), "completed_at": now()} if status == "failed" else {"started_at": now()}
        row = Analysis(
            image_id=image.id,
            **place_of(image),
            group_row_id=groups.row_id(image.project_id, values["group_id"]),
            status=status,
            error_message=said["error_message"],
            **values,
            **times,
        )
        db.session.add(row)
        return row

    def _make_projects(self) -> None:
        self.named = [self.project(text, text).id for text in self.strings]

    def _make_members(self) -> None:
        self.crowd = self.project(self.lines[0]).id
        self.emails = [f"{n}{text}@{self.me.email}" for n, text in enumerate(self.strings)]
        self.members: list[UUID] = []
        for email, text in zip(self.emails, self.strings, strict=True):
            user = User(email=email, name=text, password_hash=QUICK_HASH, role="user")
            db.session.add(user)
            db.session.flush()
            self.members.append(user.id)
            db.session.add(Membership(project_id=self.crowd, user_id=user.id, role="viewer"))

    def _make_gallery(self) -> None:
        """A project with an image for each string, and one of these with an analysis for each."""
        project = self.project(self.lines[-1], self.lines[-1])
        self.gallery = project.id
        made = [self.image(project, text, {text: text}) for text in self.strings]
        self.names = [image.filename for image in made]
        self.busy = made[-1].id
        for n, text in enumerate(self.strings):
            names = {"model_name": text, "model_version": text, "external_job_id": f"{n}{text}"}
            self.analysis(made[n], "failed", text, model_name=text, model_version=text)
            self.analysis(made[-1], "processing" if n % 2 else "failed", text, **names)

    def _make_bundles(self) -> None:
        """For each bundle a project with one image and one analysis that failed."""
        self.alone: list[tuple[UUID, UUID, UUID]] = []
        for bundle, line in zip(self.bundles, self.lines, strict=True):
            project = self.project(line, line)
            db.session.add(Membership(project_id=project.id, user_id=self.changing.id, role="viewer"))
            tree = {text: [text, {text: text}] for text in bundle}
            image = self.image(project, line, tree)
            names = {"model_name": line, "model_version": line, "external_job_id": line, "group_id": line}
            row = self.analysis(image, "failed", "\n".join(bundle), parameters=tree, provenance=tree, **names)
            gone = self.image(project, line)
            other = self.analysis(image, "queued", None, model_name=line, model_version=line)
            gone.deleted_at = other.deleted_at = now()
            db.session.flush()
            self.alone.append((project.id, image.id, row.id))
        self.deleted = gone.id

    def _make_workers(self) -> None:
        """A pipeline's key for each string; for each bundle; and one for forms that are refused."""
        self.workers = [
            self._worker(line, project) for line, (project, _, _) in zip(self.lines, self.alone, strict=True)
        ]
        self.kept_worker = self._worker(self.lines[0], self.alone[0][0])
        for text, project_id in zip(self.strings, self.named, strict=True):
            self._worker(text, project_id)

    def _worker(self, text: str, project_id: UUID) -> str:
        columns = {"name": text, "secret_hash": "0" * 64, "signing_secret": "", **last_used(text)}
        row = PipelineKey(id=signing.mint_key_id(), **columns)
        row.projects = [db.session.get_one(Project, project_id)]
        db.session.add(row)
        return row.id

    def _make_events(self) -> None:
        """Two for each string, a page of each a day: all texts of its own are the string, or its ids stand for such."""
        for n, text in enumerate(self.strings):
            moment = FIRST_DAY + timedelta(days=n // PAGE_SIZE, seconds=n)
            shared = {"created_at": moment, "actor_label": text, "action": text, "request_id": text}
            tree = {"name": text, text: [text, {text: text}]}
            own = {"actor_kind": "pipeline", "subject_type": text, "subject_id": text}
            db.session.add(AuditEvent(**shared, **own, before=tree, after={text: text}))
            user = {"actor_kind": "user", "actor_id": self.changing.id, "subject_type": "user"}
            ids = {"subject_id": str(self.members[n]), "project_id": self.named[n]}
            db.session.add(AuditEvent(**shared, **user, **ids, before=None, after=tree))

    def _make_webhooks(self) -> None:
        """For each bundle one whose receiver answered so, and one that failed with such a reason."""
        at = {"at": FIRST_DAY.isoformat(), "seconds": 0.5}
        for bundle, line, (_, _, analysis_id) in zip(self.bundles, self.lines, self.alone, strict=True):
            attempts = [{**at, "status": 500, "answer": text} for text in bundle] + [{**at, "error": line}]
            columns = {"event": "analysis.failed", "analysis_id": analysis_id, "body": "{}"}
            db.session.add(WebhookDelivery(attempts=attempts, created_at=FIRST_DAY, **columns))

    def _make_exports(self) -> None:
        """For each bundle one that failed so, and is called so."""
        for line in self.lines:
            selection = {"annotations": True, "group_id": line, "model_name": line}
            texts = {"filename": line, "project_name": line, "error": line}
            ended = {"state": "failed", "finished_at": now(), "expires_at": now() + timedelta(days=7)}
            row = {"format": "csv", "content_type": "text/csv", "requested_by_id": self.me.id}
            db.session.add(Export(selection=selection, **texts, **ended, **row))

    def _make_drawn(self) -> tuple[UUID, UUID]:
        """An image with everything that is drawn or listed, stored the way a pipeline does it; and its analysis."""
        with self.world.app.app_context():
            image = self.image(db.session.get_one(Project, self.gallery), self.lines[0], {})
            row = self.analysis(image, "processing", None, model_name=self.lines[0], model_version="1")
            db.session.commit()
            db.session.refresh(row)
            db.session.expunge_all()
        heat = Site.upload(self, row, "heatmap", gradient(16, 12))  # type: ignore[arg-type]
        Site.store(self, row, list(self._annotations(heat)))  # type: ignore[arg-type]
        return row.image_id, row.id

    def _annotations(self, heat: str) -> Iterator[dict[str, Any]]:
        for n, text in enumerate(self.strings):
            data = {"x_min": n % 60, "y_min": n % 40, "x_max": n % 60 + 3, "y_max": n % 40 + 3, text: text}
            yield {**box(text, n), "data": data}
            unit = {"unit": text[:LONGEST_UNIT], "color_map": text[:LONGEST_UNIT]}
            yield {
                "annotation_type": "heatmap",
                "storage_path": heat,
                "data": {"width": 16, "height": 12, **unit},
            }
        points = [{"name": text, "x": n % 60, "y": n % 40} for n, text in enumerate(self.strings)]
        yield {"annotation_type": "keypoint", "class_name": self.strings[0], "data": {"keypoints": points}}
        guesses = [{"class": text, "confidence": 0.5} for text in self.strings]
        yield {"annotation_type": "classification", "class_name": self.strings[1], "data": {"topk": guesses}}
        tree = {text: [text] for text in self.strings}
        yield {"annotation_type": "custom", "class_name": self.strings[2], "data": tree}
