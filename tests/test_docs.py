"""Documentation fails the build when it lies."""

from __future__ import annotations

import ast
import inspect
import json
import re
import shlex
from collections.abc import Iterator
from importlib import import_module
from itertools import chain
from pathlib import Path

import pytest
import typer
from pydantic import BaseModel
from typer.main import get_command

from indexer.artifacts.manifest import EncoderContract, Manifest
from indexer.cli import app as indexer_app
from service.__main__ import app as service_app
from service.problems import TITLES
from service.settings import ServiceSettings
from trainer.cli import app as trainer_app
from trainer.evaluate.report import Report

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
TRAINER = (ROOT / "trainer" / "README.md").read_text(encoding="utf-8")
DOCUMENTS = {"README.md": README, "trainer/README.md": TRAINER}
PROGRAMS = {"indexer": indexer_app, "trainer": trainer_app, "service": service_app}
FOLDERS = ("indexer", "trainer", "service", "bench")
ROOMS = sorted(path.parent for name in FOLDERS[:3] for path in (ROOT / name).rglob("__init__.py"))
SETTINGS = [
    ".".join(path.relative_to(ROOT).with_suffix("").parts)
    for name in FOLDERS[:3]
    for path in (ROOT / name).rglob("settings.py")
]
OTHER_PROGRAMS = {"--nproc_per_node", "--transport", "--rm", "--no-deps"}
"""Flags of programs that are not ours: torchrun, claude, docker."""


def commands(app: typer.Typer) -> dict[str, object]:
    """Return the commands of a program by name, such as `classify train`; its only command has an empty name."""
    return dict(below("", get_command(app)))


def below(name: str, command: object) -> Iterator[tuple[str, object]]:
    """Yield a command, or in its place those of a group, each with its whole name; also a group that works by itself."""
    inner = getattr(command, "commands", None)
    if inner is None or command.invoke_without_command:
        yield name, command
    if inner is None:
        return
    for word, each in inner.items():
        yield from below(f"{name} {word}".strip(), each)


def flags(command: object) -> set[str]:
    """Return the long flags of a command."""
    return {flag for parameter in command.params for flag in parameter.opts if flag.startswith("--")} - {"--help"}


def flag_table(name: str, command: object) -> str:
    """Return the table of a command's flags as trainer/README.md has it: flag, default, help text."""
    context = command.make_context(name, [], resilient_parsing=True)
    rows = [f"| `python -m trainer {name}` | default | |", "|---|---|---|"]
    for parameter in command.params:
        names = [name for name in parameter.opts if name.startswith("--")]
        if not names or "--help" in names:
            continue
        default, text = parameter.default, parameter.help.replace("|", "\\|")
        if default is None and (found := re.search(r" \(default: ((?:[^()]|\([^()]*\))+)\)$", text)):
            text, shown = text[: found.start()], found[1]
        else:
            shown = "off" if default is False else "" if default is None else f"`{default}`"
        choices = str(parameter.display_type(context)).strip("<>").split("|")
        if len(choices) > 1:
            shown += "; or " + ", ".join(f"`{choice}`" for choice in choices if choice != default)
        rows.append(f"| `{names[0]}` | {'required' if parameter.required else shown} | {text} |")
    return "\n".join(rows)


def documented(text: str, flag: str) -> bool:
    """Say whether a text has this flag, and not only one that begins like it."""
    return re.search(rf"(?<![\w-]){re.escape(flag)}(?![\w-])", text) is not None


@pytest.mark.parametrize("program", PROGRAMS)
def test_every_flag_is_documented(program):
    """A flag that is added without a word is found; the README may leave the trainer's to trainer/README.md."""
    text = README + TRAINER if program == "trainer" else README
    for name, command in commands(PROGRAMS[program]).items():
        missing = [flag for flag in flags(command) if not documented(text, flag)]
        assert not missing, f"{program} {name}: {missing}"


@pytest.mark.parametrize("name", commands(trainer_app))
def test_the_trainers_tables_say_what_help_says(name):
    """Each command of the trainer has a table with every flag, its default and its help text, to the letter."""
    table = flag_table(name, commands(trainer_app)[name])
    assert table in TRAINER, f"put into trainer/README.md:\n\n{table}\n"


@pytest.mark.parametrize("document", DOCUMENTS)
def test_every_flag_in_the_documents_exists(document):
    """A flag that is renamed or removed must leave the documents too."""
    known = {flag for app in PROGRAMS.values() for command in commands(app).values() for flag in flags(command)}
    known |= set(re.findall(r'"(--[a-z-]+)"', "".join(path.read_text() for path in (ROOT / "bench").glob("*.py"))))
    found = set(re.findall(r"(?<![\w-])(--[a-z][a-z0-9_-]+)", DOCUMENTS[document]))
    assert found - {"--help"} - OTHER_PROGRAMS <= known


def test_every_flag_has_a_help_text():
    """`--help` teaches: no flag and no command goes without a sentence."""
    for app in PROGRAMS.values():
        for command in commands(app).values():
            assert command.help
            assert all(parameter.help for parameter in command.params if parameter.name != "help")


@pytest.mark.parametrize("module", SETTINGS)
def test_every_setting_has_a_help_text(module: str):
    """Each field of a settings model says what it does, wherever it is set."""
    module = import_module(module)
    models = [each for _, each in inspect.getmembers(module, inspect.isclass) if issubclass(each, BaseModel)]
    fields = [(name, field) for model in models for name, field in model.model_fields.items()]
    assert fields
    assert [name for name, field in fields if not field.description] == []


def test_every_environment_variable_is_in_the_readme_and_exists():
    """The table of variables is complete and holds none that nothing reads."""
    code = chain.from_iterable((ROOT / folder).rglob("*.py") for folder in FOLDERS)
    read = {field.json_schema_extra["env"] for field in ServiceSettings.model_fields.values()}
    read |= {name for path in code for name in re.findall(r'"(DOWSE_[A-Z_]+)"', path.read_text(encoding="utf-8"))}
    read |= set(re.findall(r"\$\{(DOWSE_[A-Z_]+)", (ROOT / "docker-compose.yml").read_text(encoding="utf-8")))
    assert read == set(re.findall(r"`(DOWSE_[A-Z_]+)`", README))
    assert set(re.findall(r"`(DOWSE_[A-Z_]+)`", TRAINER)) <= read


def test_every_variable_of_compose_is_in_the_readme():
    """Whoever starts the containers finds each variable that docker-compose.yml replaces."""
    used = set(re.findall(r"(?<!\$)\$\{([A-Z_]+)", (ROOT / "docker-compose.yml").read_text(encoding="utf-8")))
    assert {name for name in used if f"`{name}`" not in README and f"`{name}=`" not in README} == set()


@pytest.mark.parametrize("model", [Manifest, EncoderContract])
def test_every_manifest_field_is_in_the_readme(model):
    """Somebody who opens a manifest finds each of its fields explained, in the README and in the model."""
    missing = [name for name, field in model.model_fields.items() if f"`{name}`" not in README or not field.description]
    assert not missing


def test_every_field_of_the_report_is_documented():
    """Somebody who reads report.json by a program finds each of its fields explained."""
    part = TRAINER[TRAINER.index("`report/report.json`") :]
    assert [name for name in Report.model_fields if f"`{name}`" not in part] == []


def test_counts_and_metrics_of_a_real_build_are_in_the_readme(built_data):
    """What a build counts and measures is explained, not only the fields that hold it."""
    from indexer.artifacts.store import Store

    for kind in ("index", "model"):
        store = Store(kind, built_data)
        manifest = store.manifest(store.current_id())
        assert all(f"`{name}`" in README for name in [*manifest.counts, *manifest.metrics])


def test_what_a_tuned_model_says_of_itself_is_in_the_readme():
    """The metrics and the configuration that a run adds to the manifest are explained."""
    code = (ROOT / "trainer" / "pipeline" / "stages.py").read_text(encoding="utf-8")
    written = code[code.index("metrics = {") : code.index("return models.publish(")]
    names = set(re.findall(r'"(\w+)": |config\["(\w+)"\]', written))
    assert {"base_dense_ndcg10", "hybrid_ndcg10", "verdict", "map_of"} <= {a or b for a, b in names}
    assert {a or b for a, b in names if f"`{a or b}`" not in README} == set()


def test_every_command_in_the_documents_can_be_parsed():
    """A command line with a misspelt command or flag, or with an argument too many, is found."""
    pattern = r"^\$ (?:[A-Z]+=\S+ )*(?:\S*/)?(?:python|accelerate launch) -m (\w+)(.*)$"
    lines = [line for text in DOCUMENTS.values() for line in re.findall(pattern, text, flags=re.MULTILINE)]
    assert len(lines) >= 20
    for program, rest in lines:
        words = shlex.split(rest, comments=True)
        command, name = get_command(PROGRAMS[program]), program
        while hasattr(command, "commands"):  # a group, perhaps within another
            context = command.make_context(name, words, resilient_parsing=True)
            words = context._protected_args + context.args
            if command.invoke_without_command and not words:
                break
            name, command, words = command.resolve_command(context, words)
        else:
            command.make_context(name, words)


@pytest.mark.parametrize("room", ROOMS, ids=lambda room: room.relative_to(ROOT).as_posix())
def test_every_room_names_its_files(room):
    """The docstring of a folder names every module in it, and no file that is gone."""
    docstring = ast.get_docstring(ast.parse((room / "__init__.py").read_text(encoding="utf-8")))
    there = {path.name for path in room.glob("*.py") if not path.name.startswith("__")}
    assert there == set(re.findall(r"^(\w+\.py) ", docstring, flags=re.MULTILINE))


def test_every_room_is_in_the_readme():
    """The map of folders in the README names every folder that holds code, and none that is gone."""
    listing = README[README.index("## Files") : README.index("## Measured")]
    parts = re.split(r"^(\w+)/", listing, flags=re.MULTILINE)
    named = {
        f"{package}/{room}"
        for package, text in zip(parts[1::2], parts[2::2], strict=True)
        for room in re.findall(r"^  ([\w/]+)/ ", text, flags=re.MULTILINE)
        if package in FOLDERS[:3]
    }
    assert {room.relative_to(ROOT).as_posix() for room in ROOMS} - set(FOLDERS) == named - {"service/page"}


def test_every_bench_is_in_the_file_map():
    """The map names every script that measures."""
    listing = README[README.index("bench/      ") : README.index("scripts/    ")]
    assert {path.name for path in (ROOT / "bench").glob("*.py")} == set(re.findall(r"\b(\w+\.py)\b", listing))


@pytest.mark.parametrize("document", DOCUMENTS)
def test_links_lead_somewhere(document):
    """Links to files of the repository and to headings, also those of the other document, are not broken."""
    for target in re.findall(r"\]\(([^)]+)\)", DOCUMENTS[document]):
        if target.startswith("http"):
            continue
        path, _, heading = target.partition("#")
        file = (ROOT / document).parent / path if path else ROOT / document
        assert file.exists(), target
        if heading:
            assert heading in _headings(file.read_text(encoding="utf-8")), target


def _headings(text: str) -> set[str]:
    lines = [line.lstrip("#") for line in text.splitlines() if re.match(r"#+ ", line)]
    return {re.sub(r"[^a-z0-9_ -]", "", line.lower()).strip().replace(" ", "-") for line in lines}


def test_examples_of_files_are_json():
    """What trainer/README.md shows of the files between the stages can be read by a program, line by line."""
    blocks = re.findall(r"^```json\n(.*?)^```", TRAINER, flags=re.MULTILINE | re.DOTALL)
    assert len(blocks) >= 8
    for line in chain.from_iterable(block.splitlines() for block in blocks):
        assert isinstance(json.loads(line), dict)


def test_every_problem_is_in_the_readme():
    """Whoever meets a problem finds its type explained, with its status."""
    table = README[README.index("### Problems") : README.index("## Operate")]
    assert [kind for kind in TITLES if f"`{kind}`" not in table] == []


def test_make_targets_of_the_readme_exist():
    """The two commands of the first screen are targets of the Makefile."""
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    for target in set(re.findall(r"^\$ make (\w+)", README, flags=re.MULTILINE)):
        assert re.search(rf"^{target}:", makefile, flags=re.MULTILINE)
