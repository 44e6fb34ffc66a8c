"""Single sign-on by a trusted reverse proxy: `X-User-Email` counts when `X-Proxy-Secret` is right."""

import pytest

from app.models import AuditEvent, User
from tests.factories import World

PROXY_SECRET = "shared-with-the-proxy-0123456789"
FOREIGN = pytest.mark.parametrize(
    "foreign", [{"Sec-Fetch-Site": "cross-site"}, {"Sec-Fetch-Site": "same-site"}, {"Origin": "https://evil.example"},
                {"Origin": "null"}]
)  # fmt: skip


@pytest.fixture
def proxied(make_app):
    return make_app(AUTH_PROXY_SECRET=PROXY_SECRET)


def headers(email: str, secret: str = PROXY_SECRET, **more: str) -> dict[str, str]:
    return {"X-User-Email": email, "X-Proxy-Secret": secret, **more}


def ask(app, method, path, sent, **kwargs):
    return app.test_client(use_cookies=False).open(path, method=method, headers=sent, **kwargs)


def test_the_person_the_proxy_names_is_in(proxied, owner, project):
    answer = ask(proxied, "GET", "/api/projects", headers("Owner@Example.org"))
    assert [row["id"] for row in answer.get_json()] == [str(project.id)]
    assert ask(proxied, "GET", f"/projects/{project.id}", headers(owner.email)).status_code == 200


@pytest.mark.parametrize("secret", ["", "wrong", PROXY_SECRET + "x", PROXY_SECRET[:-1], "shäred"])
def test_a_wrong_secret_proves_nothing(proxied, owner, secret):
    """Not even that the address is unknown."""
    for email in (owner.email, "nobody@example.org"):
        assert ask(proxied, "GET", "/api/projects", headers(email, secret)).status_code == 401
    assert ask(proxied, "GET", "/api/projects", {"X-User-Email": owner.email}).status_code == 401
    assert ask(proxied, "GET", "/", headers(owner.email, secret)).location == "/sign-in"


@pytest.mark.parametrize("email", ["", "  "])
def test_a_proxy_that_names_nobody_signs_nobody_in(make_app, email):
    app = make_app(AUTH_PROXY_SECRET=PROXY_SECRET, AUTH_PROXY_CREATE_USERS="true")
    assert ask(app, "GET", "/api/projects", headers(email)).status_code == 401
    assert ask(app, "GET", "/api/projects", {"X-Proxy-Secret": PROXY_SECRET}).status_code == 401


def test_without_the_setting_the_headers_mean_nothing(app, owner):
    assert ask(app, "GET", "/api/projects", headers(owner.email, "")).status_code == 401
    assert ask(app, "GET", "/api/projects", headers(owner.email)).status_code == 401


def test_an_unknown_address_is_refused(proxied):
    answer = ask(proxied, "GET", "/api/projects", headers("nobody@example.org"))
    assert (answer.status_code, answer.get_json()["code"]) == (403, "forbidden")


def test_an_unknown_address_gets_an_account_when_that_is_set(make_app):
    app = make_app(AUTH_PROXY_SECRET=PROXY_SECRET, AUTH_PROXY_CREATE_USERS="true")
    for _ in range(2):
        assert ask(app, "GET", "/api/projects", headers("new@example.org")).get_json() == []
    world = World(app)
    (user,) = world.rows(User, email="new@example.org")
    assert user.role == "user"
    assert world.count(AuditEvent, action="user.created", subject_id=str(user.id)) == 1


@pytest.mark.parametrize(
    "email",
    [
        "nobody",
        "a@b@c",
        "one@example.org,two@example.org",
        "x" * 300 + "@y",
        "a@b\tc",
        "<b>@example.org",
        "a\xff@[y]",
    ],
)
def test_what_is_no_address_gets_no_account(make_app, email):
    app = make_app(AUTH_PROXY_SECRET=PROXY_SECRET, AUTH_PROXY_CREATE_USERS="true")
    answer = ask(app, "GET", "/api/projects", headers(email))
    assert (answer.status_code, answer.get_json()["code"]) == (403, "forbidden")
    assert World(app).count(User) == 0


@pytest.mark.parametrize(
    "email", ["bücher@bücher.example", "анна@пример.испытание", "o'brien+leaves@example.org"]
)
def test_an_address_in_any_script_comes_in_utf_8(make_app, email):
    app = make_app(AUTH_PROXY_SECRET=PROXY_SECRET, AUTH_PROXY_CREATE_USERS="true")
    for _ in range(2):
        answer = ask(app, "GET", "/api/projects", headers(email.encode().decode("latin-1")))
        assert answer.status_code == 200
    assert World(app).count(User, email=email) == 1


def test_many_at_once_make_one_account(make_app, at_once):
    app = make_app(AUTH_PROXY_SECRET=PROXY_SECRET, AUTH_PROXY_CREATE_USERS="true")
    answers = at_once([lambda: ask(app, "GET", "/api/projects", headers("new@example.org"))] * 6)
    assert {answer.status_code for answer in answers} == {200}
    assert World(app).count(User, email="new@example.org") == 1


@FOREIGN
def test_what_another_site_started_makes_no_account(make_app, foreign):
    app = make_app(AUTH_PROXY_SECRET=PROXY_SECRET, AUTH_PROXY_CREATE_USERS="true")
    answer = ask(app, "POST", "/api/projects", headers("new@example.org", **foreign), json={"name": "Mine"})
    assert answer.status_code == 403
    assert World(app).count(User) == 0


def test_a_disabled_account_stays_out(proxied, owner, world):
    from app.extensions import db
    from app.models.columns import now

    with proxied.app_context():
        db.session.get_one(User, owner.id).disabled_at = now()
        db.session.commit()
    assert ask(proxied, "GET", "/api/projects", headers(owner.email)).status_code == 403


@FOREIGN
def test_another_site_cannot_use_the_proxys_sign_in(proxied, owner, foreign):
    answer = ask(proxied, "POST", "/api/projects", headers(owner.email, **foreign), json={"name": "Mine"})
    assert (answer.status_code, answer.get_json()["code"]) == (403, "forbidden")


def test_the_same_site_can(proxied, owner):
    own = headers(owner.email, Origin="http://localhost", **{"Sec-Fetch-Site": "same-origin"})
    assert ask(proxied, "POST", "/api/projects", own, json={"name": "Mine"}).status_code == 201


def test_beside_a_signature_it_is_the_persons_access_that_counts(proxied, stranger, owner, image):
    from tests.cast import pipeline_in_process

    pipeline = pipeline_in_process(proxied)
    body = {"model_name": "m", "model_version": "1"}
    path = f"/api/images/{image.id}/analyses"
    assert pipeline.post(path, body, headers=headers(stranger.email)).status_code == 403
    assert pipeline.post(path, body, headers=headers(owner.email)).status_code == 201


@FOREIGN
def test_another_site_cannot_use_it_beside_a_signature_either(proxied, owner, image, foreign):
    from tests.cast import pipeline_in_process

    pipeline = pipeline_in_process(proxied)
    body = {"model_name": "m", "model_version": "1"}
    path = f"/api/images/{image.id}/analyses"
    for sign in (True, False):
        answer = pipeline.post(path, body, sign=sign, headers=headers(owner.email, **foreign))
        assert (answer.status_code, answer.get_json()["code"]) == (403, "forbidden")


@FOREIGN
def test_a_key_is_no_ones_but_the_senders(proxied, owner, foreign):
    """A page of another site cannot send a key, so nothing is asked about where it was sent from."""
    sent = {"X-API-Key": owner.key, **foreign}
    assert ask(proxied, "POST", "/api/projects", sent, json={"name": "Mine"}).status_code == 201


@FOREIGN
def test_another_site_may_be_followed_from(proxied, owner, foreign):
    """A link is no change."""
    assert ask(proxied, "GET", "/api/projects", headers(owner.email, **foreign)).status_code == 200
    assert ask(proxied, "GET", "/", headers(owner.email, **foreign)).status_code == 200
