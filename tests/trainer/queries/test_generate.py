"""`trainer queries`: every row is counted, no answer is lost or requested twice, and the frame is written atomically."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from faulty_llm import KINDS, FaultyLLM, good, unused_port, write_frame

import indexer.inference.llm.client
from indexer.errors import UserError
from trainer.queries.generate import generate
from trainer.queries.settings import QueriesSettings
from trainer.queries.summary import Summary

REPOSITORY = Path(__file__).parents[3]


@pytest.fixture(autouse=True)
def short_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    """Back off for milliseconds instead of seconds."""
    monkeypatch.setattr(indexer.inference.llm.client, "FIRST_WAIT", 0.01)


def run(frame: Path, llm: FaultyLLM | str, **settings: Any) -> Summary:
    """Generate with small bounds, check that the summary adds up, and return it."""
    url = llm if isinstance(llm, str) else llm.url
    chosen: dict[str, Any] = {"llm": url, "llm_model": "tiny", "retries": 1, "timeout": 5, **settings}
    out = chosen.pop("out", None)
    try:
        generate(frame, QueriesSettings(**chosen), out)
    finally:
        summary = written_summary(frame) if not out else None
    return summary or Summary(source="")


def written_summary(frame: Path) -> Summary:
    """Read the summary beside the frame and check that it accounts for every row and every query."""
    summary = Summary.model_validate_json((frame.parent / "queries.summary.json").read_text())
    assert summary.chosen == summary.asked + summary.resumed + summary.unasked
    outcomes = (summary.complete, summary.underfilled, summary.empty, summary.refused, summary.failed, summary.unasked)
    assert summary.chosen == sum(outcomes)
    assert summary.queries == sum(summary.kinds.values())
    return summary


def journal(frame: Path) -> list[dict[str, Any]]:
    """Return the lines of the journal."""
    return [json.loads(line) for line in (frame.parent / "queries.journal.jsonl").read_text().splitlines()]


def filled(frame: Path) -> dict[str, list[tuple[str, str]]]:
    """Return the (kind, query) pairs of the filled frame by row, checking that columns and kinds go together."""
    rows = pq.read_table(frame.parent / "queries.parquet").to_pylist()
    pairs = {}
    for row in rows:
        queries = [row[f"query_{place}"] for place in range(1, 6)]
        assert queries[len(row["kinds"]) :] == [None] * (5 - len(row["kinds"]))
        pairs[row["id"]] = list(zip(row["kinds"], queries, strict=False))
    return pairs


# --- the normal case -------------------------------------------------------------------------------------------------


def test_every_row_gets_its_queries(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The frame comes back with all its columns and rows in order, five queries each, their kinds, and a summary."""
    frame = write_frame(tmp_path / "frame.parquet", 40, pieces=2)
    with FaultyLLM(latency=0.005) as llm:
        summary = run(frame, llm)
    before, after = pq.read_table(frame), pq.read_table(tmp_path / "queries.parquet")
    for name in ("id", "document", "title", "text", "price"):
        assert after[name].equals(before[name])
    assert filled(frame) == {f"d{row // 2}#{row % 2}": list(good(row).items()) for row in range(40)}
    assert (summary.complete, summary.queries, summary.attempts) == (40, 200, 40)
    assert llm.asked == dict.fromkeys(range(40), 1)
    assert "200 queries for 40 rows from tiny at http://127.0.0.1" in capsys.readouterr().err


def test_journal_line(tmp_path: Path) -> None:
    """A line has the row, its key, the raw answer, the queries with their kinds, and the outcome."""
    frame = write_frame(tmp_path / "frame.parquet", 1)
    raw = '{"question": "who sits there", "claim": "who sits there", "title": "Here are the titles:"}'
    with FaultyLLM({0: [500, raw]}) as llm:
        run(frame, llm)
    (line,) = journal(frame)
    assert len(line.pop("key")) == 64
    assert line == {
        "id": "d0#0",
        "outcome": "underfilled",
        "queries": [["question", "who sits there"]],
        "dropped": {"duplicate": 1, "preamble": 1},
        "raw": [raw],
        "attempts": 2,
        "error": None,
    }


def test_in_place(tmp_path: Path) -> None:
    """The frame may be filled in place repeatedly, without a second request."""
    frame = write_frame(tmp_path / "queries.parquet", 6)
    with FaultyLLM() as llm:
        for _ in range(2):
            generate(frame, QueriesSettings(llm=llm.url, llm_model="tiny"), frame)
    assert sum(llm.asked.values()) == 6
    assert filled(frame)["d3#0"] == list(good(3).items())
    assert pq.read_schema(frame).names.count("kinds") == 1


def test_without_a_model_queries_are_extracted(tmp_path: Path) -> None:
    """Without an LLM every row gets queries from its title and text, counted in the same summary."""
    frame = write_frame(tmp_path / "frame.parquet", 12)
    generate(frame, QueriesSettings(count=3))
    summary = written_summary(frame)
    assert (summary.source, summary.asked, summary.failed, summary.empty) == ("extracts", 12, 0, 0)
    pairs = filled(frame)
    assert all(1 <= len(each) <= 3 for each in pairs.values())
    assert ("title", "Title 9") in pairs["d9#0"]
    assert set(summary.kinds) <= {"title", "sentence", "keywords"}
    assert not (tmp_path / "queries.journal.jsonl").exists()
    first = pq.read_table(tmp_path / "queries.parquet")
    generate(frame, QueriesSettings(count=3))
    assert pq.read_table(tmp_path / "queries.parquet").equals(first)


@pytest.mark.parametrize("llm", [True, False])
def test_limit_draws_documents(tmp_path: Path, *, llm: bool) -> None:
    """N documents get queries for all their rows, the others none; a higher limit keeps the drawn documents."""
    frame = write_frame(tmp_path / "frame.parquet", 40, pieces=2)
    drawn = []
    with FaultyLLM() as server:
        for limit in (3, 7, 99):
            settings = {"llm": server.url, "llm_model": "tiny"} if llm else {}
            generate(frame, QueriesSettings(limit_documents=limit, **settings))
            drawn.append({row for row, pairs in filled(frame).items() if pairs})
            assert written_summary(frame).chosen == len(drawn[-1]) == min(2 * limit, 40)
    assert drawn[0] < drawn[1] < drawn[2]
    assert {row.partition("#")[0] for row in drawn[0]} != {"d0", "d1", "d2"}
    assert max(server.asked.values(), default=0) == (1 if llm else 0)


# --- faults ----------------------------------------------------------------------------------------------------------


def test_all_faults_at_once(tmp_path: Path) -> None:
    """Every fault of a row is counted under its outcome, and no row is generated twice."""
    frame = write_frame(tmp_path / "frame.parquet", 24)
    faults: dict[int, list[int | str]] = {
        1: [429],
        2: [500],
        3: ["reset"],
        4: ["cut"],
        5: ["html"],
        6: ["slow"],
        7: ['{"question": "who sits in the garden", "claim": "half a cla'],
        8: ["[]", "[]"],
        9: ["", ""],
        10: [413],
        11: [500, 500],
        12: ["1. who sits there\n2. what is old"],
    }
    with FaultyLLM(faults) as llm:
        with pytest.raises(UserError, match=r"500.*2 of 24 rows are without an answer.*same command continues"):
            run(frame, llm, timeout=1)
        summary = written_summary(frame)
        assert not (tmp_path / "queries.parquet").exists()
        assert summary.model_dump(include={"asked", "complete", "underfilled", "empty", "refused", "failed"}) == {
            "asked": 24, "complete": 18, "underfilled": 2, "empty": 2, "refused": 1, "failed": 1,
        }  # fmt: skip
        asked = dict(llm.asked)
        summary = run(frame, llm)
    assert (summary.resumed, summary.asked, summary.again) == (22, 2, 2)
    assert (summary.complete, summary.failed, summary.refused) == (20, 0, 0)
    assert {row: llm.asked[row] - asked[row] for row in range(24) if llm.asked[row] != asked[row]} == {10: 1, 11: 1}
    # What the server had answered it was asked once; only an empty answer, and one that came too late, was repeated.
    assert {row: times for row, times in llm.answered.items() if times > 1 and row != 6} == {8: 2, 9: 2}
    pairs = filled(frame)
    assert pairs["d12#0"] == [("question", "who sits there"), ("claim", "what is old")]
    assert pairs["d7#0"] == [("question", "who sits in the garden")]
    assert pairs["d8#0"] == pairs["d9#0"] == []
    assert pairs["d11#0"] == list(good(11).items())


def test_endpoint_that_is_down(tmp_path: Path) -> None:
    """A refused connection at the start is one line with the URL and the remedy; nothing is written but the journal."""
    frame = write_frame(tmp_path / "frame.parquet", 3)
    url = f"http://127.0.0.1:{unused_port()}/v1"
    with pytest.raises(UserError, match=f"^--llm {url}: no connection .*; start the server"):
        generate(frame, QueriesSettings(llm=url, llm_model="tiny"))
    assert {path.name for path in tmp_path.iterdir()} <= {"frame.parquet", "queries.journal.jsonl"}


@pytest.mark.parametrize("allow", [False, True])
def test_server_that_dies_midway(tmp_path: Path, *, allow: bool) -> None:
    """What was answered is kept, the rest is counted, and the same command continues when the server is back."""
    frame = write_frame(tmp_path / "frame.parquet", 60)
    with FaultyLLM(dies_after=25) as llm:
        if allow:
            run(frame, llm, allow_missing=True)
        else:
            with pytest.raises(UserError, match=f"--llm {llm.url}: .* of 60 rows are without an answer"):
                run(frame, llm)
        first = written_summary(frame)
        known = len(llm.answered)
    assert 20 <= known <= 25
    assert (first.complete, first.failed + first.unasked) == (known, 60 - known)
    assert first.failed >= 3 and first.unasked >= 25
    assert (tmp_path / "queries.parquet").exists() == allow
    if allow:
        assert sum(bool(pairs) for pairs in filled(frame).values()) == known
    with FaultyLLM() as again:
        summary = run(frame, again)
    assert (summary.resumed, summary.asked, summary.complete) == (known, 60 - known, 60)
    assert set(again.asked) | set(llm.answered) == set(range(60))
    assert not set(again.asked) & set(llm.answered)
    assert all(len(pairs) == 5 for pairs in filled(frame).values())


def test_an_endpoint_that_never_answers_leaves_no_frame(tmp_path: Path) -> None:
    """Not even --allow-missing makes a frame without one query: something is wrong with the model or the request."""
    frame = write_frame(tmp_path / "frame.parquet", 2)
    with FaultyLLM({0: ["[]"] * 2, 1: [400]}) as llm, pytest.raises(UserError, match="1 of 2 rows"):
        run(frame, llm, allow_missing=True)
    assert not (tmp_path / "queries.parquet").exists()


def test_a_refused_row_does_not_block_the_others(tmp_path: Path) -> None:
    """A text that the model does not take stays without queries, and the frame is written."""
    frame = write_frame(tmp_path / "frame.parquet", 4)
    with FaultyLLM({2: [413]}) as llm:
        summary = run(frame, llm)
    assert (summary.complete, summary.refused) == (3, 1)
    assert filled(frame)["d2#0"] == []


# --- resuming ----------------------------------------------------------------------------------------------------------


def test_a_second_start_asks_nothing(tmp_path: Path) -> None:
    """With a complete journal no model is needed: the server may even be down."""
    frame = write_frame(tmp_path / "frame.parquet", 5)
    with FaultyLLM() as llm:
        run(frame, llm)
    first = pq.read_table(tmp_path / "queries.parquet")
    (tmp_path / "queries.parquet").unlink()
    summary = run(frame, f"http://127.0.0.1:{unused_port()}/v1", concurrency=1, retries=0)
    assert (summary.resumed, summary.asked) == (5, 0)
    assert pq.read_table(tmp_path / "queries.parquet").equals(first)


@pytest.mark.parametrize(
    "change",
    [
        {"count": 4},
        {"kinds": "claim,question"},
        {"temperature": 0.1},
        {"max_tokens": 77},
        {"seed": 5},
        {"llm_model": "other"},
    ],
)
def test_other_settings_ask_anew(tmp_path: Path, change: dict[str, Any]) -> None:
    """Answers under other settings are not used; they stay in the journal."""
    frame = write_frame(tmp_path / "frame.parquet", 2)
    with FaultyLLM() as llm:
        run(frame, llm)
        assert run(frame, llm, **change).stale == 2
    assert llm.asked == {0: 2, 1: 2}
    assert len(journal(frame)) == 4


def test_only_changed_rows_are_asked_anew(tmp_path: Path) -> None:
    """Only new or changed texts cost a request."""
    frame = write_frame(tmp_path / "frame.parquet", 4)
    with FaultyLLM() as llm:
        run(frame, llm)
        table = write_frame(tmp_path / "more.parquet", 6)
        rows = pq.read_table(table).to_pylist()
        rows[1]["text"] += " And so on."
        pq.write_table(pa.Table.from_pylist(rows, pq.read_schema(table)), frame)
        summary = run(frame, llm)
    assert (summary.resumed, summary.asked, summary.stale) == (3, 3, 1)
    assert llm.asked == {0: 1, 1: 2, 2: 1, 3: 1, 4: 1, 5: 1}


def test_answers_to_another_text_are_never_used(tmp_path: Path) -> None:
    """A row whose text has changed and that gets no answer stays without queries: the old ones are to another text."""
    frame = write_frame(tmp_path / "frame.parquet", 12)
    with FaultyLLM() as llm:
        run(frame, llm)
    rows = pq.read_table(frame).to_pylist()
    for row in rows[2:]:
        row["text"] += " And so on."
    pq.write_table(pa.Table.from_pylist(rows, pq.read_schema(frame)), frame)
    with FaultyLLM(dies_after=0) as llm:
        summary = run(frame, llm, allow_missing=True, concurrency=1, retries=0)
    assert (summary.resumed, summary.stale, summary.failed, summary.unasked) == (2, 10, 3, 7)
    assert [row for row, pairs in filled(frame).items() if pairs] == ["d0#0", "d1#0"]


def test_force_asks_again_and_keeps_the_old_journal(tmp_path: Path) -> None:
    """--force begins anew; earlier answers are kept in another file."""
    frame = write_frame(tmp_path / "frame.parquet", 2)
    with FaultyLLM() as llm:
        run(frame, llm)
        old = (tmp_path / "queries.journal.jsonl").read_bytes()
        assert run(frame, llm, force=True).asked == 2
    assert (tmp_path / "queries.journal.jsonl.old").read_bytes() == old
    assert len(journal(frame)) == 2


def command(frame: Path, llm: FaultyLLM, *more: str) -> list[str]:
    """Return the command line of the stage."""
    flags = ["--llm", llm.url, "--llm-model", "tiny", "--concurrency", "3", *more]
    return [sys.executable, "-m", "trainer", "queries", str(frame), *flags]


def start(frame: Path, llm: FaultyLLM, answers: int) -> subprocess.Popen[str]:
    """Start the stage as a process and wait until it has journalled some answers."""
    process = subprocess.Popen(
        command(frame, llm), cwd=REPOSITORY, env={**os.environ, "DOWSE_LLM_KEY": "sk-secret"},
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    path = frame.parent / "queries.journal.jsonl"
    until = time.monotonic() + 60
    while not path.exists() or path.read_bytes().count(b"\n") < answers:
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < until
        time.sleep(0.005)
    return process


def test_kill_and_start_again(tmp_path: Path) -> None:
    """`kill -9` loses at most what was in flight: no row whose answer was journalled is requested again."""
    frame = write_frame(tmp_path / "frame.parquet", 60)
    with FaultyLLM(latency=0.05, key="sk-secret") as llm:
        process = start(frame, llm, 15)
        process.send_signal(signal.SIGKILL)
        process.communicate()
        assert not (tmp_path / "queries.parquet").exists()
        with (tmp_path / "queries.journal.jsonl").open("ab") as file:  # and the last line is torn
            file.write(b'{"id": "d59#0", "key": "12')
        known = len(journal_lines(tmp_path))
        llm.latency = 0
        done = subprocess.run(
            command(frame, llm), cwd=REPOSITORY, env={**os.environ, "DOWSE_LLM_KEY": "sk-secret"},
            capture_output=True, text=True, timeout=60, check=False,
        )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stdout == f"{tmp_path / 'queries.parquet'}\n"
    summary = written_summary(frame)
    assert (summary.resumed, summary.asked, summary.complete) == (known, 60 - known, 60)
    assert known >= 15
    assert sum(llm.asked.values()) <= 60 + 3  # three were in flight
    assert len({line["id"] for line in journal(frame)}) == len(journal(frame)) == 60
    assert all(len(pairs) == 5 for pairs in filled(frame).values())
    written = "".join(path.read_text(errors="replace") for path in tmp_path.glob("queries.*"))
    assert "sk-secret" not in written + done.stderr


def journal_lines(folder: Path) -> list[bytes]:
    """Return the whole lines of a journal that may end in a torn one."""
    return (folder / "queries.journal.jsonl").read_bytes().split(b"\n")[:-1]


def test_interrupt_stops_at_once(tmp_path: Path) -> None:
    """Ctrl-C does not wait for answers in flight; the journal is complete and the summary has the counts."""
    frame = write_frame(tmp_path / "frame.parquet", 60)
    with FaultyLLM(latency=0.02) as llm:
        process = start(frame, llm, 9)
        llm.latency = 120
        time.sleep(0.3)
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(
            timeout=60
        )  # a busy machine needs seconds; waiting for an answer takes two minutes
    assert process.returncode == 130
    assert errors.endswith("error: interrupted\n") and "Traceback" not in errors
    summary = written_summary(frame)
    assert summary.complete == summary.asked == len(journal(frame)) >= 9
    assert summary.unasked == 60 - summary.asked


# --- refused ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("column", "value", "message"),
    [
        ("id", "d0#0", "row 3: id 'd0#0' occurs twice"),
        ("text", "  ", "row 3: no text"),
        ("text", None, "row 3: no text"),
        ("document", "", "row 3: no document"),
    ],
)
def test_unsound_rows_are_refused(tmp_path: Path, column: str, value: str | None, message: str) -> None:
    """An invalid row is an error before any request."""
    frame = write_frame(tmp_path / "frame.parquet", 4)
    rows = pq.read_table(frame).to_pylist()
    rows[2][column] = value
    pq.write_table(pa.Table.from_pylist(rows, pq.read_schema(frame)), frame)
    with FaultyLLM() as llm, pytest.raises(UserError, match=message):
        generate(frame, QueriesSettings(llm=llm.url, llm_model="tiny"))
    assert not llm.asked


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"llm": "http://x/v1", "llm_path": "y"}, "--llm-path: a model is named by"),
        ({"llm_model": "llama3", "llm_path": "y"}, "--llm-path: a model is named by"),
        ({"llm_path": "/no/such"}, "--llm-path /no/such: no config.json"),
        ({"llm": "http://x/v1", "examples": "/no/such"}, "--examples /no/such"),
    ],
)
def test_settings_that_contradict_each_other(tmp_path: Path, settings: dict[str, Any], message: str) -> None:
    """Contradictory settings are refused with the flag."""
    frame = write_frame(tmp_path / "frame.parquet", 2)
    with pytest.raises(UserError, match=message):
        generate(frame, QueriesSettings(**settings))


def test_kinds_are_checked() -> None:
    """A kind that does not exist is refused with those that do; spaces do not matter."""
    assert QueriesSettings(kinds=" claim , title").kinds == "claim,title"
    for kinds in ("claim,joke", "", " , "):
        with pytest.raises(ValueError, match=", ".join(KINDS)):
            QueriesSettings(kinds=kinds)


def test_two_at_a_time_are_refused(tmp_path: Path) -> None:
    """A second process does not write into the journal of the first."""
    frame = write_frame(tmp_path / "frame.parquet", 3)
    with FaultyLLM(latency=1) as llm:
        process = start(frame, llm, 0)
        time.sleep(0.2)
        try:
            until = time.monotonic() + 30
            while not llm.bodies and time.monotonic() < until:
                time.sleep(0.01)
            with pytest.raises(UserError, match="another process is asking"):
                run_quietly(frame, llm)
        finally:
            process.kill()
            process.communicate()


def run_quietly(frame: Path, llm: FaultyLLM) -> None:
    """Generate without looking at the summary, which the other process has not written yet."""
    generate(frame, QueriesSettings(llm=llm.url, llm_model="tiny"))
