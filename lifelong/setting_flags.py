"""Options of a command that stand for keys of the configuration, declared once and added here.

A command names its `Setting`s in `@with_settings(…)` and is handed what was typed as `given`, for
`load_config`; `--set KEY=VALUE` stands for every key that has no flag of its own.
"""

import functools
import inspect
import types
from collections.abc import Callable, Container
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

import typer
from pydantic import BaseModel

from lifelong.config import Config
from lifelong.given_settings import Given, given_pair


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """A flag, and the one key that it stands for."""

    flag: str  # --port; of a switch both words: --uploads/--no-uploads
    key: str  # web.port
    note: str = ""  # what help says beside the key
    read: Callable[[str], object] | None = None  # of its text; None: as the file would have it

    @property
    def name(self) -> str:
        """What errors call it."""
        return self.flag.partition("/")[0]


def with_settings(
    *settings: Setting, pairs_within: str | None = ""
) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Give a command these flags, and `--set`, in the place of its parameter `given`.

    Args:
        pairs_within: a section whose keys `--set` may name without it; None: no `--set`.
    """

    def decorate(command: Callable[..., None]) -> Callable[..., None]:
        hints = get_type_hints(command, include_extras=True)
        options = {_name_of(setting): setting for setting in settings}
        parameters: list[inspect.Parameter] = []
        for one in inspect.signature(command).parameters.values():
            if one.name == "given":
                parameters += [_parameter(name, setting) for name, setting in options.items()]
                parameters += [] if pairs_within is None else [_pairs(pairs_within)]
            else:
                parameters.append(
                    one.replace(kind=inspect.Parameter.KEYWORD_ONLY, annotation=hints[one.name])
                )

        @functools.wraps(command)
        def called(**words: Any) -> None:
            given = [
                Given(flag=setting.name, key=tuple(setting.key.split(".")), value=value)
                for name, setting in options.items()
                if (value := _value(setting, words.pop(name))) is not None
            ]
            given += [
                given_pair(text, within=pairs_within or "", of=Config.model_fields)
                for text in words.pop("set_pairs", None) or ()
            ]
            command(**words, given=given)

        # Typer reads the signature, and takes the types from the annotations.
        called.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
        called.__annotations__ = {one.name: one.annotation for one in parameters}
        return called

    return decorate


def kind_of(key: str) -> Any:
    """The type that the schema has for a key, without None.

    Raises:
        KeyError: there is no such key.
    """
    kinds: list[Any] = [Config]
    for part in key.split("."):
        fields = [one.model_fields[part] for one in kinds if part in _fields_of(one)]
        if not fields:
            raise KeyError(key)
        kinds = [kind for field in fields for kind in _plain(field.annotation)]
    return next(kind for kind in kinds if kind is not types.NoneType)


def _fields_of(kind: Any) -> Container[str]:
    is_section = isinstance(kind, type) and issubclass(kind, BaseModel)
    return kind.model_fields if is_section else ()


def _plain(annotation: Any) -> list[Any]:
    """The kinds that an annotation allows."""
    origin = get_origin(annotation)
    if origin is Annotated:
        return _plain(get_args(annotation)[0])
    if origin in {Union, types.UnionType}:
        return [kind for part in get_args(annotation) for kind in _plain(part)]
    return [annotation]


def _name_of(setting: Setting) -> str:
    return "set_" + setting.name.strip("-").replace("-", "_")


def _parameter(name: str, setting: Setting) -> inspect.Parameter:
    kind = kind_of(setting.key)
    told = f"{setting.note} ({setting.key})." if setting.note else f"Instead of {setting.key}."
    plain: Any = bool if kind is bool else list[str] if get_origin(kind) is tuple else str
    option = typer.Option(setting.flag, help=told, metavar=_metavar(kind))
    return _optional(name, Annotated[plain | None, option])


def _optional(name: str, annotation: Any) -> inspect.Parameter:
    only = inspect.Parameter.KEYWORD_ONLY
    return inspect.Parameter(name, only, default=None, annotation=annotation)


def _pairs(within: str) -> inspect.Parameter:
    told = "Any key of the configuration, e.g. --set training.steps=400. May be repeated."
    if within:
        told = f"A setting of {within}, e.g. --set steps=400, or any other key. May be repeated."
    option = typer.Option("--set", help=told, metavar="KEY=VALUE")
    return _optional("set_pairs", Annotated[list[str] | None, option])


def _value(setting: Setting, typed: Any) -> object:
    if typed is None or typed == []:
        return None
    return typed if setting.read is None else setting.read(typed)


def _metavar(kind: Any) -> str | None:
    if get_origin(kind) is Literal and len(get_args(kind)) <= 4:
        return "[" + "|".join(map(str, get_args(kind))) + "]"
    return {bool: None, int: "INTEGER", float: "NUMBER", Path: "PATH"}.get(kind, "TEXT")
