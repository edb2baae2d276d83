"""Documentation fails the build when it lies."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest
import typer
from typer.main import get_command

from indexer.cli import app as indexer_app
from indexer.manifest import EncoderContract, Manifest
from service.__main__ import app as service_app
from service.settings import ServiceSettings
from trainer.cli import app as trainer_app

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
PROGRAMS = {"indexer": indexer_app, "trainer": trainer_app, "service": service_app}


def commands(app: typer.Typer) -> dict[str, object]:
    """Return the commands of a program by name; a program with one command has it under an empty name."""
    command = get_command(app)
    return dict(getattr(command, "commands", {"": command}))


def flags(command: object) -> set[str]:
    """Return the long flags of a command."""
    return {flag for parameter in command.params for flag in parameter.opts if flag.startswith("--")} - {"--help"}


@pytest.mark.parametrize("program", PROGRAMS)
def test_every_flag_is_in_the_readme(program):
    """A flag that is added without a word in the README is found."""
    for name, command in commands(PROGRAMS[program]).items():
        missing = [flag for flag in flags(command) if f"`{flag}" not in README and f" {flag}" not in README]
        assert not missing, f"{program} {name}: {missing}"


def test_every_flag_in_the_readme_exists():
    """A flag that is renamed or removed must leave the README too."""
    known = {flag for app in PROGRAMS.values() for command in commands(app).values() for flag in flags(command)}
    known |= set(re.findall(r'"(--[a-z-]+)"', "".join(path.read_text() for path in (ROOT / "bench").glob("*.py"))))
    assert set(re.findall(r"(--[a-z][a-z0-9-]+)", README)) - {"--help"} <= known


def test_every_flag_has_a_help_text():
    """`--help` teaches: no flag and no command goes without a sentence."""
    for app in PROGRAMS.values():
        for command in commands(app).values():
            assert command.help
            assert all(parameter.help for parameter in command.params if parameter.name != "help")


def test_every_environment_variable_is_in_the_readme_and_exists():
    """The table of variables is complete and holds none that nothing reads."""
    read = {field.json_schema_extra["env"] for field in ServiceSettings.model_fields.values()}
    read |= set(re.findall(r"\$\{(DOWSE_[A-Z_]+)", (ROOT / "docker-compose.yml").read_text(encoding="utf-8")))
    assert read == set(re.findall(r"`(DOWSE_[A-Z_]+)`", README))


@pytest.mark.parametrize("model", [Manifest, EncoderContract])
def test_every_manifest_field_is_in_the_readme(model):
    """Somebody who opens a manifest finds each of its fields explained, in the README and in the model."""
    missing = [name for name, field in model.model_fields.items() if f"`{name}`" not in README or not field.description]
    assert not missing


def test_counts_and_metrics_of_a_real_build_are_in_the_readme(built_data):
    """What a build counts and measures is explained, not only the fields that hold it."""
    from indexer.artifacts import Store

    for kind in ("index", "model"):
        store = Store(kind, built_data)
        manifest = store.manifest(store.current_id())
        assert all(f"`{name}`" in README for name in [*manifest.counts, *manifest.metrics])


def test_every_command_in_the_readme_can_be_parsed():
    """A README command line with a misspelt command, flag or file is found."""
    lines = re.findall(r"^\$ (?:[A-Z]+=\S+ )*(?:\S*/)?python -m (\w+)(.*)$", README, flags=re.MULTILINE)
    assert len(lines) >= 8
    for program, rest in lines:
        words = shlex.split(rest, comments=True)
        command = get_command(PROGRAMS[program])
        context = command.make_context(program, words, resilient_parsing=True)
        if program != "service":
            name, sub, arguments = command.resolve_command(context, words)
            sub.make_context(name, arguments)


def test_every_file_is_in_the_file_map():
    """The file map names every module, and no file that is gone."""
    listing = README[README.index("## Files") : README.index("## Measured")]
    there = {
        path.name
        for folder in ("indexer", "trainer", "service", "bench")
        for path in (ROOT / folder).glob("*.py")
        if not path.name.startswith("__")
    }
    assert there == set(re.findall(r"\b(\w+\.py)\b", listing))


def test_links_lead_somewhere():
    """Links to files of the repository and to headings are not broken."""
    headings = {
        "#" + re.sub(r"[^a-z ]", "", line.lower()).strip().replace(" ", "-")
        for line in README.splitlines()
        if line.startswith("#")
    }
    for target in re.findall(r"\]\(([^)]+)\)", README):
        if target.startswith("#"):
            assert target in headings
        elif not target.startswith("http"):
            assert (ROOT / target).exists(), target


def test_make_targets_of_the_readme_exist():
    """The two commands of the first screen are targets of the Makefile."""
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    for target in set(re.findall(r"^\$ make (\w+)", README, flags=re.MULTILINE)):
        assert re.search(rf"^{target}:", makefile, flags=re.MULTILINE)
