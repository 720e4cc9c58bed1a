"""Every command of both command lines with its options, for docs/commands.md.

python -m tools.command_table           writes the page's second half anew
python -m tools.command_table --check   exit code 1 when it is not as the program is
"""

import sys
from collections.abc import Iterator
from enum import Enum
from pathlib import Path
from typing import Any

from typer.main import get_command

PAGE = Path(__file__).parents[1] / "docs" / "commands.md"
MARK = "<!-- From here on written by `python -m tools.command_table`. -->\n"


def commands() -> Iterator[tuple[list[str], Any]]:
    """The words of each command, and the command itself, both programs."""
    from cloud.cli import app
    from edge.cli import app as edge_app

    for name, one in (("cornerloop", app), ("cornerloop-edge", edge_app)):
        yield from _under(get_command(one), [name])


def _under(command: Any, words: list[str]) -> Iterator[tuple[list[str], Any]]:
    inner = getattr(command, "commands", None)
    if inner is None:
        yield words, command
        return
    for name in sorted(inner):
        yield from _under(inner[name], [*words, name])


def generated() -> str:
    """The second half of the page."""
    found = list(commands())
    lines = ["", "## All commands", "", "| command | what it does |", "|---|---|"]
    lines += [f"| [`{' '.join(words)}`](#{'-'.join(words)}) | {_help(c)} |" for words, c in found]
    for words, command in found:
        lines += ["", f"### {' '.join(words)}", "", f"`{_usage(words, command)}`", ""]
        lines += _options(command) or ["No options."]
    return "\n".join(lines) + "\n"


def _help(command: Any) -> str:
    return _cell((command.help or "").split("\n\n")[0])


def _usage(words: list[str], command: Any) -> str:
    shown = list(words)
    for one in command.params:
        if one.param_type_name != "argument":
            continue
        name = one.name.strip("_").upper()
        name = f"{name}…" if one.nargs == -1 or getattr(one, "multiple", False) else name
        shown.append(name if one.required else f"[{name}]")
    return " ".join(shown)


def _options(command: Any) -> list[str]:
    rows = []
    for one in command.params:
        if one.param_type_name == "argument":
            continue
        names = ", ".join(f"`{name}`" for name in (*one.opts, *one.secondary_opts))
        variable = f" (`{one.envvar}`)" if isinstance(one.envvar, str) else ""
        rows.append(f"| {names} | {_default(one)} | {_cell(one.help or '')}{variable} |")
    return ["| option | default | what it is |", "|---|---|---|", *rows] if rows else []


def _default(one: Any) -> str:
    if one.required:
        return "needed"
    value = one.default
    if value is None or value in ("", (), []):
        return "–"
    if isinstance(value, bool):
        return "on" if value else "off"
    return f"`{value.value if isinstance(value, Enum) else value}`"


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


def main() -> None:
    """Write the page, or check it."""
    page = PAGE.read_text(encoding="utf-8")
    head, mark, tail = page.partition(MARK)
    if "--check" in sys.argv[1:]:
        sys.exit(0 if mark and tail == generated() else 1)
    PAGE.write_text(head + MARK + generated(), encoding="utf-8")


if __name__ == "__main__":
    main()
