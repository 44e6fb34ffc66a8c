"""GET on addresses that take forms: to the page of the form, for whoever may see it; nobody is stranded by a reload."""

from typing import Any

import pytest

from app.models import Analysis, Image, Project
from tests.cast import Person
from tests.factories import World, some_id
from tests.web.test_upload_images import send


@pytest.fixture
def returns(project: Project, image: Image, analysis: Analysis, viewer: Person) -> dict[str, str]:
    """The address of each form, and of the page it is on."""
    base = f"/projects/{project.id}"
    return {
        "/projects": "/",
        "/account/keys": "/account",
        "/account/keys/abcdefghij234567/revoke": "/account#keys",
        "/account/password": "/account",
        "/account/sign-out-everywhere": "/account",
        f"{base}/images": base,
        f"{base}/members/{viewer.id}": f"{base}/members",
        f"{base}/members/{viewer.id}/remove": f"{base}/members",
        **{
            f"/analyses/{analysis.id}/{form}": f"/images/{image.id}?analysis={analysis.id}"
            for form in ("cancel", "delete", "restore")
        },
        **{f"/images/{image.id}/{form}": f"/images/{image.id}" for form in ("delete", "restore")},
    }


def test_they_lead_to_the_page_of_the_form(returns: dict[str, str], viewer: Person) -> None:
    for address, page in returns.items():
        answer = viewer.client.get(address)
        assert (answer.status_code, answer.location) == (303, page), address
        assert viewer.client.get(page).status_code == 200


def test_they_are_guarded_like_it(returns: dict[str, str], stranger: Person) -> None:
    for address in (
        address for address in returns if address.startswith(("/projects/", "/analyses/", "/images/"))
    ):
        assert stranger.client.get(address).status_code == 403, address
    unknown = (f"/projects/{some_id()}/images", f"/analyses/{some_id()}/cancel")
    assert [stranger.client.get(address).status_code for address in unknown] == [404, 404]


def test_without_the_feature_there_is_nothing_to_cancel(
    make_app: Any, analysis: Analysis, owner: Person
) -> None:
    off = Person(make_app(ML_ANALYSIS_ENABLED="false"), owner.id, owner.email, owner.key)
    assert off.client.get(f"/analyses/{analysis.id}/cancel").status_code == 404


def test_the_refresh_without_javascript_names_the_page(
    world: World, project: Project, image: Image, analysis: Analysis, editor: Person
) -> None:
    refresh = '<noscript><meta http-equiv="refresh" content="8;url={}"></noscript>'
    gallery = f"/projects/{project.id}"
    assert refresh.format(gallery) in editor.client.get(gallery).text
    assert refresh.format(f"{gallery}?sort=name") in editor.client.get(f"{gallery}?sort=name").text
    shown = f"/images/{image.id}?analysis={analysis.id}&amp;opacity=40"
    for address in (f"/images/{image.id}", f"/images/{image.id}/panel"):
        assert refresh.format(shown) in editor.client.get(f"{address}?opacity=40").text
    refused = send(editor, project.id)
    assert refused.status_code == 422 and 'http-equiv="refresh"' not in refused.text
