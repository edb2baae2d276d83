"""Sample corpus: the documentation of Python's standard library, written offline from its docstrings.

One document for each public module, class, function and method that has a docstring, under its most public name.
"""

from __future__ import annotations

import importlib
import inspect
import io
import os
import pkgutil
import re
import sys
import types
import warnings
from collections.abc import Iterator
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq

from indexer.progress import Bar

# Importing these opens a window or a browser, prints, or imports something outside the standard library. Others are
# aliases of a public module for one platform, or have hundreds of submodules with the same boilerplate.
SKIPPED_MODULES = {
    "antigravity", "curses", "distutils", "encodings", "ensurepip", "idlelib", "lib2to3", "msilib", "nt", "ntpath",
    "posix", "posixpath", "pydoc_data", "pyexpat", "this", "tkinter", "turtle", "turtledemo", "winreg",
}  # fmt: skip
SKIPPED_PARTS = {"test", "tests"}
MIN_CHARACTERS = 28  # a shorter docstring says no more than the name
MIN_MEMBER_CHARACTERS = 56  # the same for members of classes other than builtins: without their class they say less
BOILERPLATE = re.compile(r"Alias for field number|Return self[<>=!]=value|Initialize self|partial\(func")
SCHEMA = pa.schema([(name, pa.string()) for name in ("id", "title", "text", "module", "kind", "signature")])


class Entry(NamedTuple):
    """A documented object under one of its public names."""

    id: str
    module: str
    kind: str
    object: Any


def write_sample(out: Path) -> int:
    """Write the sample corpus as Parquet to ``out`` and return its number of rows.

    The columns are id, title, text, module, kind and signature, all strings; signature may be null. Rows are sorted by
    id. The file appears only when it is complete.
    """
    entries: list[Entry] = []
    names = [
        name for name in sorted(sys.stdlib_module_names) if name not in SKIPPED_MODULES and not name.startswith("_")
    ]
    with Bar("sample", len(names), "modules") as bar, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # deprecated modules belong to the documentation too
        for name in names:
            for module in _import_modules(name):
                entries += _module_entries(module)
            bar.advance(1)
    rows = _select_rows(entries)
    table = pa.Table.from_pylist(rows, SCHEMA)
    out.parent.mkdir(parents=True, exist_ok=True)
    temporary = out.with_name(f".{out.name}.{os.getpid()}.tmp")
    try:
        pq.write_table(table, temporary, compression="zstd")
        temporary.replace(out)
    finally:
        temporary.unlink(missing_ok=True)
    return len(rows)


def _import_modules(name: str) -> Iterator[types.ModuleType]:
    """Import ``name`` and its public submodules; yield those that this platform has."""
    try:
        with redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()):
            module = importlib.import_module(name)
    except (Exception, SystemExit):  # noqa: BLE001 - a missing library, or a module for another platform
        return
    yield module
    submodules = [info.name for info in pkgutil.iter_modules(getattr(module, "__path__", []))]
    for part in [*sorted(submodules), *(["path"] if name == "os" else [])]:
        if not part.startswith("_") and part not in SKIPPED_PARTS:
            yield from _import_modules(f"{name}.{part}")


def _module_entries(module: types.ModuleType) -> Iterator[Entry]:
    name = "os.path" if module is os.path else module.__name__
    if name == "builtins":
        prefix = ""
    else:
        prefix = f"{name}."
        yield Entry(name, name, "module", module)
    exported = getattr(module, "__all__", None) or [
        member for member, value in vars(module).items() if not prefix or _belongs(value, name)
    ]
    for member in sorted(exported):
        value = getattr(module, member, None)  # by name: some packages load a member on its first use
        if member.startswith("_"):
            continue
        if inspect.isclass(value):
            yield Entry(prefix + member, name, "class", value)
            yield from _class_entries(prefix + member, name, value)
        elif inspect.isroutine(value):
            yield Entry(prefix + member, name, "function", value)


def _belongs(value: Any, module: str) -> bool:
    """Say whether an object was defined in the package of ``module`` rather than imported from elsewhere."""
    origin = getattr(value, "__module__", None)
    return isinstance(origin, str) and origin.lstrip("_").partition(".")[0] == module.partition(".")[0]


def _class_entries(prefix: str, module: str, owner: type) -> Iterator[Entry]:
    """Yield the public attributes that a class documents itself, without docstrings repeated from a base class.

    A private base class, such as that of `socket.socket`, counts as a part of the class itself.
    """
    parts = [base for base in owner.__mro__ if base is owner or base.__module__.startswith("_")]
    members = {name: value for part in reversed(parts) for name, value in vars(part).items()}
    for name, value in sorted(members.items()):
        if name.startswith("_"):
            continue
        inherited = [getattr(getattr(base, name, None), "__doc__", None) for base in owner.__mro__ if base not in parts]
        if getattr(value, "__doc__", None) in inherited:
            continue
        kind = "attribute"
        if isinstance(value, classmethod | types.ClassMethodDescriptorType):
            kind = "class method"
        elif isinstance(value, staticmethod):
            kind = "static method"
        elif inspect.isroutine(value):
            kind = "method"
        elif isinstance(value, property):
            kind = "property"
        elif not inspect.isdatadescriptor(value):
            continue  # a constant or a nested class: its docstring is that of its type
        yield Entry(f"{prefix}.{name}", module, kind, value)


def _select_rows(entries: list[Entry]) -> list[dict[str, str | None]]:
    """Return rows sorted by id: each object once, each pair of docstring and last name once, under the most public name."""
    rows: dict[str, dict[str, str | None]] = {}
    seen_objects: set[int] = set()
    seen_texts: set[tuple[str, str]] = set()
    for entry in sorted(entries, key=lambda entry: (entry.id.count("."), len(entry.id), entry.id)):
        text = _text(entry.object)
        key = (entry.id.rpartition(".")[2], text)
        top_level = entry.kind in ("module", "class", "function") or entry.module == "builtins"
        minimum = MIN_CHARACTERS if top_level else MIN_MEMBER_CHARACTERS
        if len(text) < minimum or BOILERPLATE.match(text) or id(entry.object) in seen_objects or key in seen_texts:
            continue
        seen_objects.add(id(entry.object))
        seen_texts.add(key)
        rows[entry.id] = {
            "id": entry.id,
            "title": entry.id,
            "text": text,
            "module": entry.module,
            "kind": entry.kind,
            "signature": _signature(entry.object),
        }
    return [rows[name] for name in sorted(rows)]


def _text(value: Any) -> str:
    doc = getattr(value, "__doc__", None)
    return inspect.cleandoc(doc).strip() if isinstance(doc, str) else ""


class _Elided:
    """Stands for a default value and is shown as "..."."""

    def __repr__(self) -> str:
        return "..."


def _signature(value: Any) -> str | None:
    """Return the signature; a default that is no plain constant, such as `os.environ`, is shown as "..."."""
    if isinstance(value, classmethod | staticmethod):
        value = value.__func__
    try:
        signature = inspect.signature(value)
    except (TypeError, ValueError):  # a module, a property, or a function in C that does not state it
        return None
    parameters = [
        parameter
        if parameter.default is parameter.empty or _is_plain(parameter.default)
        else parameter.replace(default=_Elided())
        for parameter in signature.parameters.values()
    ]
    return str(signature.replace(parameters=parameters))


def _is_plain(default: Any) -> bool:
    if isinstance(default, str) and Path(default).is_absolute():
        return default == os.sep  # a path of this machine, such as that of the interpreter
    return default is None or default == () or type(default) in (bool, int, float, str, bytes)
