"""What the tests of the image page start from."""

from collections.abc import Callable, Iterator

import pytest
from playwright.sync_api import Browser, Page

from tests.conftest import LiveServer
from tests.support.browser import Pages
from tests.support.exhibit import Exhibit
from tests.support.site import Site
from tests.support.visits import Visits


@pytest.fixture
def shown(live_server: LiveServer) -> Exhibit:
    return Exhibit(live_server)


@pytest.fixture
def opened(shown: Exhibit, pages: Pages) -> Page:
    """Signed in, on no page in particular."""
    return pages.sign_in(pages.open(), shown.person)


@pytest.fixture
def plain(shown: Exhibit, pages: Pages) -> Page:
    """The same without JavaScript."""
    return pages.sign_in(pages.open(java_script_enabled=False), shown.person)


@pytest.fixture(scope="session")
def site(_serve: Callable[..., LiveServer]) -> Site:
    """Every page in every state, on a server of its own, to look at and never to change."""
    return Site(_serve)


@pytest.fixture(scope="session")
def visits(browser: Browser, site: Site) -> Iterator[Visits]:
    opened = Visits(browser, site)
    yield opened
    opened.close()
