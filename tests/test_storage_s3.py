"""S3 over real HTTP. The server checks neither signature nor expiry, so both are recomputed here, twice."""

import base64
import hashlib
import hmac
import io
import os
import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from urllib.parse import parse_qs, quote, unquote, urlsplit

import pytest
import requests
from botocore.auth import S3SigV4QueryAuth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from app.errors import Forbidden, NotFound, StorageUnavailable
from app.storage import S3Storage
from tests.support import s3

NOW = 1_700_000_100  # the beginning of a fifth of 900 s
KEY = "ml_outputs/01900000-0000-7000-8000-000000000000/heat.png"
PNG = b"\x89PNG not really " * 50
PNG_SHA256 = hashlib.sha256(PNG).hexdigest()
PNG_BASE64 = base64.b64encode(hashlib.sha256(PNG).digest()).decode()


class Clock:
    now: float = NOW

    def __call__(self) -> float:
        return self.now


@pytest.fixture(scope="module")
def endpoint() -> Iterator[str]:
    with s3.served() as endpoint:
        yield endpoint


@pytest.fixture(scope="module")
def bucket(endpoint: str) -> Iterator[s3.Bucket]:
    with s3.new_bucket(endpoint) as bucket:
        yield bucket


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def storage(bucket: s3.Bucket, clock: Clock) -> Iterator[S3Storage]:
    storage = S3Storage(bucket.environ, clock)
    yield storage
    names = [each["Key"] for each in bucket.client.list_objects_v2(Bucket=bucket.name).get("Contents", [])]
    storage.delete(names)


@pytest.fixture
def session() -> Iterator[requests.Session]:
    with requests.Session() as session:
        session.trust_env = False
        yield session


def read(storage: S3Storage, key: str = KEY) -> bytes:
    with storage.open(key) as stream:
        return stream.read()


class Pipe(io.RawIOBase):
    """A stream that cannot seek."""

    def __init__(self, content: bytes) -> None:
        self._content = io.BytesIO(content)

    def read(self, size: int = -1) -> bytes:
        return self._content.read(size)


# Files


@pytest.mark.parametrize("make", [bytes, io.BytesIO, Pipe])
def test_what_is_put_can_be_read(storage, make):
    stored = storage.put(KEY, make(PNG), "image/png")
    assert (stored.key, stored.size, stored.content_type) == (KEY, len(PNG), "image/png")
    assert (stored.sha256, stored.etag) == (PNG_SHA256, hashlib.md5(PNG).hexdigest())
    found = storage.stat(KEY)
    assert (found.key, found.size, found.content_type) == (KEY, len(PNG), "image/png")
    assert (found.sha256, found.etag) == (stored.sha256, stored.etag)
    assert found.modified_at.tzinfo is not None
    with storage.open(KEY) as stream:
        assert stream.info == found
        assert not stream.seekable()
        assert stream.read() == PNG


@pytest.mark.parametrize("size", [0, 65_537, 9_000_000])
def test_every_size_comes_back_exactly(storage, size):
    content = os.urandom(size)
    storage.put("images/a", content, "image/jpeg")
    with storage.open("images/a") as stream:
        assert b"".join(stream) == content


@pytest.mark.parametrize("start", [0, 1, 100, len(PNG) - 1, len(PNG), len(PNG) + 5])
def test_reading_from_the_middle(storage, start):
    storage.put(KEY, PNG, "image/png")
    with storage.open(KEY, start) as stream:
        assert stream.read() == PNG[start:]
        assert stream.info.size == len(PNG)


def test_put_replaces(storage):
    storage.put(KEY, b"a longer one before", "text/plain")
    storage.put(KEY, b"new", "image/png")
    assert read(storage) == b"new"
    assert storage.stat(KEY).content_type == "image/png"


def test_what_is_missing(storage):
    assert storage.stat(KEY) is None
    for start in (0, 5):
        with pytest.raises(NotFound):
            storage.open(KEY, start)
    storage.delete([KEY])


def test_delete_takes_more_than_one_call_can(storage):
    storage.put(KEY, PNG, "image/png")
    storage.delete(iter([f"renders/none/{n}" for n in range(1_500)] + [KEY]))
    assert storage.stat(KEY) is None
    storage.delete([])


@pytest.mark.parametrize("key", ["", "a", "/a/b", "../a/b", "a/../b", "a//b", "a/b\n", "a/.b", "a/%2e"])
def test_a_key_of_the_wrong_form(storage, key):
    for call in (
        lambda: storage.put(key, b"x", "text/plain"),
        lambda: storage.open(key),
        lambda: storage.stat(key),
        lambda: storage.delete([key]),
        lambda: storage.download_url(key, 900, ""),
        lambda: storage.upload_url("ml_outputs/" + key + "/..", "text/plain", 900, ""),
    ):
        with pytest.raises(NotFound):
            call()


def test_listing(storage):
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
    assert [found.key for found in listed] == keys[2:]
    assert all(found.modified_at == storage.stat(found.key).modified_at for found in listed)
    assert [found.key for found in storage.listed("images/")] == keys[:2]
    assert list(storage.listed("ml_outputs/")) == []


def test_a_listing_of_several_pages(storage, monkeypatch):
    for n in range(5):
        storage.put(f"images/{n}", b"x", "image/png")
    pages = []
    whole = storage._client.get_paginator

    def in_twos(name):
        paginator = whole(name)
        paginate = paginator.paginate

        def few(**wanted):
            for page in paginate(**wanted, PaginationConfig={"PageSize": 2}):
                pages.append(page)
                yield page

        paginator.paginate = few
        return paginator

    monkeypatch.setattr(storage._client, "get_paginator", in_twos)
    assert [found.key for found in storage.listed("images/")] == [f"images/{n}" for n in range(5)]
    assert len(pages) == 3


def test_many_at_once(storage):
    def work(n):
        content = os.urandom(20_000)
        storage.put(f"images/{n}", content, "image/png")
        return read(storage, f"images/{n}") == content

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(work, range(32)))


# When it cannot be reached


def dead_endpoint() -> str:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{probe.getsockname()[1]}"


@pytest.mark.parametrize(
    "change",
    [{"S3_ENDPOINT": dead_endpoint()}, {"S3_BUCKET": "there-is-no-such-bucket"}],
    ids=["nobody listens", "no such bucket"],
)
@pytest.mark.parametrize("method", ["put", "open", "delete", "check", "list"])
def test_a_store_that_cannot_be_used_is_503(bucket, change, method):
    storage = S3Storage({**bucket.environ, **change})
    storage.list = lambda: list(storage.listed("images/"))
    arguments = {"put": (KEY, PNG, "image/png"), "open": (KEY,), "delete": ([KEY],), "check": (), "list": ()}[
        method
    ]
    with pytest.raises(StorageUnavailable) as refusal:
        getattr(storage, method)(*arguments)
    assert refusal.value.headers["Retry-After"]


def test_stat_of_a_store_that_cannot_be_reached(bucket):
    with pytest.raises(StorageUnavailable):
        S3Storage({**bucket.environ, "S3_ENDPOINT": dead_endpoint()}).stat(KEY)


def test_a_download_that_breaks_off_is_503():
    """The store announces more than it sends."""
    with socket.create_server(("127.0.0.1", 0)) as server, ThreadPoolExecutor(1) as pool:

        def answer():
            connection, _ = server.accept()
            with connection:
                connection.recv(10_000)
                head = 'HTTP/1.1 200 OK\r\nContent-Length: 100\r\nETag: "x"\r\nContent-Type: image/png\r\n'
                modified = "Last-Modified: Tue, 14 Nov 2023 22:13:20 GMT\r\n\r\n"
                connection.sendall((head + modified).encode() + b"only this")

        answered = pool.submit(answer)
        endpoint = f"http://127.0.0.1:{server.getsockname()[1]}"
        config = {"S3_BUCKET": "b", "S3_ENDPOINT": endpoint, "S3_ACCESS_KEY": "a", "S3_SECRET_KEY": "s"}
        with S3Storage(config).open(KEY) as stream, pytest.raises(StorageUnavailable):
            stream.read()
        answered.result()


def test_a_bucket_that_can_be_used(storage):
    assert storage.check() is None


# Addresses


def recomputed(url: str, method: str, headers: dict[str, str]) -> str:
    """The signature by the rules of AWS, with the standard library alone."""
    parts = urlsplit(url)
    query = {name: values[0] for name, values in parse_qs(parts.query, keep_blank_values=True).items()}
    query.pop("X-Amz-Signature")
    _, day, region, service, end = query["X-Amz-Credential"].split("/")
    sent = {name.lower(): value for name, value in headers.items()} | {"host": parts.netloc}
    signed = query["X-Amz-SignedHeaders"]
    canonical = "\n".join(
        [
            method,
            quote(unquote(parts.path), safe="/-_.~"),
            "&".join(
                f"{quote(name, safe='-_.~')}={quote(query[name], safe='-_.~')}" for name in sorted(query)
            ),
            *(f"{name}:{sent[name]}" for name in signed.split(";")),
            "",
            signed,
            "UNSIGNED-PAYLOAD",
        ]
    )
    scope = f"{day}/{region}/{service}/{end}"
    to_sign = "\n".join(
        ["AWS4-HMAC-SHA256", query["X-Amz-Date"], scope, hashlib.sha256(canonical.encode()).hexdigest()]
    )
    key = ("AWS4" + s3.SECRET_KEY).encode()
    for part in (day, region, service, end):
        key = hmac.digest(key, part.encode(), "sha256")
    return hmac.new(key, to_sign.encode(), "sha256").hexdigest()


def by_botocore(url: str, method: str, headers: dict[str, str]) -> str:
    """The signature that botocore computes for this address and its signing time."""
    query = {name: values[0] for name, values in parse_qs(urlsplit(url).query).items()}
    bare = url.partition("&X-Amz-Signature=")[0]
    auth = S3SigV4QueryAuth(Credentials(s3.ACCESS_KEY, s3.SECRET_KEY), "s3", s3.REGION)
    request = AWSRequest(method=method, url=bare, headers=headers)
    request.context["timestamp"] = query["X-Amz-Date"]
    return str(auth.signature(auth.string_to_sign(request, auth.canonical_request(request)), request))


def parameters(url: str) -> dict[str, str]:
    return {name: values[0] for name, values in parse_qs(urlsplit(url).query, keep_blank_values=True).items()}


def assert_rightly_signed(
    url: str, method: str, headers: dict[str, str], signed_at: int, expires_in: int
) -> None:
    query = parameters(url)
    assert query["X-Amz-Algorithm"] == "AWS4-HMAC-SHA256"
    assert query["X-Amz-Date"] == datetime.fromtimestamp(signed_at, UTC).strftime("%Y%m%dT%H%M%SZ")
    assert query["X-Amz-Expires"] == str(expires_in)
    day = datetime.fromtimestamp(signed_at, UTC).strftime("%Y%m%d")
    assert query["X-Amz-Credential"] == f"{s3.ACCESS_KEY}/{day}/{s3.REGION}/s3/aws4_request"
    assert query["X-Amz-SignedHeaders"].split(";") == sorted([*(name.lower() for name in headers), "host"])
    assert query["X-Amz-Signature"] == recomputed(url, method, headers)
    assert query["X-Amz-Signature"] == by_botocore(url, method, headers)
    assert s3.SECRET_KEY not in url


@pytest.mark.parametrize("size", [None, len(PNG)])
@pytest.mark.parametrize("sha256", [None, PNG_SHA256])
def test_an_upload_signs_all_that_is_known(storage, session, size, sha256):
    upload = storage.upload_url(KEY, "image/png", 900, "http://unused", size, sha256)
    expected = {"Content-Type": "image/png"}
    if size is not None:
        expected["Content-Length"] = str(size)
    if sha256 is not None:
        expected["x-amz-checksum-sha256"] = PNG_BASE64
    assert (upload.method, upload.headers) == ("PUT", expected)
    assert upload.expires_at == datetime.fromtimestamp(NOW + 900, UTC)
    assert_rightly_signed(upload.url, "PUT", upload.headers, NOW, 900)

    # S3 needs no telling which checksum comes; moto does
    telling = {"x-amz-sdk-checksum-algorithm": "SHA256"} if sha256 else {}
    answer = session.put(upload.url, data=PNG, headers=upload.headers | telling)
    assert (answer.status_code, answer.content) == (200, b"")
    assert read(storage) == PNG
    assert storage.stat(KEY).content_type == "image/png"
    assert storage.stat(KEY).sha256 == sha256


@pytest.mark.parametrize("name", ["Content-Type", "Content-Length", "x-amz-checksum-sha256"])
def test_another_header_needs_another_signature(storage, name):
    upload = storage.upload_url(KEY, "image/png", 900, "", len(PNG), PNG_SHA256)
    right = parameters(upload.url)["X-Amz-Signature"]
    assert recomputed(upload.url, "PUT", {**upload.headers, name: "1"}) != right
    assert recomputed(upload.url, "GET", upload.headers) != right


@pytest.mark.parametrize("expires_in", [1, 60, 604_800])
def test_addresses_expire(storage, clock, expires_in):
    clock.now = NOW + 7.9
    upload = storage.upload_url(KEY, "image/png", expires_in, "")
    assert upload.expires_at == datetime.fromtimestamp(NOW + 7 + expires_in, UTC)
    assert_rightly_signed(upload.url, "PUT", upload.headers, NOW + 7, expires_in)
    download = storage.download_url(KEY, expires_in, "")
    left = download.expires_at.timestamp() - clock.now
    assert expires_in * 0.8 - 1 <= left <= expires_in
    assert_rightly_signed(
        download.url, "GET", {}, int(download.expires_at.timestamp()) - expires_in, expires_in
    )


def test_down(storage, session):
    storage.put(KEY, PNG, "image/png")
    download = storage.download_url(KEY, 900, "http://unused", "image/png", "Zähne und mehr.png", inline=True)
    assert_rightly_signed(download.url, "GET", {}, NOW, 900)
    answer = session.get(download.url)
    assert (answer.status_code, answer.content) == (200, PNG)
    assert answer.headers["Content-Type"] == "image/png"
    expected = "inline; filename=\"Zahne und mehr.png\"; filename*=UTF-8''Z%C3%A4hne%20und%20mehr.png"
    assert parameters(download.url)["response-content-disposition"] == expected
    assert parameters(download.url)["response-cache-control"] == "private, no-cache"
    kept = parameters(storage.download_url(KEY, 900, "", "image/png", unchanging=True).url)
    assert kept["response-cache-control"] == "private, max-age=900, immutable"


@pytest.mark.parametrize(
    ("content_type", "served"),
    [("text/html", "application/octet-stream"), ("text/plain", "text/plain; charset=utf-8")],
)
def test_what_is_no_picture_is_a_download_of_a_type_from_the_list(storage, content_type, served):
    query = parameters(storage.download_url(KEY, 900, "", content_type, inline=True).url)
    assert query["response-content-type"] == served
    assert query["response-content-disposition"] == "attachment"


def test_an_address_of_what_never_changes_is_the_same_until_shortly_before_its_end(storage, clock):
    clock.now = NOW // 840 * 840
    first = storage.download_url(KEY, 900, "", "image/png", inline=True, unchanging=True)
    assert first.same_until.timestamp() == clock.now + 840
    clock.now += 839.9
    assert storage.download_url(KEY, 900, "", "image/png", inline=True, unchanging=True) == first
    assert 60 <= first.expires_at.timestamp() - clock.now <= 61
    clock.now += 0.2
    assert storage.download_url(KEY, 900, "", "image/png", inline=True, unchanging=True) != first


def test_a_download_address_is_the_same_for_a_while(storage, clock):
    first = storage.download_url(KEY, 900, "")
    clock.now += 179.9
    assert storage.download_url(KEY, 900, "") == first
    clock.now += 0.2
    assert storage.download_url(KEY, 900, "") != first


@pytest.mark.parametrize("key", ["images/a", "renders/a/b.png"])
def test_nothing_but_artifacts_can_be_uploaded(storage, key):
    with pytest.raises(Forbidden):
        storage.upload_url(key, "image/png", 900, "")


def test_others_get_the_public_address(bucket, clock):
    public = {**bucket.environ, "S3_PUBLIC_ENDPOINT": "https://files.example.org:9443"}
    storage = S3Storage(public, clock)
    storage.put(KEY, PNG, "image/png")
    assert storage.public_origin() == "https://files.example.org:9443"
    for url, method, headers in (
        (storage.download_url(KEY, 900, "").url, "GET", {}),
        (storage.upload_url(KEY, "image/png", 900, "").url, "PUT", {"Content-Type": "image/png"}),
    ):
        assert url.startswith(f"https://files.example.org:9443/{bucket.name}/{KEY}?")
        assert_rightly_signed(url, method, headers, NOW, 900)


def test_without_an_endpoint_it_is_amazon(clock):
    config = {"S3_BUCKET": "loupe", "S3_REGION": "eu-central-1", "S3_ACCESS_KEY": "a", "S3_SECRET_KEY": "s"}
    storage = S3Storage(config, clock)
    assert storage.public_origin() == "https://loupe.s3.eu-central-1.amazonaws.com"
    url = storage.download_url(KEY, 900, "").url
    assert url.startswith(f"https://loupe.s3.eu-central-1.amazonaws.com/{KEY}?")


def test_the_origin_of_the_endpoint(storage, endpoint):
    assert storage.public_origin() == endpoint


def test_boto_itself_would_make_the_same_address(storage, bucket, monkeypatch):
    """But for what we add, and with the clock of botocore standing still."""
    moment = datetime.fromtimestamp(NOW, UTC)
    monkeypatch.setattr("botocore.auth.get_current_datetime", lambda: moment)
    params = {"Bucket": bucket.name, "Key": KEY, "ContentType": "image/png", "ContentLength": len(PNG)}
    params["ChecksumSHA256"] = PNG_BASE64
    theirs = storage._client.generate_presigned_url("put_object", Params=params, ExpiresIn=900)
    ours = storage.upload_url(KEY, "image/png", 900, "", len(PNG), PNG_SHA256).url
    assert parameters(ours) == parameters(theirs)
    assert urlsplit(ours)[:3] == urlsplit(theirs)[:3]


# Written piece by piece


@pytest.fixture
def small_parts(monkeypatch):
    monkeypatch.setattr("app.storage.s3.PART", 5 * 1024 * 1024)  # the least that S3 takes


def parts_left(bucket):
    return bucket.client.list_multipart_uploads(Bucket=bucket.name).get("Uploads", [])


@pytest.mark.parametrize("size", [0, 1, 5_242_879, 5_242_880, 5_242_881, 12_000_000])
def test_what_is_written_in_parts_comes_back_exactly(storage, bucket, small_parts, size):
    content = os.urandom(size)
    key = "exports/01900000-0000-7000-8000-000000000000/1"
    writer = storage.writer(key, "text/csv")
    for start in range(0, size, 1_000_000):
        writer.write(content[start : start + 1_000_000])
    assert storage.stat(key) is None
    stored = writer.finish()
    writer.abort()
    assert (stored.size, stored.sha256) == (size, hashlib.sha256(content).hexdigest())
    with storage.open(key) as stream:
        assert stream.read() == content
    with storage.open(key, size // 2) as stream:
        assert stream.read() == content[size // 2 :]
    found = storage.stat(key)
    assert found and (found.size, found.etag, found.content_type) == (size, stored.etag, "text/csv")
    assert parts_left(bucket) == []


def test_what_is_given_up_leaves_no_parts(storage, bucket, small_parts):
    writer = storage.writer("exports/01900000-0000-7000-8000-000000000000/2", "text/csv")
    writer.write(b"x" * 11_000_000)
    assert len(parts_left(bucket)) == 1
    writer.abort()
    assert parts_left(bucket) == []


def test_parts_that_nobody_completed_are_cleared(storage, bucket, small_parts):
    abandoned = storage.writer("exports/01900000-0000-7000-8000-000000000000/3", "text/csv")
    abandoned.write(b"x" * 5_300_000)
    bucket.client.create_multipart_upload(Bucket=bucket.name, Key="somebody/elses")
    assert storage.clear_partial(datetime(2000, 1, 1, tzinfo=UTC)) == 0  # moto dates all of them in 2010
    later = datetime(2100, 1, 1, tzinfo=UTC)
    assert storage.clear_partial(later, dry_run=True) == 1 and len(parts_left(bucket)) == 2
    assert storage.clear_partial(later) == 1
    assert [each["Key"] for each in parts_left(bucket)] == ["somebody/elses"]
    with pytest.raises((StorageUnavailable, NotFound)):
        abandoned.finish()
