"""The query log: lines of several processes, bounds of size and age, full disks; and the statistics of it."""

from __future__ import annotations

import json
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from indexer.live import query_log
from indexer.live.query_log import QueryLog, read_lines
from indexer.live.query_statistics import QueryStatistics, merged_queries


def entry(query: str | None, results: int = 10, **fields: object) -> dict[str, object]:
    """Return an entry of the log."""
    common = {"time": datetime.now(UTC).isoformat(), "mode": "hybrid", "relevance": None, "ms": 4.0, "filtered": False}
    return {**common, "query": query, "results": results, "tenant": None, **fields}


def queries(log: QueryLog) -> list[str]:
    """Return the queries of all files, in their order."""
    return [line["query"] for path in log.files() for line in read_lines(path)[0]]


def test_several_processes_append_whole_lines(tmp_path: Path) -> None:
    """Lines that several processes append at once are all there, and none is broken."""
    code = (
        "import sys; from pathlib import Path; from indexer.live.query_log import QueryLog\n"
        "log = QueryLog(Path(sys.argv[1]))\n"
        "for n in range(50):\n"
        "    log.append([{'time': '2026-11-29', 'query': f'{sys.argv[2]} {n} ' + 'x' * 3000, 'results': 1, 'ms': 1}] * 3)\n"
    )
    writers = [subprocess.Popen([sys.executable, "-c", code, str(tmp_path), str(number)]) for number in range(3)]
    assert [writer.wait(60) for writer in writers] == [0, 0, 0]
    found = queries(QueryLog(tmp_path))
    assert len(found) == 450
    assert {query.split(" x")[0] for query in found} == {f"{writer} {n}" for writer in range(3) for n in range(50)}


def test_the_log_stays_within_its_size(tmp_path: Path) -> None:
    """However much is written, the files together stay within their bound, and the newest entries are among them."""
    log = QueryLog(tmp_path, max_bytes=20_000)
    for number in range(400):
        log.append([entry(f"query {number}")])
        assert log.size_bytes() <= 20_000
    found = queries(log)
    assert found == [f"query {number}" for number in range(400 - len(found), 400)]
    assert len(found) > 80  # an eighth less than the bound at worst
    assert len(log.files()) > 4


def test_old_days_are_deleted(tmp_path: Path) -> None:
    """Files from before the days to keep go with the next write; those of the days to keep stay."""
    log = QueryLog(tmp_path, max_days=7)
    log.append([entry("today")])
    for days in (6, 7, 8, 100):
        day = datetime.now(UTC) - timedelta(days=days)
        (log.folder / f"queries-{day:%Y%m%d}-0001.jsonl").write_text(json.dumps(entry(f"{days} ago")) + "\n")
    log.append([entry("now")])
    assert queries(log) == ["7 ago", "6 ago", "today", "now"]


def test_an_unfinished_line_loses_only_itself(tmp_path: Path) -> None:
    """What a killed writer left is skipped, also by the one who reads on from there."""
    log, statistics = QueryLog(tmp_path), QueryStatistics(tmp_path)
    log.append([entry("one")])
    with log.files()[0].open("ab") as file:
        file.write(b'{"query": "tor')
    statistics.refresh()
    log.append([entry("two")])
    statistics.refresh()
    assert queries(log) == ["one", "two"]
    assert statistics.searches() == {"one": 1, "two": 1}


def test_a_full_disk_leaves_the_log_as_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A write for which there is no room leaves no half line."""
    log = QueryLog(tmp_path)
    log.append([entry("one")])
    before = log.files()[0].read_bytes()

    def write_half(descriptor: int, content: bytes) -> None:
        write_all(descriptor, content[: len(content) // 2])
        raise OSError(28, "No space left on device")

    write_all = query_log.write_all
    monkeypatch.setattr(query_log, "write_all", write_half)
    with pytest.raises(OSError, match="No space"):
        log.append([entry("two")])
    assert log.files()[0].read_bytes() == before


def test_only_the_owner_may_read_it(tmp_path: Path) -> None:
    """What people have searched for is not for every user of the machine."""
    log = QueryLog(tmp_path)
    log.append([entry("one")])
    assert log.files()[0].stat().st_mode & 0o077 == 0


def test_statistics_count_queries_that_differ_in_case_once(tmp_path: Path) -> None:
    """Searches, those that found nothing or nothing close, and those without words are counted; deleted files are not."""
    log, statistics = QueryLog(tmp_path), QueryStatistics(tmp_path)
    log.append([entry("Red  lamp"), entry("red LAMP"), entry("qqq", 0), entry(None), entry("far", 10, relevance=0.09)])
    statistics.refresh()
    counts = [counts for _, counts in statistics.days(1)]
    assert sum(each.searches for each in counts) == 5
    assert sum(each.nothing for each in counts) == 2
    assert [(each.text, each.searches, each.found) for each in merged_queries(counts)] == [
        ("Red  lamp", 2, 2),
        ("far", 1, 0),
        ("qqq", 1, 0),
    ]
    log.files()[0].unlink()
    statistics.refresh()
    assert list(statistics.days()) == []


def test_past_queries_are_those_of_the_tenant_that_found_something(tmp_path: Path) -> None:
    """Nobody is shown what another tenant has searched for, what one search alone has had, or what found nothing."""
    log, statistics = QueryLog(tmp_path), QueryStatistics(tmp_path)
    log.append([entry("lamp")] * 3 + [entry("chair")] * 2 + [entry("secret", tenant="a1")] * 4 + [entry("once")])
    log.append([entry("qqq", 0)] * 5 + [entry("call [number]")] * 5)
    statistics.refresh()
    assert statistics.past_queries(None) == {"lamp": 3, "chair": 2}
    assert statistics.past_queries("a1") == {"secret": 4}
    assert statistics.past_queries("b2") == {}
