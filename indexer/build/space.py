"""Disk space of a build, estimated from the check of the corpus: a disk that will not suffice is refused before the work."""

from __future__ import annotations

import shutil
from pathlib import Path

from indexer.build.settings import BuildSettings
from indexer.corpus.corpus import Documents
from indexer.errors import UserError
from indexer.inference.encoder import Encoder

BYTES_PER_TOKEN = 4
"""Of a text, about; languages whose tokens are shorter have more passages than the estimate."""
WORDS_SHARE = 0.4
"""Size of the lexical index in shares of the texts, about."""
PASSAGE_BYTES = 28 + 28 + 20
"""A passage in its shard, in the index's table, and its key among the sorted ones."""


def estimate_bytes(documents: Documents, settings: BuildSettings, encoder: Encoder) -> int:
    """Return about how many bytes the build writes; vectors count twice, in the shards and in the index."""
    passages = documents.documents
    if settings.passages == "split":
        passages += documents.text_bytes // (BYTES_PER_TOKEN * encoder.contract.max_tokens)
    stored = max(documents.text_bytes, sum(entry.size for entry in documents.inputs))
    vectors = 2 * 4 * encoder.contract.dimension
    return int(stored + WORDS_SHARE * documents.text_bytes + passages * (vectors + PASSAGE_BYTES))


def check_space(folder: Path, needed: int) -> None:
    """Refuse a build into ``folder`` that needs more bytes than are free there; what a killed build has left counts.

    Raises:
        UserError: the disk will not suffice.
    """
    written = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    free = shutil.disk_usage(folder).free
    if needed - written > free:
        raise UserError(
            f"{folder}: the index needs some {needed - written:,} bytes, and {free:,} are free there; make room, "
            "or set DOWSE_DATA to a folder on a larger disk"
        )
