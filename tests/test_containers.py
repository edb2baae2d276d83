"""The container files say what they must; nothing is built or started here."""

from __future__ import annotations

import re
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import yaml

from service.settings import ServiceSettings

ROOT = Path(__file__).parents[1]
PROGRAMS = ("trainer", "indexer", "service")
LOCKS = sorted(path.name for path in ROOT.glob("requirements*.lock"))


def dockerfile_stage(name: str) -> str:
    """Return the part of the Dockerfile that makes the stage ``name``."""
    stages = re.split(r"^(?=FROM )", (ROOT / "Dockerfile").read_text(encoding="utf-8"), flags=re.MULTILINE)
    return next(stage for stage in stages if re.match(rf"FROM \S+ AS {name}\n", stage))


def compose() -> dict[str, Any]:
    """Return the services of docker-compose.yml, its variables not replaced."""
    services: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text(encoding="utf-8"))["services"]
    return services


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
    """The service cannot write to the data or its own image, holds no capability, and is published on loopback."""
    service = compose()["service"]
    assert service["volumes"] == ["./data:/data:ro"]
    assert service["ports"] == ["127.0.0.1:${PORT:-8000}:8000"]
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]


def test_steps_run_in_order() -> None:
    """Each step waits until the one before has succeeded, so that nothing is replaced after a failure."""
    order = ["prepare", "sample", "trainer", "indexer", "service"]
    services = compose()
    assert sorted(services) == sorted(order)
    for before, after in pairwise(order):
        assert services[after]["depends_on"] == {before: {"condition": "service_completed_successfully"}}
        assert services[before]["restart"] == "no"
    assert services["service"]["restart"] == "unless-stopped"


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


def test_locks_agree() -> None:
    """Every line of a lock file is a pin, no URL and no path, and a package has one version in all of them."""
    assert len(LOCKS) == 5
    everything = pins("requirements-dev.lock")
    for lock in LOCKS:
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
