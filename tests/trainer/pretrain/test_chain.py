"""From a corpus to a search: pre-trained BERT, sentence encoder, artifact, index, answers."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
from stories import STORIES, write_corpus

from indexer.artifacts.store import Store
from indexer.build.build import build
from indexer.build.settings import BuildSettings
from indexer.index.index import Index
from indexer.retrieval.retriever import Retriever
from trainer.finetune.finetune import finetune
from trainer.finetune.settings import FinetuneSettings, TsdaeSettings
from trainer.finetune.tsdae import tsdae
from trainer.models.base import publish_base
from trainer.models.load import load_encoder
from trainer.models.settings import BaseSettings
from trainer.pretrain.pretrain import pretrain
from trainer.pretrain.settings import PretrainSettings


def test_from_texts_to_a_search_that_answers(tmp_path: Path) -> None:
    """Each step takes up what the one before wrote as it is; the index is searched with a model that began as nothing."""
    corpus = write_corpus(tmp_path / "stories.parquet")
    texts = pa.table({"text": [text for *_, text in STORIES for _ in range(20)]})
    # Copies of a text are on one side of the split: numbers make them different documents.
    texts = texts.set_column(0, "text", [[f"{text} {at}." for at, text in enumerate(texts["text"].to_pylist())]])
    pq.write_table(texts, tmp_path / "texts.parquet")
    small = PretrainSettings(
        layers=1, hidden=32, heads=2, max_length=64, vocab_size=192, batch_tokens=512, max_steps=10, held_out=0.2
    )
    bert = pretrain(str(tmp_path / "texts.parquet"), small, tmp_path / "bert")
    denoised = tsdae(
        [text for *_, text in STORIES], TsdaeSettings(model=str(bert), pooling="mean", max_steps=2), tmp_path / "tsdae"
    )
    pairs = pa.table(
        {"query": [title or name for name, title, _ in STORIES], "positive": [text for *_, text in STORIES]}
    )
    pq.write_table(pairs, tmp_path / "pairs.parquet")
    tuned = finetune(
        [tmp_path / "pairs.parquet"], FinetuneSettings(model=str(denoised.path), batch_size=3), tmp_path / "tuned"
    )
    assert load_encoder(tuned.path).get_embedding_dimension() == 32
    data = tmp_path / "data"
    published = publish_base(str(tuned.path), BaseSettings(corpus=str(corpus)), data).manifest
    index = build(str(corpus), BuildSettings(), data).manifest
    assert index.parents["model"] == published.id
    retriever = Retriever(Index.open(Store("index", data).path(index.id), cores=1))
    assert retriever.page(retriever.search("the sailor on the ship", "dense"), 0, 3)
