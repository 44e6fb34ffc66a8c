"""Checks a provenance bundle offline: `python scripts/verify_bundle.py FILE [--public-key BASE64]`.

Needs this checkout and Python, nothing installed; for the signature the library `cryptography`. Ends with 0 when the
bundle is whole, 1 when it lies, 2 when it could not be checked.
"""

import importlib
import sys
from pathlib import Path
from types import ModuleType

BUNDLES = Path(__file__).resolve().parent.parent / "app" / "bundles"


def main() -> int:
    # the packages by name only: what they load when they are imported would have to be installed
    for name, folder in (("app", BUNDLES.parent), ("app.bundles", BUNDLES)):
        package = ModuleType(name)
        package.__path__ = [str(folder)]
        sys.modules[name] = package
    return int(importlib.import_module("app.bundles.verifying").main())


if __name__ == "__main__":
    sys.exit(main())
