"""`indexer forget`: retract live writes, so that the index's own version of their documents shows again.

The retraction is one line of the log. It names the last write that it covers, is appended like any write, and every
reader applies it. Then the log is folded, which removes the texts from the disk. No index can be published meanwhile: a
compaction in progress would put into the new index what is retracted here.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from itertools import takewhile
from pathlib import Path

from indexer.artifacts.store import Store, data_dir
from indexer.errors import UserError
from indexer.live.inspect import set_aside_writes
from indexer.live.log import LogReplaced, WriteLog
from indexer.live.write import Retraction, Write, last_writes, latest_versions


@dataclass(frozen=True)
class Retracted:
    """Numbers of documents whose writes were retracted.

    Attributes:
        puts: those whose last write had put them.
        deletes: those whose last write had deleted them.
        folded: those of both whose last write `compact` has folded into the live index, where it stays.
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
) -> Retracted:
    """Retract the writes of some documents, and return how many documents these are.

    Give exactly one of ``before``, ``ids`` and ``everything``.

    Args:
        data: the data directory; by default ``$DOWSE_DATA``.
        before: a time with its zone; retract documents whose last write is older. If the clock was set back, all that
            was written after the first newer write is kept.
        ids: retract these documents, whenever they were written.
        everything: retract all documents.
        dry_run: only count.

    Raises:
        UserError: not exactly one of the three is given, the log is damaged or was replaced meanwhile, or an index is being
            published.
        OSError: the disk is full, or cannot be written; the log is then as it was.
    """
    if (before is not None) + bool(ids) + everything != 1:
        raise UserError("give exactly one of --before TIME, --id ID (more than once for several) and --all; see --help")
    data = data or data_dir()
    log = WriteLog(data)
    if dry_run or not log.has_new():
        with log.shared():
            writes = log.read()
        return _count(data, writes, _retraction(writes, before, ids))
    with Store("index", data).building():
        with log.locked():
            writes = log.read()
            retraction = _retraction(writes, before, ids)
            retracted = _count(data, writes, retraction)
            if not retracted:
                return retracted
            set_aside = set_aside_writes(data, writes)
            log.append(log.draft(retraction=retraction))
            log.close()
        try:
            log.fold(log.sequence, set_aside)
        except LogReplaced as error:
            raise UserError(f"{error}: the log was replaced meanwhile; forget them again") from error
    return retracted


def parse_time(text: str) -> datetime:
    """Return the time of an ISO 8601 text with a time zone; raise `UserError` where it is none."""
    try:
        time = datetime.fromisoformat(text)
    except ValueError:
        time = None
    if time is None or time.tzinfo is None:
        raise UserError(f"--before {text}: give an ISO 8601 time with its zone, such as 2026-11-21T02:00:00Z")
    return time


def retracted_since(data: Path, sequence: int) -> bool:
    """Say whether a write after ``sequence`` retracts earlier ones, which an index may have folded and still show."""
    log = WriteLog(data)
    with log.shared():
        return any(write.retraction and write.sequence > sequence for write in log.read())


def _retraction(writes: list[Write], before: datetime | None, ids: Collection[str]) -> Retraction:
    """Return the retraction of documents written ``before`` a time, of those with ``ids``, or of all."""
    if before is None:
        return Retraction(writes[-1].sequence if writes else 0, frozenset(ids) or None)
    # Times in the log are whole milliseconds: a write of the same millisecond may be newer.
    limit = before.replace(microsecond=before.microsecond // 1_000 * 1_000)
    older = list(takewhile(lambda write: datetime.fromisoformat(write.time) < limit, writes))
    return Retraction(older[-1].sequence if older else 0)


def _count(data: Path, writes: list[Write], retraction: Retraction) -> Retracted:
    """Count the documents that a retraction covers."""
    numbers = {name: number for name, number in last_writes(writes).items() if retraction.covers(name, number)}
    documents = latest_versions(writes)
    indexes = Store("index", data)
    live = indexes.current_id()
    folded = indexes.manifest(live).config.get("folded", 0) if live in indexes.ids() else 0
    puts = sum(documents[name] is not None for name in numbers)
    return Retracted(puts, len(numbers) - puts, sum(number <= folded for number in numbers.values()))
