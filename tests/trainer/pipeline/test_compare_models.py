"""`trainer compare`: which model is the best base for a corpus, how certain that is, and what goes live."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from stories import WORDS
from tales import write_labelled, write_tales
from tests_support import make_tiny_model, publish
from typer.testing import CliRunner

from indexer.artifacts.store import Store
from indexer.build.assemble import build_private_index
from indexer.build.settings import BuildSettings
from indexer.build.weights.neighbour_questions import without
from indexer.corpus.corpus import Corpus
from indexer.errors import UserError
from indexer.inference.encoder import Encoder
from indexer.retrieval.retriever import Retriever
from trainer.cli import app
from trainer.data.labels import load_labels
from trainer.evaluate.significance import Difference
from trainer.pipeline.bases import measurement
from trainer.pipeline.bases.candidate import publish_candidates, read_licence
from trainer.pipeline.bases.choice import MIN_QUESTIONS, is_win, select_questions, total, voting
from trainer.pipeline.bases.compare import compare_and_choose, compare_bases
from trainer.pipeline.bases.measures import Measured, rank
from trainer.pipeline.bases.neighbours import neighbour_questions
from trainer.pipeline.bases.questions import take_words
from trainer.pipeline.bases.result import BaseComparison
from trainer.pipeline.bases.sample import draw_sample
from trainer.pipeline.settings import CompareSettings, RunSettings

SETTINGS = CompareSettings(language="en", max_cost=100)
COUNT = 200


@pytest.fixture(scope="module")
def tales(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a corpus of tales."""
    return write_tales(tmp_path_factory.mktemp("tales") / "tales.parquet", COUNT)


@pytest.fixture(scope="module")
def compared(
    tmp_path_factory: pytest.TempPathFactory, tales: Path, blind_model: Path, tiny_data: Path
) -> tuple[Path, BaseComparison, list[str]]:
    """A data directory with the tiny and a blind model, in which both were compared, the blind one named first."""
    data = tmp_path_factory.mktemp("compared") / "data"
    shutil.copytree(tiny_data, data)
    (data / "models" / "CURRENT").unlink()
    tiny = Store("model", data).ids()[0]
    result, lines = compare_and_choose(str(tales), [str(blind_model), tiny], SETTINGS, data)
    return data, result, lines


# --- the choice -----------------------------------------------------------------------------------------------------


def test_the_better_base_is_chosen(compared: tuple[Path, BaseComparison, list[str]]) -> None:
    """Without labels, the model that tells the documents apart is better than the default for certain, and goes live."""
    data, result, _ = compared
    blind, tiny = result.models
    assert result.default == blind.id
    assert result.decided
    assert result.choice == tiny.id
    assert tiny.total["dense"].low > 0
    assert tiny.scores["dense"].mean > blind.scores["dense"].mean
    assert Store("model", data).current_id() == tiny.id
    assert result.judged_by == "synthetic queries"
    assert {"neighbours", "sentences", "key words"} <= result.questions.keys()


def test_what_it_shows(compared: tuple[Path, BaseComparison, list[str]]) -> None:
    """The table has a line for each model with quality, cost and licence; page and JSON are written."""
    data, result, lines = compared
    assert len(lines) == 3
    assert lines[0].split() == [
        "model", "dense", "hybrid", "ms/query", "documents/s", "bytes/vector", "dimension", "licence",
    ]  # fmt: skip
    assert lines[1].split()[0] == "blind" and lines[1].split()[-2:] == ["unknown", "default"]
    assert "128" in lines[2] and lines[2].endswith("best")
    folder = data / "training" / "compare"
    assert BaseComparison.model_validate_json((folder / "report.json").read_bytes()) == result
    page = (folder / "report.html").read_text(encoding="utf-8")
    assert "is the best base" in page and "blind" in page and "<script" not in page
    costs = [model.cost for model in result.models]
    assert all(cost.ms_query >= cost.ms_encode > 0 and cost.documents_per_second > 0 for cost in costs)
    assert [cost.vector_bytes for cost in costs] == [128, 128]


def test_the_same_model_twice_is_undecided(tiny_model: Path, tales: Path, data: Path, tmp_path: Path) -> None:
    """Where models do not differ, it says so and keeps the live one, also if that is not the first."""
    twin = Path(shutil.copytree(tiny_model, tmp_path / "twin"))
    (twin / "README.md").write_text("another file, so another artifact", encoding="utf-8")
    live = Store("model", data).current_id()
    assert live is not None
    result, lines = compare_and_choose(str(tales), [str(twin), live], SETTINGS, data)
    assert not result.decided
    assert result.choice == result.default == live
    assert result.reasons[0].startswith("undecided")
    assert lines[2].endswith("kept")
    assert Store("model", data).current_id() == live


def test_a_better_model_over_the_budget(
    compared: tuple[Path, BaseComparison, list[str]], tales: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A model that costs more than the budget is not chosen, however good; the table and the reasons say so."""
    data, before, _ = compared
    measured = measurement.measure_cost

    def slow_tiny(candidate, index, queries):
        cost = measured(candidate, index, queries)
        return cost.model_copy(update={"ms_query": 50.0 if candidate.id == before.choice else 10.0})

    monkeypatch.setattr(measurement, "measure_cost", slow_tiny)
    models = [model.id for model in before.models]
    Store("model", data).activate(models[0])
    settings = SETTINGS.model_copy(update={"max_cost": 4.0, "seed": 1})
    result = compare_bases(str(tales), models, settings, data)
    assert [model.within_budget for model in result.models] == [True, False]
    assert result.choice == models[0]
    assert any("over the limit" in reason for reason in result.reasons)


def test_labels_decide_where_there_are_enough(tmp_path: Path, blind_model: Path, data: Path) -> None:
    """With labels these decide alone; queries of the side test are left to the verdict of a run."""
    corpus = write_labelled(tmp_path / "labelled", COUNT)
    settings = SETTINGS.model_copy(update={"qrels": corpus.with_name("qrels.parquet")})
    live = Store("model", data).resolve().name
    result = compare_bases(str(corpus), [live, str(blind_model)], settings, data)
    assert result.judged_by == "labels"
    assert result.weights == {"labels": 1.0}
    assert 50 <= result.questions["labels"] <= COUNT  # half of 400 queries are test
    assert result.choice == live
    assert result.decided


def test_finished_is_up_to_date(compared: tuple[Path, BaseComparison, list[str]], tales: Path) -> None:
    """The same comparison again measures nothing and gives the same result; other settings are another comparison."""
    data, result, _ = compared
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Encoder, "encode_documents", None)
        live = Store("model", data).current_id()
        names = [model.id for model in result.models]
        Store("model", data).activate(result.default)
        assert compare_bases(str(tales), names, SETTINGS, data).models == result.models
        Store("model", data).activate(str(live))


def test_a_killed_comparison_resumes(
    tales: Path, blind_model: Path, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was encoded before a kill is not encoded again, and the result is that of an undisturbed comparison."""
    models = [str(blind_model), Store("model", data).resolve().name]

    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(measurement, "neighbour_questions", killed)
    with pytest.raises(KeyboardInterrupt):
        compare_bases(str(tales), models, SETTINGS, data)
    monkeypatch.undo()
    encoded: list[int] = []
    original = Encoder.encode_documents

    def counted(self: Encoder, texts: list[str], **options: bool) -> np.ndarray:
        encoded.append(len(texts))
        return original(self, texts, **options)

    monkeypatch.setattr(Encoder, "encode_documents", counted)
    result = compare_bases(str(tales), models, SETTINGS, data)
    assert result.decided
    assert sum(encoded) < COUNT  # a few for timing


# --- refused --------------------------------------------------------------------------------------------------------


def test_fewer_than_two_models(tales: Path, data: Path) -> None:
    """A single model cannot be compared, nor one with itself."""
    live = Store("model", data).resolve().name
    with pytest.raises(UserError, match="at least two"):
        compare_bases(str(tales), [live], SETTINGS, data)
    with pytest.raises(UserError, match="the same model"):
        compare_bases(str(tales), [live, live], SETTINGS, data)


def test_too_few_documents(corpus: Path, blind_model: Path, data: Path) -> None:
    """Six documents give too few questions; the message says what helps."""
    with pytest.raises(UserError, match="too few questions"):
        compare_bases(str(corpus), [Store("model", data).resolve().name, str(blind_model)], SETTINGS, data)


# --- parts ----------------------------------------------------------------------------------------------------------


def test_sample_holds_the_answers(tmp_path: Path) -> None:
    """A sample holds the documents that answer the labelled queries it uses, and no more documents than asked for."""
    path = write_labelled(tmp_path / "labelled", 120)
    labels = load_labels(path.with_name("qrels.parquet"), None)
    sample = draw_sample(Corpus.check(str(path)), "auto", 40, labels, 0)
    assert len(sample.documents.ids) == 40
    assert sample.labelled is not None and len(sample.labelled)
    assert sample.labelled.documents <= set(sample.documents.ids)
    assert {labels.sides[query] for query in sample.labelled.texts} <= {"train", "dev"}
    assert draw_sample(Corpus.check(str(path)), "en", 40, labels, 0).documents == sample.documents


def test_what_is_taken_out_is_gone(tales: Path) -> None:
    """A document no longer holds the sentence that asks for it; short documents are divided into halves."""
    sample = draw_sample(Corpus.check(str(tales)), "en", None, None, 0)
    material = take_words(sample, 0)
    contents, kinds = material.contents, material.questions(len(material.contents), 0)
    taken = [row for row, text in enumerate(sample.documents.texts) if contents[row]["text"] != text]
    assert sorted(kinds["sentences"].clusters) == taken
    short = [f"{WORDS[row % 60]} " * 3 + " ".join(WORDS[row % 40 : row % 40 + 12]) for row in range(100)]
    documents = type(sample.documents)([str(row) for row in range(100)], [None] * 100, short)
    material = take_words(type(sample)(documents, "en", None), 0)
    contents, kinds = material.contents, material.questions(100, 0)
    assert "halves" in kinds and "sentences" not in kinds
    first = kinds["halves"].clusters[0]
    assert len(contents[first]["text"].split()) < len(short[first].split())


def test_a_document_is_left_out_before_the_search(tales: Path, data: Path, tmp_path: Path) -> None:
    """A neighbour question is ranked as a search without its source: another candidate takes that place."""
    sample = draw_sample(Corpus.check(str(tales)), "en", None, None, 0)
    contents = take_words(sample, 0).contents
    live = Store("model", data).resolve()
    index = build_private_index(contents, BuildSettings(language="en"), Encoder.open(live), None, tmp_path)
    questions = neighbour_questions([index], 0)
    vectors = index.encoder.encode_queries(questions.texts)
    ranked = rank("neighbours", index, questions, vectors)
    assert questions.left_out and len(questions) > MIN_QUESTIONS
    for row, source in enumerate(questions.left_out):
        expected = Retriever(index).search(questions.texts[row], vector=vectors[row], allowed=without(index, source))
        assert ranked.rankings[row].rows.tolist() == expected.rows.tolist()
        assert ranked.rankings[row].weight_shift == expected.weight_shift


def test_words_alone_do_not_vote() -> None:
    """A question that the lexical leg answers at rank 1 is no vote; labels of people all are."""
    model = Measured(np.array([1.0, 0.0, 0.5]), np.array([1.0, 1.0, 0.5]))
    lexical = np.array([1.0, 0.0, 0.6])
    assert list(select_questions("key words", [model], lexical, ["a", "b", "c"]).clusters) == ["b", "c"]
    assert list(select_questions("labels", [model], lexical, ["a", "b", "c"]).clusters) == ["a", "b", "c"]


def test_few_questions_do_not_vote() -> None:
    """A kind with too few questions does not vote, and few labels do not decide."""
    few, many = (
        select_questions("sentences", [Measured(np.zeros(n), np.zeros(n))], np.zeros(n), list(range(n)))
        for n in (MIN_QUESTIONS - 1, MIN_QUESTIONS)
    )
    assert voting({"sentences": few}) == {}
    assert voting({"sentences": many, "labels": few}).keys() == {"sentences"}


def difference(mean: float, error: float) -> Difference:
    """Return a difference with this standard error."""
    return Difference(mean=mean, low=mean - 2 * error, high=mean + 2 * error, p=0.5, standard_error=error, queries=100)


def test_kinds_are_weighed() -> None:
    """The total is the weighted mean of the kinds; a certain gain wins unless the other leg certainly loses."""
    kinds = {
        "neighbours": {"dense": difference(0.06, 0.01), "hybrid": difference(0.0, 0.01)},
        "key words": {"dense": difference(-0.02, 0.01), "hybrid": difference(0.0, 0.01)},
    }
    weights = {"neighbours": 3.0, "key words": 1.0}
    dense, hybrid = (total(kinds, weights, leg) for leg in ("dense", "hybrid"))
    assert dense.mean == pytest.approx(0.04)
    assert dense.standard_error == pytest.approx(np.hypot(0.03, 0.01) / 4)
    assert is_win({"dense": dense, "hybrid": hybrid})
    assert not is_win({"dense": dense, "hybrid": difference(-0.05, 0.01)})
    assert not is_win({"dense": difference(0.01, 0.01), "hybrid": hybrid})
    against = {"dense": difference(0.0, 0.01), "hybrid": difference(-0.05, 0.01)}
    assert not is_win({"dense": dense, "hybrid": hybrid}, against)


@pytest.mark.parametrize(
    ("card", "licence"),
    [
        ("---\nlicense: apache-2.0\ntags: [x]\n---\nText", "apache-2.0"),
        ("---\nlicense: other\nlicense_name: own-terms\n---\n", "own-terms"),
        ("---\nlicense: [mit, gpl-3.0]\n---\n", "mit, gpl-3.0"),
        ("no head at all", None),
        ("---\n: [\n---\n", None),
        (None, None),
    ],
)
def test_licence(card: str | None, licence: str | None, tmp_path: Path) -> None:
    """The licence is what the card names; a card without one, or with a broken head, names none."""
    if card is not None:
        (tmp_path / "README.md").write_text(card, encoding="utf-8")
    assert read_licence(tmp_path) == licence


# --- commands -------------------------------------------------------------------------------------------------------


def test_command(tales: Path, blind_model: Path, data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The command prints the table, or with --json the result; a model is named by directory or by id."""
    monkeypatch.setenv("DOWSE_DATA", str(data))
    live = Store("model", data).resolve().name
    command = ["compare", live, str(blind_model), "--source", str(tales), "--language", "en", "--max-cost", "100"]
    done = CliRunner().invoke(app, command, catch_exceptions=False)
    assert done.exit_code == 0
    assert done.stdout.startswith("model ")
    done = CliRunner().invoke(app, [*command, "--json"], catch_exceptions=False)
    assert json.loads(done.stdout)["choice"] == live


def test_run_starts_from_the_best(
    tales: Path, blind_model: Path, tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`trainer run --models` compares first and starts from the best base; --model beside it is refused."""
    from trainer.pipeline import run as runner

    started: list[str | None] = []

    def build(_: str, settings, *__: object, **___: object):
        started.append(settings.model)
        raise UserError("stop")

    monkeypatch.setattr(runner, "build", build)
    data = tmp_path / "data"
    tiny = publish(tiny_model, data).id
    settings = RunSettings(language="en", models=f"{blind_model},{tiny}")
    with pytest.raises(UserError, match="stop"):
        runner.run(str(tales), settings, data)
    assert started == [tiny]
    with pytest.raises(UserError, match="leave out --model"):
        runner.run(str(tales), settings.model_copy(update={"model": tiny}), data)


def test_names_of_candidates(data: Path, tmp_path: Path) -> None:
    """A published model keeps the name under which it was published; nothing that is compared goes live by that alone."""
    other = make_tiny_model(tmp_path / "other", pooling="cls")
    live = Store("model", data).current_id()
    candidates = publish_candidates([str(live), str(other)], data)
    assert [candidate.name for candidate in candidates] == ["model", "model"]
    assert Store("model", data).current_id() == live
