"""Weight of the learned-sparse leg: kept only where questions made from the corpus show a gain, else 0."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from tales import write_tales
from tiny_sparse import make_tiny_sparse

import indexer.build.weights.choose
from indexer.build.build import build
from indexer.build.settings import BuildSettings
from indexer.build.weights.sparse_weight import SPARSE_WEIGHTS, Question, choose_sparse_weight, question_ndcg
from indexer.retrieval.fusion import Fusion
from indexer.retrieval.ranking import Ranking
from trainer.models.settings import SparseSettings
from trainer.models.sparse import publish_sparse


class FakeRetriever:
    """Finds the answer of a question, its own number, at a rank that depends on the weight."""

    def __init__(self, ranks: dict[float, list[int]]) -> None:
        self.ranks = ranks

    def search(self, query: str, fusion: Fusion) -> Ranking:
        """Return the answer at its rank among documents that are no answers."""
        rows = np.arange(1000, 1020)
        rows[self.ranks[fusion.sparse_weight][int(query)] - 1] = int(query)
        return Ranking(rows=rows)


def choose(**ranks: list[int]) -> float:
    """Return the weight for these ranks of the answers, by the weight in tenths."""
    of = {int(name[1:]) / 10: values for name, values in ranks.items()}
    questions = [Question(str(number), (number,)) for number in range(len(ranks["w0"]))]
    return choose_sparse_weight(FakeRetriever(of), questions, Fusion(sparse_weight=0.7))


def test_a_sure_gain_is_kept() -> None:
    """The weight with the highest mean is taken, if its questions show a gain."""
    base = [3, 4, 2, 5] * 20
    assert choose(w0=base, w1=base, w2=[1, 2, 1, 2] * 20, w3=[2, 3, 1, 4] * 20) == 0.2
    assert choose(w0=base, w1=[1] * 80, w2=[2] * 80, w3=[9] * 80) == 0.1


def test_without_a_sure_gain_it_is_zero() -> None:
    """Equal, worse and uncertain results give 0: the leg takes nothing from the others by chance."""
    base = [3, 4, 2, 5] * 20
    worse = [rank + 1 for rank in base]
    assert choose(w0=base, w1=base, w2=worse, w3=worse) == 0
    uncertain = [1] * 3 + [3, 4, 2, 5] * 19 + [3]  # a gain of three questions, and nothing else
    assert choose(w0=base, w1=uncertain, w2=uncertain, w3=uncertain) == 0
    assert choose(w0=[5], w1=[1], w2=[1], w3=[1]) == 0


def test_several_answers_count() -> None:
    """With several right answers the best ranking has them all first."""
    questions = [Question("0", (0, 1000, 1001))]
    found = question_ndcg(FakeRetriever({0.0: [3]}), questions, Fusion())
    assert found.tolist() == [1.0]
    assert question_ndcg(FakeRetriever({0.0: [12]}), questions, Fusion())[0] < 1


@pytest.fixture(scope="module")
def data(tiny_data: Path, tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data directory with the tiny encoder, a learned-sparse model and tales to ask for."""
    data = Path(shutil.copytree(tiny_data, tmp_path_factory.mktemp("weight") / "data"))
    publish_sparse(str(make_tiny_sparse(tiny_model, data / "made")), SparseSettings(), data)
    write_tales(data / "tales.parquet", 60)
    return data


def test_a_build_asks_its_questions(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The questions are asked of an index with the leg; what was chosen is in the manifest. A flag needs no questions."""
    asked = []

    def chosen(retriever, questions, fusion):
        asked.append((len(questions), retriever.index.sparse is not None, fusion.dense_weight))
        ranking = retriever.search(questions[0].text, fusion=fusion.model_copy(update={"sparse_weight": 0.5}))
        assert ranking.sparse is not None
        return 0.2

    monkeypatch.setattr(indexer.build.weights.choose, "choose_sparse_weight", chosen)
    settings = BuildSettings(sparse_model="current", dense_weight=0.4)
    config = build(str(data / "tales.parquet"), settings, data, cores=1).manifest.config
    assert (config["fusion"]["dense_weight"], config["fusion"]["sparse_weight"]) == (0.4, 0.2)
    assert config["sparse"] == {"terms": 256}
    assert len(asked) == 1 and asked[0][0] >= 40 and asked[0][1:] == (True, 0.4)
    flagged = settings.model_copy(update={"sparse_weight": 0.3})
    config = build(str(data / "tales.parquet"), flagged, data, cores=1).manifest.config
    assert config["fusion"]["sparse_weight"] == 0.3
    assert len(asked) == 1


def test_a_random_leg_gets_no_weight(data: Path) -> None:
    """Weights that mean nothing do not pass: the leg is in the index, and switched off."""
    config = build(str(data / "tales.parquet"), BuildSettings(sparse_model="current"), data, cores=1).manifest.config
    assert config["fusion"]["sparse_weight"] in {0.0, *SPARSE_WEIGHTS}
    assert config["fusion"]["sparse_weight"] == 0
