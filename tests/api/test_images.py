"""POST /api/projects/{id}/images, GET /api/images/{id}, …/download and …/content."""

import hashlib
import io
import json
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from flask import Flask
from PIL import Image as Picture
from werkzeug.datastructures import FileStorage, MultiDict
from werkzeug.test import TestResponse

from app.extensions import db
from app.models import AuditEvent, Image, Project
from app.models.columns import now
from tests.cast import Person, Pipeline
from tests.factories import World, picture, some_id
from tests.html import LintClient
from tests.steps import check_problem, fields_at_fault

FIELDS = {
    "id",
    "project_id",
    "filename",
    "content_type",
    "size_bytes",
    "sha256",
    "width",
    "height",
    "metadata",
    "created_at",
}


def send(
    person: Person, project: Project, content: bytes, name: str = "leaf.png", **fields: Any
) -> TestResponse:
    data = {"file": (io.BytesIO(content), name), **fields}
    return person.api(
        "POST", f"/api/projects/{project.id}/images", data=data, content_type="multipart/form-data"
    )


def content_of(person: Person, image_id: str) -> bytes:
    return person.api("GET", f"/api/images/{image_id}/content", buffered=True).data


def test_who_may_upload(
    client: LintClient,
    project: Project,
    owner: Person,
    editor: Person,
    viewer: Person,
    stranger: Person,
    admin: Person,
    world: World,
) -> None:
    for person in (owner, editor, admin):
        assert send(person, project, picture()).status_code == 201
    for person in (viewer, stranger):
        check_problem(send(person, project, picture()), 403, "forbidden")
    path = f"/api/projects/{project.id}/images"
    check_problem(client.post(path, data={"file": (io.BytesIO(picture()), "a.png")}), 401, "unauthenticated")
    check_problem(
        owner.client.post(path, data={"file": (io.BytesIO(picture()), "a.png")}), 401, "unauthenticated"
    )
    assert world.count(Image) == 3


def test_a_missing_project_comes_before_the_fields(owner: Person, project: Project) -> None:
    path = f"/api/projects/{some_id()}/images"
    check_problem(owner.api("POST", path, data={}, content_type="multipart/form-data"), 404, "not-found")


def test_wrong_method(owner: Person, project: Project, image: Image) -> None:
    check_problem(owner.api("PUT", f"/api/projects/{project.id}/images"), 405, "method-not-allowed")
    for path in ("", "/download", "/content"):
        check_problem(owner.api("PUT", f"/api/images/{image.id}{path}"), 405, "method-not-allowed")


def test_the_answer_describes_the_stored_copy(project: Project, owner: Person, world: World) -> None:
    content = picture(30, 20)
    answer = send(owner, project, content, metadata=json.dumps({"plot": 7, "tags": ["a"]}))
    assert answer.status_code == 201
    assert set(answer.json) == FIELDS
    assert {name: answer.json[name] for name in FIELDS - {"id", "created_at"}} == {
        "project_id": str(project.id),
        "filename": "leaf.png",
        "content_type": "image/png",
        "size_bytes": len(content),
        "sha256": hashlib.sha256(content).hexdigest(),
        "width": 30,
        "height": 20,
        "metadata": {"plot": 7, "tags": ["a"]},
    }
    assert owner.api("GET", f"/api/images/{answer.json['id']}").json == answer.json
    assert content_of(owner, answer.json["id"]) == content
    [event] = world.rows(AuditEvent, subject_type="image", subject_id=answer.json["id"])
    assert (event.action, event.actor_label) == ("image.uploaded", owner.email)
    assert event.request_id == answer.headers["X-Request-ID"]


@pytest.mark.parametrize(
    ("kind", "stored"),
    [("JPEG", "image/jpeg"), ("PNG", "image/png"), ("WEBP", "image/webp"), ("TIFF", "image/png")],
)
def test_takes_these_formats_by_their_content(
    project: Project, owner: Person, kind: str, stored: str
) -> None:
    content = picture(21, 13, kind)
    answer = send(owner, project, content, "misnamed.bin")
    assert answer.status_code == 201, answer.text
    assert (answer.json["content_type"], answer.json["width"], answer.json["height"]) == (stored, 21, 13)
    kept = content_of(owner, answer.json["id"])
    assert hashlib.sha256(kept).hexdigest() == answer.json["sha256"]
    assert (kept == content) is (kind != "TIFF")
    with Picture.open(io.BytesIO(kept)) as opened:
        assert (opened.size, Picture.MIME[opened.format or ""]) == ((21, 13), stored)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_is_turned_upright(project: Project, owner: Person, world: World, orientation: int) -> None:
    """The red corner, top left as seen, must be top left in the stored pixels."""
    upright = Picture.new("RGB", (40, 24), "white")
    upright.paste("red", (0, 0, 16, 16))
    back = {2: 0, 3: 3, 4: 1, 5: 5, 6: 2, 7: 6, 8: 4}  # the transpositions that undo each orientation
    lying = upright if orientation == 1 else upright.transpose(Picture.Transpose(back[orientation]))
    exif = Picture.Exif()
    exif[0x0112] = orientation
    file = io.BytesIO()
    lying.save(file, "JPEG", quality=95, exif=exif)
    answer = send(owner, project, file.getvalue(), "turned.jpg")
    assert (answer.json["width"], answer.json["height"]) == (40, 24)
    assert world.rows(Image)[0].exif_orientation == orientation
    with Picture.open(io.BytesIO(content_of(owner, answer.json["id"]))) as kept:
        assert kept.size == (40, 24)
        assert orientation == 1 or 0x0112 not in kept.getexif()
        red, white = kept.convert("RGB").getpixel((5, 5)), kept.convert("RGB").getpixel((34, 18))
    assert red[0] > 200 and red[1] < 80, "the red corner is elsewhere"
    assert min(white) > 200


def bomb() -> bytes:
    """A PNG of 60,000 × 60,000 pixels in a few bytes."""

    def chunk(name: bytes, data: bytes) -> bytes:
        check = zlib.crc32(name + data).to_bytes(4, "big")
        return len(data).to_bytes(4, "big") + name + data + check

    header = (60_000).to_bytes(4, "big") * 2 + bytes([8, 0, 0, 0, 0])
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", b"") + chunk(b"IEND", b"")


def as_gif() -> bytes:
    file = io.BytesIO()
    Picture.new("P", (4, 4)).save(file, "GIF")
    return file.getvalue()


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"not a picture",
        b'<svg xmlns="http://www.w3.org/2000/svg" width="1" height="1"><script>alert(1)</script></svg>',
        b"%PDF-1.7",
        as_gif(),
        picture()[:60],
        picture(64, 48, "JPEG")[:200],
        picture(64, 48, "JPEG")[:20] + b"\0" * 400,
        bomb(),
        b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\n",
    ],
    ids=["empty", "text", "svg", "pdf", "gif", "cut png", "cut jpeg", "zeroed jpeg", "bomb", "eps"],
)
def test_hostile_files_are_refused_and_nothing_is_kept(
    app: Flask, project: Project, owner: Person, world: World, content: bytes
) -> None:
    assert fields_at_fault(send(owner, project, content)) == {"file"}
    assert world.count(Image) == 0
    assert not stored_files(app)


def stored_files(app: Flask) -> list[str]:
    return [str(file) for file in (Path(app.instance_path) / "storage").rglob("*") if file.is_file()]


def test_the_file_must_be_there_and_have_a_name(project: Project, owner: Person) -> None:
    path, form = f"/api/projects/{project.id}/images", "multipart/form-data"
    for data in ({}, {"image": (io.BytesIO(picture()), "a.png")}, {"file": "text"}):
        assert fields_at_fault(owner.api("POST", path, data=data, content_type=form)) == {"file"}
    for name in ("..", "a/", "\u202e"):
        assert fields_at_fault(send(owner, project, picture(), name)) == {"file"}


def test_it_must_be_a_form(project: Project, owner: Person) -> None:
    path = f"/api/projects/{project.id}/images"
    for kind, body in (("image/png", picture()), ("application/json", b"{}")):
        answer = owner.api("POST", path, data=body, content_type=kind)
        check_problem(answer, 415, "unsupported-media-type")


@pytest.mark.parametrize(
    ("sent", "kept"),
    [
        ("../../etc/leaf.png", "leaf.png"),
        ("Ca\u0301lyx \u202egnp.exe", "Cályx gnp.exe"),
        ("a" * 300 + ".png", "a" * 251 + ".png"),
        ("naïve 葉.png", "naïve 葉.png"),
    ],
)
def test_file_names_are_cleaned(project: Project, owner: Person, sent: str, kept: str) -> None:
    answer = send(owner, project, picture(), sent)
    assert (answer.status_code, answer.json["filename"]) == (201, kept)


@pytest.mark.parametrize(
    ("metadata", "status"),
    [
        ("", 201),
        ("{}", 201),
        ("[1]", 422),
        ('"x"', 422),
        ("null", 422),
        ("{", 400),
        ('{"a": NaN}', 400),
        ('{"a": 1, "a": 2}', 400),
        ('{"a": "\\u0000"}', 400),
        ('{"a": 1e999}', 400),
        ('{"a": ' + "[" * 40 + "]" * 40 + "}", 400),
        (json.dumps({"a": "x" * 70_000}), 422),
    ],
)
def test_metadata(project: Project, owner: Person, world: World, metadata: str, status: int) -> None:
    answer = send(owner, project, picture(), metadata=metadata)
    assert answer.status_code == status, answer.text
    if status == 422:
        assert fields_at_fault(answer) == {"metadata"}
    assert world.count(Image) == (status == 201)


def test_names_the_fields_it_ignored(project: Project, owner: Person) -> None:
    answer = send(owner, project, picture(), metdata="{}")
    assert (answer.status_code, answer.json["ignored"]) == (201, ["metdata"])


def test_a_part_without_a_name_is_ignored(project: Project, owner: Person) -> None:
    part = b"--b\r\nContent-Disposition: form-data%s\r\n\r\n%s\r\n"
    body = part % (b'; name="file"; filename="leaf.png"', picture()) + part % (b"", b"1") + b"--b--\r\n"
    path, form = f"/api/projects/{project.id}/images", "multipart/form-data; boundary=b"
    answer = owner.api("POST", path, data=body, content_type=form)
    assert (answer.status_code, answer.json["ignored"]) == (201, [""])


def test_an_image_over_the_limit_is_413(
    make_app: Callable[..., Flask], project: Project, owner: Person
) -> None:
    small = make_app(MAX_IMAGE_BYTES="20000")
    person = Person(small, owner.id, owner.email, owner.key)
    noise = Picture.effect_noise((200, 200), 90)
    file = io.BytesIO()
    noise.save(file, "PNG")
    assert len(file.getvalue()) > 20_000
    assert check_problem(send(person, project, file.getvalue()), 413, "payload-too-large")["limit"] == 20_000
    path, kind = f"/api/projects/{project.id}/images", "multipart/form-data; boundary=b"
    far_over = person.api("POST", path, data=b"x" * 3_000_000, content_type=kind)
    check_problem(far_over, 413, "payload-too-large")
    assert send(person, project, picture()).status_code == 201


class Watched(io.BytesIO):
    """A body that looks, each time it is read, how many connections are in use."""

    def __init__(self, content: bytes, in_use: Callable[[], int]) -> None:
        super().__init__(content)
        self.in_use, self.seen = in_use, set[int]()

    def read(self, size: int | None = -1) -> bytes:
        self.seen.add(self.in_use())
        return super().read(size)

    def readinto(self, buffer: Any) -> int:
        self.seen.add(self.in_use())
        return super().readinto(buffer)


def test_no_transaction_is_open_while_the_body_comes_in(app: Flask, project: Project, owner: Person) -> None:
    """On SQLite it would keep every other writer out for as long as a slow client likes."""
    with app.app_context():
        pool: Any = db.engine.pool
    boundary = b"--b\r\nContent-Disposition: form-data; name=file; filename=a.png\r\n\r\n"
    content = boundary + picture() + b"\r\n--b--\r\n"
    body = Watched(content, lambda: pool.checkedout())
    answer = owner.api(
        "POST",
        f"/api/projects/{project.id}/images",
        input_stream=body,
        content_type="multipart/form-data; boundary=b",
        headers={"Content-Length": str(len(content))},
    )
    assert answer.status_code == 201, answer.text
    assert body.seen == {0}


# --- reading -----------------------------------------------------------------------------------------------------


def test_content_has_type_length_and_etag(image: Image, viewer: Person) -> None:
    answer = viewer.api("GET", f"/api/images/{image.id}/content", buffered=True)
    assert (answer.status_code, answer.data) == (200, picture())
    sent = {
        name: answer.headers[name] for name in ("Content-Type", "Content-Length", "ETag", "Cache-Control")
    }
    assert sent == {
        "Content-Type": "image/png",
        "Content-Length": str(len(picture())),
        "ETag": f'"{image.sha256}"',
        "Cache-Control": "private, no-cache",
    }
    assert answer.headers["X-Content-Type-Options"] == "nosniff"


def test_content_the_client_has_is_304(image: Image, viewer: Person) -> None:
    path = f"/api/images/{image.id}/content"
    for known in (f'"{image.sha256}"', f'W/"{image.sha256}"', f'"x", "{image.sha256}"', "*"):
        answer = viewer.api("GET", path, headers={"If-None-Match": known})
        assert (answer.status_code, answer.data) == (304, b""), known
        assert answer.headers["ETag"] == f'"{image.sha256}"'
    answer = viewer.api("GET", path, headers={"If-None-Match": '"other"'}, buffered=True)
    assert (answer.status_code, answer.data) == (200, picture())


def test_head_of_content(image: Image, viewer: Person) -> None:
    answer = viewer.api("HEAD", f"/api/images/{image.id}/content")
    assert (answer.status_code, answer.data) == (200, b"")
    assert answer.headers["Content-Length"] == str(image.size_bytes)


def test_content_whose_file_is_gone_is_404(app: Flask, image: Image, viewer: Person) -> None:
    app.extensions["storage"].delete([image.storage_path])
    check_problem(viewer.api("GET", f"/api/images/{image.id}/content"), 404, "not-found")


@pytest.mark.parametrize("filename", ["leaf.png", "naïve 葉.png", 'a"b;c.png'])
def test_the_download_address_gives_the_bytes_without_a_key(
    client: LintClient, world: World, project: Project, viewer: Person, filename: str
) -> None:
    image = world.image(project, filename)
    answer = viewer.api("GET", f"/api/images/{image.id}/download")
    assert answer.status_code == 200
    assert answer.json["object_key"] == f"images/{image.id}"
    assert urlsplit(answer.json["url"]).path == f"/files/images/{image.id}"
    fetched = client.get(answer.json["url"], buffered=True)
    assert (fetched.status_code, fetched.data) == (200, picture())
    assert fetched.headers["Content-Type"] == "image/png"
    assert fetched.headers["Content-Disposition"].startswith("attachment")
    tampered = answer.json["url"].replace(str(image.id), str(some_id()))
    check_problem(client.get(tampered), 403, "forbidden")


def test_a_public_address_is_used_for_the_download(
    make_app: Callable[..., Flask], image: Image, viewer: Person
) -> None:
    served = make_app(PUBLIC_URL="https://loupe.example.org/")
    person = Person(served, viewer.id, viewer.email, viewer.key)
    url = person.api("GET", f"/api/images/{image.id}/download").json["url"]
    assert url.startswith("https://loupe.example.org/files/images/")


def test_missing_and_deleted_images(app: Flask, image: Image, viewer: Person, stranger: Person) -> None:
    for path in ("", "/download", "/content"):
        check_problem(viewer.api("GET", f"/api/images/{some_id()}{path}"), 404, "not-found")
    with app.app_context():
        db.session.get_one(Image, image.id).deleted_at = now()
        db.session.commit()
    for path in ("", "/download", "/content", "/analyses"):
        check_problem(viewer.api("GET", f"/api/images/{image.id}{path}"), 410, "deleted")
        check_problem(stranger.api("GET", f"/api/images/{image.id}{path}"), 403, "forbidden")


def test_the_pipeline_has_no_business_here(pipeline: Pipeline, image: Image) -> None:
    for path in ("", "/download", "/content"):
        check_problem(pipeline.request("GET", f"/api/images/{image.id}{path}"), 401, "scheme-not-allowed")


def test_several_files_in_one_request_are_refused(project: Project, owner: Person) -> None:
    files = MultiDict(
        [
            ("file", FileStorage(io.BytesIO(picture(10, 10)), "a.png")),
            ("file", FileStorage(io.BytesIO(picture(20, 20)), "b.png")),
        ]
    )
    path = f"/api/projects/{project.id}/images"
    answer = owner.api("POST", path, data=files, content_type="multipart/form-data")
    assert fields_at_fault(answer) == {"file"}


def test_a_part_that_is_not_there(app: Flask, image: Image, viewer: Person) -> None:
    url = viewer.api("GET", f"/api/images/{image.id}/download").json["url"]
    answer = app.test_client().get(url, headers={"Range": "bytes=99999999999-"})
    assert (answer.status_code, answer.json["code"]) == (416, "range-not-satisfiable")
    assert answer.headers["Content-Range"] == f"bytes */{image.size_bytes}"
