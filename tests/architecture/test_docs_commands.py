"""UX-01, UX-02, OPS-08: whatever the pages tell people to type exists, options included."""

import json
import re
from pathlib import Path

import pytest
import yaml

from lifelong.config import Config, load_config
from tests.documented_commands import (
    APPS,
    PAGES,
    ROOT,
    blocks_of,
    commands_in,
    inline_commands,
    parsed,
    wrong_words,
)

# Slips that a page shows on purpose, to say what is answered.
SLIPS = {"cornerloop rond"}

by_page = pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))


@by_page
def test_ux_02_every_command_of_a_block_exists_with_its_options(page: Path) -> None:
    wrong = [
        f"{block}: {' '.join(words)}: {told}"
        for block in blocks_of(page)
        if block.language in {"", "sh"}
        for words in commands_in(block.text)
        if (told := wrong_words(words))
    ]
    assert not wrong, "\n".join(wrong)


@by_page
def test_ux_02_every_command_in_a_sentence_exists_with_its_options(page: Path) -> None:
    wrong = [
        f"{' '.join(words)}: {told}"
        for words in inline_commands(page)
        if " ".join(words) not in SLIPS and (told := wrong_words(words))
    ]
    assert not wrong, "\n".join(wrong)


@by_page
def test_ux_01_what_is_to_be_typed_is_understood_as_it_stands(page: Path) -> None:
    """Blocks marked `sh`: missing arguments and wrong values count, too."""
    for block in blocks_of(page):
        if block.language == "sh":
            for words in commands_in(block.text):
                if words[0] in APPS and "--help" not in words:
                    parsed(words)


@by_page
def test_ux_05_configurations_on_a_page_are_accepted(page: Path, tmp_path: Path) -> None:
    """UX-05: a YAML block whose keys are ours is loaded; any other is read; JSON is parsed."""
    for block in blocks_of(page):
        if block.language == "json":
            json.loads(block.text)
        if block.language != "yaml":
            continue
        documents = list(yaml.safe_load_all(block.text))
        (first, *_) = documents
        if isinstance(first, dict) and set(first) & set(Config.model_fields):
            path = tmp_path / "config.yaml"
            path.write_text(block.text, encoding="utf-8")
            load_config(path)


def test_words_that_do_not_exist_are_found() -> None:
    """The checks of this file can fail."""
    for line, told in {
        "cornerloop roundz --json": "no command 'roundz'",
        "cornerloop rounds --jsn": "no option --jsn",
        "cornerloop job run X --config c --rot r": "no option --rot",
        "cornerloop-edge run --configuration c": "no option --configuration",
        "make demos": "no target demos",
        "make demo ANOTATOR=human": "no variable ANOTATOR",
        "python -m bench.votes": "no module bench.votes",
        "python -m bench.vote --mask 3": "no option --mask",
        "kubectl get x -o json | cornerloop doctor --jobs -": "no option --jobs",
    }.items():
        (words,) = commands_in(line)
        assert told in wrong_words(words)
    assert list(commands_in("kubectl get pods   # cornerloop in a comment")) == []


def test_links_to_headings_lead_to_one() -> None:
    """`page.md#heading` names a heading of that page, as GitHub writes it."""
    for page in PAGES:
        for target, anchor in re.findall(r"\]\(([^)#\s]*)#([^)\s]+)\)", page.read_text("utf-8")):
            if "://" in target:
                continue
            other = (page.parent / target).resolve() if target else page
            assert anchor in anchors_of(other), f"{page.name} links to {target}#{anchor}"


def test_ops_03_every_alarm_leads_to_a_chapter_that_says_what_to_do() -> None:
    """OPS-03: an alarm without words what to do is noise."""
    rules = (ROOT / "manifests" / "monitoring" / "alerts.yaml").read_text(encoding="utf-8")
    named = set(re.findall(r"runbook_url: \S*docs/troubleshooting\.md#(\S+)", rules))
    assert len(named) >= 10
    assert named <= anchors_of(ROOT / "docs" / "troubleshooting.md")


def test_ux_01_a_corrected_label_is_five_commands_away() -> None:
    """UX-01: the first block of the quickstart is all there is to type."""
    (first, *_) = blocks_of(ROOT / "docs" / "quickstart.md")
    typed = [part for line in first.text.splitlines() for part in line.split("&&")]
    assert len(typed) <= 5
    assert "make demo ANNOTATOR=human" in typed


def test_the_index_leads_to_every_page() -> None:
    text = (ROOT / "docs" / "index.md").read_text(encoding="utf-8")
    linked = set(re.findall(r"\]\(([\w.-]+\.md)", text))
    pages = {path.name for path in (ROOT / "docs").glob("*.md")} - {"index.md"}
    assert pages <= linked, pages - linked


def anchors_of(page: Path) -> set[str]:
    text = page.read_text(encoding="utf-8")
    headings = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    plain = {re.sub(r"[^\w\- ]", "", h.lower()).strip().replace(" ", "-") for h in headings}
    return plain | set(re.findall(r'<a (?:id|name)="([^"]+)"', text))
