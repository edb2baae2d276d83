"""Command line of the trainer: train, evaluate and publish models.

python -m trainer run data/corpus.parquet         tune a model on a corpus, and publish it with a verdict
python -m trainer base                            the packaged all-MiniLM-L6-v2, without training
python -m trainer base BAAI/bge-small-en-v1.5     a model of the Hugging Face Hub
python -m trainer base ./my-model --int8          a local sentence-transformers directory, with 8-bit weights
"""

from indexer.errors import run
from trainer.cli import app

if __name__ == "__main__":
    run(app)
