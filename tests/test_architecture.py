"""Who may import whom, how long things may be, and what must never stand in a file.

The picture to these rules is in docs/architecture.md; a module that is new at the top of app/ needs its line here.
"""

import ast
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
APP = ROOT / "app"

# each may import what stands behind it
ARROWS = {
    "errors": "",
    "geometry": "",
    "config": "",
    "extensions": "",
    "dialect": "extensions",
    "kept": "",
    "logs": "",
    "sessions": "",
    "windows": "",
    "signing": "errors",
    "sealing": "errors",
    "imaging": "errors",
    "bitmaps": "errors geometry",
    "storage": "errors signing",
    "rasteriser": "",
    "lettering": "rasteriser",
    "models": "errors extensions",
    "annotations": "errors geometry",
    "overlay": "annotations geometry lettering",
    "pyramids": "geometry imaging overlay",
    "schemas": "annotations errors geometry models",
    "access": "errors extensions models services",
    "outgoing": "",
    "services": "annotations bitmaps dialect errors extensions geometry imaging kept models outgoing overlay pyramids "
    "sealing signing storage",
    "deliveries": "config extensions outgoing services signing",
    "exports": "annotations dialect errors extensions geometry models schemas services storage",
    "importers": "annotations errors geometry models schemas",
    "bundles": "config errors exports extensions models schemas services storage",
    "callers": "errors extensions models services signing",
    "rates": "errors extensions models services windows",
    "guards": "callers errors extensions models rates schemas services signing",
    "openapi": "annotations errors guards schemas signing",
    "ranges": "errors storage",
    "responses": "errors extensions storage",
    "stretches": "schemas services",
    "exporter": "bundles errors exports extensions models services storage",
    "background": "deliveries exporter extensions services storage",
}
# these meet the world: they may import anything above, never each other
AUDIENCES = frozenset({"web", "api", "pipeline", "admin", "files", "ops", "cli"})
WITHOUT_FLASK = (
    "errors",
    "geometry",
    "overlay",
    "annotations",
    "bitmaps",
    "imaging",
    "pyramids",
    "signing",
    "sealing",
    "schemas",
    "importers",
    "rasteriser",
    "lettering",
    "outgoing",
)
LONGEST_FILE, LONGEST_FUNCTION = 400, 60

MODULES = sorted(APP.rglob("*.py"))
OUTSIDE = ("scripts", "deploy", "benchmarks")
SCRIPTS = sorted([ROOT / "wsgi.py", *(file for name in OUTSIDE for file in (ROOT / name).rglob("*.py"))])
TEMPLATES = sorted(file for file in (ROOT / "templates").rglob("*") if file.is_file())


def relative(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def module_of(path: Path) -> str:
    """The name at the top of app/ that a file belongs to."""
    return path.relative_to(APP).with_suffix("").parts[0]


def imported(path: Path) -> Iterator[str]:
    """Everything a file imports, as dotted names; `from app import x` is app.x."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{relative(path)} line {node.lineno}: write the whole name of the module"
            whole = node.module == "app"
            yield from ([f"app.{alias.name}" for alias in node.names] if whole else [str(node.module)])


def own_imports(path: Path) -> set[str]:
    names = {name.split(".")[1] for name in imported(path) if name.startswith("app.")}
    return names - {module_of(path)}


def test_imports_follow_the_arrows() -> None:
    wrong = []
    for path in MODULES:
        module = module_of(path)
        if module == "__init__":
            continue
        if module not in ARROWS and module not in AUDIENCES:
            wrong.append(f"{module}: say in ARROWS what it may import, and draw it in docs/architecture.md")
            continue
        forbidden = AUDIENCES if module in AUDIENCES else own_imports(path) - set(ARROWS[module].split())
        wrong += [f"{relative(path)} imports {name}" for name in sorted(own_imports(path) & forbidden)]
    assert not wrong


def test_pure_modules_know_no_flask() -> None:
    pure = [path for path in MODULES if module_of(path) in WITHOUT_FLASK]
    assert not [
        f"{relative(path)} imports {name}"
        for path in pure
        for name in imported(path)
        if name.split(".")[0].startswith(("flask", "werkzeug"))
    ]


def test_files_and_functions_are_short() -> None:
    long = []
    for path in MODULES + SCRIPTS:
        text = path.read_text()
        if len(text.splitlines()) > LONGEST_FILE:
            long.append(f"{relative(path)}: {len(text.splitlines())} lines")
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                length = (node.end_lineno or 0) - node.lineno + 1
                long += [f"{relative(path)} {node.name}: {length} lines"] if length > LONGEST_FUNCTION else []
    assert not long


def matches(pattern: str, paths: list[Path], *, but_in: frozenset[str] = frozenset()) -> list[str]:
    """Where a pattern stands in these files of app/, but for the modules that may."""
    return [
        f"{relative(path)}: {match.group()}"
        for path in paths
        if module_of(path) not in but_in
        for match in re.finditer(pattern, path.read_text())
    ]


def test_only_the_settings_read_the_environment() -> None:
    reads = r"\bos\.(?:environ|getenv)\b|\bimport (?:environ|getenv)\b"
    assert not matches(reads, MODULES, but_in=frozenset({"config"}))


def test_only_the_audiences_commit() -> None:
    # whatever the request then does, the account that a reverse proxy's sign-in makes at first sight is kept, and when
    # a key was used; the background loop acts for nobody's request, and each step of its tasks is a transaction; what
    # delivers webhooks must let go of each before it is sent
    assert not matches(
        r"session\.commit\(", MODULES, but_in=AUDIENCES | {"background", "callers", "deliveries"}
    )


def test_what_pipelines_change_is_kept_in_one_place() -> None:
    """There a nonce is spent with its effect."""
    modules = [path for path in MODULES if module_of(path) == "pipeline" and path.stem != "__init__"]
    assert modules and not matches(r"session\.commit\(", modules)


def test_no_markup_is_made_in_python() -> None:
    markup = r"""\bMarkup\(|\brender_template_string\b|["']</?(?:svg|g|rect|path|circle|text|image|div|span|p|a)[ >/]"""
    assert not matches(markup, MODULES)


def test_no_module_is_a_drawer_for_the_rest() -> None:
    drawers = {"utils", "util", "helpers", "helper", "manager", "common", "misc"}
    assert not [relative(path) for path in MODULES if drawers & {*path.relative_to(APP).parts, path.stem}]


FORBIDDEN_IN_TEMPLATES = {
    "|safe": r"\|\s*safe\b",
    "autoescape switched off": r"autoescape\s+false",
    "an inline script": r"<script(?![^>]*\ssrc=)",
    "an inline style": r"<style\b",
    "a style attribute": r"\sstyle\s*=",
    "an event handler": r"\son[a-z]+\s*=",
    "hx-on": r"\shx-on\b",
    "a javascript: address": r"javascript:",
}


def test_templates_leave_the_content_security_policy_alone() -> None:
    found = []
    for path in TEMPLATES:
        text = re.sub(r"\{#.*?#\}", "", path.read_text(), flags=re.DOTALL)
        for what, pattern in FORBIDDEN_IN_TEMPLATES.items():
            found += [f"{relative(path)}: {what}"] if re.search(pattern, text, re.IGNORECASE) else []
    assert not found


# taken apart, so that they do not find themselves
MACHINE_PATHS = re.compile("/ho" "me/|/ro" "ot/|/wo" "rk/|/Us" r"ers/|\.\./sha" "red")


def is_left_out(file: Path) -> bool:
    """For a copy without git: data, environments, caches and what the tests put out."""
    parts = file.relative_to(ROOT).parts
    hidden = any(part.startswith(".") and part not in (".ci", ".gitignore") for part in parts)
    return hidden or bool({"instance", "output", "__pycache__"} & set(parts))


def own_files() -> list[Path]:
    """Every file of the project, without what .gitignore leaves out."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    names = listed.stdout.splitlines() if listed.returncode == 0 else []
    files = [ROOT / name for name in names] or [file for file in ROOT.rglob("*") if not is_left_out(file)]
    return [file for file in files if file.is_file()]


def test_no_file_names_a_path_of_somebodys_machine() -> None:
    found = []
    for file in own_files():
        text = file.read_bytes().decode("utf-8", "ignore")
        found += [f"{relative(file)}: {match.group()}" for match in MACHINE_PATHS.finditer(text)]
    assert not found
