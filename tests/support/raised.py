"""Which errors the code makes, read from its text."""

import ast
from collections.abc import Iterator
from pathlib import Path

from app.errors import CODES

APP = Path(__file__).resolve().parents[2] / "app"
NAMES = {error.__name__: code for code, error in CODES.items()}


def raised_with() -> Iterator[tuple[str, set[str]]]:
    """Every error that is made with arguments, by code, with the further members it is given."""
    for node in _nodes():
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in NAMES:
            names = {word.arg for word in node.keywords if word.arg}
            yield NAMES[node.func.id], names - {"errors", "headers", "retry_after"}


def raised() -> set[str]:
    """The codes of all errors that are made somewhere."""
    bare = {
        node.exc.id for node in _nodes() if isinstance(node, ast.Raise) and isinstance(node.exc, ast.Name)
    }
    return {code for code, _ in raised_with()} | {NAMES[name] for name in bare & NAMES.keys()}


def _nodes() -> Iterator[ast.AST]:
    for path in APP.rglob("*.py"):
        yield from ast.walk(ast.parse(path.read_text()))
