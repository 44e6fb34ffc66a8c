"""/admin/settings: what is in force and where it comes from; a secret is never shown, whole or in part."""

import base64
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from app import config
from app.admin.settings import plain
from app.config import GROUPS, SETTINGS
from app.errors import StorageUnavailable
from tests.cast import SECRET, Person
from tests.conftest import ENVIRON

ROOT = Path(__file__).resolve().parents[2]
SETTINGS_PAGE = "/admin/settings"
# of letters that stand beside each other in no word, so that any four of them can be looked for
MARKERS = {
    "SECRET_KEY": "qxzjvkqjxvzkxqvj",
    "AUTH_PROXY_SECRET": "kqzxvjkxzqvkjzxq",
    "S3_ACCESS_KEY": "vqjzkxqvzjxkqzvx",
    "S3_SECRET_KEY": "jkxqzvxjqkvzqxkj",
    "ML_CALLBACK_HMAC_SECRET": "xkvqzjxqkvjzvqxz,zvkxjqzkvxqjkvzq",
    "ML_BUNDLE_SIGNING_KEY": "xvvxzvjkvqvqjzvxxkjvvjjkxxkxvjkqkqxvqzqzjvk=",
    "ML_KEY_ENCRYPTION_KEYS": "zxqkjvzqxvkjqzxk",
}
IN_ADDRESS = "vxqkzjqx:zqkxvjzk"


def seen_by(person: Person, app: Any) -> Person:
    return Person(app, person.id, person.email, person.key)


def row(text: str, name: str) -> tuple[str, str]:
    """Value and origin, as the page shows them."""
    found = re.search(rf'<tr id="{name}">(.*?)</tr>', text, re.S)
    assert found, name
    cells = [re.sub(r"<[^>]+>", "", cell).strip() for cell in re.findall(r"<td.*?</td>", found[1], re.S)]
    return cells[0], cells[1]


def test_who_may(check_only_admins: Callable[..., None]) -> None:
    check_only_admins([SETTINGS_PAGE], [])


def test_every_setting_in_the_groups_of_the_docs() -> None:
    assert sorted(name for names in GROUPS.values() for name in names) == sorted(SETTINGS)
    under: dict[str, set[str]] = {}
    title = ""
    for line in (ROOT / "docs" / "configuration.md").read_text().splitlines():
        if line.startswith("## "):
            title = line[3:]
        elif line.startswith("| `"):
            under.setdefault(title, set()).update(re.findall(r"`([A-Z0-9_]+)`", line.split("|")[1]))
    assert {title: set(names) for title, names in GROUPS.items()} == under


def test_values_and_where_they_come_from(make_app: Any, admin: Person) -> None:
    app = make_app(ML_ALLOWED_MODELS="leaf-net, bark", PUBLIC_URL="", TRUSTED_PROXIES="0")
    text = seen_by(admin, app).client.get(SETTINGS_PAGE).text
    assert all(row(text, name) for name in SETTINGS)
    assert row(text, "ML_ALLOWED_MODELS") == ("leaf-net, bark", "environment")
    assert row(text, "PUBLIC_URL") == ("–", "default")
    assert row(text, "TRUSTED_PROXIES") == ("0", "environment")
    assert row(text, "ML_ANALYSIS_ENABLED") == ("true", "default")
    assert row(text, "MAX_IMAGE_BYTES") == ("52428800", "default")
    assert row(text, "AUTH_PROXY_SECRET") == ("not set (secret)", "default")


def test_sources(tmp_path: Path) -> None:
    (tmp_path / "secrets.env").write_text("SECRET_KEY=generated\nML_CALLBACK_HMAC_SECRET=also\nNOBODYS=x\n")
    found = config.sources({"ML_CALLBACK_HMAC_SECRET": "here", "S3_BUCKET": " "}, str(tmp_path))
    assert set(found) == set(SETTINGS)
    named = {name: origin for name, origin in found.items() if origin != "default"}
    assert named == {"SECRET_KEY": "generated", "ML_CALLBACK_HMAC_SECRET": "environment"}


def test_secrets_are_never_shown(make_app: Any, admin: Person, database: Any) -> None:
    secret = {name for name, setting in SETTINGS.items() if setting.secret}
    assert set(MARKERS) | {"DATABASE_URL", "REDIS_URL"} == secret
    told = f"https://{IN_ADDRESS}@files.example.org"
    app = make_app(**MARKERS, S3_BUCKET="pictures", S3_ENDPOINT=told, S3_PUBLIC_ENDPOINT=told)
    app.extensions["storage"] = Answering()
    # only told to the page, so that no later app looks for it
    app.config["REDIS_URL"] = f"redis://{IN_ADDRESS}@redis.example.org"
    text = without_tokens(seen_by(admin, app).client.get(SETTINGS_PAGE).text)
    for marker in (*MARKERS.values(), IN_ADDRESS):
        assert not pieces(marker) & pieces(text.lower()), marker
    assert database.url not in text
    assert row(text, "ML_CALLBACK_HMAC_SECRET") == ("2 set (secret)", "environment")
    assert row(text, "ML_BUNDLE_SIGNING_KEY") == ("1 set (secret)", "environment")
    assert row(text, "ML_KEY_ENCRYPTION_KEYS") == ("1 set (secret)", "environment")
    for name in ("SECRET_KEY", "REDIS_URL", "AUTH_PROXY_SECRET", "S3_ACCESS_KEY", "S3_SECRET_KEY"):
        assert row(text, name)[0] == "set (secret)"
    assert row(text, "S3_ENDPOINT")[0] == row(text, "S3_PUBLIC_ENDPOINT")[0] == "https://files.example.org"


def test_the_public_keys_of_bundles_are_shown(make_app: Any, admin: Person) -> None:
    seeds = [base64.b64encode(bytes([number]) * 32).decode() for number in (1, 2)]
    app = make_app(ML_BUNDLE_SIGNING_KEY=",".join(seeds))
    text = seen_by(admin, app).client.get(SETTINGS_PAGE).text
    listed = seen_by(admin, app).api("GET", "/api/bundle-keys").json["keys"]
    assert len(listed) == 2
    for key in listed:
        assert key["public_key"] in text.replace("&#43;", "+") and key["key_id"] in text
    assert not any(seed in text for seed in seeds)


def test_a_database_password_is_not_shown(admin: Person, app: Any) -> None:
    """The address is only told to the page here, so that any database will do."""
    told = f"{IN_ADDRESS}@qzvxkj.example/xjkqzv"
    app.config["DATABASE_URL"] = f"postgresql+psycopg://{told}"
    text = without_tokens(admin.client.get(SETTINGS_PAGE).text)
    assert not pieces(told.replace(".example", "")) & pieces(text.lower())
    assert re.fullmatch(r"(SQLite|PostgreSQL) \d+(\.\d+)+ \(secret\)", row(text, "DATABASE_URL")[0])


def pieces(text: str) -> set[str]:
    """Every four letters that stand together."""
    return {text[at : at + 4] for at in range(len(text) - 3)}


def without_tokens(text: str) -> str:
    return re.sub(r'name="csrf_token" value="[^"]+"', "", text)


def test_secrets_of_the_tests_themselves(admin: Person) -> None:
    text = admin.client.get(SETTINGS_PAGE).text
    assert SECRET not in text and ENVIRON["SECRET_KEY"] not in text


class Answering:
    """A storage that is there."""

    def check(self) -> None:
        return None

    def public_origin(self) -> None:
        return None


class Away(Answering):
    def check(self) -> None:
        raise StorageUnavailable("The bucket does not answer.")


def test_whether_the_storage_answers(app: Any, admin: Person) -> None:
    text = admin.client.get(SETTINGS_PAGE).text
    assert "Local disk" in text and '<span class="state-ok">answers</span>' in text
    app.extensions["storage"] = Away()
    answer = admin.client.get(SETTINGS_PAGE)
    assert answer.status_code == 200 and "does not answer: The bucket does not answer." in answer.text


def test_weak_secrets_are_told(make_app: Any, admin: Person) -> None:
    weak = seen_by(admin, make_app(ML_CALLBACK_HMAC_SECRET="zqshort", AUTH_PROXY_SECRET="zqtiny"))
    text = weak.client.get(SETTINGS_PAGE).text
    assert len(re.findall(r"has fewer than 16 characters", text)) == 2
    assert "zqshort" not in text and "zqtiny" not in text
    assert "fewer than" not in admin.client.get(SETTINGS_PAGE).text


@pytest.mark.parametrize(
    ("value", "told"),
    [
        (True, "true"),
        (0, "0"),
        ((), ""),
        (("*",), "*"),
        ("https://a:b@c.example:8443/d", "https://c.example:8443/d"),
        ("plain@text", "plain@text"),
    ],
)
def test_how_values_are_told(value: Any, told: str) -> None:
    assert plain(value) == told


def test_with_analyses_switched_off_only_the_switch_is_left(make_app: Any, admin: Person) -> None:
    person = seen_by(admin, make_app(ML_ANALYSIS_ENABLED="false"))
    text = person.client.get("/admin/settings").text
    assert row(text, "ML_ANALYSIS_ENABLED") == ("false", "environment")
    # what is deleted is kept for so long, images too
    assert set(re.findall(r"\bML_[A-Z_]+", text)) == {"ML_ANALYSIS_ENABLED", "ML_RETENTION_DAYS"}
    assert ">pipeline<" not in person.client.get("/admin/audit").text
