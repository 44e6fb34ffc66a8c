"""How often the signed API may be asked: by address before anything is looked at, by key once it is proven."""

import time

import pytest

from app.extensions import db, limiter
from app.models import SYSTEM, Analysis, User
from app.services import accounts
from tests.cast import Pipeline

LIMIT = 3
HERE, THERE = "203.0.113.7", "203.0.113.8"


@pytest.fixture(autouse=True)
def nothing_counted(app):
    limiter.reset()


@pytest.fixture
def slow(switched):
    """slow("PER_IP"): three an hour from here on."""

    def slow(which, limit=f"{LIMIT}/hour"):
        switched(**{f"RATE_LIMIT_PIPELINE_{which}": limit})

    return slow


@pytest.fixture
def finalize(app, analysis):
    """finalize(address, headers): unsigned, so refused before it could end anything."""

    def finalize(address=HERE, headers=None, asked=app, **kwargs):
        client = asked.test_client(use_cookies=False)
        path = f"/api/analyses/{analysis.id}/finalize"
        sent = {"json": {"status": "completed"}, "headers": headers, **kwargs}
        return client.post(path, environ_base={"REMOTE_ADDR": address}, **sent)

    return finalize


def statuses(answers):
    return [answer.status_code for answer in answers]


# --- by address --------------------------------------------------------------------------------------------------


def test_a_flood_without_signatures(slow, finalize, unchanged):
    slow("PER_IP")
    with unchanged(Analysis):
        assert statuses(finalize() for _ in range(6)) == [401] * LIMIT + [429] * 3
    assert finalize(THERE).status_code == 401, "others are not slowed down"


def test_a_flood_of_wrong_signatures(slow, pipeline, analyses_path, job):
    slow("PER_IP")
    answers = [pipeline.post(analyses_path, job, secret="a guess") for _ in range(5)]
    assert statuses(answers) == [401] * LIMIT + [429] * 2
    assert pipeline.post(analyses_path, job).status_code == 429, "the right one is no way around it"


def test_all_endpoints_count_together(slow, pipeline, analyses_path, bulk_path, job, box):
    slow("PER_IP")
    made = pipeline.post(analyses_path, job)
    assert made.status_code == 201
    assert pipeline.post(bulk_path, {"annotations": [box()]}).status_code == 200
    path = f"/api/analyses/{made.json['id']}"
    assert pipeline.patch(f"{path}/status", {"status": "processing"}).status_code == 200
    assert pipeline.post(f"{path}/finalize", {"status": "completed"}).status_code == 429


def test_what_is_told(slow, finalize):
    slow("PER_IP")
    for _ in range(LIMIT):
        assert "X-RateLimit-Limit" not in finalize().headers
    answer = finalize(headers={"X-Request-ID": "mine"})
    assert (answer.status_code, answer.mimetype) == (429, "application/problem+json")
    told = {name: answer.json[name] for name in ("type", "status", "code", "request_id")}
    assert told == {
        "type": "urn:loupe:error:rate-limited",
        "status": 429,
        "code": "rate-limited",
        "request_id": "mine",
    }
    assert answer.json["detail"].startswith("At most 3 requests in 3600 s.")
    wait = int(answer.headers["Retry-After"])
    assert 3595 <= wait <= 3600
    assert answer.headers["X-RateLimit-Limit"] == "3"
    assert answer.headers["X-RateLimit-Remaining"] == "0"
    assert int(answer.headers["X-RateLimit-Reset"]) == pytest.approx(time.time() + wait, abs=2)


def test_whoever_waits_as_long_as_told_gets_through(slow, finalize):
    """And not half a second too early, only to be sent away once more."""
    slow("PER_IP", "2/second")
    finalize()
    time.sleep(0.3)
    finalize()
    refused = finalize()
    assert (refused.status_code, refused.headers["Retry-After"]) == (429, "1")
    time.sleep(1)
    assert finalize().status_code == 401


def test_ipv6_counts_by_its_network(slow, finalize):
    slow("PER_IP")
    for number in range(LIMIT):
        finalize(f"2001:db8::{number:x}")
    assert finalize("2001:db8::ffff").status_code == 429
    assert finalize("2001:db8:0:1::1").status_code == 401


def test_behind_a_proxy_the_address_is_the_clients(make_app, slow, finalize):
    behind = make_app(TRUSTED_PROXIES="1", RATE_LIMIT_PIPELINE_PER_IP=f"{LIMIT}/hour")

    def ask(said):
        return finalize("10.0.0.1", {"X-Forwarded-For": said}, behind)

    assert statuses(ask(f"6.6.6.{number}, {HERE}") for number in range(5)) == [401] * LIMIT + [429] * 2
    assert ask(THERE).status_code == 401


def test_without_a_proxy_nobody_chooses_the_address(slow, finalize):
    slow("PER_IP")
    answers = [finalize(headers={"X-Forwarded-For": f"6.6.6.{number}"}) for number in range(5)]
    assert statuses(answers) == [401] * LIMIT + [429] * 2


# --- by key ------------------------------------------------------------------------------------------------------


def test_the_secret_counts_wherever_it_is_used(app, slow, analyses_path, job):
    slow("PER_KEY")

    def ask(address):
        def send(method, path, body, headers):
            client = app.test_client(use_cookies=False)
            sent = {"data": body, "headers": headers, "environ_base": {"REMOTE_ADDR": address}}
            return client.open(path, method=method, **sent)

        return Pipeline(send, lambda: int(time.time())).post(analyses_path, job)

    assert statuses(ask(address) for address in (HERE, THERE, HERE, THERE)) == [201] * LIMIT + [429]


def test_each_key_has_its_own_share(ask, slow, analyses_path, job):
    slow("PER_KEY")
    assert statuses(ask("owner", "POST", analyses_path, job) for _ in range(4)) == [201] * LIMIT + [429]
    for who in ("editor", "pipeline", "pipeline+viewer"):
        assert ask(who, "POST", analyses_path, job).status_code == 201
    assert ask("pipeline+owner", "POST", analyses_path, job).status_code == 429, (
        "the key beside a signature counts"
    )


def test_two_keys_of_one_person_are_two(app, slow, owner, analyses_path, job):
    slow("PER_KEY")
    with app.app_context():
        other = accounts.create_user_key(db.session.get_one(User, owner.id), "another", by=SYSTEM)
        db.session.commit()

    def ask(key):
        client = app.test_client(use_cookies=False)
        return client.post(analyses_path, json=job, headers={"Authorization": f"Bearer {key}"})

    assert statuses(ask(owner.key) for _ in range(4)) == [201] * LIMIT + [429]
    assert ask(other).status_code == 201


def test_whom_a_reverse_proxy_signed_in(make_app, slow, owner, editor, analyses_path, job):
    app = make_app(AUTH_PROXY_SECRET="shared-with-the-proxy", RATE_LIMIT_PIPELINE_PER_KEY=f"{LIMIT}/hour")

    def ask(person):
        headers = {"X-User-Email": person.email, "X-Proxy-Secret": "shared-with-the-proxy"}
        return app.test_client(use_cookies=False).post(analyses_path, json=job, headers=headers)

    assert statuses(ask(owner) for _ in range(4)) == [201] * LIMIT + [429]
    assert ask(editor).status_code == 201


def test_nobody_uses_up_the_share_of_another(slow, pipeline, analyses_path, job, owner, finalize):
    """A key or signature that is not right counts for no key."""
    slow("PER_KEY")
    key_id = owner.key.split("_")[1]
    for _ in range(5):
        assert pipeline.post(analyses_path, job, secret="a guess").status_code == 401
        forged = {"X-API-Key": f"mluser_{key_id}_{'x' * 43}"}
        assert finalize(headers=forged).json["code"] == "signature-invalid"
        assert finalize(headers={"X-API-Key": owner.key}).json["code"] == "signature-missing"
    assert pipeline.post(analyses_path, job).status_code == 201
    assert owner.api("POST", analyses_path, json=job).status_code == 201


def test_a_key_that_sends_nonsense_is_slowed_down(slow, pipeline, bulk_path):
    slow("PER_KEY")
    answers = [pipeline.post(bulk_path, raw=b"[") for _ in range(4)]
    assert statuses(answers) == [400] * LIMIT + [429]


# --- where in the order of checks, and what is not limited -------------------------------------------------------


def test_switched_off_is_404_before_it_is_429(slow, switched, finalize):
    slow("PER_IP")
    for _ in range(LIMIT):
        finalize()
    switched(ML_ANALYSIS_ENABLED=False)
    assert finalize().status_code == 404


def test_too_large_counts_as_well(slow, switched, finalize):
    slow("PER_IP")
    switched(MAX_REQUEST_BYTES=1024, MAX_CONTENT_LENGTH=1024)
    answers = [finalize(json=None, data=b"x" * 2000) for _ in range(4)]
    assert statuses(answers) == [413] * LIMIT + [429]


def test_reading_is_not_limited(slow, owner, analysis):
    slow("PER_IP")
    slow("PER_KEY")
    path = f"/api/analyses/{analysis.id}"
    assert statuses(owner.api("GET", path) for _ in range(6)) == [200] * 6


def test_off(slow, ask, analyses_path, job):
    slow("PER_IP", "off")
    slow("PER_KEY", "off")
    assert statuses(ask("pipeline", "POST", analyses_path, job) for _ in range(6)) == [201] * 6


def test_it_is_said_that_each_process_counts_by_itself(make_app, caplog):
    make_app(PUBLIC_URL="http://one.example")
    make_app(
        PUBLIC_URL="http://two.example", RATE_LIMIT_PIPELINE_PER_IP="off", RATE_LIMIT_PIPELINE_PER_KEY="off"
    )
    said = [record.getMessage() for record in caplog.records if "REDIS_URL" in record.getMessage()]
    assert said == ["REDIS_URL is not set: rate limits are counted in each process by itself"]
