"""The settings: read from one place, all that is wrong named at once, the docs and the code hold together."""

import re
from pathlib import Path
from typing import Any

import pytest

from app import config, create_app
from app.config import SETTINGS, WrongSettings, load

ROOT = Path(__file__).parent.parent
KEY = {"SECRET_KEY": "a-key-of-some-length"}
SEED = "A" * 43 + "="  # of a signing key


def test_defaults(tmp_path: Path) -> None:
    values = load(KEY, str(tmp_path))
    assert set(values) == set(SETTINGS)
    assert values["DATABASE_URL"] == f"sqlite:///{tmp_path}/loupe.sqlite"
    told = {
        "ML_ANALYSIS_ENABLED": True,
        "ML_CALLBACK_HMAC_SECRET": (),
        "ML_PIPELINE_REQUIRE_HMAC": True,
        "ML_ALLOWED_MODELS": ("*",),
        "ML_MAX_ANALYSES_PER_IMAGE": 50,
        "ML_MAX_BULK_ANNOTATIONS": 10_000,
        "ML_MAX_PENDING_PER_USER": 0,
        "RATE_LIMIT_PIPELINE_PER_IP": "18000/minute",
        "RATE_LIMIT_PIPELINE_PER_KEY": "36000/minute",
        "REDIS_URL": "",
        "ML_PRESIGNED_URL_EXPIRY_SECONDS": 900,
        "ML_DEFAULT_STATUS": "queued",
        "ML_SIGNATURE_MAX_SKEW_SECONDS": 300,
        "MAX_REQUEST_BYTES": 32 * 1024 * 1024,
        "S3_BUCKET": "",
        "PUBLIC_URL": "",
        "TRUSTED_PROXIES": 0,
        "ML_PIPELINE_PUSH_WEBHOOKS_ENABLED": False,
        "ML_WEBHOOK_URL": "",
        "ML_WEBHOOK_ALLOW_PRIVATE": False,
    }
    assert {name: values[name] for name in told} == told


def test_everything_that_is_wrong_is_named_at_once(tmp_path: Path) -> None:
    environ = {
        "DATABASE_URL": "mysql://secret-user:secret-word@x/y",
        "PUBLIC_URL": "loupe.example.org",
        "TRUSTED_PROXIES": "-1",
        "MAX_IMAGE_BYTES": "50MB",
        "MAX_REQUEST_BYTES": "0",
        "S3_ENDPOINT": "http://s3.example.org",
        "S3_ACCESS_KEY": "only-one",
        "ML_ANALYSIS_ENABLED": "maybe",
        "ML_DEFAULT_STATUS": "completed",
        "ML_MAX_BULK_ANNOTATIONS": "1e3",
        "ML_SIGNATURE_MAX_SKEW_SECONDS": "٣",
        "REDIS_URL": "http://:secret-word@redis.example.org",
        "RATE_LIMIT_PIPELINE_PER_IP": "many",
    }
    with pytest.raises(WrongSettings) as raised:
        load(environ, str(tmp_path))
    message = str(raised.value)
    for name in (*environ, "SECRET_KEY", "S3_BUCKET", "S3_SECRET_KEY"):
        assert re.search(rf"^  .*\b{name}\b", message, re.M), name
    assert len(message.splitlines()) == 1 + 14
    assert "secret-user" not in message and "secret-word" not in message and "only-one" not in message


def test_the_app_does_not_start_with_wrong_settings(tmp_path: Path) -> None:
    with pytest.raises(WrongSettings, match="SECRET_KEY"):
        create_app({}, instance_path=str(tmp_path))


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        ("ML_ANALYSIS_ENABLED", " Off ", False),
        ("ML_ANALYSIS_ENABLED", "1", True),
        ("ML_CALLBACK_HMAC_SECRET", " new-secret-0123456789 , old ,,", ("new-secret-0123456789", "old")),
        ("ML_ALLOWED_MODELS", "a, b c ,d", ("a", "b c", "d")),
        ("ML_DEFAULT_STATUS", "processing", "processing"),
        ("ML_MAX_ANALYSES_PER_IMAGE", " 3 ", 3),
        ("PUBLIC_URL", "https://loupe.example.org/", "https://loupe.example.org"),
        ("PUBLIC_URL", "http://127.0.0.1:8000", "http://127.0.0.1:8000"),
        ("DATABASE_URL", "postgres://u:p@h/d", "postgresql+psycopg://u:p@h/d"),
        (
            "DATABASE_URL",
            "postgresql://u:p@h/d?sslmode=require",
            "postgresql+psycopg://u:p@h/d?sslmode=require",
        ),
        ("DATABASE_URL", "sqlite:////var/lib/loupe.sqlite", "sqlite:////var/lib/loupe.sqlite"),
        ("SECRET_KEY", "  kept as it is  ", "  kept as it is  "),
        ("TRUSTED_PROXIES", "2", 2),
        ("REDIS_URL", " rediss://:word@redis.example.org:6380/2 ", "rediss://:word@redis.example.org:6380/2"),
        ("RATE_LIMIT_PIPELINE_PER_IP", " 600/minute ", "600/minute"),
        ("RATE_LIMIT_PIPELINE_PER_KEY", "off", "off"),
        ("ML_BUNDLE_SIGNING_KEY", f" {SEED} , {SEED} ", (SEED, SEED)),
        ("ML_MAX_PENDING_PER_USER", "0", 0),
        ("AUTH_PROXY_CREATE_USERS", "yes", True),
        (
            "ML_WEBHOOK_URL",
            " https://a:b@hooks.example/in/?token=x ",
            "https://a:b@hooks.example/in/?token=x",
        ),
        ("ML_WEBHOOK_URL", "https://[2606:2800::1]:8443", "https://[2606:2800::1]:8443"),
    ],
)
def test_values(tmp_path: Path, name: str, text: str, value: Any) -> None:
    assert load({**KEY, name: text}, str(tmp_path))[name] == value


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("PUBLIC_URL", "https://"),
        ("PUBLIC_URL", "ftp://x"),
        ("PUBLIC_URL", "https://x/?a=b"),
        ("PUBLIC_URL", "https://x:port"),
        ("PUBLIC_URL", "https://x:99999"),
        ("PUBLIC_URL", "https://["),
        ("DATABASE_URL", "sqlite://"),
        ("DATABASE_URL", "loupe.sqlite"),
        ("ML_PRESIGNED_URL_EXPIRY_SECONDS", "604801"),
        ("ML_PRESIGNED_URL_EXPIRY_SECONDS", "0"),
        ("ML_MAX_BULK_ANNOTATIONS", "9" * 5000),
        ("TRUSTED_PROXIES", "1.0"),
        ("REDIS_URL", "redis.example.org:6379"),
        ("REDIS_URL", "redis://"),
        ("REDIS_URL", "redis://redis.example.org:port"),
        ("RATE_LIMIT_PIPELINE_PER_IP", "600"),
        ("RATE_LIMIT_PIPELINE_PER_IP", "0/minute"),
        ("RATE_LIMIT_PIPELINE_PER_IP", "600 per minute; 5/second"),
        ("RATE_LIMIT_PIPELINE_PER_KEY", "600/fortnight"),
        ("RATE_LIMIT_PIPELINE_PER_KEY", "٣/minute"),
        ("ML_MAX_PENDING_PER_USER", "-1"),
        ("ML_BUNDLE_SIGNING_KEY", "secret words"),
        ("ML_BUNDLE_SIGNING_KEY", SEED[:-4]),
        ("ML_BUNDLE_SIGNING_KEY", f"{SEED},x"),
        ("ML_PIPELINE_REQUIRE_HMAC", "tru"),
        ("ML_WEBHOOK_URL", "hooks.example"),
        ("ML_WEBHOOK_URL", "ftp://hooks.example"),
        ("ML_WEBHOOK_URL", "https:///in"),
        ("ML_WEBHOOK_URL", "https://hooks.example:0"),
        ("ML_WEBHOOK_URL", "https://hooks.example/#part"),
        ("ML_WEBHOOK_URL", "https://hooks.example/two words"),
        ("ML_WEBHOOK_URL", "https://höoks.example"),
        ("ML_WEBHOOK_URL", "http://hooks.example"),  # unless it is allowed
    ],
)
def test_wrong_values(tmp_path: Path, name: str, text: str) -> None:
    with pytest.raises(WrongSettings, match=name):
        load({**KEY, name: text}, str(tmp_path))


def test_webhooks_need_an_address_and_a_secret(tmp_path: Path) -> None:
    on = {**KEY, "ML_PIPELINE_PUSH_WEBHOOKS_ENABLED": "true"}
    with pytest.raises(WrongSettings) as raised:
        load(on, str(tmp_path))
    assert "ML_WEBHOOK_URL must be set" in str(raised.value)
    assert "ML_CALLBACK_HMAC_SECRET must be set" in str(raised.value)
    on |= {"ML_CALLBACK_HMAC_SECRET": "a-secret-of-some-length", "ML_WEBHOOK_URL": "http://hooks.example"}
    with pytest.raises(WrongSettings, match="unless ML_WEBHOOK_ALLOW_PRIVATE"):
        load(on, str(tmp_path))
    values = load({**on, "ML_WEBHOOK_ALLOW_PRIVATE": "true"}, str(tmp_path))
    assert values["ML_WEBHOOK_URL"] == "http://hooks.example"


@pytest.mark.parametrize(
    "text", ["https://ann:pass/word@hooks.example", "https://x:tokenword", "https://[word"]
)
def test_a_wrong_address_of_webhooks_is_not_quoted(tmp_path: Path, text: str) -> None:
    with pytest.raises(WrongSettings) as raised:
        load({**KEY, "ML_WEBHOOK_URL": text}, str(tmp_path))
    assert "word" not in str(raised.value)


def test_an_empty_variable_counts_as_not_set(tmp_path: Path) -> None:
    values = load({**KEY, **dict.fromkeys(SETTINGS.keys() - KEY.keys(), " ")}, str(tmp_path))
    assert values == load(KEY, str(tmp_path))


def test_generated_secrets_are_used_where_the_environment_says_nothing(tmp_path: Path) -> None:
    lines = "# once\nSECRET_KEY=generated=with=equals\nML_CALLBACK_HMAC_SECRET=generated-secret-012345\n\nnonsense\n"
    (tmp_path / "secrets.env").write_text(lines)
    values = load({"ML_CALLBACK_HMAC_SECRET": "from-the-environment"}, str(tmp_path))
    assert values["SECRET_KEY"] == "generated=with=equals"
    assert values["ML_CALLBACK_HMAC_SECRET"] == ("from-the-environment",)
    assert load({"ML_CALLBACK_HMAC_SECRET": ""}, str(tmp_path))["ML_CALLBACK_HMAC_SECRET"] == (
        "generated-secret-012345",
    )


def test_weak_secrets_are_named_but_not_shown(tmp_path: Path) -> None:
    weak = {"SECRET_KEY": "short1", "ML_CALLBACK_HMAC_SECRET": "short2,short3", "AUTH_PROXY_SECRET": "short4"}
    found = config.weaknesses(load(weak, str(tmp_path)))
    assert len(found) == 3
    assert {line.split()[0] for line in found} == set(weak)
    assert "short" not in " ".join(found)
    assert config.weaknesses(load(KEY, str(tmp_path))) == []


# --- the docs ----------------------------------------------------------------------------------------------------


def documented() -> dict[str, str]:
    """The default by name, from the tables of docs/configuration.md."""
    found = {}
    for line in (ROOT / "docs" / "configuration.md").read_text().splitlines():
        if line.startswith("| `"):
            names, default = line.split("|")[1:3]
            found |= dict.fromkeys(re.findall(r"`([A-Z0-9_]+)`", names), default.strip())
    return found


def test_the_docs_name_exactly_the_settings() -> None:
    assert set(documented()) == set(SETTINGS)


def test_the_docs_tell_the_real_defaults() -> None:
    plain = {name: text.strip("`") for name, text in documented().items() if text.startswith("`")}
    for name, text in plain.items():
        if name in SETTINGS and name not in ("DATABASE_URL", "S3_PUBLIC_ENDPOINT"):
            assert SETTINGS[name].parse(text) == SETTINGS[name].default, name


def test_every_setting_has_a_reader() -> None:
    sources = "\n".join(path.read_text() for path in (ROOT / "app").rglob("*.py") if path.name != "config.py")
    read_here = (ROOT / "app" / "config.py").read_text().partition("\ndef load")[2]
    unread = [
        name for name in SETTINGS if f'"{name}"' not in sources and f'values["{name}"]' not in read_here
    ]
    assert unread == []
