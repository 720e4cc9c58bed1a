"""A group of commands with one whose name may be left out: `export OUT`, `export verify OUT`."""

from typing import Any

from typer.core import TyperGroup


def group_with_default(default: str) -> type[TyperGroup]:
    """A class of groups that take anything but a command's name as arguments of `default`.

    A folder that is called like a command is named `./verify`.
    """

    class WithDefault(TyperGroup):
        # The context's class is click's or typer's own, as typer's version has it.
        def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
            if args and args[0] not in self.commands and args[0] != "--help":
                args = [default, *args]
            return super().parse_args(ctx, args)

    return WithDefault
