"""The library at the centre of Dowse: artifacts, corpus, encoder, indexes, retrieval; and the program that builds an index.

cache.py     what was asked last
options.py   settings → flags
cli.py       the commands
progress.py  rate and ETA
errors.py    what an operator can fix
"""

import os

# ONNX Runtime reports to its maker unless it is told not to; nothing leaves the machine of a user of Dowse.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")

__version__ = "0.1.0"
