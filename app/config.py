"""The settings: the only reader of the environment. Wrong values are all named at once, at start-up.

To add one: a line in `SETTINGS`, its name in `GROUPS`, a reader, a line in `docs/configuration.md` (tests hold the four
together).
Values come from the environment, then from `instance/secrets.env` (what the first start generated), then from here.
"""

import base64
import os
import re
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

VERSION = "0.1.0.dev0"  # of Loupe
MIB = 1024 * 1024
STRONG = 16
YEARS = 10 * 366 * 86_400  # the longest time that anything is waited for, in seconds


class WrongSettings(Exception):
    """Start-up is refused; the message names every missing or wrong variable, a line each."""


@dataclass(frozen=True)
class Setting:
    parse: Callable[[str], Any]
    default: Any
    secret: bool = False


def _boolean(text: str) -> bool:
    values = {
        "1": True,
        "true": True,
        "yes": True,
        "on": True,
        "0": False,
        "false": False,
        "no": False,
        "off": False,
    }
    if text.strip().lower() not in values:
        raise ValueError("must be true or false")
    return values[text.strip().lower()]


def _whole(low: int, high: int) -> Callable[[str], int]:
    def parse(text: str) -> int:
        if not (text.strip().isascii() and text.strip().isdigit() and low <= int(text) <= high):
            raise ValueError(f"must be a whole number from {low} to {high}")
        return int(text)

    return parse


def _text(text: str) -> str:
    return text.strip()


def _words(text: str) -> tuple[str, ...]:
    return tuple(word.strip() for word in text.split(",") if word.strip())


def _seeds(text: str) -> tuple[str, ...]:
    """Ed25519 seeds in base64. They are secret, so a wrong one is quoted by nobody."""
    words = _words(text)
    for word in words:
        with suppress(ValueError):
            if len(base64.b64decode(word, validate=True)) == 32:
                continue
        raise ValueError("must be 32 random bytes in base64, or several such, newest first")
    return words


def _choice(*allowed: str) -> Callable[[str], str]:
    def parse(text: str) -> str:
        if text.strip() not in allowed:
            raise ValueError("must be one of " + ", ".join(allowed))
        return text.strip()

    return parse


def _address(text: str) -> str:
    parts = urlsplit(text.strip())
    wrong_port = parts.port == 0  # reading it raises ValueError when it is no number
    if (
        parts.scheme not in ("http", "https")
        or not parts.hostname
        or wrong_port
        or parts.query
        or parts.fragment
    ):
        raise ValueError("must be an address such as https://loupe.example.org")
    return text.strip().rstrip("/")


def _receiver(text: str) -> str:
    """The address of webhooks. User, password and query may be secrets, so a wrong one is quoted by nobody."""
    text = text.strip()
    with suppress(ValueError):  # a port that is no number
        parts = urlsplit(text)
        plain = re.fullmatch(r"[!-~]+", text) and not parts.fragment and parts.port != 0
        if plain and parts.scheme in ("http", "https") and parts.hostname:
            return text
    raise ValueError("must be an address such as https://hooks.example.org/loupe")


def _database(text: str) -> str:
    text = text.strip()
    for old in ("postgres://", "postgresql://"):
        if text.startswith(old):
            return "postgresql+psycopg://" + text.removeprefix(old)
    if not text.startswith(("sqlite:///", "postgresql+psycopg://")):
        raise ValueError("must begin with sqlite:/// or postgresql://")
    return text


def _redis(text: str) -> str:
    parts = urlsplit(text.strip())
    wrong_port = parts.port == 0  # reading it raises ValueError when it is no number
    if parts.scheme not in ("redis", "rediss") or not parts.hostname or wrong_port:
        raise ValueError("must be an address such as redis://localhost:6379/0")
    return text.strip()


RATE = re.compile(r"[1-9][0-9]{0,6}/(second|minute|hour)")


def _rate(text: str) -> str:
    if text.strip() != "off" and not RATE.fullmatch(text.strip()):
        raise ValueError("must be a number below 10,000,000 and a time, such as 600/minute, or off")
    return text.strip()


SETTINGS: dict[str, Setting] = {
    "SECRET_KEY": Setting(str, None, secret=True),
    "DATABASE_URL": Setting(_database, None, secret=True),
    "PUBLIC_URL": Setting(_address, ""),
    "REDIS_URL": Setting(_redis, "", secret=True),
    "TRUSTED_PROXIES": Setting(_whole(0, 10), 0),
    "AUTH_PROXY_SECRET": Setting(_text, "", secret=True),
    "AUTH_PROXY_CREATE_USERS": Setting(_boolean, False),
    "MAX_IMAGE_BYTES": Setting(_whole(1, 1024 * MIB), 50 * MIB),
    "MAX_REQUEST_BYTES": Setting(_whole(1024, 1024 * MIB), 32 * MIB),
    "S3_ENDPOINT": Setting(_address, ""),
    "S3_PUBLIC_ENDPOINT": Setting(_address, ""),
    "S3_BUCKET": Setting(_text, ""),
    "S3_REGION": Setting(_text, "us-east-1"),
    "S3_ACCESS_KEY": Setting(_text, "", secret=True),
    "S3_SECRET_KEY": Setting(_text, "", secret=True),
    "ML_ANALYSIS_ENABLED": Setting(_boolean, True),
    "ML_CALLBACK_HMAC_SECRET": Setting(_words, (), secret=True),
    "ML_PIPELINE_REQUIRE_HMAC": Setting(_boolean, True),
    "ML_ALLOWED_MODELS": Setting(_words, ("*",)),
    "ML_MAX_ANALYSES_PER_IMAGE": Setting(_whole(1, 1_000_000), 50),
    "ML_MAX_PENDING_PER_USER": Setting(_whole(0, 1_000_000), 0),
    "ML_MAX_BULK_ANNOTATIONS": Setting(_whole(1, 1_000_000), 10_000),
    "ML_PRESIGNED_URL_EXPIRY_SECONDS": Setting(_whole(1, 604_800), 900),
    "ML_DEFAULT_STATUS": Setting(_choice("queued", "processing"), "queued"),
    "ML_SIGNATURE_MAX_SKEW_SECONDS": Setting(_whole(1, 86_400), 300),
    "ML_PLAIN_BIND_TARGET": Setting(_boolean, False),
    "ML_KEY_ENCRYPTION_KEYS": Setting(_words, (), secret=True),
    "ML_BUNDLE_SIGNING_KEY": Setting(_seeds, (), secret=True),
    "RATE_LIMIT_PIPELINE_PER_IP": Setting(_rate, "18000/minute"),
    "RATE_LIMIT_PIPELINE_PER_KEY": Setting(_rate, "36000/minute"),
    "ML_PIPELINE_PULL_ENABLED": Setting(_boolean, False),
    "ML_LEASE_SECONDS": Setting(_whole(1, 86_400), 120),
    "ML_LEASE_RETRY_ATTEMPTS": Setting(_whole(0, 100), 0),
    "ML_STALE_QUEUED_SECONDS": Setting(_whole(0, YEARS), 7 * 86_400),
    "ML_STALE_PROCESSING_SECONDS": Setting(_whole(0, YEARS), 86_400),
    "ML_RETENTION_DAYS": Setting(_whole(0, 36_500), 30),
    "ML_EXPORT_KEEP_DAYS": Setting(_whole(1, 3_650), 7),
    "BACKGROUND_LOOP": Setting(_boolean, True),
    "ML_PIPELINE_PUSH_WEBHOOKS_ENABLED": Setting(_boolean, False),
    "ML_WEBHOOK_URL": Setting(_receiver, ""),
    "ML_WEBHOOK_ALLOW_PRIVATE": Setting(_boolean, False),
}

# the headings of docs/configuration.md, and what stands under each
GROUPS: dict[str, tuple[str, ...]] = {
    "Needed": ("SECRET_KEY",),
    "The server": (
        "DATABASE_URL",
        "REDIS_URL",
        "PUBLIC_URL",
        "TRUSTED_PROXIES",
        "MAX_REQUEST_BYTES",
        "MAX_IMAGE_BYTES",
    ),
    "Single sign-on by a reverse proxy": ("AUTH_PROXY_SECRET", "AUTH_PROXY_CREATE_USERS"),
    "Object storage": (
        "S3_BUCKET",
        "S3_ENDPOINT",
        "S3_PUBLIC_ENDPOINT",
        "S3_REGION",
        "S3_ACCESS_KEY",
        "S3_SECRET_KEY",
    ),
    "Deleting and sweeping": ("ML_RETENTION_DAYS", "ML_EXPORT_KEEP_DAYS", "BACKGROUND_LOOP"),
    "ML analyses": (
        "ML_ANALYSIS_ENABLED",
        "ML_CALLBACK_HMAC_SECRET",
        "ML_PIPELINE_REQUIRE_HMAC",
        "ML_SIGNATURE_MAX_SKEW_SECONDS",
        "ML_PLAIN_BIND_TARGET",
        "ML_KEY_ENCRYPTION_KEYS",
        "ML_BUNDLE_SIGNING_KEY",
        "ML_ALLOWED_MODELS",
        "ML_DEFAULT_STATUS",
        "ML_MAX_ANALYSES_PER_IMAGE",
        "ML_MAX_PENDING_PER_USER",
        "ML_MAX_BULK_ANNOTATIONS",
        "ML_PRESIGNED_URL_EXPIRY_SECONDS",
        "RATE_LIMIT_PIPELINE_PER_IP",
        "RATE_LIMIT_PIPELINE_PER_KEY",
        "ML_PIPELINE_PUSH_WEBHOOKS_ENABLED",
        "ML_WEBHOOK_URL",
        "ML_WEBHOOK_ALLOW_PRIVATE",
    ),
    "Workers": (
        "ML_PIPELINE_PULL_ENABLED",
        "ML_LEASE_SECONDS",
        "ML_LEASE_RETRY_ATTEMPTS",
        "ML_STALE_QUEUED_SECONDS",
        "ML_STALE_PROCESSING_SECONDS",
    ),
}


def load(environ: Mapping[str, str] | None, instance_path: str) -> dict[str, Any]:
    """Every setting with its typed value, by name.

    Raises WrongSettings naming all that is wrong. An empty variable counts as not set.
    """
    given = _generated(Path(instance_path)) | _environment(environ)
    values: dict[str, Any] = {}
    wrong: list[str] = []
    for name, setting in SETTINGS.items():
        try:
            values[name] = setting.parse(given[name]) if name in given else setting.default
        except ValueError as reason:
            wrong.append(f"{name} {reason}")
    values["DATABASE_URL"] = values.get("DATABASE_URL") or f"sqlite:///{Path(instance_path) / 'loupe.sqlite'}"
    wrong += _contradictions(values)
    if wrong:
        raise WrongSettings("Loupe cannot start:\n" + "\n".join(f"  {line}" for line in wrong))
    return values


def sources(environ: Mapping[str, str] | None, instance_path: str) -> dict[str, str]:
    """Where the value of each setting comes from: `environment`, `generated` (instance/secrets.env) or `default`."""
    given, generated = _environment(environ), _generated(Path(instance_path))
    found = {name: "generated" if name in generated else "default" for name in SETTINGS}
    return found | {name: "environment" for name in SETTINGS if name in given}


def weaknesses(values: Mapping[str, Any]) -> list[str]:
    """What works but should not stay like that in production; a sentence each."""
    short = [name for name in ("SECRET_KEY", "AUTH_PROXY_SECRET") if 0 < len(values[name]) < STRONG]
    for name in ("ML_CALLBACK_HMAC_SECRET", "ML_KEY_ENCRYPTION_KEYS"):
        short += [name for secret in values[name] if len(secret) < STRONG]
    return [f"{name} has fewer than {STRONG} characters and can be guessed" for name in dict.fromkeys(short)]


def for_flask(values: Mapping[str, Any]) -> dict[str, Any]:
    """What Flask and its extensions want to be told, derived from our settings."""
    secure = values["PUBLIC_URL"].startswith("https://")
    return {
        "SQLALCHEMY_DATABASE_URI": values["DATABASE_URL"],
        "MAX_CONTENT_LENGTH": values["MAX_REQUEST_BYTES"],
        # see windows.py
        "RATELIMIT_STORAGE_URI": f"shared+{values['REDIS_URL']}" if values["REDIS_URL"] else "own://",
        "SESSION_COOKIE_NAME": "__Host-loupe" if secure else "loupe",
        "SESSION_COOKIE_SECURE": secure,
        "SESSION_COOKIE_HTTPONLY": True,
        "SESSION_COOKIE_SAMESITE": "Lax",
        "SESSION_REFRESH_EACH_REQUEST": False,  # once a day, see sessions.py
        # 14 days without use; the cookie that was used last may have been a day old by then
        "PERMANENT_SESSION_LIFETIME": (14 + 1) * 24 * 3600,
        "WTF_CSRF_CHECK_DEFAULT": False,
        "WTF_CSRF_TIME_LIMIT": None,
    }


def _environment(environ: Mapping[str, str] | None) -> dict[str, str]:
    given = os.environ if environ is None else environ
    return {name: value for name, value in given.items() if value.strip()}


def _generated(instance: Path) -> dict[str, str]:
    file = instance / "secrets.env"
    if not file.is_file():
        return {}
    lines = (line.partition("=") for line in file.read_text().splitlines() if not line.startswith("#"))
    return {name.strip(): value.strip() for name, equals, value in lines if equals}


def _contradictions(values: Mapping[str, Any]) -> list[str]:
    wrong = []
    if "SECRET_KEY" in values and not values["SECRET_KEY"]:
        wrong.append("SECRET_KEY must be set (or run `make run`, which generates one into instance/)")
    if values.get("S3_ENDPOINT") and not values.get("S3_BUCKET"):
        wrong.append("S3_BUCKET must be set when S3_ENDPOINT is")
    if values.get("S3_PUBLIC_ENDPOINT") and not values.get("S3_BUCKET"):
        wrong.append("S3_BUCKET must be set when S3_PUBLIC_ENDPOINT is")
    if bool(values.get("S3_ACCESS_KEY")) != bool(values.get("S3_SECRET_KEY")):
        wrong.append("S3_ACCESS_KEY and S3_SECRET_KEY must be set together")
    return wrong + _webhook_contradictions(values)


def _webhook_contradictions(values: Mapping[str, Any]) -> list[str]:
    wrong = []
    url = values.get("ML_WEBHOOK_URL")
    if values.get("ML_PIPELINE_PUSH_WEBHOOKS_ENABLED"):
        needed = {name: values.get(name, True) for name in ("ML_WEBHOOK_URL", "ML_CALLBACK_HMAC_SECRET")}
        wrong += [
            f"{name} must be set when ML_PIPELINE_PUSH_WEBHOOKS_ENABLED is"
            for name in needed
            if not needed[name]
        ]
    if url and not url.startswith("https:") and not values.get("ML_WEBHOOK_ALLOW_PRIVATE"):
        wrong.append("ML_WEBHOOK_URL must begin with https:// unless ML_WEBHOOK_ALLOW_PRIVATE is set")
    return wrong
