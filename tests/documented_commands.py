"""What the pages tell people to type: fenced blocks, commands in them, and what a command takes.

How a page marks its blocks, by the first words behind the fence:

```sh run    to be typed as it stands; the suite runs it, one block after the other
```sh keep   the same, but it goes on running (a server); the suite ends it in the end
```sh        to be typed, with names of the reader's own in it; every word is checked
```          a picture of commands, with explanations beside them; commands and options are checked
"""

import ast
import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import typer.main

from cloud.cli import app as cloud_app
from edge.cli import app as edge_app

ROOT = Path(__file__).parents[1]
PAGES = sorted(
    path
    for path in [
        ROOT / "README.md",
        ROOT / "manifests" / "README.md",
        *(ROOT / "docs").rglob("*.md"),
        *(ROOT / "examples").rglob("*.md"),
    ]
    if "decisions" not in path.parts
)
APPS = {"cornerloop": cloud_app, "cornerloop-edge": edge_app}
_WORD = re.compile(r"(?:^|/)(cornerloop|cornerloop-edge|make|python|python3)$")
# What may stand before a command: variables, and ways to say where it runs.
_BEFORE = re.compile(r"^(\w+=.*|sudo|nohup|nice|in-cloud|\$compose|exec|-T|cloud|export)$")


@dataclass(frozen=True, slots=True)
class Block:
    """A fenced block of a page."""

    page: Path
    language: str  # "" when the fence says nothing
    marks: tuple[str, ...]  # the further words of the fence
    text: str
    line: int

    def __str__(self) -> str:
        return f"{self.page.relative_to(ROOT)}:{self.line}"


def blocks_of(page: Path) -> list[Block]:
    """All fenced blocks, in order."""
    found, fence, begun, lines = [], "", 0, list[str]()
    for number, line in enumerate(page.read_text(encoding="utf-8").splitlines(), 1):
        opened = re.match(r"^\s*```(.*)$", line)
        if opened and not begun:
            fence, begun, lines = opened[1].strip(), number, []
        elif opened:
            words = fence.split()
            language = words[0] if words else ""
            found.append(Block(page, language, tuple(words[1:]), "\n".join(lines), begun))
            begun = 0
        elif begun:
            lines.append(line)
    assert not begun, f"{page}: the block of line {begun} has no end"
    return found


def commands_in(text: str) -> Iterator[list[str]]:
    """The commands of ours in some lines, each as words without comments, pipes and prefixes."""
    for line in text.replace("\\\n", " ").splitlines():
        told = re.split(r"\s#\s", f" {line}")[0]
        told = re.split(r"(?<=\S)\s{3,}(?!-)", told.strip())[0]  # an explanation beside it
        for part in re.split(r"\|\||&&|[|;]|\$\(", told):
            words = _words(part)
            at = next((i for i, word in enumerate(words) if not _BEFORE.search(word)), len(words))
            if at < len(words) and _WORD.search(words[at]):
                yield [words[at].rpartition("/")[2], *words[at + 1 :]]


def inline_commands(page: Path) -> Iterator[list[str]]:
    """Commands between backticks outside of blocks."""
    text = re.sub(r"^\s*```.*?^\s*```", "", page.read_text("utf-8"), flags=re.DOTALL | re.MULTILINE)
    for span in re.findall(r"`([^`\n]+)`", text):
        if re.match(r"(\.venv/bin/)?(cornerloop|cornerloop-edge|make|python -m) ", span):
            yield from commands_in(span)


def _words(part: str) -> list[str]:
    try:
        return shlex.split(part.strip(" )`"), posix=True)
    except ValueError:
        return part.split()


def wrong_words(words: list[str]) -> str:
    """What of a command does not exist; empty: all of it does."""
    name, *rest = words
    if name == "make":
        return _wrong_make(rest)
    if name in ("python", "python3"):
        return _wrong_module(rest)
    return _wrong_command(name, rest)


def parsed(words: list[str]) -> None:
    """Let the real command line read the words; it raises what it would tell."""
    command: Any = typer.main.get_command(APPS[words[0]])
    context = command.make_context(words[0], list(words[1:]))
    while getattr(command, "commands", None):
        left = [*context._protected_args, *context.args]
        name, command, rest = command.resolve_command(context, left)
        context = command.make_context(name, rest, parent=context)


def _wrong_command(name: str, rest: list[str]) -> str:
    command: Any = typer.main.get_command(APPS[name])
    known, path, skip = _options(command), name, False
    for word in (one.strip("[],") for one in rest):
        inner = getattr(command, "commands", None)
        if skip or word in {"", "-"}:
            skip = False
        elif word == "…":  # any of its commands
            known = known | {o: v for x in (inner or {}).values() for o, v in _options(x).items()}
        elif word.startswith("-"):
            option, _, value = word.partition("=")
            if (command.context_settings or {}).get("ignore_unknown_options"):
                return ""
            if option not in known:
                return f"{path} has no option {option}"
            skip = known[option] and not value
        elif inner and word in inner:
            command, path = inner[word], f"{path} {word}"
            known = known | _options(command)
        elif inner and type(command).__name__ == "WithDefault":  # cloud/commands/default_command.py
            known = known | {o: v for one in inner.values() for o, v in _options(one).items()}
            command = next(iter(inner.values()))
        elif inner and "|" not in word:
            return f"{path} has no command {word!r}"
    return ""


def _options(command: Any) -> dict[str, bool]:
    """Options of a command, and whether a value follows."""
    given = {
        word: not getattr(one, "is_flag", False)
        for one in command.params
        for word in (*one.opts, *one.secondary_opts)
        if word.startswith("-")
    }
    return given | {"--help": False}


def _wrong_make(rest: list[str]) -> str:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    targets = set(re.findall(r"^([a-z][a-z0-9-]*):", makefile, re.MULTILINE))
    variables = set(re.findall(r"^([A-Z_]+) \?=", makefile, re.MULTILINE))
    for word in rest:
        name, is_variable, _ = word.partition("=")
        if is_variable and name not in variables:
            return f"the Makefile has no variable {name}"
        if not is_variable and not word.startswith("-") and word not in targets:
            return f"the Makefile has no target {word}"
    return ""


def _wrong_module(rest: list[str]) -> str:
    if rest[:1] != ["-m"] or not rest[1].startswith(("bench", "tools", "cloud", "edge")):
        return ""
    place = ROOT / Path(*rest[1].split("."))
    file = place.with_suffix(".py") if place.with_suffix(".py").exists() else place / "__main__.py"
    if not file.exists():
        return f"there is no module {rest[1]}"
    if not rest[1].startswith(("bench", "tools")):
        return ""
    known = module_options(file)
    for word in rest[2:]:
        option = word.strip("[],").partition("=")[0]
        if option.startswith("--") and option not in known:
            return f"{rest[1]} has no option {option}"
    return ""


def module_options(file: Path) -> set[str]:
    """The options that a program declares, with argparse or as parameters of its `main`."""
    text = file.read_text(encoding="utf-8")
    main = next((n for n in ast.parse(text).body if getattr(n, "name", "") == "main"), None)
    given = [*main.args.args, *main.args.kwonlyargs] if isinstance(main, ast.FunctionDef) else []
    by_typer = [
        a.arg for a in given if a.annotation and "typer.Option" in ast.unparse(a.annotation)
    ]
    by_hand = re.findall(r"add_argument\(\s*\"(--[a-z0-9-]+)\"", text)
    return {"--help", *by_hand, *(f"--{name.replace('_', '-')}" for name in by_typer)}
