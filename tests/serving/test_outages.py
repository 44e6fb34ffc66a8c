"""The object store or the disk goes away and comes back: 503 meanwhile, and afterwards everything works by itself."""

import contextlib
import io
import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import psutil
import pytest
import requests

from app.models import Analysis, Artifact, Image, Project
from tests.cast import Person
from tests.conftest import LiveServer
from tests.factories import picture
from tests.serving.load import Ask, under_load
from tests.steps import box
from tests.support import s3 as s3_server

pytestmark = pytest.mark.one_database

KINDS = {"content", "upload", "artifact"}
LONGEST, HEALED = 15.0, 10.0


@pytest.fixture(scope="module")
def store() -> Iterator[s3_server.Restartable]:
    with s3_server.restartable() as running:
        yield running


@pytest.fixture(scope="module")
def live(store: s3_server.Restartable, _serve: Callable[..., LiveServer]) -> Iterator[LiveServer]:
    with s3_server.new_bucket(store.endpoint) as bucket:
        yield _serve(**bucket.environ)


@dataclass
class Scene:
    live: LiveServer
    person: Person
    project: Project
    image: Image
    analysis: Analysis
    path: str  # of an artifact

    def presign(self) -> requests.Response:
        wanted = {"artifact_type": "heatmap"}
        answer: requests.Response = self.live.pipeline.post(
            f"/api/analyses/{self.analysis.id}/artifacts/presign", wanted
        )
        return answer

    def finalize(self) -> requests.Response:
        answer: requests.Response = self.live.pipeline.post(
            f"/api/analyses/{self.analysis.id}/finalize", {"status": "completed"}
        )
        return answer

    def content(self, session: requests.Session) -> requests.Response:
        return self._get(session, f"/api/images/{self.image.id}/content")

    def artifact(self, session: requests.Session) -> requests.Response:
        return self._get(session, f"/api/ml/artifacts/content?path={self.path}")

    def upload(self, session: requests.Session) -> requests.Response:
        url, key = f"{self.live.url}/api/projects/{self.project.id}/images", {"X-API-Key": self.person.key}
        return session.post(url, files={"file": ("leaf.png", picture())}, headers=key, timeout=30)

    def _get(self, session: requests.Session, path: str) -> requests.Response:
        return session.get(self.live.url + path, headers={"X-API-Key": self.person.key}, timeout=30)


@pytest.fixture
def scene(live: LiveServer) -> Scene:
    world = live.world
    person = world.person(f"editor-{time.time()}@example.org")
    project = world.project("Leaves", editor=person)
    image = world.image(project)
    scene = Scene(live, person, project, image, world.analysis(image, "processing"), "")
    signed = scene.presign().json()
    put = requests.put(signed["upload_url"], data=picture(), headers=signed["headers"], timeout=10)
    assert put.status_code == 200
    scene.path = signed["storage_path"]
    bulk = {"annotations": [{"annotation_type": "heatmap", "data": {"width": 64, "height": 48}}]}
    bulk["annotations"][0]["storage_path"] = scene.path
    stored = live.pipeline.post(f"/api/analyses/{scene.analysis.id}/annotations:bulk", bulk)
    assert stored.status_code == 200, stored.text
    return scene


def check_refused(answer: Any) -> None:
    assert answer.status_code == 503, answer.text
    assert answer.json()["code"] == "storage-unavailable"
    assert int(answer.headers["Retry-After"]) > 0


@pytest.mark.soak
def test_the_object_store_goes_and_comes_back(store: s3_server.Restartable, scene: Scene) -> None:
    clients: list[tuple[str, Ask]] = [(kind, getattr(scene, kind)) for kind in sorted(KINDS)] * 2
    with under_load(clients) as load:
        load.wait_for_success(KINDS, time.monotonic(), HEALED)
        store.stop()
        gone = time.monotonic()
        assert requests.get(scene.live.url + "/healthz", timeout=10).status_code == 200
        check_refused(requests.get(scene.live.url + "/readyz", timeout=10))
        assert scene.presign().status_code == 200, "an address is signed here, without asking the store"
        check_refused(scene.finalize())
        unchanged: Analysis = scene.live.world.reload(scene.analysis)
        assert unchanged.status == "processing"
        time.sleep(1)
        back = time.monotonic()
        store.start()
        load.wait_for_success(KINDS, time.monotonic(), HEALED)
    for answer in load.answers:
        assert answer.status in (200, 201, 503), answer
        assert answer.seconds < LONGEST, answer
        if answer.status == 503:
            assert json.loads(answer.text)["code"] == "storage-unavailable"
            assert answer.retry_after is not None
    during = [a for a in load.answers if gone < a.started and a.started + a.seconds < back]
    assert {answer.kind for answer in during} == KINDS
    assert {answer.status for answer in during} == {503}
    finished = scene.finalize()
    assert (finished.status_code, finished.json()["status"]) == (200, "completed")
    assert scene.live.world.count(Artifact, analysis_id=scene.analysis.id) == 1
    assert requests.get(scene.live.url + "/readyz", timeout=10).status_code == 200


def test_an_image_whose_store_ends_in_the_middle_is_cut_off(live: LiveServer, scene: Scene) -> None:
    """Half a file must not look like a whole one."""
    large = scene.live.world.image(scene.project, "large.png", noise())
    with halving_proxy(live.environ["S3_ENDPOINT"]) as endpoint:
        app = live.environ | {"S3_ENDPOINT": endpoint}
        with other_server(app, live) as url:
            answer = requests.get(
                f"{url}/api/images/{large.id}/content",
                headers={"X-API-Key": scene.person.key},
                timeout=30,
                stream=True,
            )
            assert answer.status_code == 200
            with pytest.raises(requests.exceptions.ChunkedEncodingError):
                answer.content  # noqa: B018


def noise() -> bytes:
    """A picture of about a megabyte, which does not compress."""
    from PIL import Image as Picture

    file = io.BytesIO()
    Picture.effect_noise((1200, 900), 100).save(file, "PNG")
    return file.getvalue()


@contextlib.contextmanager
def other_server(environ: dict[str, str], live: LiveServer) -> Iterator[str]:
    """The same Loupe once more, with another way to the store."""
    from tests.support import server as servers

    folder = live.instance / "other"
    folder.mkdir()
    with servers.served(environ, folder) as gunicorn:
        yield gunicorn.url


@contextlib.contextmanager
def halving_proxy(endpoint: str) -> Iterator[str]:
    """Passes requests on to the store and cuts each answer off after 300,000 bytes."""
    host, port = endpoint.removeprefix("http://").split(":")
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            while True:
                try:
                    client, _ = server.accept()
                except OSError:
                    return
                with client, socket.create_connection((host, int(port))) as upstream:
                    upstream.sendall(client.recv(65536))
                    left = 300_000
                    while left > 0 and (chunk := upstream.recv(min(left, 65536))):
                        client.sendall(chunk)
                        left -= len(chunk)

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{server.getsockname()[1]}"
        server.shutdown(socket.SHUT_RDWR)
        thread.join(10)


# --- the disk ----------------------------------------------------------------------------------------------------


@pytest.fixture
def on_disk(live_server: LiveServer) -> Scene:
    world = live_server.world
    person = world.person("editor@example.org")
    project = world.project("Leaves", editor=person)
    image = world.image(project)
    return Scene(live_server, person, project, image, world.analysis(image, "processing"), "")


@contextlib.contextmanager
def small_disk(live: LiveServer, size: int) -> Iterator[None]:
    """No process of the server can write a file past this size: to it the disk is full."""
    before = [(worker, worker.rlimit(psutil.RLIMIT_FSIZE)) for worker in live.gunicorn.workers()]
    for worker, (_, most) in before:
        worker.rlimit(psutil.RLIMIT_FSIZE, (size, most))
    try:
        yield
    finally:
        for worker, limits in before:
            worker.rlimit(psutil.RLIMIT_FSIZE, limits)


def test_a_full_disk_refuses_files_and_nothing_else(on_disk: Scene) -> None:
    live, content = on_disk.live, noise()
    signed = on_disk.presign().json()
    put = {"url": signed["upload_url"], "data": content, "headers": signed["headers"], "timeout": 30}
    url, key = f"{live.url}/api/projects/{on_disk.project.id}/images", {"X-API-Key": on_disk.person.key}

    def upload() -> requests.Response:
        return requests.post(url, files={"file": ("noise.png", content)}, headers=key, timeout=30)

    with small_disk(live, 600_000):
        check_refused(requests.put(**put))
        check_refused(upload())
        with requests.Session() as session:
            assert on_disk.content(session).status_code == 200
    assert requests.put(**put).status_code == 200
    assert upload().status_code == 201
    assert not list((live.instance / "storage" / ".incoming").iterdir())


def test_a_storage_folder_that_is_gone(on_disk: Scene) -> None:
    folder = on_disk.live.instance / "storage"
    aside = folder.with_name("aside")
    folder.rename(aside)
    folder.write_text("a file where the directory should be")
    try:
        with requests.Session() as session:
            check_refused(on_disk.upload(session))
        check_refused(requests.get(on_disk.live.url + "/readyz", timeout=10))
    finally:
        folder.unlink()
        aside.rename(folder)
    with requests.Session() as session:
        assert on_disk.upload(session).status_code == 201


def test_annotations_and_pages_need_no_store(on_disk: Scene) -> None:
    cookie = on_disk.person.client.get_cookie("loupe")
    assert cookie is not None
    folder = on_disk.live.instance / "storage"
    folder.rename(folder.with_name("aside"))
    try:
        stored = on_disk.live.pipeline.post(
            f"/api/analyses/{on_disk.analysis.id}/annotations:bulk", {"annotations": [box()]}
        )
        pages = [
            requests.get(on_disk.live.url + path, cookies={"loupe": cookie.value}, timeout=30)
            for path in ("/", f"/projects/{on_disk.project.id}", f"/images/{on_disk.image.id}")
        ]
    finally:
        folder.with_name("aside").rename(folder)
    assert stored.status_code == 200
    assert [page.status_code for page in pages] == [200, 200, 200]
