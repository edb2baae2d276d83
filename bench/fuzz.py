"""Fuzz test of a running service: schemathesis sends valid and invalid requests, single ones and chains of them.

    python bench/fuzz.py --data data --cases 10000 --seed 0

The index has every Arrow type among its metadata (`every_type.py`) and documents of two tenants; only the models are
taken from --data. Requests come from a key that may do everything, a key of each tenant, and nobody. Every answer must
be documented in `openapi.json`, with its status, media type, schema and headers. None may be a 5xx other than the 503
of a model that is not published, none may hold a word of another tenant, and the log may have no traceback.
"""

from __future__ import annotations

import argparse
import itertools
import shutil
import sys
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any
from urllib.parse import quote

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

import hypothesis
import pyarrow as pa
import pyarrow.parquet as pq
import requests
import schemathesis
from every_type import TENANTS, corpus
from hypothesis import HealthCheck, Phase, strategies
from pydantic_core import to_json
from schemathesis import Case, GenerationMode
from schemathesis.core.failures import FailureGroup
from schemathesis.transport import SerializationContext
from service_process import ServiceProcess

from indexer.build.build import build
from indexer.build.settings import BuildSettings
from indexer.filters.filter import Filter
from service.security.keys import add_key

TOLERATED = {
    # The schema cannot express some rules: fields that the index has, texts that are not blank, two fields that exclude
    # each other. Refusing such a request is right.
    "RejectedPositiveData",
    # 413 is a refusal, which schemathesis does not count as one.
    "AcceptedNegativeData",
}
NOBODY = "nobody"
SECONDS = 60
"""Within which an answer must come."""


class Findings:
    """Number of answers by operation and status, and one failure of each kind.

    Args:
        keys: name of each caller → its key; `NOBODY` has none.
    """

    def __init__(self, keys: dict[str, str]) -> None:
        self.keys = keys
        self.statuses: Counter[tuple[str, int]] = Counter()
        self.callers: Counter[str] = Counter()
        self.failures: dict[str, str] = {}

    @property
    def cases(self) -> int:
        """Number of requests that were sent."""
        return self.statuses.total()

    def headers(self, caller: str) -> dict[str, str]:
        """Return the headers of a caller."""
        return {"Authorization": f"Bearer {self.keys[caller]}"} if caller in self.keys else {}

    def send(self, case: Case, caller: str) -> None:
        """Send a request as a caller, and check the answer."""
        self.callers[caller] += 1
        self.take(case, case.call(headers=self.headers(caller), timeout=SECONDS), caller)

    def take(self, case: Case, response: Any, caller: str) -> None:
        """Check one answer."""
        name, status = case.operation.label, response.status_code
        self.statuses[name, status] += 1
        self._check_words(name, response, caller)
        if status == 503 and b"problem:not-ready" in response.content:
            return
        try:
            case.validate_response(response)
        except FailureGroup as group:
            for failure in group.exceptions:
                kind = type(failure).__name__
                if name == "POST /documents/import" and kind == "AcceptedNegativeData":
                    continue  # a stream is answered with 200, and each refused row with a line
                if kind not in TOLERATED or (
                    kind == "AcceptedNegativeData" and status < 400 and not _stripped(failure)
                ):
                    self.failures.setdefault(f"{name} {status} {kind}", str(failure))

    def _check_words(self, name: str, response: Any, caller: str) -> None:
        """Look for words that the caller may not see."""
        hidden = [word for tenant, word in TENANTS.items() if caller in {*TENANTS, NOBODY} - {tenant}]
        for word in hidden:
            if word.encode() in response.content.lower():
                self.failures.setdefault(f"{name}: {caller} sees {word!r}", response.text[:2000])


def _stripped(failure: Exception) -> bool:
    """Say whether the text is too long only by the blanks around it, which the service strips."""
    return "violates `maxLength`" in str(failure)


class Values:
    """Ids, columns and values of the index, with which a generated request gets past the first check.

    Args:
        table: the corpus.
        given_out: metadata of each document, as the service answers with it.
    """

    def __init__(self, table: pa.Table, given_out: list[dict[str, Any]]) -> None:
        columns = [name for name in table.column_names if name not in {"id", "text"}]
        values = [value for metadata in given_out for value in metadata.values()]
        numbers = strategies.floats(allow_nan=False, allow_infinity=False) | strategies.integers()
        self.ids = strategies.sampled_from(table["id"].to_pylist())
        self.columns = strategies.sampled_from([*columns, "id"])
        self.value = strategies.sampled_from(values) | strategies.none() | numbers | strategies.text()
        self.metadata = strategies.dictionaries(self.columns, self.value, max_size=4) | strategies.sampled_from(
            given_out
        )

    def replace(self, draw: Any, case: Case) -> Case:
        """Return the case with names of documents and columns in place of generated ones, which never exist."""
        if "document_id" in (case.path_parameters or {}):
            case.path_parameters["document_id"] = quote(draw(self.ids), safe="")
        if isinstance(case.query, dict) and "id" in case.query:
            case.query["id"] = [draw(self.ids)]
        case.body = self._replaced(draw, case.body)
        return case

    def _replaced(self, draw: Any, value: Any) -> Any:
        if isinstance(value, list):
            return [self._replaced(draw, each) for each in value]
        if not isinstance(value, dict):
            return value
        replaced = {name: self._replaced(draw, child) for name, child in value.items()}
        for name in replaced.keys() & {"field", "group_by"}:
            replaced[name] = draw(self.columns)
        for name in replaced.keys() & {"eq", "lt", "lte", "gt", "gte"}:
            replaced[name] = draw(self.value)
        for name in replaced.keys() & {"ids", "negative_ids", "fields"}:
            replaced[name] = [draw(self.columns if name == "fields" else self.ids)]
        for name, choice in (("document", self.ids), ("id", self.ids), ("metadata", self.metadata)):
            if name in replaced:
                replaced[name] = draw(choice)
        return replaced


def alone(schema: Any, findings: Findings, values: Values, cases: int, seed: int) -> None:
    """Send each operation its share of single requests, half of them valid by the schema and half not.

    Every second valid request names documents and columns of the index.
    """
    callers = strategies.sampled_from([*findings.keys, *findings.keys, NOBODY])
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
            caller=callers,
            known=strategies.booleans() if mode is GenerationMode.POSITIVE else strategies.just(False),
            data=strategies.data(),
        )
        def send(case: Case, caller: str, known: bool, data: Any) -> None:
            findings.send(values.replace(data.draw, case) if known else case, caller)

        try:
            send()
        except hypothesis.errors.Unsatisfiable:  # every text is a valid id
            continue
    for operation, caller in itertools.product(operations, [*findings.keys, NOBODY]):
        if operation not in with_input:
            findings.send(operation.Case(), caller)


def chained(schema: Any, findings: Findings, cases: int, seed: int) -> None:
    """Send chains of requests, in which a request uses the answer of an earlier one."""

    class Chain(schema.as_state_machine()):  # type: ignore[misc]
        def get_call_kwargs(self, case: Case) -> dict[str, Any]:  # noqa: ARG002 - called by name
            return {"headers": findings.headers("everything"), "timeout": SECONDS}

        def validate_response(self, response: Any, case: Case, **_: Any) -> None:
            findings.take(case, response, "everything")

    hypothesis.seed(seed)(Chain.TestCase)
    steps = 10
    Chain.run(
        settings=hypothesis.settings(
            max_examples=max(1, cases // steps), stateful_step_count=steps, deadline=None, database=None,
            phases=[Phase.generate], suppress_health_check=[*HealthCheck],
        )
    )  # fmt: skip


def prepare(models: Path, data: Path) -> tuple[pa.Table, dict[str, str]]:
    """Build the index and the key file in ``data``; return the corpus and the keys by name."""
    for kind in ("models", "classifiers", "masked", "rerankers"):
        if (models / kind).is_dir():
            shutil.copytree(models / kind, data / kind)
    table = corpus()
    pq.write_table(table, data / "corpus.parquet")
    build(str(data / "corpus.parquet"), BuildSettings(language="en"), data)
    keys = {"everything": add_key(data / "keys.json", "everything", ("search", "write", "admin"))}
    for tenant in TENANTS:
        own = Filter.model_validate({"must": [{"field": "tenant", "eq": tenant}]})
        keys[tenant] = add_key(data / "keys.json", tenant, ("search",), filter_=own)
    return table, keys


def read_documents(url: str, table: pa.Table, headers: dict[str, str]) -> list[dict[str, Any]]:
    """Return the metadata of each document as the service gives it out."""
    found = []
    for name in table["id"].to_pylist():
        answer = requests.get(f"{url}/documents/{quote(name, safe='')}", headers=headers, timeout=SECONDS)
        assert answer.json().get("id") == name, (name, answer.text)
        found.append(answer.json()["metadata"])
    return found


@schemathesis.serializer("application/x-ndjson")
def as_line(context: SerializationContext, value: Any) -> dict[str, Any]:  # noqa: ARG001 - called by schemathesis
    """Send a generated document as a stream of one line; what is no document is sent as JSON has it."""
    return {"data": to_json(value) + b"\n"}


def main() -> None:
    """Fuzz a service over an index of its own; end with status 1 where an answer was wrong."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path("data"), help="data directory with a model (default: data)")
    parser.add_argument("--cases", type=int, default=10_000, help="requests, about (default: 10000)")
    parser.add_argument("--seed", type=int, default=0, help="the same seed sends the same requests (default: 0)")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        table, keys = prepare(arguments.data, Path(folder))
        service = ServiceProcess(Path(folder), "--writable", "--deadline-seconds", "60")
        try:
            findings = Findings(keys)
            schema = schemathesis.openapi.from_url(f"{service.url}/openapi.json", timeout=SECONDS)
            values = Values(table, read_documents(service.url, table, findings.headers("everything")))
            alone(schema, findings, values, arguments.cases * 9 // 10, arguments.seed)
            chained(schema, findings, arguments.cases // 10, arguments.seed)
        finally:
            service.end()
    for number, text in enumerate(service.tracebacks):
        findings.failures.setdefault(f"traceback {number}", text[:4000])
    for (name, status), count in sorted(findings.statuses.items()):
        print(f"{count:6}  {status}  {name}")
    print("  ".join(f"{name}: {count:,}" for name, count in findings.callers.items()))
    print(f"{findings.cases:,} requests, seed {arguments.seed}: {len(findings.failures)} kinds of wrong answers")
    for name, failure in findings.failures.items():
        print(f"\n{name}\n{failure}")
    raise SystemExit(bool(findings.failures))


if __name__ == "__main__":
    main()
