"""Who may open the admin pages, for every file of this folder."""

from collections.abc import Callable

import pytest

from app.models import Project
from tests.cast import Person
from tests.html import LintClient


@pytest.fixture
def token() -> Callable[[Person], str]:
    """The CSRF token of a person's session."""

    def find(person: Person) -> str:
        return person.client.get("/").text.split('name="csrf_token" value="')[1].split('"')[0]

    return find


@pytest.fixture
def check_only_admins(
    client: LintClient,
    admin: Person,
    owner: Person,
    editor: Person,
    viewer: Person,
    stranger: Person,
    project: Project,
    token: Callable[[Person], str],
) -> Callable[..., None]:
    """check_only_admins(pages, forms): whoever is in `project` as what, only an admin opens these addresses."""

    def check(pages: list[str], forms: list[str]) -> None:
        for address in pages:
            assert admin.client.get(address).status_code == 200, address
            answer = client.get(address)
            assert (answer.status_code, answer.location[:14]) == (303, "/sign-in?next="), address
            assert client.post(address).status_code == (303 if address in forms else 405), address
            assert admin.client.delete(address, headers={"Sec-Fetch-Site": "same-origin"}).status_code == 405
            for person in (owner, editor, viewer, stranger):
                assert person.client.get(address).status_code == 403, address
        for address in forms:
            assert client.post(address).status_code == 303, address
            assert admin.client.post(address).status_code == 403, f"{address} without a token"
            for person in (owner, editor, viewer, stranger):
                sent = {"csrf_token": token(person)}
                assert person.client.post(address, data=sent).status_code == 403, address

    return check
