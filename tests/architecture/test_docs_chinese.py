"""UX-03: pages in Chinese keep in step with their English originals."""

import re
from pathlib import Path

import pytest

from tests.documented_commands import ROOT, blocks_of

DOCS = ROOT / "docs"
CHINESE = sorted(DOCS.rglob("*.zh.md"))
WANTED = {"README.zh.md", "annotation.zh.md", "correcting.zh.md", "quickstart.zh.md"}

by_page = pytest.mark.parametrize("page", CHINESE, ids=lambda page: page.name)


def original_of(page: Path) -> Path:
    """The English page; the one at the top has its translation among the docs."""
    name = page.name.replace(".zh.md", ".md")
    return ROOT / name if name == "README.md" else page.with_name(name)


def prose_of(page: Path) -> str:
    """A page without its blocks."""
    text = page.read_text(encoding="utf-8")
    return re.sub(r"^```.*?^```$", "", text, flags=re.DOTALL | re.MULTILINE)


def code_in(page: Path) -> set[str]:
    """What stands between backticks; what is quoted of a program or typed is no prose."""
    return set(re.findall(r"`([^`\n]+)`", prose_of(page)))


def pages_linked(page: Path) -> set[Path]:
    """The English pages, pictures and folders that a page leads to."""
    targets = re.findall(r"\]\(([^)#\s]+)[^)]*\)", page.read_text(encoding="utf-8"))
    found = {(page.parent / target).resolve() for target in targets if "://" not in target}
    return {original_of(one) if one.name.endswith(".zh.md") else one for one in found}


def shape_of(page: Path) -> list[str]:
    """Headings by depth, and tables by their numbers of rows and columns."""
    return [
        found.group() if (found := re.match(r"#+", line)) else f"row of {line.count('|') - 1}"
        for line in re.sub(r"\\\|", "", prose_of(page)).splitlines()
        if re.match(r"#+ |\|", line)
    ]


def test_ux_03_the_pages_of_newcomers_and_annotators_are_there() -> None:
    assert {page.name for page in CHINESE} >= WANTED


@by_page
def test_ux_03_a_page_and_its_original_lead_to_each_other(page: Path) -> None:
    original = original_of(page)
    assert original.is_file()
    back = f"]({page.relative_to(original.parent)})"
    assert back in original.read_text(encoding="utf-8"), f"{original.name} has no link {back}"
    assert page.read_text("utf-8").splitlines()[2].startswith("[English](")
    assert original.resolve() in pages_linked(page)


@by_page
def test_ux_03_what_is_typed_does_not_depend_on_the_language(page: Path) -> None:
    english, chinese = (
        [(block.language, block.marks, block.text) for block in blocks_of(one)]
        for one in (original_of(page), page)
    )
    assert english == chinese


@by_page
def test_ux_03_a_page_has_the_chapters_and_tables_of_its_original(page: Path) -> None:
    assert shape_of(page) == shape_of(original_of(page))


@by_page
def test_ux_03_a_page_names_the_same_commands_keys_and_files(page: Path) -> None:
    """A new option or key in one of the two is a sentence that the other lacks."""
    assert code_in(page) == code_in(original_of(page))


@by_page
def test_ux_03_a_page_leads_where_its_original_leads(page: Path) -> None:
    own = {page.resolve(), original_of(page).resolve()}
    assert pages_linked(page) - own == pages_linked(original_of(page)) - own


@by_page
def test_ux_03_the_chinese_page_is_chinese(page: Path) -> None:
    lines = [line for line in prose_of(page).splitlines() if line and line[0] not in "#[|"]
    english = [line for line in lines if not re.search("[\u4e00-\u9fff]", line)]
    assert english == []
    assert len(lines) > 10
