"""The pieces of a large image: who gets them, how long they are kept, and what the page asks for."""

import io
import re

import pytest
from PIL import Image as Picture

from app.models import Image, Project
from tests.cast import Person
from tests.factories import World, picture, some_id

WIDTH, HEIGHT = 4200, 1100


@pytest.fixture
def large(world: World, project: Project) -> Image:
    return world.image(project, "large.jpg", picture(WIDTH, HEIGHT, "JPEG"))


@pytest.mark.parametrize(("piece", "size"), [("base", (1050, 275)), ("tiles/0/4/1", (104, 76))])
def test_a_piece(large: Image, viewer: Person, stranger: Person, piece: str, size: tuple[int, int]) -> None:
    address = f"/images/{large.id}/{piece}"
    versioned = f"{address}?v={large.sha256[:16]}"
    answer = viewer.client.get(versioned)
    assert (answer.status_code, answer.mimetype) == (200, "image/jpeg")
    assert Picture.open(io.BytesIO(answer.data)).size == size
    assert answer.headers["Cache-Control"] == "private, max-age=31536000, immutable"
    assert answer.headers["Content-Disposition"] == "inline"
    etag = answer.headers["ETag"]
    assert etag.startswith('"')
    for other in (address, f"{address}?v={'0' * 16}"):
        assert viewer.client.get(other).headers["Cache-Control"] == "private, no-cache"
    again = viewer.client.get(versioned, headers={"If-None-Match": etag})
    assert (again.status_code, again.data, again.headers["ETag"]) == (304, b"", etag)
    head = viewer.client.head(versioned)
    assert (head.status_code, head.data, head.headers["ETag"]) == (200, b"", etag)
    assert head.headers["Content-Length"] == str(len(answer.data))
    assert stranger.client.get(versioned).status_code == 403
    assert viewer.client.get(address.replace(str(large.id), str(some_id()))).status_code == 404
    assert viewer.client.post(versioned).status_code in (403, 405)


@pytest.mark.parametrize(
    "place", ["0/5/0", "0/0/2", "2/0/0", "9/0/0", "0/-1/0", "0/0", f"{10**30}/0/0", "0/x/0"]
)
def test_outside_the_grid(large: Image, viewer: Person, place: str) -> None:
    assert viewer.client.get(f"/images/{large.id}/tiles/{place}").status_code == 404


def test_a_small_image_has_no_pieces(image: Image, viewer: Person) -> None:
    for piece in ("base", "tiles/0/0/0"):
        assert viewer.client.get(f"/images/{image.id}/{piece}").status_code == 404
    page = viewer.client.get(f"/images/{image.id}").text
    address = f"/images/{image.id}/content?v={image.sha256[:16]}"
    assert f'href="{address}"' in page
    assert "/tiles/" not in page
    assert viewer.client.get(address).headers["Cache-Control"] == "private, max-age=31536000, immutable"


def test_the_page_of_a_large_image(world: World, large: Image, viewer: Person) -> None:
    world.analysis(large, "completed")
    page = viewer.client.get(f"/images/{large.id}").text
    pictures = re.findall(r'<image id="picture[^"]*"[^>]*>', page)
    assert len(pictures) == 2
    for element in pictures:
        assert f'href="/images/{large.id}/base?v={large.sha256[:16]}"' in element
        assert f'width="{WIDTH}" height="{HEIGHT}" preserveAspectRatio="none"' in element
    assert "/tiles/" not in page and f"/images/{large.id}/content" not in page
    zoomed = viewer.client.get(f"/images/{large.id}?at=4000,1000,1").text
    assert f'href="/images/{large.id}/tiles/0/4/1?v={large.sha256[:16]}"' in zoomed
    assert 'x="4096" y="1024" width="104" height="76"' in zoomed
    assert "/tiles/0/0/0" not in zoomed
