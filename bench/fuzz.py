"""Fuzz test of the API: schemathesis sends valid and invalid requests, single ones and chains of them.

    python bench/fuzz.py --data data --cases 10000 --seed 0

Every answer must be documented in `openapi.json`, with its status, media type, schema and headers. None may be a 5xx
other than the 503 of a model that is not published. The requests write, so they use a copy of the data directory.
"""

from __future__ import annotations

import argparse
import itertools
import logging
import shutil
import sys
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

import hypothesis
import schemathesis
from hypothesis import HealthCheck, Phase, strategies
from schemathesis import Case, GenerationMode
from schemathesis.core.failures import FailureGroup
from starlette.testclient import TestClient

from service.app import create_app
from service.settings import ServiceSettings

TOLERATED = {
    # The schema cannot express some rules: fields that the index has, texts that are not blank, two fields that exclude
    # each other. Refusing such a request is right.
    "RejectedPositiveData",
    # 413 is a refusal, which schemathesis does not count as one.
    "AcceptedNegativeData",
}


class Findings:
    """Number of answers by operation and status, and one failure of each kind."""

    def __init__(self) -> None:
        self.statuses: Counter[tuple[str, int]] = Counter()
        self.failures: dict[str, str] = {}

    @property
    def cases(self) -> int:
        """Number of requests that were sent."""
        return self.statuses.total()

    def take(self, case: Case, response: Any) -> None:
        """Check one answer."""
        name, status = case.operation.label, response.status_code
        self.statuses[name, status] += 1
        if status == 503 and b"problem:not-ready" in response.content:
            return
        try:
            case.validate_response(response)
        except FailureGroup as group:
            for failure in group.exceptions:
                kind = type(failure).__name__
                if kind not in TOLERATED or (
                    kind == "AcceptedNegativeData" and status < 400 and not _stripped(failure)
                ):
                    self.failures.setdefault(f"{name} {status} {kind}", str(failure))


def _stripped(failure: Exception) -> bool:
    """Say whether the text is too long only by the blanks around it, which the service strips."""
    return "violates `maxLength`" in str(failure)


def naming(case: Case, document: str) -> Case:
    """Return the case with an existing document in place of generated ids, which never exist."""
    if "document_id" in (case.path_parameters or {}):
        case.path_parameters["document_id"] = document
    if isinstance(case.body, dict):
        case.body |= {"document": document} if "document" in case.body else {}
        case.body |= {name: [document] for name in case.body.keys() & {"ids", "negative_ids"}}
    return case


def alone(schema: Any, findings: Findings, cases: int, seed: int, document: str) -> None:
    """Send each operation its share of single requests, half of them valid by the schema and half not.

    Every second valid request with an id has the id ``document``.
    """
    operations = [result.ok() for result in schema.get_all_operations()]
    with_input = [
        operation for operation in operations if operation.body or any(True for _ in operation.iter_parameters())
    ]
    share = max(1, cases // (2 * len(with_input)))
    for operation, mode in itertools.product(with_input, GenerationMode):

        @hypothesis.seed(seed)
        @hypothesis.settings(
            max_examples=share,
            deadline=None,
            database=None,
            phases=[Phase.generate],
            suppress_health_check=[*HealthCheck],
        )
        @hypothesis.given(
            case=operation.as_strategy(generation_mode=mode),
            named=strategies.booleans() if mode is GenerationMode.POSITIVE else strategies.just(False),
        )
        def send(case: Case, named: bool) -> None:
            case = naming(case, document) if named else case
            findings.take(case, case.call())

        try:
            send()
        except hypothesis.errors.Unsatisfiable:  # every text is a valid id
            continue
    for operation in operations:
        if operation not in with_input:
            case = operation.Case()
            findings.take(case, case.call())


def chained(schema: Any, findings: Findings, cases: int, seed: int) -> None:
    """Send chains of requests, in which a request uses the answer of an earlier one."""

    class Chain(schema.as_state_machine()):  # type: ignore[misc]
        def validate_response(self, response: Any, case: Case, **_: Any) -> None:
            findings.take(case, response)

    hypothesis.seed(seed)(Chain.TestCase)
    steps = 10
    Chain.run(
        settings=hypothesis.settings(
            max_examples=max(1, cases // steps), stateful_step_count=steps, deadline=None, database=None,
            phases=[Phase.generate], suppress_health_check=[*HealthCheck],
        )
    )  # fmt: skip


def main() -> None:
    """Fuzz a service over a copy of a data directory; end with status 1 where an answer was wrong."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path("data"), help="data directory with an index (default: data)")
    parser.add_argument("--cases", type=int, default=10_000, help="requests, about (default: 10000)")
    parser.add_argument("--seed", type=int, default=0, help="the same seed sends the same requests (default: 0)")
    arguments = parser.parse_args()
    logging.disable(logging.WARNING)  # the service logs every refused body
    findings = Findings()
    with tempfile.TemporaryDirectory() as folder:
        data = Path(folder) / "data"
        shutil.copytree(arguments.data, data)
        app = create_app(ServiceSettings(data=data, writable=True, deadline_seconds=60))
        with TestClient(app) as client:
            document = client.get("/search", params={"q": "anything", "mode": "dense"}).json()["results"][0]["id"]
            schema = schemathesis.openapi.from_asgi("/openapi.json", app)
            alone(schema, findings, arguments.cases * 9 // 10, arguments.seed, document)
            chained(schema, findings, arguments.cases // 10, arguments.seed)
    for (name, status), count in sorted(findings.statuses.items()):
        print(f"{count:6}  {status}  {name}")
    print(f"{findings.cases:,} requests, seed {arguments.seed}: {len(findings.failures)} kinds of wrong answers")
    for name, failure in findings.failures.items():
        print(f"\n{name}\n{failure}")
    raise SystemExit(bool(findings.failures))


if __name__ == "__main__":
    main()
