"""The index: corpus, artifacts, encoder, retrieval; and the program that builds it.

build/       Build an index artifact from a corpus
filters/     Filters and facets: conditions on metadata → document mask, counts
retrieval/   Retrieval: query → ranked hits
live/        Documents written while an index is served
index/       An opened index artifact and its two legs
inference/   Published models without torch: ONNX Runtime and tokenizers
corpus/      Read a corpus: rows of files or databases → checked documents
artifacts/   Artifacts: immutable directories with a manifest, published whole or not at all
cli.py       commands of `python -m indexer`
options.py   settings models → command-line flags
errors.py    UserError, and how programs end
progress.py  progress with rate and ETA
cache.py     least-recently-used cache
strict_json.py  JSON without a key twice in one object
"""

import os

# ONNX Runtime reports to its maker unless that is disabled; nothing leaves the machine of a user of Dowse.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")

__version__ = "0.1.0"
