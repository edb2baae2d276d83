"""Dowse as a search model of mteb: its index and its retrieval, on the tasks of mteb or on data sets of one's own.

    python bench/mteb_model.py DATASET_DIR... [--mode hybrid] [--task NAME]... [--data DIR] [--index ID] [--json FILE]

mteb is no dependency of Dowse: `pip install mteb` adds it to the environment. A data set is a directory as for
`bench/quality.py`. `--task` names tasks of mteb, which it downloads. Another program uses the model so:

    mteb.evaluate(search_model(data, mode="hybrid"), mteb.get_tasks(["SciFact"]))
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any, Literal, get_args

sys.path.insert(0, str(Path(__file__).parents[1]))

import pyarrow as pa
import pyarrow.parquet as pq

from indexer.artifacts.store import Store, data_dir
from indexer.build.build import build
from indexer.build.settings import BuildSettings
from indexer.errors import UserError
from indexer.index.index import Index
from indexer.progress import Bar, say
from indexer.retrieval.retriever import Retriever

Mode = Literal["hybrid", "dense", "lexical"]
MEASURES = ("ndcg_at_10", "mrr_at_10", "recall_at_100")


def _mteb() -> Any:
    """Return the library; say how to get it where it is not there."""
    try:
        import mteb
    except ModuleNotFoundError as error:
        raise UserError("mteb is not installed; run `pip install mteb` in this environment") from error
    return mteb


class DowseSearch:
    """A model of mteb's `SearchProtocol`: builds an index of a task's corpus with the defaults, and searches it.

    Args:
        data: data directory with the live model; indexes are kept there and used again, and are not made live.
        mode: of the searches.
        index: id of an index of the same documents to search in place of one that is built.
    """

    def __init__(self, data: Path, mode: Mode = "hybrid", index: str | None = None) -> None:
        self._data, self._mode, self._index = data, mode, index
        self._retriever: Retriever | None = None

    def index(self, corpus: Any, *, task_metadata: Any, hf_split: str, hf_subset: str, **_options: Any) -> None:
        """Build the index of a corpus with the columns id, text and perhaps title, unless it is there.

        Raises:
            UserError: the given index has other documents.
        """
        if self._index is not None:
            self._retriever = self._open(self._index)
            missing = sum(self._retriever.index.row_of(str(name)) is None for name in corpus["id"])
            if missing:
                raise UserError(f"--index {self._index}: {missing:,} of {len(corpus):,} documents are not in it")
            return
        folder = self._data / "mteb"
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / f"{task_metadata.name}-{hf_subset}-{hf_split}.parquet".replace("/", "_")
        columns = [name for name in ("id", "title", "text") if name in corpus.column_names]
        pq.write_table(pa.table({name: [str(value or "") for value in corpus[name]] for name in columns}), path)
        settings = BuildSettings(title_column="title" if "title" in columns else "none", skip_bad_rows=True)
        manifest = build(str(path), settings, self._data, live=False).manifest
        self._retriever = self._open(manifest.id)

    def _open(self, index: str) -> Retriever:
        return Retriever(Index.open(Store("index", self._data).path(index), verify=False))

    def search(
        self, queries: Any, *, top_k: int, top_ranked: Any = None, **_options: Any
    ) -> dict[str, dict[str, float]]:
        """Return the scores of at most ``top_k`` documents for each query, as many as both legs have found.

        Raises:
            NotImplementedError: only given documents are to be ranked.
        """
        if top_ranked is not None:
            raise NotImplementedError(
                "Dowse searches a whole corpus; tasks that re-rank given documents are not for it"
            )
        if self._retriever is None:
            raise RuntimeError("search was called before index")
        index, results = self._retriever.index, {}
        with Bar(f"search {self._mode}", len(queries), "queries") as bar:
            for query in queries:
                ranking = self._retriever.search(query["text"], self._mode)
                rows = ranking.rows[:top_k]
                names = [document.id for document in index.documents(rows)]
                # The order counts, and scores may be equal in single precision: ties are broken by the rank.
                results[query["id"]] = {name: -float(rank) for rank, name in enumerate(names)}
                bar.advance(1)
        return results

    @property
    def mteb_model_meta(self) -> Any:
        """What mteb keeps about the model: the encoder's name and the mode."""
        _mteb()
        from mteb.models.model_meta import ModelMeta

        models = Store("model", self._data)
        manifest = models.manifest(models.resolve().name)
        base = str(manifest.config.get("base", manifest.id)).rpartition("/")[2]
        return ModelMeta(
            loader=None, name=f"dowse/{base}-{self._mode}", revision=manifest.id, release_date=None, languages=None,
            n_parameters=None, memory_usage_mb=None, max_tokens=None, embed_dim=None, license=None, open_weights=None,
            public_training_code=None, public_training_data=None, framework=[], similarity_fn_name=None,
            use_instructions=None, training_datasets=None,
        )  # fmt: skip


def search_model(data: Path, mode: Mode = "hybrid", index: str | None = None) -> DowseSearch:
    """Return the model over a data directory in which a model is published, or over one of its indexes."""
    return DowseSearch(data, mode, index)


def local_task(folder: Path, split: str = "test") -> Any:
    """Return a retrieval task of mteb over a data set in files; nothing is downloaded."""
    _mteb()
    from datasets import Dataset
    from mteb.abstasks.retrieval import AbsTaskRetrieval
    from mteb.abstasks.task_metadata import TaskMetadata

    from bench.quality import Dataset as LocalDataset

    local = LocalDataset.read(folder, split)

    class LocalRetrieval(AbsTaskRetrieval):  # type: ignore[misc]  # a class of a library that is not installed here
        """The queries of one split and the whole corpus."""

        metadata = TaskMetadata(
            name=folder.name, description=f"{folder.name}, in files", type="Retrieval", category="t2t",
            eval_splits=["test"], eval_langs=["eng-Latn"], main_score="ndcg_at_10", modalities=["text"], reference=None,
            dataset={"path": folder.name, "revision": "local"}, date=None, domains=None, task_subtypes=None,
            license=None, annotations_creators=None, dialect=None, sample_creation=None, bibtex_citation=None,
        )  # fmt: skip

        def load_data(self, num_proc: int | None = None, **_options: Any) -> None:
            """Read the files."""
            del num_proc
            table = pq.read_table(folder / "corpus.parquet")
            names = [name for name in ("id", "title", "text") if name in table.column_names]
            if local.title_is_query():
                names.remove("title")
            corpus = {name: [str(value or "") for value in table[name].to_pylist()] for name in names}
            queries = {"id": list(local.queries), "text": list(local.queries.values())}
            part = {
                "corpus": Dataset.from_dict(corpus),
                "queries": Dataset.from_dict(queries),
                "relevant_docs": local.qrels,
                "top_ranked": None,
            }
            self.dataset = {"default": {"test": part}}
            self.data_loaded = True

    return LocalRetrieval()


def main() -> None:
    """Read the command line, run the tasks, print a table and write JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("datasets", nargs="*", type=Path, metavar="DATASET_DIR", help="directory of a data set")
    parser.add_argument("--task", action="append", default=[], help="a task of mteb, which it downloads")
    parser.add_argument("--mode", default="hybrid", choices=get_args(Mode))
    parser.add_argument(
        "--data", type=Path, default=data_dir(), help="data directory with a model (default: DOWSE_DATA)"
    )
    parser.add_argument("--index", help="id of an index of the data set, in place of one that is built")
    parser.add_argument("--json", type=Path, help="file for mteb's results")
    arguments = parser.parse_args()
    mteb = _mteb()
    tasks = [local_task(folder) for folder in arguments.datasets]
    tasks += list(mteb.get_tasks(tasks=arguments.task)) if arguments.task else []
    if not tasks:
        parser.error("give a DATASET_DIR or --task")
    result = mteb.evaluate(
        search_model(arguments.data, arguments.mode, arguments.index), tasks, cache=None, co2_tracker=False
    )
    for task in result.task_results:
        for split, scores in task.scores.items():
            cells = "  ".join(f"{name} {scores[0][name]:.4f}" for name in MEASURES)
            print(f"{task.task_name} ({split}, {arguments.mode}): {cells}", flush=True)
    if arguments.json:
        arguments.json.write_text(result.model_dump_json(indent=2) + "\n", encoding="utf-8")
        say(f"results: {arguments.json}")


if __name__ == "__main__":
    try:
        main()
    except UserError as error:
        sys.exit(f"error: {error}")
