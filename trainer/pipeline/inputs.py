"""Inputs of a run or a comparison, checked before a model is loaded or a text is encoded.

What needs no model is checked first: a fault of a file of labels must not be found after the corpus was encoded.
"""

from __future__ import annotations

import os
from pathlib import Path

from indexer.corpus.corpus import Corpus
from indexer.corpus.settings import CorpusSettings, MetadataSettings, select
from indexer.errors import UserError
from trainer.data.labels import label_files, load_labels
from trainer.pipeline.settings import RunSettings


def check_inputs(
    source: str, settings: CorpusSettings, qrels: Path | None, queries: Path | None, data: Path
) -> tuple[Corpus, list[Path]]:
    """Check labels and corpus, and that they belong together; return the corpus and the files of the labels.

    Args:
        source: the corpus, as for `indexer.build.build.build`.
        settings: how the corpus is read.
        qrels: file of the judgements; None where there are no labels.
        queries: file of the queries; by default ``queries`` beside ``qrels``.
        data: the data directory.

    Raises:
        UserError: the labels or the corpus are refused, or no query has an answer in the corpus.
    """
    files = label_files(qrels, queries)
    labels = load_labels(files[0], files[1]) if files else None
    corpus = Corpus.check(source, **select(settings, MetadataSettings), data=data)
    if labels:
        labels.check(name for batch in corpus.batches() for name in batch.column("id").to_pylist())
    return corpus, files


def check_language_model(settings: RunSettings) -> None:
    """Check how the language model that writes queries is named, where one is.

    Raises:
        UserError: it is named twice, by no URL, or by a directory without a model.
    """
    if settings.llm or settings.llm_model or settings.llm_path:
        from trainer.queries.generate import check_model

        check_model(settings.llm, settings.llm_model, settings.llm_path)


def check_folder(out: Path) -> None:
    """Check that files can be written into the directory ``out``, which need not exist.

    Raises:
        UserError: it is a file, or neither it nor its nearest parent can be written to.
    """
    nearest = next(path for path in (out, *out.absolute().parents) if path.exists())
    if not nearest.is_dir():
        raise UserError(f"--out {out}: {nearest} is a file; give a directory")
    if not os.access(nearest, os.W_OK | os.X_OK):
        raise UserError(f"--out {out}: {nearest} cannot be written to; give another directory")
