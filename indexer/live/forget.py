"""Let go of what was written to the service, so that what the index itself says of a document is seen again.

A record in the log says up to which write; it is one line, appended as every write is, and followed by every reader.
Then the log is folded, which takes the texts off the disk. No index is published meanwhile: a compaction under way
would put into the new one what is forgotten here.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from itertools import takewhile
from pathlib import Path

from indexer.artifacts.store import Store, data_dir
from indexer.errors import UserError
from indexer.live.log import WriteLog
from indexer.live.write import Forgotten, Write, last_writes, newest


@dataclass(frozen=True)
class Released:
    """How many documents were let go of, by what their last write was.

    Attributes:
        puts: put.
        deletes: deleted.
        folded: those of both whose last write `compact` has made a part of the live index, which goes on saying it.
    """

    puts: int = 0
    deletes: int = 0
    folded: int = 0

    def __bool__(self) -> bool:
        return bool(self.puts or self.deletes)


def forget(
    data: Path | None = None,
    *,
    before: datetime | None = None,
    ids: Collection[str] = (),
    everything: bool = False,
    dry_run: bool = False,
) -> Released:
    """Let go of the writes of some documents, and return how many documents these are. Give one of the first three.

    Args:
        data: the data directory; by default ``$DOWSE_DATA``.
        before: with a time zone; documents whose last write is older. Where the clock was set back, all that was
            written after the first newer write is kept.
        ids: of documents, whenever they were written.
        everything: all documents.
        dry_run: only count.

    Raises:
        UserError: not exactly one of the three is given, the log is damaged, or an index is being published.
        OSError: the disk is full, or cannot be written; the log is then as it was.
    """
    if (before is not None) + bool(ids) + everything != 1:
        raise UserError("give exactly one of --before TIME, --id ID (more than once for several) and --all; see --help")
    data = data or data_dir()
    log = WriteLog(data)
    if dry_run or not log.grown():
        with log.shared():
            writes = log.read()
        return _released(data, writes, _forgotten(writes, before, ids))
    with Store("index", data).building():
        with log.locked():
            writes = log.read()
            forgotten = _forgotten(writes, before, ids)
            released = _released(data, writes, forgotten)
            if not released:
                return released
            log.forget(forgotten)
            log.read()
            log.close()
        log.fold(log.sequence)
    return released


def moment(text: str) -> datetime:
    """Return the moment that an ISO 8601 text with a time zone names; raise `UserError` where it is none."""
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        found = None
    if found is None or found.tzinfo is None:
        raise UserError(f"--before {text}: give an ISO 8601 time with its zone, such as 2026-11-21T02:00:00Z")
    return found


def forgotten_since(data: Path, sequence: int) -> bool:
    """Say whether after the write ``sequence`` something was let go of; an index that has folded it may say it still."""
    log = WriteLog(data)
    with log.shared():
        return any(write.forgotten and write.sequence > sequence for write in log.read())


def _forgotten(writes: list[Write], before: datetime | None, ids: Collection[str]) -> Forgotten:
    """Return the record that says what is asked for."""
    if before is None:
        return Forgotten(writes[-1].sequence if writes else 0, frozenset(ids) or None)
    # The log has whole milliseconds: a write of the same one may be newer.
    limit = before.replace(microsecond=before.microsecond // 1_000 * 1_000)
    older = list(takewhile(lambda write: datetime.fromisoformat(write.time) < limit, writes))
    return Forgotten(older[-1].sequence if older else 0)


def _released(data: Path, writes: list[Write], forgotten: Forgotten) -> Released:
    """Count the documents that a record covers."""
    numbers = {name: number for name, number in last_writes(writes).items() if forgotten.covers(name, number)}
    documents = newest(writes)
    indexes = Store("index", data)
    live = indexes.current_id()
    folded = indexes.manifest(live).config.get("folded", 0) if live in indexes.ids() else 0
    puts = sum(documents[name] is not None for name in numbers)
    return Released(puts, len(numbers) - puts, sum(number <= folded for number in numbers.values()))
