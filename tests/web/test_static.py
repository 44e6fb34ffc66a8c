"""What stands in static/: the vendored file is the one its list names, the palette is the one Python colours with."""

import hashlib
import re
from pathlib import Path

from app.overlay.colours import PALETTE

STATIC = Path(__file__).resolve().parents[2] / "static"


def test_vendored_files_are_what_their_list_says() -> None:
    listed = re.findall(r"\| `([\w.]+)` \|.*?`([0-9a-f]{64})` \|", (STATIC / "VENDOR.md").read_text())
    assert [name for name, _ in listed] == ["htmx.min.js"]
    for name, digest in listed:
        assert hashlib.sha256((STATIC / name).read_bytes()).hexdigest() == digest, name


def test_vendored_files_bring_their_licence() -> None:
    assert "Zero-Clause BSD" in (STATIC / "htmx.LICENSE").read_text()


def test_the_style_sheet_has_the_palette_of_the_overlay() -> None:
    css = (STATIC / "style.css").read_text()
    assert dict(re.findall(r"--(c\d): (#[0-9a-f]{6});", css)) == {
        f"c{i}": colour for i, colour in enumerate(PALETTE)
    }
    assert all(f".k{i} {{ --c: var(--c{i}); }}" in css for i in range(len(PALETTE)))


def test_scripts_neither_evaluate_nor_write_markup() -> None:
    own = [file for file in STATIC.glob("*.js") if file.name != "htmx.min.js"]
    assert own
    for file in own:
        found = re.search(
            r"\beval\(|new Function|innerHTML|outerHTML|insertAdjacentHTML|document\.write",
            file.read_text().replace('"outerHTML"', ""),
        )
        assert not found, f"{file.name}: {found.group()}"
