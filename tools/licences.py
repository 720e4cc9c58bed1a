"""What an installation consists of: every distribution behind our base and our `cloud` extra, its
version and its licence, read from what is really installed.

    python -m tools.licences                 writes docs/licences.md
    python -m tools.licences --check         exit code 1 when the page lacks or has too many names
    python -m tools.licences --sbom FOLDER   base.cdx.json and cloud.cdx.json (CycloneDX)
"""

import importlib.metadata
import json
import re
import subprocess
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "licences.md"
OURS = "cornerloop"
EXTRAS: Mapping[str, tuple[str, ...]] = {"base": (), "cloud": ("cloud",)}
_MARK = "<!-- From here on written by `python -m tools.licences`. -->\n"

# LGPL, or a word that looks like a licence we refuse, with the reason why it may stay.
ALLOWED: Mapping[str, str] = {
    "cuda-toolkit": "a package without contents that names NVIDIA's libraries; says no licence",
}
# The first words of licence texts, for those whose metadata says nothing.
_TEXTS = {
    "Apache License Version 2.0": "Apache-2.0",
    "MIT License": "MIT",
    "GNU GENERAL PUBLIC LICENSE": "GPL",
    "GNU AFFERO GENERAL PUBLIC LICENSE": "AGPL",
    "GNU LESSER GENERAL PUBLIC LICENSE": "LGPL",
}
_REFUSED = re.compile(r"\b(A?GPL|GNU (Affero )?General Public)", re.IGNORECASE)
_LESSER = re.compile(r"\bLGPL|Lesser General Public|Library General Public", re.IGNORECASE)
_CLASSIFIER = "License :: "


@dataclass(frozen=True, slots=True, kw_only=True)
class Installed:
    """One distribution."""

    name: str  # canonical: small letters and dashes
    version: str
    licence: str  # in its own words; "" when it says nothing


def distributions(extras: Iterable[str]) -> list[Installed]:
    """Everything that `cornerloop[extras]` brings on this machine, without itself, by name.

    Raises:
        importlib.metadata.PackageNotFoundError: something is not installed.
    """
    seen: dict[tuple[str, str], None] = {}
    wanted = [(OURS, frozenset(extras))]
    while wanted:
        name, its_extras = wanted.pop()
        for extra in ("", *its_extras):
            if (name, extra) in seen:
                continue
            seen[name, extra] = None
            for text in importlib.metadata.requires(name) or ():
                needed = Requirement(text)
                if needed.marker is None:
                    is_meant = extra == ""
                else:
                    is_meant = needed.marker.evaluate({"extra": extra})
                if is_meant:
                    wanted.append((canonicalize_name(needed.name), frozenset(needed.extras)))
    names = sorted({name for name, _ in seen} - {OURS})
    return [_installed(name) for name in names]


def _installed(name: str) -> Installed:
    found = importlib.metadata.distribution(name)
    licence = licence_in(found.metadata) or _by_its_text(found)
    return Installed(name=name, version=found.version, licence=licence)


def _by_its_text(found: importlib.metadata.Distribution) -> str:
    for file in found.files or ():
        if file.name.upper().startswith(("LICENSE", "LICENCE", "COPYING")):
            words = " ".join(Path(str(file.locate())).read_text(errors="replace").split()[:12])
            for beginning, licence in _TEXTS.items():
                if words.startswith(beginning):
                    return licence
    return ""


def licence_in(found: Any) -> str:
    """The licence that a distribution's metadata tells: the SPDX expression, else classifiers,
    else the first line of the field."""
    expression = found.get("License-Expression")
    if expression:
        return str(expression)
    classifiers = [
        text.rsplit(" :: ", 1)[-1]
        for text in found.get_all("Classifier") or ()
        if text.startswith(_CLASSIFIER) and text != "License :: OSI Approved"
    ]
    if classifiers:
        return "; ".join(dict.fromkeys(classifiers))
    lines = str(found.get("License") or "").strip().splitlines()
    return lines[0].strip()[:80] if lines else ""


def trouble(one: Installed) -> str:
    """Why a licence is refused; "" when it is not."""
    if one.name in ALLOWED:
        return ""
    if not one.licence:
        return "says no licence at all"
    # Who may choose between licences takes the other one.
    choices = re.split(r"\s+OR\s+", one.licence)
    if all(_LESSER.search(choice) for choice in choices):
        return f"{one.licence}: name it in ALLOWED with the reason, or do without it"
    if all(_REFUSED.search(_LESSER.sub("", choice)) for choice in choices):
        return f"{one.licence}: not in the core"
    return ""


def page() -> str:
    """The second half of the page."""
    base = {one.name for one in distributions(EXTRAS["base"])}
    lines = ["", "| name | version | licence | comes with |", "|---|---|---|---|"]
    for one in distributions(EXTRAS["cloud"]):
        brings = "base" if one.name in base else "cloud"
        lines.append(f"| {one.name} | {one.version} | {_cell(one.licence)} | {brings} |")
    return "\n".join(lines) + "\n"


def names_on_page(text: str) -> set[str]:
    """The distributions that the page lists."""
    return set(re.findall(r"^\| ([a-z0-9.-]+) \| \d", text, re.MULTILINE))


def is_current(text: str) -> bool:
    """Does the page list what is installed, by name?"""
    return names_on_page(text) == {one.name for one in distributions(EXTRAS["cloud"])}


def write_boms(folder: Path) -> list[Path]:
    """CycloneDX of what is installed, one file a set of extras; tools for development left out."""
    folder.mkdir(parents=True, exist_ok=True)
    program = Path(sys.executable).with_name("cyclonedx-py")
    made = subprocess.run(
        [str(program), "environment", sys.executable, "--output-reproducible"],
        capture_output=True,
        check=True,
    )
    whole = json.loads(made.stdout)
    written = []
    for name, extras in EXTRAS.items():
        path = folder / f"{name}.cdx.json"
        wanted = {OURS, *(one.name for one in distributions(extras))}
        path.write_text(json.dumps(_only(whole, wanted), indent=1) + "\n", encoding="utf-8")
        written.append(path)
    return written


def _only(whole: dict[str, Any], wanted: set[str]) -> dict[str, Any]:
    """A bill of materials with these components, and what depends on what among them."""
    kept = [c for c in whole["components"] if canonicalize_name(c["name"]) in wanted]
    refs = {component["bom-ref"] for component in kept}
    links = [
        {**one, "dependsOn": [ref for ref in one.get("dependsOn", ()) if ref in refs]}
        for one in whole.get("dependencies", ())
        if one["ref"] in refs
    ]
    return {**whole, "components": kept, "dependencies": links}


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


def main() -> None:
    """Write the page or the bills, or check the page."""
    words = sys.argv[1:]
    if words[:1] == ["--sbom"]:
        print("\n".join(str(path) for path in write_boms(Path(words[1]))))
        return
    text = PAGE.read_text(encoding="utf-8")
    if words == ["--check"]:
        sys.exit(0 if is_current(text) else 1)
    PAGE.write_text(text.partition(_MARK)[0] + _MARK + page(), encoding="utf-8")


if __name__ == "__main__":
    main()
