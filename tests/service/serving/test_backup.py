"""Backup of a service that takes writes meanwhile: every write that was answered before is in it, and it serves."""

from __future__ import annotations

import os
import subprocess
import sys
import threading

from dowse_client import Dowse
from stories import STORIES


def indexer(*arguments, data):
    """Run `python -m indexer` on a data directory."""
    subprocess.run(
        [sys.executable, "-m", "indexer", *arguments], env={**os.environ, "DOWSE_DATA": str(data)}, check=True
    )


def test_what_was_answered_before_a_backup_is_in_it(data, corpus, tmp_path, start_service):
    """While one client writes, the directory is backed up; restored elsewhere it serves all writes answered before."""
    indexer("build", str(corpus), data=data)
    answered, stop = [], threading.Event()
    with Dowse(start_service(data, "--writable").url) as dowse:

        def write():
            while not stop.is_set():
                name = f"live {len(answered)}"
                dowse.put_documents([{"id": name, "text": "The king eats bread."}])
                answered.append(name)

        writer = threading.Thread(target=write)
        writer.start()
        try:
            while len(answered) < 5:
                assert writer.is_alive()
                stop.wait(0.01)
            before = list(answered)
            indexer("backup", str(tmp_path / "b.tar.zst"), data=data)
        finally:
            stop.set()
            writer.join()
    indexer("restore", str(tmp_path / "b.tar.zst"), data=tmp_path / "other")
    with Dowse(start_service(tmp_path / "other").url) as restored:
        found = {document.id for document in restored.fetch_documents(ids=answered[:256]).documents}
        assert set(before) <= found
        assert restored.fetch_documents(limit=0).matches >= len(STORIES) + len(before)
        assert restored.search("king").results
