"""The container files: what they declare. Nothing is built or started here."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from types import ModuleType
from typing import Any, NoReturn

import pytest
import yaml
from pydantic import BaseModel
from typer.main import get_command

from indexer.build.settings import BuildSettings
from indexer.cli import app as indexer_app
from indexer.milvus.settings import StoreSettings
from service.settings import ServiceSettings
from trainer.cli import app as trainer_app
from trainer.pipeline.settings import RunSettings

ROOT = Path(__file__).parents[1]
PROGRAMS = ("trainer", "indexer", "service")
LOCKS = sorted(path.name for path in ROOT.glob("requirements*.lock"))


def dockerfile_stage(name: str) -> str:
    """Return the part of the Dockerfile that makes the stage ``name``."""
    stages = re.split(r"^(?=FROM )", (ROOT / "Dockerfile").read_text(encoding="utf-8"), flags=re.MULTILINE)
    return next(stage for stage in stages if re.match(rf"FROM \S+ AS {name}\n", stage))


def compose() -> dict[str, Any]:
    """Return the services that `up` starts by itself, with their variables not replaced: none of a profile."""
    services: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text(encoding="utf-8"))["services"]
    return {name: service for name, service in services.items() if "profiles" not in service}


def command(service: dict[str, Any], variables: dict[str, str]) -> list[str]:
    """Return a service's command as it is with these variables set, with host paths for what is mounted one by one."""

    def fill(text: str) -> str:
        return re.sub(r"\$\{(\w+):-([^}]*)\}", lambda found: variables.get(found[1]) or found[2], text)

    words = [fill(word) for word in service["command"]]
    for mount in service["volumes"]:
        if isinstance(mount, dict):
            assert mount["read_only"] is True
            words = [word.replace(fill(mount["target"]), fill(mount["source"])) for word in words]
    return words


class _Called(Exception):  # noqa: N818 - the end of a test's call, not a defect
    """Corpus and settings that a program was about to work with."""


Asked = Callable[..., tuple[str, Any]]


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> Asked:
    """Return a function that says which corpus and settings a service would work with; no work is done."""

    def called(source: str, settings: BaseModel) -> NoReturn:
        raise _Called(source, settings)

    for name, function in (("trainer.pipeline.run", "run"), ("indexer.build.build", "build")):
        stub = ModuleType(name)
        setattr(stub, function, called)
        monkeypatch.setitem(sys.modules, name, stub)

    def ask(service: str, **variables: str) -> tuple[str, Any]:
        app = {"trainer": trainer_app, "indexer": indexer_app}[service]
        with pytest.raises(_Called) as caught:
            get_command(app).main(command(compose()[service], variables), standalone_mode=False)
        return caught.value.args

    return ask


def pins(lock: str) -> dict[str, str]:
    """Return package → version of a lock file; every line must be a pin."""
    found = {}
    for line in (ROOT / lock).read_text(encoding="utf-8").splitlines():
        pin = re.fullmatch(r"([a-z0-9][a-z0-9.-]*)==([a-z0-9.]+)", line)
        assert pin, f"{lock}: {line!r} is no pin"
        found[pin[1]] = pin[2]
    return found


@pytest.mark.parametrize("program", PROGRAMS)
def test_image_runs_its_program_without_root(program: str) -> None:
    """Each target drops root, and starts its program as process 1, so that a signal reaches it."""
    stage = dockerfile_stage(program)
    assert re.findall(r"^USER (.+)$", stage, re.MULTILINE) == ["10001:10001"]
    assert f'ENTRYPOINT ["python", "-m", "{program}"]' in stage


@pytest.mark.parametrize("program", PROGRAMS)
def test_image_has_only_what_its_program_imports(program: str) -> None:
    """A target holds its own code, the indexer's, and the packages of its own lock file."""
    code = re.findall(r"^COPY (\w+)/", dockerfile_stage(program), re.MULTILINE)
    assert set(code) == {"indexer", program}
    assert f"COPY --from={program}-packages /site-packages" in dockerfile_stage(program)
    assert f"-r requirements-{program}.lock" in dockerfile_stage(f"{program}-packages")


def test_classic_builder_can_build() -> None:
    """The Dockerfile has no BuildKit syntax, since not every engine has BuildKit."""
    text = (ROOT / "Dockerfile").read_text(encoding="utf-8")
    assert not re.search(r"^# syntax=|--mount|<<|--link|--chmod", text, re.MULTILINE)


def test_service_has_a_health_check() -> None:
    """Docker asks the service itself whether it can answer queries, without curl, which the image does not have."""
    check = dockerfile_stage("service").split("HEALTHCHECK")[1].split("ENTRYPOINT")[0]
    assert "/readyz" in check
    assert "curl" not in check


def test_service_reads_only_and_is_local() -> None:
    """The service can write to nothing but `live/`, holds no capability, and is published on loopback."""
    service = compose()["service"]
    assert service["volumes"] == ["./data:/data:ro", "./data/live:/data/live"]
    assert service["ports"] == ["127.0.0.1:${PORT:-8000}:8000"]
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]


def test_steps_run_in_order() -> None:
    """Each step waits until the one before has succeeded, so that nothing is replaced after a failure."""
    order = ["prepare", "sample", "trainer", "indexer", "service"]
    services = compose()
    assert list(services) == order
    for before, after in pairwise(order):
        assert services[after]["depends_on"] == {before: {"condition": "service_completed_successfully"}}
        assert services[before]["restart"] == "no"
    assert services["service"]["restart"] == "unless-stopped"


def test_without_variables_the_programs_have_their_defaults(asked: Asked) -> None:
    """Variables that are not set reach no setting as empty texts; only the time to learn is shorter."""
    corpus = "/corpus/data/corpus.parquet"
    assert asked("trainer") == (corpus, RunSettings(budget="5m", llm_wait=3600))
    assert asked("indexer") == (corpus, BuildSettings())


def test_a_file_without_a_name_is_none() -> None:
    """`--qrels "$QRELS"` in a script is no labels where the variable is not set."""
    assert RunSettings.model_validate({"qrels": "", "queries": ""}) == RunSettings()


def test_every_variable_reaches_its_setting(asked: Asked, tmp_path: Path) -> None:
    """What .env names is learned from, for as long as it says and from the model that it says."""
    (tmp_path / "judged.csv").write_text("query_id,doc_id\n")
    given = {
        "CORPUS": "/srv/homes.csv", "ID_COLUMN": "sku", "TEXT_COLUMN": "description", "TITLE_COLUMN": "none",
        "MODEL": "BAAI/bge-small-en-v1.5", "TRAIN_BUDGET": "1h", "LLM_URL": "http://gpu:8080/v1", "LLM_MODEL": "llama3",
        "QRELS": str(tmp_path / "judged.csv"), "QUERIES": "./asked.csv",
    }  # fmt: skip
    corpus, settings = asked("trainer", **given)
    assert corpus == given["CORPUS"]
    assert settings.model_dump(exclude_defaults=True, mode="json") == {
        "id_column": "sku", "text_column": "description", "title_column": "none", "model": given["MODEL"], "budget": "1h",
        "llm": given["LLM_URL"], "llm_model": "llama3", "llm_wait": 3600.0,
        "qrels": given["QRELS"], "queries": "asked.csv",
    }  # fmt: skip


def test_trainer_and_indexer_agree_about_the_corpus(asked: Asked) -> None:
    """The index that the trainer has made of the base is the one that the indexer would build: nothing is done twice."""
    columns = {"ID_COLUMN": "sku", "TEXT_COLUMN": "description", "TITLE_COLUMN": "name"}
    for variables in ({}, columns, {"CORPUS": "./homes.csv"}):
        learned, training = asked("trainer", **variables)
        indexed, building = asked("indexer", **variables)
        assert learned == indexed
        shared = (RunSettings.model_fields.keys() & BuildSettings.model_fields.keys()) - {
            "model",
            "force",
            "query_encoder",
        }
        shared = {name for name in shared if not name.startswith("llm")}  # one writes queries, the other fills cells
        assert training.model_dump(include=shared) == building.model_dump(include=shared)


def test_profile_llm_is_asked_for_by_name() -> None:
    """A language model is fetched and run only for those who say so, and the trainer knows where it is."""
    services = yaml.safe_load((ROOT / "docker-compose.yml").read_text(encoding="utf-8"))["services"]
    assert [name for name, service in services.items() if service.get("profiles") == ["llm"]] == [
        "ollama",
        "ollama-pull",
    ]
    assert services["trainer"]["environment"]["OLLAMA_HOST"] == services["ollama-pull"]["environment"]["OLLAMA_HOST"]
    assert all(service["cap_drop"] == ["ALL"] for service in services.values())


def test_only_the_step_that_changes_owners_is_root() -> None:
    """Root is for giving ./data to the programs' user, with no more capabilities than that takes."""
    services = compose()
    root = [name for name, service in services.items() if service["user"] == "0:0"]
    assert root == ["prepare"]
    assert services["prepare"]["cap_drop"] == ["ALL"]
    assert services["prepare"]["cap_add"] == ["CHOWN", "DAC_READ_SEARCH"]


def test_every_variable_is_in_the_example() -> None:
    """.env.example explains each variable of docker-compose.yml and of the service, and no other."""
    text = "\n".join(
        line
        for line in (ROOT / "docker-compose.yml").read_text(encoding="utf-8").splitlines()
        if not line.lstrip().startswith("#")
    )
    used = set(re.findall(r"(?<!\$)\$\{(\w+)", text))
    used |= {field.json_schema_extra["env"] for field in ServiceSettings.model_fields.values()}  # type: ignore[index]
    lines = (ROOT / ".env.example").read_text(encoding="utf-8").splitlines()
    explained = {match[1] for line in lines if (match := re.fullmatch(r"# ([A-Z_]+)=\S+", line))}
    assert explained == used


def test_example_has_the_defaults_of_the_service() -> None:
    """What .env.example gives as a value of the service is its default, where it has one."""
    example = dict(
        re.findall(r"^# (DOWSE_\w+)=(\S+)$", (ROOT / ".env.example").read_text(encoding="utf-8"), re.MULTILINE)
    )
    for field in ServiceSettings.model_fields.values():
        if field.default is not None:
            assert example[field.json_schema_extra["env"]] == str(field.default)  # type: ignore[index]


def test_milvus_is_reached_by_the_services_alone() -> None:
    """With Milvus as the store, publisher and services have its settings, and nothing else is open to the outside."""
    services = yaml.safe_load((ROOT / "docker-compose.milvus.yml").read_text(encoding="utf-8"))["services"]
    assert [name for name, service in services.items() if "ports" in service] == ["service"]
    assert services["service"]["ports"][0].startswith("127.0.0.1:")
    known = {field.json_schema_extra["env"] for field in StoreSettings.model_fields.values()}  # type: ignore[index]
    for name in ("publish", "service"):
        assert known <= services[name]["environment"].keys()
        assert services[name]["environment"]["DOWSE_STORE_URI"] == "http://milvus:19530"
        assert services[name]["cap_drop"] == ["ALL"]
        target = services[name]["build"]["target"]
        stage = dockerfile_stage(f"{target}-packages")
        assert services[name]["build"]["args"] == {"MILVUS": "1"}
        assert "${MILVUS:+-r requirements-milvus.lock}" in stage
    assert services["service"]["volumes"] == ["./data:/data:ro"]


def test_locks_agree() -> None:
    """Every line of a lock file is a pin, no URL and no path, and a package has one version in all of them."""
    assert len(LOCKS) == 9
    everything = pins("requirements-dev.lock")
    assert pins("requirements-suites.lock")  # of an environment of its own, which no other is part of
    for lock in LOCKS:
        if lock == "requirements-suites.lock":
            continue
        assert pins(lock).items() <= everything.items(), lock


@pytest.mark.parametrize("lock", ["requirements-service.lock", "requirements-indexer.lock"])
def test_only_the_trainer_has_torch(lock: str) -> None:
    """Service and indexer answer and embed with ONNX Runtime alone."""
    assert not {"torch", "transformers", "sentence-transformers"} & set(pins(lock))


@pytest.mark.parametrize("lock", LOCKS)
def test_no_cuda_packages(lock: str) -> None:
    """The pin of torch names no build, and what only its CUDA build needs is not pinned at all."""
    assert not [name for name in pins(lock) if name.startswith(("nvidia", "cuda", "triton"))]
    assert pins(lock).get("torch", "2.13.0") == "2.13.0"
