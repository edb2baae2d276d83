"""Benchmark of a pre-trained BERT as an encoder, beside an untrained one of the same size and all-MiniLM-L6-v2.

    python -m trainer pretrain TEXTS --budget 20m --out data/training/bert
    python bench/own_bert.py DATASET_DIR --bert data/training/bert

The steps are those of the documentation: `tsdae` on the texts of the data set, `finetune` on the labelled queries of its
train split, `base`, index, and nDCG@10 on the test split. The result is compared with the same BERT before these steps, a
random BERT of its sizes with its tokenizer, that one after the same `finetune`, and all-MiniLM-L6-v2 untouched.
"""

from __future__ import annotations

import argparse
import sys
from functools import partial
from pathlib import Path

from quality import Dataset, evaluate, rank_all

sys.path.insert(0, str(Path(__file__).parents[1]))

import pyarrow as pa
import pyarrow.parquet as pq
import torch
from transformers import AutoConfig, AutoTokenizer, BertModel

from indexer.artifacts.store import Store, data_dir
from indexer.build.build import build
from indexer.build.settings import BuildSettings
from indexer.errors import UserError
from indexer.index.index import Index
from indexer.retrieval.ranking import Mode
from indexer.retrieval.retriever import Retriever
from trainer.finetune.finetune import finetune
from trainer.finetune.settings import FinetuneSettings, TsdaeSettings
from trainer.finetune.tsdae import tsdae
from trainer.models.base import publish_base
from trainer.models.settings import BaseSettings


def pairs(folder: Path, path: Path) -> Path:
    """Write the labelled queries of the train split with their answers, as `finetune` reads them."""
    dataset = Dataset.read(folder, "train")
    corpus = pq.read_table(folder / "corpus.parquet", columns=["id", "text"])
    texts = dict(zip(map(str, corpus["id"].to_pylist()), corpus["text"].to_pylist(), strict=True))
    rows = [(dataset.queries[key], texts[doc]) for key, docs in dataset.qrels.items() for doc in docs if texts[doc]]
    pq.write_table(pa.table({"query": [row[0] for row in rows], "positive": [row[1] for row in rows]}), path)
    return path


def untrained(bert: Path, out: Path) -> Path:
    """Write a random BERT of the same sizes with the same tokenizer."""
    torch.manual_seed(0)
    BertModel(AutoConfig.from_pretrained(bert)).save_pretrained(str(out))
    AutoTokenizer.from_pretrained(bert).save_pretrained(str(out))
    return out


def ndcg(folder: Path, model: str, data: Path) -> dict[str, float]:
    """Publish a model, index the data set with it, and return nDCG@10 of dense and hybrid search on the test split."""
    corpus, dataset = str(folder / "corpus.parquet"), Dataset.read(folder, "test")
    published = publish_base(model, BaseSettings(corpus=corpus), data).manifest
    title = "none" if dataset.title_is_query() else None
    settings = BuildSettings(title_column=title, skip_bad_rows=True, model=published.id)
    index = build(corpus, settings, data, live=False).manifest
    retriever = Retriever(Index.open(Store("index", data).path(index.id), verify=False))
    ids = [retriever.index.document(row).id for row in range(len(retriever.index))]
    metrics = {}
    modes: tuple[Mode, ...] = ("dense", "hybrid")
    for mode in modes:
        rankings = rank_all(dataset, mode, partial(retriever.search, mode=mode))
        metrics[mode] = evaluate(dataset, ids, rankings)["nDCG@10"]["mean"]
    return metrics


def main() -> None:
    """Read the command line, train, measure, print a line for each encoder."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("dataset", type=Path, metavar="DATASET_DIR", help="corpus, queries with splits, qrels")
    parser.add_argument("--bert", type=Path, required=True, help="directory that `trainer pretrain` has written")
    parser.add_argument("--tsdae", default="4m", help="time for `tsdae` (default: 4m)")
    parser.add_argument("--finetune", default="4m", help="time for `finetune` (default: 4m)")
    parser.add_argument("--data", type=Path, default=data_dir() / "bench", help="where everything is kept (DATA/bench)")
    parser.add_argument("--out", type=Path, help="where models are written (default: DATA/bench/own-bert)")
    arguments = parser.parse_args()
    folder, data = arguments.dataset, arguments.data
    out = arguments.out or data / "own-bert"
    out.mkdir(parents=True, exist_ok=True)
    training_pairs = pairs(folder, out / "pairs.parquet")

    def tuned(model: Path, name: str) -> str:
        settings = FinetuneSettings(
            model=str(model), epochs=100, budget=arguments.finetune, learning_rate=2e-4, max_tokens=128, resume=True
        )
        return str(finetune([training_pairs], settings, out / name).path)

    texts = [text for text in pq.read_table(folder / "corpus.parquet")["text"].to_pylist() if text]
    denoising = TsdaeSettings(
        model=str(arguments.bert),
        pooling="mean",
        epochs=100,
        budget=arguments.tsdae,
        learning_rate=1e-4,
        resume=True,
        max_tokens=128,
    )
    random = untrained(arguments.bert, out / "untrained")
    denoised = tsdae(texts, denoising, out / "tsdae").path
    encoders = {
        "untrained": str(random),
        "own BERT": str(arguments.bert),
        "own BERT, tsdae": str(denoised),
        "own BERT, tsdae, finetune": tuned(denoised, "tuned"),
        "untrained, finetune": tuned(random, "untrained-tuned"),
        "all-MiniLM-L6-v2": "all-MiniLM-L6-v2",
    }
    results = {name: ndcg(folder, model, data) for name, model in encoders.items()}
    for name, measured in results.items():
        print(f"{name:28} dense {measured['dense']:.4f}  hybrid {measured['hybrid']:.4f}")


if __name__ == "__main__":
    try:
        main()
    except UserError as error:
        sys.exit(f"error: {error}")
