"""What is documented exists, and what exists is documented."""

import re
from pathlib import Path

import pytest
from pydantic import BaseModel

from lifelong.config import Config, _sections_in, load_config

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]


def keys_of(section: type[BaseModel], prefix: str = "") -> set[str]:
    found: set[str] = set()
    for name, field in section.model_fields.items():
        inner = _sections_in(field.annotation)
        found |= (
            {key for one in inner for key in keys_of(one, f"{prefix}{name}.")}
            if inner
            else {f"{prefix}{name}"}
        )
    return found


def test_ux05_every_configuration_key_is_documented_and_no_other() -> None:
    """UX-05: one file, one schema, one page."""
    page = (ROOT / "docs" / "configuration.md").read_text(encoding="utf-8")
    assert set(re.findall(r"^\| `([A-Za-z_.]+)` \|", page, re.MULTILINE)) == keys_of(Config)


def test_the_configuration_on_the_page_is_accepted(tmp_path: Path) -> None:
    page = (ROOT / "docs" / "configuration.md").read_text(encoding="utf-8")
    (block,) = re.findall(r"```yaml\n(.*?)```", page, re.DOTALL)
    (tmp_path / "config.yaml").write_text(block, encoding="utf-8")
    assert load_config(tmp_path / "config.yaml").storage == str(tmp_path / "storage")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_between_pages_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#]+)\)", page.read_text(encoding="utf-8")):
        if "://" not in target:
            assert (page.parent / target).exists(), f"{page.name} links to {target}"
