"""Fetches what the page carries of other projects from the npm registry, and writes down what it is.

    python tcrules/report/page/vendor/update.py cytoscape=3.34.4

The page needs no network: these files are part of the package. `manifest.json` has version, licence, address and hash
of each; a test compares them with the files.
"""

from __future__ import annotations

import hashlib
import io
import json
import sys
import tarfile
import urllib.request
from pathlib import Path

HERE = Path(__file__).parent
#: Package -> the file of it that the page carries, and its licence.
FILES = {"cytoscape": ("package/dist/cytoscape.min.js", "package/LICENSE")}


def main(wanted: list[str]) -> None:
    """Fetch `name=version` for each argument."""
    manifest = {}
    for one in wanted:
        name, _, version = one.partition("=")
        with urllib.request.urlopen(f"https://registry.npmjs.org/{name}/{version}") as answer:
            told = json.load(answer)
        with urllib.request.urlopen(told["dist"]["tarball"]) as answer:
            content, licence = _members(answer.read(), FILES[name])
        (HERE / Path(FILES[name][0]).name).write_bytes(content)
        (HERE / f"{name}.LICENSE").write_bytes(licence)
        manifest[Path(FILES[name][0]).name] = {
            "package": name,
            "version": told["version"],
            "licence": told["license"],
            "source": told["dist"]["tarball"],
            "sha256": hashlib.sha256(content).hexdigest(),
        }
    (HERE / "manifest.json").write_text(json.dumps(manifest, indent=2) + "\n", encoding="utf-8")


def _members(archive: bytes, names: tuple[str, ...]) -> list[bytes]:
    with tarfile.open(fileobj=io.BytesIO(archive)) as opened:
        files = [opened.extractfile(name) for name in names]
        return [file.read() for file in files if file is not None]


if __name__ == "__main__":
    main(sys.argv[1:])
