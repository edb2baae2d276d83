"""`manifest.md` and `files.md`: what the data directory contains."""

from __future__ import annotations

from indexer.artifacts.contents import CONFIG, COUNTS, FEEDBACK, FILES, METRICS, QUERY, WRITE
from indexer.artifacts.manifest import EncoderContract, FileEntry, InputEntry, Kind, Manifest
from scripts.reference.markdown import described, model_table

KINDS: dict[Kind, str] = {
    "model": "Models",
    "index": "Indexes",
    "masked": "Masked-language models",
    "classifier": "Classifiers",
    "reranker": "Re-ranking models",
    "sparse": "Learned-sparse models",
}
MANIFEST = """# Manifest

Each artifact has a `manifest.json`. It is written last, and its `checksum` covers its own text, so that one changed
byte anywhere in the artifact is found.
"""
BY_KIND = """## Fields by kind

What `config`, `counts` and `metrics` hold depends on the kind of the artifact. `notes` are sentences: where the ids
came from, the reasons of a verdict, and what else a reader should know.
"""
FOLDERS = """# Files

`$DOWSE_DATA` (`data` by default) holds everything that is produced:

```text
models/       CURRENT  <utc>-<hash8>/   encoders: untouched and tuned ones
indexes/      CURRENT  <utc>-<hash8>/   indexes of the corpus
masked/       CURRENT  <utc>-<hash8>/   masked-language models, for the page «how it reads»
classifiers/  CURRENT  <utc>-<hash8>/   classifiers
rerankers/    CURRENT  <utc>-<hash8>/   cross-encoders
sparse/       CURRENT  <utc>-<hash8>/   learned-sparse models
live/         writes and feedback that the service took
training/     what runs have finished so far, and files of the single stages
keys.json     hashes of the API keys
```

An artifact is an immutable directory. It is written under a hidden name, flushed, its manifest last, and renamed. Then
the one line in `CURRENT` is replaced. A process that is killed at any point leaves either the old or the new artifact
live. An index pins the models that it was built with. An artifact that was published without going live has a marker
`.quiet-ID` beside it until it does.

There are only formats that execute nothing: safetensors, ONNX, Arrow, FAISS, NumPy without objects, JSON. Every file is
verified against its checksum before it is opened. Fields of `manifest.json`: [Manifest](manifest.md). Files of the
trainer's stages: [Training stages](../guides/training-stages.md).
"""
LIVE = """## Live writes

`live/` is what the service writes. `writes-<number>.log` has one line per write; the number is that of the first. A line
is the CRC-32 of what follows in eight hex digits, a space, and a JSON object with these fields:
"""
FOLDED = """
A line is flushed to the disk before its request is answered. A last line without its end is what a killed process has
left of a write that was not answered, and is skipped. Any other damage is refused with the file and the place, and
`python -m indexer verify` finds it too. `folded-<number>.log` is what `python -m indexer compact` leaves of the writes up to that
number: the same lines without what later ones have replaced. Writes that a reader meets twice count once, by their
`sequence`.

`live/feedback.jsonl` has one JSON object per line:
"""
QUERIES = """
`live/queries/queries-<day>-<number>.jsonl` is the query log, where the service keeps one. It has one JSON object per line,
and is not flushed to the disk by itself:
"""


def manifest_page() -> str:
    """Return the page of the manifest."""
    parts = [MANIFEST, model_table(Manifest) + "\n"]
    for model in (InputEntry, EncoderContract, FileEntry):
        parts += [f"## {model.__name__}\n", f"{model.__doc__}\n", model_table(model) + "\n"]
    parts.append(BY_KIND)
    for kind, heading in KINDS.items():
        parts.append(f"### {heading}\n")
        for name, descriptions in (("config", CONFIG), ("counts", COUNTS), ("metrics", METRICS)):
            parts.append(described(f"`{name}`", descriptions.get(kind, {})) + "\n")
    return "\n".join(parts)


def files_page() -> str:
    """Return the page of the files in the data directory."""
    parts = [FOLDERS]
    for kind, heading in KINDS.items():
        parts += [f"## {heading}\n", described("file", {"manifest.json": "what it is"} | FILES[kind]) + "\n"]
    parts += [LIVE, described("field", WRITE), FOLDED, described("field", FEEDBACK), QUERIES, described("field", QUERY)]
    return "\n".join(parts) + "\n"
