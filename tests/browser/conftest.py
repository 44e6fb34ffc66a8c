"""What the tests of the image page start from."""

import pytest
from playwright.sync_api import Page

from tests.conftest import LiveServer
from tests.support.browser import Pages
from tests.support.shown import Shown


@pytest.fixture
def shown(live_server: LiveServer) -> Shown:
    return Shown(live_server)


@pytest.fixture
def opened(shown: Shown, pages: Pages) -> Page:
    """Signed in, on no page in particular."""
    return pages.sign_in(pages.open(), shown.person)


@pytest.fixture
def plain(shown: Shown, pages: Pages) -> Page:
    """The same without JavaScript."""
    return pages.sign_in(pages.open(java_script_enabled=False), shown.person)
