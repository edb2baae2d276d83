"""The documents: what they say of commands, flags, files, rooms and links is true, and the reference is the code's."""

from __future__ import annotations

import ast
import inspect
import json
import os
import re
import shlex
import subprocess
import sys
from importlib import import_module
from itertools import chain
from pathlib import Path

import pytest
from pydantic import BaseModel
from typer.main import get_command

from indexer.artifacts import contents
from indexer.artifacts.store import Store
from scripts.reference.__main__ import FOLDER, pages
from scripts.reference.cli import PROGRAMS, commands
from service.problems import KINDS

ROOT = Path(__file__).parents[1]
DOCUMENTS = {
    path.relative_to(ROOT).as_posix(): path.read_text(encoding="utf-8")
    for path in [*ROOT.glob("*.md"), ROOT / "trainer" / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
}
WRITTEN = [name for name in DOCUMENTS if not name.startswith("docs/reference/")]
PACKAGES = ("indexer", "trainer", "service")
ROOMS = sorted(path.parent for name in PACKAGES for path in (ROOT / name).rglob("__init__.py"))
SETTINGS = [
    ".".join(path.relative_to(ROOT).with_suffix("").parts)
    for name in PACKAGES
    for path in (ROOT / name).rglob("settings.py")
]
FOREIGN_FLAGS = {
    *("--nproc_per_node", "--cpu", "--num_processes", "--head", "--include-dashboard"),
    *("--transport", "--rm", "--no-deps", "--json", "--strict", "--data-dir", "--scale"),
}
"""Flags of programs that are not ours: torchrun, accelerate, ray, claude, docker, curl, mkdocs, milvus-lite."""
FOREIGN_FLAGS |= {"--target", "--build-arg", "--set", "--set-file", "--timeout", "--wait", "--reuse-values"}
"""Of docker and helm."""
FOREIGN_FLAGS |= {"--follow", "--from-literal"}
"""Of kubectl."""
LINES = {"README.md": 250, "trainer/README.md": 60, "docs/architecture.md": 150}


def flags(command: object) -> set[str]:
    """Return the long flags of a command."""
    return {flag for parameter in command.params for flag in parameter.opts if flag.startswith("--")} - {"--help"}


# --- the reference --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", sorted(pages()))
def test_the_reference_is_generated(name: str) -> None:
    """A page of docs/reference is what the code gives; `make reference` writes it again."""
    path = FOLDER / name
    assert path.is_file(), "run `make reference`"
    assert path.read_text(encoding="utf-8") == pages()[name], "run `make reference`"


def test_the_reference_holds_nothing_else() -> None:
    """A page that no longer is generated is removed."""
    assert {path.name for path in FOLDER.iterdir()} == set(pages())


@pytest.mark.parametrize("program", PROGRAMS)
def test_the_reference_has_every_flag(program: str) -> None:
    """No flag of any command is left out, nor any command."""
    text = pages()["cli.md"]
    for name, command in commands(PROGRAMS[program]).items():
        section = re.split(rf"^### {program} ?{name}(?:, without a command)?$", text, flags=re.MULTILINE)[1]
        section = re.split(r"^##", section, flags=re.MULTILINE)[0]
        assert {flag for flag in flags(command) if f"`{flag}`" not in section} == set()


def test_every_flag_has_a_help_text() -> None:
    """`--help` teaches: no flag and no command goes without a sentence."""
    for app in PROGRAMS.values():
        for command in commands(app).values():
            assert command.help
            assert all(parameter.help for parameter in command.params if parameter.name != "help")


@pytest.mark.parametrize("module", SETTINGS)
def test_every_setting_has_a_help_text(module: str) -> None:
    """Each field of a settings model says what it does, wherever it is set."""
    module = import_module(module)
    models = [each for _, each in inspect.getmembers(module, inspect.isclass) if issubclass(each, BaseModel)]
    fields = [(name, field) for model in models for name, field in model.model_fields.items()]
    assert fields
    assert [name for name, field in fields if not field.description] == []


@pytest.mark.parametrize("name", ["manifest.md", "report.md", "report-classify.md", "report-pretrain.md"])
def test_every_field_is_described(name: str) -> None:
    """Somebody who opens a manifest or a report finds each of its fields explained."""
    rows = [line for line in pages()[name].splitlines() if re.match(r"\| `\w+` \| ", line)]
    assert rows
    assert [row for row in rows if row.endswith("|  |") and row.count("|") > 3] == []


def test_every_environment_variable_is_in_the_reference() -> None:
    """The page of variables is complete and holds none that nothing reads."""
    text = pages()["settings.md"]
    code = chain.from_iterable((ROOT / folder).rglob("*.py") for folder in PACKAGES)
    read = {name for path in code for name in re.findall(r'"(DOWSE_[A-Z_]+)"', path.read_text(encoding="utf-8"))}
    compose = set(re.findall(r"(?<!\$)\$\{([A-Z_]+)", (ROOT / "docker-compose.yml").read_text(encoding="utf-8")))
    named = set(re.findall(r"`([A-Z_]{4,})`", text))
    read |= {name for name in named if f'"{name}"' in (ROOT / "service" / "settings.py").read_text(encoding="utf-8")}
    assert (read | compose) - named == set()
    assert {name for name in named if name.startswith("DOWSE_")} <= read | compose


def test_the_reference_describes_real_artifacts(built_data: Path) -> None:
    """What a model and an index hold on the disk, count and measure is in the tables, under its name."""
    for kind in ("index", "model"):
        store = Store(kind, built_data)
        manifest = store.manifest(store.current_id())
        assert set(manifest.config) <= set(contents.CONFIG[kind])
        assert set(manifest.counts) <= set(contents.COUNTS[kind])
        assert set(manifest.metrics) <= set(contents.METRICS[kind])
        described = [name for name in contents.FILES[kind] if name.endswith("/")]
        rest = {name for name in manifest.files if not name.startswith(tuple(described))}
        assert rest <= set(contents.FILES[kind])


def test_what_a_run_adds_to_a_manifest_is_in_the_reference() -> None:
    """The metrics and the configuration that `trainer run` writes are explained."""
    code = (ROOT / "trainer" / "pipeline" / "stages.py").read_text(encoding="utf-8")
    written = code[code.index("metrics = {") : code.index("return models.publish(")]
    names = {a or b for a, b in re.findall(r'"(\w+)": |config\["(\w+)"\]', written)}
    assert {"base_dense_ndcg10", "hybrid_ndcg10", "verdict", "map_of"} <= names
    assert names <= {*contents.CONFIG["model"], *contents.METRICS["model"]}


def test_problems_are_raised_with_their_statuses() -> None:
    """Each problem that the code raises has a kind of the table, with one of the statuses that stand there."""
    raised = []
    for path in (ROOT / "service").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "Problem":
                values = [each.value for each in node.args[:2] if isinstance(each, ast.Constant)]
                if len(values) == 2:
                    raised.append(values)
    assert len(raised) >= 20
    assert [(status, kind) for status, kind in raised if status not in KINDS[kind].statuses] == []


# --- commands and examples ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("document", WRITTEN)
def test_every_flag_in_the_documents_exists(document: str) -> None:
    """A flag that is renamed or removed must leave the documents too."""
    known = {flag for app in PROGRAMS.values() for command in commands(app).values() for flag in flags(command)}
    known |= set(re.findall(r'"(--[a-z-]+)"', "".join(path.read_text() for path in (ROOT / "bench").glob("*.py"))))
    found = set(re.findall(r"(?<![\w-])(--[a-z][a-z0-9_-]+)", DOCUMENTS[document]))
    assert found - {"--help"} - FOREIGN_FLAGS <= known


def test_every_command_in_the_documents_can_be_parsed() -> None:
    """A command line with a misspelt command or flag, or with an argument too many, is found."""
    pattern = r"^\$ (?:[A-Z]+=\S+ )*(?:\S*/)?(?:python|accelerate launch) -m (indexer|trainer|service)\b(?!\.)(.*)$"
    lines = [line for text in DOCUMENTS.values() for line in re.findall(pattern, text, flags=re.MULTILINE)]
    assert len(lines) >= 60
    for program, rest in lines:
        words = shlex.split(re.split(r" [|>&]", rest)[0], comments=True)
        command, name = get_command(PROGRAMS[program]), program
        while hasattr(command, "commands"):  # a group, perhaps within another
            context = command.make_context(name, words, resilient_parsing=True)
            words = context._protected_args + context.args
            if command.invoke_without_command and not words:
                break
            name, command, words = command.resolve_command(context, words)
        else:
            command.make_context(name, words)


def test_examples_are_json() -> None:
    """What the documents show as JSON can be read by a program, as a whole or line by line."""
    blocks = [
        block
        for text in DOCUMENTS.values()
        for block in re.findall(r"^```json\n(.*?)^```", text, flags=re.MULTILINE | re.DOTALL)
    ]
    assert len(blocks) >= 8
    for block in blocks:
        try:
            json.loads(block)
        except ValueError:
            assert all(isinstance(json.loads(line), dict) for line in block.splitlines())


def test_make_targets_of_the_documents_exist() -> None:
    """Each `make` command in the documents is a target of the Makefile, and stands in its help."""
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    targets = {
        target for text in DOCUMENTS.values() for target in re.findall(r"(?:^\$ |`)make (\w+)", text, re.MULTILINE)
    }
    assert {"demo", "test", "docs", "reference", "environment"} <= targets
    assert {target for target in targets if not re.search(rf"^{target}:.*##", makefile, re.MULTILINE)} == set()


# --- the site and the rooms -----------------------------------------------------------------------------------------


def test_the_site_builds(tmp_path: Path) -> None:
    """`mkdocs build --strict` finds no dead link, no dead anchor and no page outside the navigation."""
    command = [sys.executable, "-m", "mkdocs", "build", "--quiet", "--strict", "--site-dir", str(tmp_path / "site")]
    environment = {**os.environ, "NO_MKDOCS_2_WARNING": "1"}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert (tmp_path / "site" / "guides" / "search.html").is_file()


@pytest.mark.parametrize("document", [name for name in WRITTEN if not name.startswith("docs/")])
def test_links_lead_somewhere(document: str) -> None:
    """Links of the documents that are not part of the site: files and headings exist."""
    for target in re.findall(r"\]\(([^)]+)\)", DOCUMENTS[document]):
        if target.startswith("http"):
            continue
        path, _, heading = target.partition("#")
        file = (ROOT / document).parent / path if path else ROOT / document
        assert file.exists(), target
        if heading:
            assert heading in _headings(file.read_text(encoding="utf-8")), target


def _headings(text: str) -> set[str]:
    """Return the anchors of a page, as the site and most viewers of Markdown make them."""
    lines = [line.lstrip("#") for line in text.splitlines() if re.match(r"#+ ", line)]
    return {re.sub(r"[\s-]+", "-", re.sub(r"[^\w\s-]", "", line.lower()).strip()) for line in lines}


@pytest.mark.parametrize("document", WRITTEN)
def test_pages_are_short(document: str) -> None:
    """A page that somebody is to read from top to bottom has a length that he can."""
    limit = LINES.get(document, 250 if document.startswith("docs/guides/") else 400)
    assert len(DOCUMENTS[document].splitlines()) <= limit


@pytest.mark.parametrize("document", [name for name in WRITTEN if name != "CHANGELOG.md"])
def test_the_documents_name_files_that_exist(document: str) -> None:
    """Each path of the repository that a document names is there."""
    pattern = r"`((?:indexer|trainer|service|tests|bench|scripts|client|docs)/[\w./-]+?)`"
    found = set(re.findall(pattern, DOCUMENTS[document]))
    assert {name for name in found if not (ROOT / name).exists()} == set()


@pytest.mark.parametrize("room", ROOMS, ids=lambda room: room.relative_to(ROOT).as_posix())
def test_every_room_names_its_files(room: Path) -> None:
    """The docstring of a folder names every module in it, and no file that is gone."""
    docstring = ast.get_docstring(ast.parse((room / "__init__.py").read_text(encoding="utf-8")))
    there = {path.name for path in room.glob("*.py") if not path.name.startswith("__")}
    assert there == set(re.findall(r"^(\w+\.py) ", docstring, flags=re.MULTILINE))


def test_every_room_is_in_the_documents() -> None:
    """README and architecture name every folder that holds code."""
    for document in ("README.md", "docs/architecture.md"):
        missing = [
            room.relative_to(ROOT).as_posix()
            for room in ROOMS
            if room.relative_to(ROOT).as_posix() not in PACKAGES
            and not re.search(rf"\b{room.name}/|[ (,]{room.name}[,)]", DOCUMENTS[document])
        ]
        assert missing == [], document


def test_every_bench_is_in_the_documents() -> None:
    """Whoever wants to measure finds each script that does."""
    scripts = {path.name for path in (ROOT / "bench").glob("*.py")}
    text = DOCUMENTS["docs/experiments/index.md"]
    assert {name for name in scripts if f"bench/{name}" not in text} == set()
