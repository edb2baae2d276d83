"""Build search indexes and manage their artifacts.

python -m indexer sample --out data/corpus.parquet
python -m indexer build data/corpus.parquet
python -m indexer search "remove duplicates but keep the order"
python -m indexer list | verify [ID] | activate ID | prune --keep 3
"""

from indexer.cli import app
from indexer.errors import run

if __name__ == "__main__":
    run(app)
