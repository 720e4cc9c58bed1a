"""SEC-07: what an installation consists of, under which licences, pinned, and listed."""

import re
from email.message import Message
from pathlib import Path

import pytest
from packaging.utils import canonicalize_name

from tools.licences import (
    ALLOWED,
    EXTRAS,
    PAGE,
    Installed,
    distributions,
    is_current,
    licence_in,
    names_on_page,
    trouble,
    write_boms,
)

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("extras", EXTRAS.values(), ids=EXTRAS)
def test_sec_07_nothing_of_the_core_is_under_the_gpl_or_agpl(extras: tuple[str, ...]) -> None:
    found = distributions(extras)
    names = {one.name for one in found}
    assert {"numpy", "onnxruntime", "pynacl"} <= names
    assert ("torch" in names) is bool(extras)
    assert {one.name: trouble(one) for one in found if trouble(one)} == {}


def test_sec_07_each_exception_is_needed_and_has_a_reason() -> None:
    names = {one.name for one in distributions(EXTRAS["cloud"])}
    assert set(ALLOWED) <= names
    assert all(len(reason) > 20 for reason in ALLOWED.values())


@pytest.mark.parametrize(
    ("licence", "is_refused"),
    [
        ("MIT", False),
        ("GPL-3.0-or-later", True),
        ("AGPL-3.0", True),
        ("GNU General Public License v3 (GPLv3)", True),
        ("GNU Affero General Public License v3", True),
        ("GNU Lesser General Public License v3 (LGPLv3)", True),
        ("LGPL-2.1-only", True),
        ("MIT OR GPL-2.0-only", False),
        ("Apache-2.0 AND GPL-2.0-only", True),
        ("BSD-3-Clause AND LGPL-2.1-only", True),
        ("", True),
    ],
)
def test_sec_07_what_is_refused(licence: str, is_refused: bool) -> None:
    one = Installed(name="something", version="1", licence=licence)
    assert bool(trouble(one)) is is_refused


def test_sec_07_the_licence_is_read_from_the_newest_field_first() -> None:
    metadata = Message()
    metadata["Classifier"] = "License :: OSI Approved :: MIT License"
    metadata["License"] = "see file\nand more"
    assert licence_in(metadata) == "MIT License"
    metadata["License-Expression"] = "MIT"
    assert licence_in(metadata) == "MIT"
    plain = Message()
    plain["License"] = "BSD\nlong text"
    assert licence_in(plain) == "BSD"


def test_sec_07_every_dependency_is_pinned_to_what_is_installed() -> None:
    pins: dict[str, str] = {}
    for line in (ROOT / "tools" / "constraints.txt").read_text(encoding="utf-8").splitlines():
        name, equals, version = line.partition("==")
        if equals:
            pins[canonicalize_name(name)] = version.strip()
    loose = {
        one.name: (one.version, pins.get(one.name))
        for one in distributions(EXTRAS["cloud"])
        if pins.get(one.name) != one.version.split("+")[0]
    }
    assert loose == {}, "tools/constraints.txt"


def test_sec_07_the_page_lists_what_is_installed() -> None:
    text = PAGE.read_text(encoding="utf-8")
    assert is_current(text), "run `make licences`"
    assert len(names_on_page(text)) > 50
    assert not re.search(r"https?://", text)


@pytest.mark.slow
def test_sec_07_a_bill_of_materials_names_every_part(tmp_path: Path) -> None:
    import json

    base, cloud = (json.loads(p.read_text(encoding="utf-8")) for p in write_boms(tmp_path))
    for bill, extras in ((base, EXTRAS["base"]), (cloud, EXTRAS["cloud"])):
        assert bill["bomFormat"] == "CycloneDX"
        named = {canonicalize_name(part["name"]) for part in bill["components"]}
        assert {one.name for one in distributions(extras)} <= named | {"cornerloop"}
        assert "pytest" not in named, "tools for development are no part of the product"
        refs = {part["bom-ref"] for part in bill["components"]}
        assert all(ref in refs for one in bill["dependencies"] for ref in one["dependsOn"])
