"""What the tests of `flask annotations import --project` share."""

import json
from pathlib import Path
from typing import Any

import pytest
from flask import Flask


@pytest.fixture
def run(app: Flask, project: Any) -> Any:
    """run(format, file, …): every line that the command says with --json, by its kind."""

    def run(format: str, *named: object, code: int = 0, model: bool = True) -> dict[str, list[Any]]:
        told = ["annotations", "import", "--project", str(project.id), "--format", format, "--json"]
        told += ["--model", "leaf-net", "--version", "2.0"] if model else []
        result = app.test_cli_runner().invoke(args=[*told, *map(str, named)])
        assert result.exit_code == code, result.output
        assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
        said: dict[str, list[Any]] = {}
        for line in result.output.splitlines():
            one = json.loads(line)
            said.setdefault(one.pop("kind"), []).append(one)
        return said

    return run


@pytest.fixture
def write(tmp_path: Path) -> Any:
    """write(name, content): a file of it, as JSON unless it is text."""

    def write(name: str, content: Any) -> Path:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content if isinstance(content, str) else json.dumps(content))
        return path

    return write


@pytest.fixture
def leaves(world: Any, project: Any) -> dict[str, Any]:
    return {name: world.image(project, filename=name) for name in ("a.png", "b.png", "c.png")}
