"""GET /admin/exports/{id}/file: whole, in parts, and under which name."""

import re
from collections.abc import Callable

import pytest
from flask import Flask
from werkzeug.http import parse_options_header

from app.models import Analysis, AuditEvent, Export
from tests.cast import Person
from tests.factories import World, some_id
from tests.support.kept_exports import EXPORTS, file_of, get, kept_files, on_both_storages, run


@pytest.fixture
def written(app: Flask, world: World, large: Export) -> Export:
    """A file of several blocks."""
    run(app)
    return get(world, large.id)


def test_what_is_not_there_is_not_found(admin: Person, said: Analysis, ask: Callable[..., Export]) -> None:
    assert admin.client.get(f"{EXPORTS}/{some_id()}/file").status_code == 404
    assert admin.client.get(file_of(ask())).status_code == 404, "not written yet"


@pytest.mark.parametrize("name", ['a/b"; filename="c', "naïve 葉", "=cmd()", "<b>..\\..\\x", "x" * 255])
def test_hostile_names(
    app: Flask, world: World, admin: Person, ask: Callable[..., Export], name: str
) -> None:
    project = world.project(name)
    world.analysis(world.image(project, name[:200]))
    export = ask(project=str(project.id))
    assert run(app) == [f"export {export.id}: written"]
    header = admin.client.get(file_of(export)).headers["Content-Disposition"]
    kind, options = parse_options_header(header)
    clean = re.sub(r'[/\\:*?"<>|]', "-", name)
    assert kind == "attachment" and options["filename"].startswith(f"analyses_{clean}_")
    assert kept_files(app) == [f"exports/{export.id}/1"]
    assert "<b>.." not in admin.client.get(EXPORTS).text


@on_both_storages
def test_a_part_is_what_stands_there(admin: Person, written: Export) -> None:
    whole = admin.client.get(file_of(written))
    size = len(whole.data)
    assert size == written.size_bytes and size > 3 * 64 * 1024
    assert whole.headers["Accept-Ranges"] == "bytes" and whole.headers["ETag"] == f'"{written.sha256}"'
    for asked, start, stop in (
        ("0-0", 0, 1),
        ("0-99", 0, 100),
        ("70000-", 70_000, size),
        (f"{size - 1}-", size - 1, size),
        (f"100-{size * 2}", 100, size),
        ("-10", size - 10, size),
        (f"-{size * 2}", 0, size),
        ("65530-131080", 65_530, 131_081),
    ):
        answer = admin.client.get(file_of(written), headers={"Range": f"bytes={asked}"})
        assert answer.status_code == 206, asked
        assert answer.data == whole.data[start:stop], asked
        assert answer.headers["Content-Range"] == f"bytes {start}-{stop - 1}/{size}"
        assert int(answer.headers["Content-Length"]) == stop - start
        assert answer.headers["Content-Disposition"] == whole.headers["Content-Disposition"]


def test_what_is_no_part_is_416(world: World, admin: Person, written: Export) -> None:
    before = world.count(AuditEvent, action="export.downloaded")
    for asked in (f"{written.size_bytes}-", "999999999999-", "-0"):
        answer = admin.client.get(file_of(written), headers={"Range": f"bytes={asked}"})
        assert answer.status_code == 416, asked
        assert answer.headers["Content-Range"] == f"bytes */{written.size_bytes}"
    assert world.count(AuditEvent, action="export.downloaded") == before


@pytest.mark.parametrize("asked", ["bytes=0-1,5-9", "pages=1-2", "bytes=9-1", "bytes=x-", "nonsense"])
def test_what_is_not_understood_is_all_of_it(admin: Person, written: Export, asked: str) -> None:
    answer = admin.client.get(file_of(written), headers={"Range": asked})
    assert answer.status_code == 200 and len(answer.data) == written.size_bytes


def test_a_part_of_another_file_is_all_of_this_one(admin: Person, written: Export) -> None:
    whole = admin.client.get(file_of(written))
    for known, status in (
        (whole.headers["ETag"], 206),
        (f"W/{whole.headers['ETag']}", 200),
        ('"another"', 200),
        (whole.headers["Last-Modified"], 206),
        ("Wed, 04 Mar 2020 12:00:00 GMT", 200),
        ("nonsense", 200),
    ):
        headers = {"Range": "bytes=10-19", "If-Range": known}
        answer = admin.client.get(file_of(written), headers=headers)
        assert (answer.status_code, len(answer.data)) == (status, 10 if status == 206 else len(whole.data)), (
            known
        )


def test_head_and_not_modified_send_and_record_nothing(world: World, admin: Person, written: Export) -> None:
    head = admin.client.head(file_of(written))
    assert (head.status_code, head.data) == (200, b"") and head.content_length == written.size_bytes
    known = admin.client.get(file_of(written), headers={"If-None-Match": f'"{written.sha256}"'})
    assert (known.status_code, known.data) == (304, b"")
    assert world.count(AuditEvent, action="export.downloaded") == 0
