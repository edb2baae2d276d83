"""Send the service what nobody would think of: schemathesis over the whole API, valid and invalid, alone and in chains.

    python bench/fuzz.py --data data --cases 10000 --seed 0

Every answer has to be one that `openapi.json` documents, with the status, media type, schema and headers that it says,
and none may be a 5xx but the 503 of a model that is not published. The data directory is copied: the requests write.
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
    # What the schema cannot say: a field that the index does not have, a text of blanks, two fields that exclude each
    # other. That such a request is refused is right.
    "RejectedPositiveData",
    # 413 is no acceptance, whatever the checks of schemathesis count as a refusal.
    "AcceptedNegativeData",
}


class Findings:
    """What was sent, what came back, and what was wrong with it, once for each kind."""

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
    """Say whether a text was taken that is too long by the blanks around it, which no length counts."""
    return "violates `maxLength`" in str(failure)


def naming(case: Case, document: str) -> Case:
    """Return the case with a document that is there in place of those that it makes up: no chance finds an id."""
    if "document_id" in (case.path_parameters or {}):
        case.path_parameters["document_id"] = document
    if isinstance(case.body, dict):
        case.body |= {"document": document} if "document" in case.body else {}
        case.body |= {name: [document] for name in case.body.keys() & {"ids", "negative_ids"}}
    return case


def alone(schema: Any, findings: Findings, cases: int, seed: int, document: str) -> None:
    """Send each operation its share of requests by themselves, half of them valid by the schema and half not.

    Every second valid one that names a document names the id ``document``.
    """
    operations = [result.ok() for result in schema.get_all_operations()]
    with_input = [each for each in operations if each.body or any(True for _ in each.iter_parameters())]
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
    """Send chains of requests, in which one uses what another has answered."""

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
    asked = parser.parse_args()
    logging.disable(logging.WARNING)  # the service says of every refused body that it was refused
    findings = Findings()
    with tempfile.TemporaryDirectory() as folder:
        data = Path(folder) / "data"
        shutil.copytree(asked.data, data)
        app = create_app(ServiceSettings(data=data, writable=True, deadline_seconds=60))
        with TestClient(app) as client:
            document = client.get("/search", params={"q": "anything", "mode": "dense"}).json()["results"][0]["id"]
            schema = schemathesis.openapi.from_asgi("/openapi.json", app)
            alone(schema, findings, asked.cases * 9 // 10, asked.seed, document)
            chained(schema, findings, asked.cases // 10, asked.seed)
    for (name, status), count in sorted(findings.statuses.items()):
        print(f"{count:6}  {status}  {name}")
    print(f"{findings.cases:,} requests, seed {asked.seed}: {len(findings.failures)} kinds of wrong answers")
    for name, failure in findings.failures.items():
        print(f"\n{name}\n{failure}")
    raise SystemExit(bool(findings.failures))


if __name__ == "__main__":
    main()
