"""`cli.md`: every command with its flags, defaults and help texts."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator
from typing import Any

import typer
from typer.main import get_command

from indexer.cli import app as indexer_app
from scripts.reference.markdown import table
from service.__main__ import app as service_app
from trainer.cli import app as trainer_app

PROGRAMS = {"indexer": indexer_app, "trainer": trainer_app, "service": service_app}
INTRODUCTION = """# Command line

Three programs: `python -m indexer`, `python -m trainer` and `python -m service`. Each command shows the words of this
page with `--help`. All three take the data directory from the variable `DOWSE_DATA` (`data` by default).
"""


def page() -> str:
    """Return the page."""
    parts = [INTRODUCTION]
    for program, app in PROGRAMS.items():
        parts.append(f"## {program}\n")
        parts += [_section(program, name, command) for name, command in commands(app).items()]
    return "\n".join(parts)


def commands(app: typer.Typer) -> dict[str, Any]:
    """Return the commands of a program by name, such as `classify train`; the program's own has an empty name."""
    return dict(_below("", get_command(app)))


def _below(name: str, command: Any) -> Iterator[tuple[str, Any]]:
    """Yield a command, or in its place those of a group, each with its whole name; also a group that works by itself."""
    inner = getattr(command, "commands", None)
    if inner is None or command.invoke_without_command:
        yield name, command
    for word, each in (inner or {}).items():
        yield from _below(f"{name} {word}".strip(), each)


def _section(program: str, name: str, command: Any) -> str:
    """Return heading, usage, description and flags of a command."""
    words = f"{program} {name}".strip()
    context = command.make_context(f"python -m {words}", [], resilient_parsing=True)
    usage = " ".join(context.get_usage().split()).removeprefix("Usage: ")
    heading = words if name else f"{words}, without a command"
    parts = [f"### {heading}\n", f"```text\n{usage}\n```\n", f"{inspect.cleandoc(command.help)}\n"]
    arguments = [parameter for parameter in command.params if parameter.param_type_name == "argument"]
    flags = [parameter for parameter in command.params if parameter.param_type_name == "option"]
    if arguments:
        rows = [[f"`{(parameter.metavar or parameter.name).upper()}`", parameter.help or ""] for parameter in arguments]
        parts.append(table(["argument", ""], rows) + "\n")
    if rows := [_flag(parameter, context) for parameter in flags if "--help" not in parameter.opts]:
        parts.append(table(["flag", "default", ""], rows) + "\n")
    return "\n".join(parts)


def _flag(parameter: Any, context: Any) -> list[str]:
    """Return the row of a flag. A default that the help text gives in brackets moves to its column."""
    value, text = parameter.default, parameter.help
    if value is None and (found := re.search(r" \(default: ((?:[^()]|\([^()]*\))+)\)$", text)):
        text, shown = text[: found.start()], found[1]
    else:
        shown = "off" if value is False else "on" if value is True else "" if value is None else f"`{value}`"
    if parameter.required:
        shown = "required"
    choices = str(parameter.display_type(context)).strip("<>[]").split("|")
    if len(choices) > 1:
        shown += "; or " + ", ".join(f"`{choice}`" for choice in choices if choice != value)
    if parameter.envvar:
        text += f" (variable `{parameter.envvar}`)"
    return [", ".join(f"`{name}`" for name in parameter.opts), shown, text]
