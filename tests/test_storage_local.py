import hashlib
import io
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import parse_qsl, urlencode, urlsplit

import pytest
import requests
from flask import Flask
from hypothesis import given
from hypothesis import strategies as st
from werkzeug.serving import make_server

from app import storage as storage_module
from app.errors import Forbidden, LoupeError, NotFound, PayloadTooLarge, StorageUnavailable
from app.files import files
from app.storage import LocalStorage, S3Storage
from app.storage.base import disposition, served_type

SECRET = "the secret key of this server"
NOW = 1_700_000_000
KEY = "ml_outputs/01900000-0000-7000-8000-000000000000/heat.png"
CAP = 10_000
PNG = b"\x89PNG not really " * 50
PNG_SHA256 = hashlib.sha256(PNG).hexdigest()


class Clock:
    def __init__(self) -> None:
        self.now: float = NOW

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def storage(tmp_path: Path, clock: Clock) -> LocalStorage:
    return LocalStorage(tmp_path / "storage", SECRET, clock)


def left_over(storage: LocalStorage) -> list[str]:
    return [path.name for path in storage._incoming.iterdir()]


def read(storage: LocalStorage, key: str = KEY) -> bytes:
    with storage.open(key) as stream:
        return stream.read()


# Files


@pytest.mark.parametrize("source", [PNG, io.BytesIO(PNG)], ids=["bytes", "stream"])
def test_what_is_put_can_be_read(storage, source):
    stored = storage.put(KEY, source, "image/png")
    assert (stored.key, stored.size, stored.content_type) == (KEY, len(PNG), "image/png")
    assert stored.etag == stored.sha256 == PNG_SHA256
    assert abs((datetime.now(UTC) - stored.modified_at).total_seconds()) < 60
    assert storage.stat(KEY) == stored
    with storage.open(KEY) as stream:
        assert stream.info == stored
        assert stream.read() == PNG


def test_what_is_written_piece_by_piece_is_there_once_it_is_finished(storage):
    writer = storage.writer(KEY, "image/png")
    for start in range(0, len(PNG), 100):
        writer.write(PNG[start : start + 100])
    assert storage.stat(KEY) is None and writer.bytes_written == len(PNG)
    stored = writer.finish()
    writer.abort()
    assert (stored.size, stored.sha256, stored.content_type) == (len(PNG), PNG_SHA256, "image/png")
    assert read(storage) == PNG and storage.stat(KEY) == stored


def test_what_is_given_up_leaves_nothing(storage):
    storage.put(KEY, b"before", "text/plain")
    writer = storage.writer(KEY, "image/png")
    writer.write(PNG)
    writer.abort()
    writer.abort()
    assert read(storage) == b"before" and left_over(storage) == []


@pytest.mark.parametrize("size", [0, 1, 65_535, 65_536, 65_537, 1_000_000])
def test_every_size_comes_back_exactly(storage, size):
    content = os.urandom(size)
    assert storage.put("images/a", content, "image/jpeg").size == size
    assert read(storage, "images/a") == content
    with storage.open("images/a") as stream:
        chunks = list(stream)
    assert b"".join(chunks) == content
    assert all(len(chunk) == 65_536 for chunk in chunks[:-1])


@pytest.mark.parametrize("start", [0, 1, 100, len(PNG) - 1, len(PNG), len(PNG) + 5])
def test_reading_from_the_middle(storage, start):
    storage.put(KEY, PNG, "image/png")
    with storage.open(KEY, start) as stream:
        assert stream.read() == PNG[start:]


def test_a_stream_can_seek_and_ends_before_the_footer(storage):
    storage.put(KEY, PNG, "image/png")
    with storage.open(KEY) as stream:
        assert stream.seek(-3, os.SEEK_END) == len(PNG) - 3
        assert stream.read(100) == PNG[-3:]
        assert stream.seek(-1, os.SEEK_CUR) == len(PNG) - 1
        stream.seek(5)
        assert (stream.read(2), stream.tell()) == (PNG[5:7], 7)


def test_the_rest_of_a_stream_is_put(storage):
    source = io.BytesIO(PNG)
    source.seek(10)
    assert storage.put(KEY, source, "image/png").size == len(PNG) - 10


def test_put_replaces(storage):
    storage.put(KEY, b"a longer one before", "text/plain")
    storage.put(KEY, b"new", "image/png")
    assert read(storage) == b"new"
    assert storage.stat(KEY).content_type == "image/png"


def test_what_is_missing(storage):
    assert storage.stat(KEY) is None
    with pytest.raises(NotFound):
        storage.open(KEY)
    storage.put(KEY, PNG, "image/png")
    assert storage.stat(KEY.rpartition("/")[0]) is None  # a directory
    assert storage.stat(KEY + "/below") is None


def test_delete(storage, tmp_path):
    storage.put(KEY, PNG, "image/png")
    storage.put(KEY + "2", PNG, "image/png")
    storage.delete([KEY, "images/never-there"])
    assert storage.stat(KEY) is None
    assert storage.stat(KEY + "2") is not None
    storage.delete(iter([KEY + "2", KEY + "2"]))
    assert list((tmp_path / "storage" / "ml_outputs").iterdir()) == []


def test_listing(storage, tmp_path):
    keys = [
        "images/a",
        "images/b",
        "renders/images/a/0/1-2",
        "renders/images/a/base",
        "renders/images/b/base",
    ]
    for key in reversed(keys):
        storage.put(key, PNG, "image/png")
    listed = list(storage.listed("renders/images/"))
    assert sorted(found.key for found in listed) == keys[2:]
    assert [found.key.split("/")[2] for found in listed] == ["a", "a", "b"]
    assert all(found.modified_at == storage.stat(found.key).modified_at for found in listed)
    assert [found.key for found in storage.listed("images/")] == keys[:2]
    assert list(storage.listed("ml_outputs/")) == []
    going = storage.listed("images/")
    assert next(going).key == "images/a"
    storage.delete(["images/b"])
    assert list(going) == []


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"short",
        PNG,
        b"x" * 20 + b"\xff\xff\xff\xff\nLOUPE1\n",
        b"{}\0\0\0\2\nLOUPE1\n",
        b"not\0\0\0\3\nLOUPE1\n",
    ],
)
def test_a_file_that_was_not_put_is_not_there(storage, tmp_path, content):
    path = tmp_path / "storage" / "images" / "a"
    path.parent.mkdir(parents=True)
    path.write_bytes(content)
    assert storage.stat("images/a") is None


def test_a_file_that_looks_like_a_stored_file_is_stored_as_it_is(storage, tmp_path):
    storage.put("images/a", PNG, "image/png")
    raw = (tmp_path / "storage" / "images" / "a").read_bytes()
    storage.put("images/b", raw, "text/plain")
    assert read(storage, "images/b") == raw
    assert raw.startswith(PNG)


BAD_KEYS = [
    "",
    "a",
    "/a/b",
    "a//b",
    "a/",
    "../a",
    "a/..",
    "a/../b",
    "a/./b",
    "a/.b",
    ".incoming/x",
    "a/b\0",
    "a/b\n",
    "a\\b/c",
    "a/-b",
    "a/ü",
    "a/b c",
    "a/%2e%2e",
    "/etc/passwd",
    "C:/a",
    "a/" + "b" * 256,
    "a/" * 9 + "b",
]


@pytest.mark.parametrize("key", BAD_KEYS)
def test_a_key_never_leads_out(storage, tmp_path, key):
    for call in (
        lambda: storage.put(key, b"x", "text/plain"),
        lambda: storage.open(key),
        lambda: storage.stat(key),
        lambda: storage.delete([key]),
        lambda: storage.download_url(key, 900, "http://here"),
    ):
        with pytest.raises(NotFound):
            call()
    with pytest.raises((NotFound, Forbidden)):
        storage.upload_url(key, "text/plain", 900, "http://here")
    assert not any(tmp_path.rglob("*"))


@pytest.mark.parametrize("name", ["", "../x", "..", ".hidden", "a/../../../x", "x\0"])
def test_an_upload_never_leads_out(storage, name):
    with pytest.raises(NotFound):
        storage.upload_url("ml_outputs/" + name, "text/plain", 900, "http://here")


@given(st.text(max_size=40))
def test_whatever_the_key_it_stays_below_the_root(text):
    root = Path("/srv/files")
    try:
        path = LocalStorage(root, SECRET)._path("images/" + text)
    except NotFound:
        return
    assert Path(os.path.normpath(path)) == path
    assert path.is_relative_to(root / "images")


def test_the_longest_names(storage):
    key = f"ml_outputs/{'a' * 255}/{'b' * 255}"
    storage.put(key, PNG, "image/png")
    assert read(storage, key) == PNG


class Breaking(io.RawIOBase):
    """Gives some bytes, then fails."""

    def __init__(self) -> None:
        self.reads = 0

    def read(self, size: int = -1) -> bytes:
        self.reads += 1
        if self.reads > 3:
            raise ConnectionResetError("the client went away")
        return b"x" * size


def test_a_source_that_breaks_off_changes_nothing(storage):
    storage.put(KEY, PNG, "image/png")
    with pytest.raises(StorageUnavailable):
        storage.put(KEY, Breaking(), "image/png")
    assert read(storage) == PNG
    assert left_over(storage) == []


def test_a_refused_file_changes_nothing(storage):
    storage.put(KEY, PNG, "image/png")
    seen = []

    def refuse(stored):
        seen.append((stored.size, stored.sha256))
        raise PayloadTooLarge

    with pytest.raises(PayloadTooLarge):
        storage.put(KEY, b"other", "image/png", refuse)
    assert seen == [(5, hashlib.sha256(b"other").hexdigest())]
    assert read(storage) == PNG
    assert left_over(storage) == []


def test_bytes_are_on_disk_before_the_name_and_the_name_before_the_answer(storage, monkeypatch):
    done: list[str] = []
    fsync, replace = os.fsync, Path.replace

    def noting_fsync(descriptor):
        done.append("sync " + Path(f"/proc/self/fd/{descriptor}").readlink().name)
        fsync(descriptor)

    def noting_replace(path, target):
        done.append("rename")
        return replace(path, target)

    monkeypatch.setattr(os, "fsync", noting_fsync)
    monkeypatch.setattr(Path, "replace", noting_replace)
    storage.put("images/a", PNG, "image/png")
    assert done[0].startswith("sync ")
    assert done[1:] == ["rename", "sync images", "sync storage"]


def test_a_writer_that_is_killed_leaves_the_old_file(storage, tmp_path, clock):
    storage.put(KEY, PNG, "image/png")
    program = f"""
import io, sys, time
from pathlib import Path
from app.storage import LocalStorage
class Slow(io.RawIOBase):
    def read(self, size=-1):
        print("reading", flush=True)
        time.sleep(0.2)
        return b"x" * size
LocalStorage(Path({str(tmp_path / "storage")!r}), "secret").put({KEY!r}, Slow(), "image/png")
"""
    root = Path(__file__).parents[1]
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, cwd=root) as writer:
        assert writer.stdout is not None
        assert [writer.stdout.readline() for _ in range(3)] == [b"reading\n"] * 3
        writer.send_signal(signal.SIGKILL)
    assert read(storage) == PNG
    assert len(left_over(storage)) == 1
    storage.check()
    assert len(left_over(storage)) == 1  # it could be another writer's
    long_ago = (datetime.now().timestamp() - 25 * 3600,) * 2
    os.utime(storage._incoming / left_over(storage)[0], long_ago)
    storage.check()
    assert left_over(storage) == []


def test_many_writers_and_readers_of_one_file(storage):
    """A reader gets the bytes of one writer with that writer's type and hash, never a mixture."""
    contents = {f"text/x-{n}": bytes([n]) * (n * 9_001) for n in range(1, 9)}
    storage.put(KEY, contents["text/x-1"], "text/x-1")

    def write(content_type):
        for _ in range(15):
            storage.put(KEY, contents[content_type], content_type)

    def check(_):
        for _ in range(60):
            with storage.open(KEY) as stream:
                content = stream.read()
                assert content == contents[stream.info.content_type]
                assert hashlib.sha256(content).hexdigest() == stream.info.etag

    with ThreadPoolExecutor(12) as pool:
        work = [pool.submit(write, content_type) for content_type in contents]
        work += [pool.submit(check, n) for n in range(4)]
        for each in work:
            each.result()
    assert left_over(storage) == []


def test_writers_beside_deleters(storage):
    """Deleting takes empty directories away; a writer on its way there must not mind."""

    def work(n):
        for _ in range(40):
            storage.put(f"ml_outputs/shared/{n}", b"x", "text/plain")
            storage.delete([f"ml_outputs/shared/{n}"])

    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(work, range(8))) == [None] * 8


def test_a_disk_that_cannot_be_used(tmp_path):
    (tmp_path / "file").write_text("in the way")
    storage = LocalStorage(tmp_path / "file" / "storage", SECRET)
    listing = lambda: list(storage.listed("images/"))  # noqa: E731
    for call in (storage.check, lambda: storage.put(KEY, PNG, "image/png"), listing):
        with pytest.raises(StorageUnavailable) as refusal:
            call()
        assert refusal.value.headers["Retry-After"]


def test_a_disk_that_fails_while_a_file_is_read(storage, tmp_path):
    """What is read is a folder of a sudden, which the system refuses."""
    storage.put(KEY, PNG, "image/png")
    folder = os.open(tmp_path, os.O_RDONLY)
    try:
        with storage.open(KEY) as stream, pytest.raises(StorageUnavailable):
            os.dup2(folder, stream.raw._file.fileno())
            stream.read()
    finally:
        os.close(folder)


def test_a_usable_disk(storage):
    storage.check()
    assert left_over(storage) == []
    assert storage.public_origin() is None


def test_the_storage_is_chosen_by_the_settings(tmp_path):
    local = storage_module.from_config({"SECRET_KEY": SECRET, "S3_BUCKET": ""}, str(tmp_path))
    assert isinstance(local, LocalStorage)
    local.put("images/a", b"x", "image/png")
    assert (tmp_path / "storage" / "images" / "a").is_file()
    s3 = storage_module.from_config({"SECRET_KEY": SECRET, "S3_BUCKET": "bucket"}, tmp_path)
    assert isinstance(s3, S3Storage)


# Addresses


@given(now=st.floats(0, 4e9), expires_in=st.integers(1, 604_800))
def test_a_download_address_never_lives_longer_than_asked(now, expires_in):
    storage = LocalStorage(Path("/srv"), SECRET, lambda: now)
    left = storage.download_url(KEY, expires_in, "http://here").expires_at.timestamp() - now
    assert expires_in * 0.8 - 1 <= left <= expires_in


def test_an_address_of_what_never_changes_is_the_same_until_shortly_before_its_end(storage, clock):
    clock.now = NOW // 840 * 840
    first = storage.download_url(KEY, 900, "http://here", "image/png", inline=True, unchanging=True)
    assert first.same_until.timestamp() == clock.now + 840
    clock.now += 839.9
    assert storage.download_url(KEY, 900, "http://here", "image/png", inline=True, unchanging=True) == first
    assert 60 <= first.expires_at.timestamp() - clock.now <= 61
    clock.now += 0.2
    assert storage.download_url(KEY, 900, "http://here", "image/png", inline=True, unchanging=True) != first


def test_a_download_address_is_the_same_for_a_while(storage, clock):
    clock.now = NOW // 180 * 180
    first = storage.download_url(KEY, 900, "http://here", "image/png", inline=True)
    clock.now += 179.9
    assert storage.download_url(KEY, 900, "http://here", "image/png", inline=True) == first
    clock.now += 0.2
    assert storage.download_url(KEY, 900, "http://here", "image/png", inline=True) != first


def test_an_upload_address_lives_exactly_as_long_as_asked(storage):
    upload = storage.upload_url(KEY, "image/png", 900, "http://here/", size=5, sha256=PNG_SHA256)
    assert upload.expires_at == datetime.fromtimestamp(NOW + 900, UTC)
    assert (upload.method, upload.headers) == ("PUT", {"Content-Type": "image/png", "Content-Length": "5"})
    assert upload.url.startswith(f"http://here/files/{KEY}?")
    assert SECRET not in upload.url


@pytest.mark.parametrize("key", ["images/a", "renders/a/b.png"])
def test_nothing_but_artifacts_can_be_uploaded(storage, key):
    with pytest.raises(Forbidden):
        storage.upload_url(key, "image/png", 900, "http://here")


@pytest.mark.parametrize(
    ("content_type", "filename", "inline", "expected"),
    [
        ("image/png", None, True, "inline"),
        ("image/png", None, False, "attachment"),
        ("image/svg+xml", None, True, "attachment"),
        ("text/html", "a.html", True, "attachment; filename=a.html"),
        (None, "a b.png", True, 'attachment; filename="a b.png"'),
        ("image/jpeg", 'a"b\\c/d\r\n.jpg', True, "inline; filename=a_b_c_d.jpg"),
        ("image/png", "Zähne.png", True, "inline; filename=Zahne.png; filename*=UTF-8''Z%C3%A4hne.png"),
        ("image/png", "歯", False, "attachment; filename=\"\"; filename*=UTF-8''%E6%AD%AF"),
        ("image/png", "\r\n", False, "attachment"),
        ("image/png", "a\ud800b", False, "attachment; filename=ab"),
    ],
)
def test_dispositions(content_type, filename, inline, expected):
    assert disposition(content_type, filename, inline) == expected


@pytest.mark.parametrize(
    ("stored", "served"),
    [
        ("image/png", "image/png"),
        ("text/plain", "text/plain; charset=utf-8"),
        ("text/html", "application/octet-stream"),
        ("image/svg+xml", "application/octet-stream"),
        (None, "application/octet-stream"),
    ],
)
def test_types_are_given_out_from_a_list(stored, served):
    assert served_type(stored) == served


# Over HTTP


@contextmanager
def serve(storage) -> Iterator[str]:
    app = Flask("files_only")
    app.config.update(MAX_REQUEST_BYTES=CAP, MAX_CONTENT_LENGTH=100)
    app.extensions["storage"] = storage
    app.register_blueprint(files)
    app.register_error_handler(LoupeError, lambda error: (error.code, error.status, error.headers))
    server = make_server("127.0.0.1", 0, app, threaded=True)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.fixture
def base(storage: LocalStorage) -> Iterator[str]:
    with serve(storage) as base:
        yield base


@pytest.fixture
def session() -> Iterator[requests.Session]:
    with requests.Session() as session:
        session.trust_env = False
        yield session


def test_up_and_down(storage, base, session):
    upload = storage.upload_url(KEY, "image/png", 900, base, len(PNG), PNG_SHA256)
    answer = session.put(upload.url, data=PNG, headers=upload.headers)
    assert (answer.status_code, answer.content) == (200, b"")
    assert answer.headers["ETag"] == f'"{PNG_SHA256}"'
    assert storage.stat(KEY).content_type == "image/png"

    answer = session.get(storage.download_url(KEY, 900, base, "image/png", "heat.png", inline=True).url)
    assert (answer.status_code, answer.content) == (200, PNG)
    assert answer.headers["Content-Type"] == "image/png"
    assert answer.headers["Content-Length"] == str(len(PNG))
    assert answer.headers["Content-Disposition"] == "inline; filename=heat.png"
    assert answer.headers["ETag"] == f'"{PNG_SHA256}"'
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert answer.headers["Content-Security-Policy"] == "sandbox; default-src 'none'"
    assert answer.headers["Cache-Control"] == "private, no-cache"
    assert "Last-Modified" in answer.headers


def test_head(storage, base, session):
    storage.put(KEY, PNG, "image/png")
    answer = session.head(storage.download_url(KEY, 900, base).url)
    assert (answer.status_code, answer.content) == (200, b"")
    assert answer.headers["Content-Length"] == str(len(PNG))
    assert answer.headers["Content-Disposition"] == "attachment"


@pytest.mark.parametrize(
    ("stored", "asked", "served"),
    [
        ("text/html", None, "application/octet-stream"),
        ("image/svg+xml", "image/svg+xml", "application/octet-stream"),
        ("text/plain", None, "text/plain; charset=utf-8"),
        ("text/plain", "image/png", "image/png"),
    ],
)
def test_the_type_of_a_download(storage, base, session, stored, asked, served):
    storage.put(KEY, PNG, stored)
    answer = session.get(storage.download_url(KEY, 900, base, asked, inline=True).url)
    assert answer.headers["Content-Type"] == served
    assert answer.headers["Content-Disposition"] == ("inline" if asked == "image/png" else "attachment")


@pytest.mark.parametrize(
    ("wanted", "status", "content"),
    [
        ("bytes=0-4", 206, PNG[:5]),
        ("bytes=10-", 206, PNG[10:]),
        ("bytes=-7", 206, PNG[-7:]),
        (f"bytes=5-{len(PNG) * 2}", 206, PNG[5:]),
        ("bytes=0-1,5-6", 416, None),
        (f"bytes={len(PNG)}-", 416, None),
    ],
)
def test_parts(storage, base, session, wanted, status, content):
    storage.put(KEY, PNG, "image/png")
    answer = session.get(storage.download_url(KEY, 900, base).url, headers={"Range": wanted})
    assert answer.status_code == status
    if content is not None:
        assert answer.content == content
        assert answer.headers["Content-Range"].endswith(f"/{len(PNG)}")


def test_a_browser_need_not_load_twice(storage, base, session):
    storage.put(KEY, PNG, "image/png")
    url = storage.download_url(KEY, 900, base).url
    etag = session.get(url).headers["ETag"]
    answer = session.get(url, headers={"If-None-Match": etag})
    assert (answer.status_code, answer.content) == (304, b"")
    storage.put(KEY, PNG + b"!", "image/png")
    assert session.get(url, headers={"If-None-Match": etag}).content == PNG + b"!"


def test_a_missing_file(storage, base, session):
    assert session.get(storage.download_url(KEY, 900, base).url).status_code == 404


@pytest.mark.parametrize("declared", ["text/plain", "image/png; charset=utf-8", "IMAGE/PNG", "", None])
def test_another_content_type(storage, base, session, declared):
    upload = storage.upload_url(KEY, "image/png", 900, base)
    headers = {} if declared is None else {"Content-Type": declared}
    assert session.put(upload.url, data=PNG, headers=headers).status_code == 403
    assert storage.stat(KEY) is None


def chunks(content: bytes) -> Iterator[bytes]:
    for start in range(0, len(content), 100):
        yield content[start : start + 100]


def chunked_headers(upload) -> dict[str, str]:
    return {name: value for name, value in upload.headers.items() if name != "Content-Length"}


@pytest.mark.parametrize("size", [None, len(PNG)])
def test_a_chunked_body(storage, base, session, size):
    upload = storage.upload_url(KEY, "image/png", 900, base, size, PNG_SHA256)
    answer = session.put(upload.url, data=chunks(PNG), headers=chunked_headers(upload))
    assert answer.status_code == 200
    assert answer.request.headers["Transfer-Encoding"] == "chunked"
    assert read(storage) == PNG


@pytest.mark.parametrize("in_chunks", [False, True])
@pytest.mark.parametrize(("size", "status"), [(len(PNG) - 1, 413), (len(PNG) + 1, 400), (0, 413)])
def test_another_size(storage, base, session, in_chunks, size, status):
    upload = storage.upload_url(KEY, "image/png", 900, base, size)
    body = chunks(PNG) if in_chunks else PNG
    answer = session.put(upload.url, data=body, headers=chunked_headers(upload))
    assert answer.status_code == status
    assert storage.stat(KEY) is None
    assert in_chunks or not left_over_safely(storage)


def left_over_safely(storage: LocalStorage) -> list[str]:
    return left_over(storage) if storage._incoming.is_dir() else []


@pytest.mark.parametrize("in_chunks", [False, True])
@pytest.mark.parametrize(("size", "status"), [(CAP, 200), (CAP + 1, 413)])
def test_the_cap_where_no_size_is_signed(storage, base, session, in_chunks, size, status):
    upload = storage.upload_url(KEY, "image/png", 900, base)
    body = b"x" * size
    answer = session.put(upload.url, data=chunks(body) if in_chunks else body, headers=upload.headers)
    assert answer.status_code == status
    assert (storage.stat(KEY) is not None) == (status == 200)
    assert left_over_safely(storage) == []


def test_a_signed_size_does_not_lift_the_cap(storage, base, session):
    upload = storage.upload_url(KEY, "image/png", 900, base, CAP * 2)
    assert session.put(upload.url, data=b"x" * CAP * 2, headers=upload.headers).status_code == 413
    assert storage.stat(KEY) is None


def test_another_hash(storage, base, session):
    storage.put(KEY, b"the one before", "image/png")
    upload = storage.upload_url(KEY, "image/png", 900, base, sha256=PNG_SHA256)
    assert session.put(upload.url, data=PNG[:-1] + b"?", headers=upload.headers).status_code == 400
    assert read(storage) == b"the one before"
    assert left_over(storage) == []


def test_an_empty_body(storage, base, session):
    upload = storage.upload_url(KEY, "text/plain", 900, base, 0)
    assert session.put(upload.url, data=b"", headers=upload.headers).status_code == 200
    assert storage.stat(KEY).size == 0


def test_a_body_that_breaks_off_is_not_stored(storage, base):
    upload = storage.upload_url(KEY, "image/png", 900, base, len(PNG))
    parts = urlsplit(upload.url)
    head = f"PUT {parts.path}?{parts.query} HTTP/1.1\r\nHost: {parts.netloc}\r\nContent-Type: image/png\r\n"
    with socket.create_connection((parts.hostname, parts.port)) as connection:
        connection.sendall(f"{head}Content-Length: {len(PNG)}\r\n\r\n".encode() + PNG[:-1])
        connection.shutdown(socket.SHUT_WR)
        assert b" 400 " in connection.recv(1000)
    assert storage.stat(KEY) is None
    assert left_over(storage) == []


def test_an_address_is_for_one_method(storage, base, session):
    storage.put(KEY, PNG, "image/png")
    up = storage.upload_url(KEY, "image/png", 900, base)
    down = storage.download_url(KEY, 900, base, "image/png")
    assert session.get(up.url).status_code == 403
    assert session.head(up.url).status_code == 403
    assert session.put(down.url, data=b"x", headers=up.headers).status_code == 403
    for method in ("POST", "PATCH", "DELETE", "OPTIONS"):
        assert session.request(method, up.url).status_code == 405
    assert read(storage) == PNG


def test_an_address_expires(storage, base, session, clock):
    storage.put(KEY, PNG, "image/png")
    up = storage.upload_url(KEY, "image/png", 60, base)
    down = storage.download_url(KEY, 60, base)
    clock.now = up.expires_at.timestamp()
    assert session.put(up.url, data=PNG, headers=up.headers).status_code == 200
    clock.now += 1
    assert session.put(up.url, data=PNG, headers=up.headers).status_code == 403
    clock.now = down.expires_at.timestamp()
    assert session.get(down.url).status_code == 200
    clock.now += 1
    assert session.get(down.url).status_code == 403


def altered(url: str, **changes: str | None) -> str:
    parts = urlsplit(url)
    query = dict(parse_qsl(parts.query)) | changes
    return parts._replace(query=urlencode({k: v for k, v in query.items() if v is not None})).geturl()


CHANGES = [
    (name, value) for name in ("type", "size", "sha256", "expires", "signature") for value in (None, "", "1")
]
CHANGES += [
    ("type", "text/html"),
    ("size", "801"),
    ("expires", str(NOW + 10**6)),
    ("expires", "-1"),
    ("other", "x"),
    ("sha256", "0" * 64),
    ("signature", "0" * 64),
    ("signature", "é"),
    ("inline", "1"),
    ("filename", "x"),
]


@pytest.mark.parametrize(("name", "value"), CHANGES)
def test_no_parameter_of_an_upload_can_be_changed(storage, base, session, name, value):
    upload = storage.upload_url(KEY, "image/png", 900, base, len(PNG), PNG_SHA256)
    url = altered(upload.url, **{name: value})
    assert session.put(url, data=PNG, headers=upload.headers).status_code == 403
    assert storage.stat(KEY) is None


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("type", "image/jpeg"),
        ("type", None),
        ("filename", "b.png"),
        ("filename", None),
        ("inline", None),
        ("inline", "2"),
        ("expires", "9" * 11),
        ("signature", None),
    ],
)
def test_no_parameter_of_a_download_can_be_changed(storage, base, session, name, value):
    storage.put(KEY, PNG, "image/png")
    url = storage.download_url(KEY, 900, base, "image/png", "a.png", inline=True).url
    assert session.get(url).status_code == 200
    assert session.get(altered(url, **{name: value})).status_code == 403


def test_a_parameter_cannot_be_there_twice(storage, base, session):
    storage.put(KEY, PNG, "image/png")
    url = storage.download_url(KEY, 900, base, "image/png").url
    assert session.get(url + "&type=text%2Fhtml").status_code == 403


@pytest.mark.parametrize(
    "path",
    [
        KEY + "x",
        KEY.replace("0190", "0191"),
        "images/a",
        "ml_outputs/%2e%2e/secrets.env",
        "..%2f..%2fetc/passwd",
        "%2fetc/passwd",
        ".incoming/x",
        "a%00b/c",
    ],
)
def test_an_address_is_for_one_file(storage, base, session, path):
    storage.put(KEY, PNG, "image/png")
    url = storage.download_url(KEY, 900, base).url.replace(KEY, path)
    assert session.get(url).status_code == 403


def test_an_unsigned_address(storage, base, session):
    storage.put(KEY, PNG, "image/png")
    assert session.get(f"{base}/files/{KEY}").status_code == 403
    assert session.put(f"{base}/files/{KEY}", data=b"x").status_code == 403


def test_the_address_of_another_server(tmp_path, base, session):
    other = LocalStorage(tmp_path / "storage", "another secret", lambda: NOW)
    other.put(KEY, PNG, "image/png")
    assert session.get(other.download_url(KEY, 900, base).url).status_code == 403


def test_many_uploads_at_once(storage, base):
    def upload(n):
        body = bytes([n]) * 5_000
        signed = storage.upload_url(KEY, "image/png", 900, base, len(body), hashlib.sha256(body).hexdigest())
        return requests.put(signed.url, data=body, headers=signed.headers, timeout=30).status_code

    with ThreadPoolExecutor(8) as pool:
        assert set(pool.map(upload, range(24))) == {200}
    content = read(storage)
    assert len(content) == 5_000
    assert len(set(content)) == 1


def test_with_s3_there_is_nothing_at_these_addresses(storage, session):
    signed = storage.download_url(KEY, 900, "")
    with serve(S3Storage({"S3_BUCKET": "bucket"})) as base:
        assert session.get(base + signed.url).status_code == 404
