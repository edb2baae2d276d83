"""`trainer compare`: measure several models as bases for a corpus, and make the best one live.

python -m trainer compare --source data/corpus.parquet all-MiniLM-L6-v2 MongoDB/mdbr-leaf-ir intfloat/multilingual-e5-small
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import numpy as np

from indexer.artifacts.manifest import describe_input, fingerprint
from indexer.artifacts.store import Store, data_dir
from indexer.corpus.corpus import Corpus
from indexer.errors import UserError
from indexer.index.index import Index
from indexer.inference.encoder import Vectors
from indexer.progress import say, stage
from trainer.data.clusters import cluster_queries
from trainer.data.labels import load_labels
from trainer.evaluate.encode import encode_queries
from trainer.evaluate.report import HTML_FILE
from trainer.files import atomic_write, training_dir
from trainer.pipeline.bases.candidate import Candidate, find_vectors, measure_cost, open_index, publish_candidates
from trainer.pipeline.bases.choice import (
    GUARD,
    LEGS,
    Ballot,
    difference,
    is_win,
    merit,
    pooled,
    select_questions,
    summary,
    total,
    voting,
)
from trainer.pipeline.bases.measures import agreement, lexical, measure, rank
from trainer.pipeline.bases.neighbours import neighbour_questions
from trainer.pipeline.bases.page import write_comparison
from trainer.pipeline.bases.questions import Kind, Questions, make_questions
from trainer.pipeline.bases.result import BaseComparison, BaseFigures, Cost, table
from trainer.pipeline.bases.sample import Sample, draw_sample
from trainer.pipeline.inputs import check_folder, check_inputs
from trainer.pipeline.settings import CompareSettings
from trainer.pipeline.workspace import Workspace

RECIPE = 1
"""Version of the comparison: raised when it gives other results."""
RESULT_FILE = "result.json"


def compare_bases(
    source: str, models: Sequence[str], settings: CompareSettings, data: Path | None = None
) -> BaseComparison:
    """Publish the models, measure them as bases for the corpus, and return which is best; nothing goes live.

    Finished steps are kept: a comparison that was killed resumes, a finished one is up to date.

    Args:
        source: the corpus, as for `indexer.build.build.build`.
        models: names on the Hub, directories or ids of published models, at least two.
        settings: see `CompareSettings`.
        data: the data directory; by default ``$DOWSE_DATA``.

    Raises:
        UserError: there are fewer than two models, or a model, the corpus or the labels are refused.
    """
    data = data or data_dir()
    if len(models) < 2:
        raise UserError("one model: there is nothing to compare; name at least two")
    corpus, files = check_inputs(source, settings, settings.qrels, settings.queries, data)
    candidates = publish_candidates(models, data)
    default = default_of(candidates, Store("model", data))
    recipe = settings.model_dump(mode="json", exclude={"qrels", "queries", "out", "max_cost"}) | {"recipe": RECIPE}
    key = fingerprint(
        "index",
        {candidate.id: candidate.manifest.fingerprint for candidate in candidates},
        [*corpus.inputs, *(describe_input(path, path.name) for path in files)],
        recipe | {"max_cost": settings.max_cost, "default": candidates[default].id},
    )
    with Workspace(training_dir(data) / "compare", key) as workspace:
        finished = workspace.folder / RESULT_FILE
        if finished.is_file():
            say("up to date")
            return BaseComparison.model_validate_json(finished.read_bytes())
        measured = measure_bases(corpus, candidates, settings, workspace, data)
        result = decide_bases(source, corpus, candidates, measured, default=default, settings=settings)
        with atomic_write(finished) as part:
            part.write_text(result.model_dump_json(indent=2) + "\n", encoding="utf-8")
    return result


def compare_and_choose(
    source: str, models: Sequence[str], settings: CompareSettings, data: Path | None = None
) -> tuple[BaseComparison, list[str]]:
    """Compare, write the report, and make the best model live; return the result and the table.

    A live model that was not compared stays live, also one that was tuned from a compared one: it may be better than
    either.
    """
    data = data or data_dir()
    out = settings.out or training_dir(data) / "compare"
    check_folder(out)
    result = compare_bases(source, models, settings, data)
    write_comparison(result, out)
    for reason in result.reasons:
        say(reason)
    say(f"report: {out / HTML_FILE}")
    store = Store("model", data)
    with store.building():
        live = store.current_id()
        if live == result.choice:
            say(f"live stays {live}")
        elif live is None or live in {model.id for model in result.models}:
            store.activate(result.choice)
            say(f"live: {result.choice}; `python -m indexer build` makes its index")
        else:
            say(f"live stays {live}; `python -m trainer run CORPUS --model {result.choice}` starts from the best one")
    return result, table(result)


def default_of(candidates: Sequence[Candidate], models: Store) -> int:
    """Return the number of the model that is kept where nothing is better: the live one or its base, else the first."""
    live = models.current_id()
    if live is None or live not in models.ids():
        return 0
    ids = [candidate.id for candidate in candidates]
    for wanted in (live, models.manifest(live).config.get("tuned_from")):
        if wanted in ids:
            return ids.index(wanted)
    return 0


@dataclass(frozen=True)
class Measurements:
    """The sample, the kinds of questions with the values of all models, and the costs of the models."""

    sample: Sample
    ballots: dict[Kind, Ballot]
    costs: list[Cost]


def measure_bases(
    corpus: Corpus, candidates: Sequence[Candidate], settings: CompareSettings, workspace: Workspace, data: Path
) -> Measurements:
    """Encode the sample with every model, make the questions, and rank them."""
    labels = load_labels(settings.qrels, settings.queries) if settings.qrels else None
    with stage("make questions"):
        sample = draw_sample(corpus, settings.language, settings.sample, labels, settings.seed)
        contents, kinds = make_questions(sample, settings.seed)
    texts = [str(content["text"]) for content in contents]
    characters = sum(map(len, texts))
    say(f"sample: {len(texts):,} of {corpus.documents:,} documents, {characters:,} characters, {sample.language}")
    indexes: list[Index] = []
    for number, candidate in enumerate(candidates, start=1):
        say(f"model {number} of {len(candidates)}: {candidate.name}")
        with workspace.stage(candidate.id):
            folder = workspace.folder / candidate.id
            known = find_vectors(candidate, corpus.inputs, data)
            indexes.append(open_index(candidate, contents, sample.language, known, folder))
    with stage("find neighbours on which all models agree"):
        neighbours = neighbour_questions(indexes, settings.seed)
    if len(neighbours):
        kinds = {"neighbours": neighbours, **kinds}
    if not kinds:
        raise UserError("the corpus: its documents give no questions; give more documents, or labels with --qrels")
    vectors = [
        _encode(candidate, index, kinds, workspace) for candidate, index in zip(candidates, indexes, strict=True)
    ]
    first = next(iter(kinds.values())).texts
    costs = [measure_cost(candidate, index, first) for candidate, index in zip(candidates, indexes, strict=True)]
    return Measurements(sample, _rank(candidates, indexes, kinds, vectors, sample), costs)


def _encode(
    candidate: Candidate, index: Index, kinds: dict[Kind, Questions], workspace: Workspace
) -> dict[Kind, Vectors]:
    """Return the vectors of all questions by kind, or read those of a killed comparison."""
    texts = [text for questions in kinds.values() for text in questions.texts]
    arrays = workspace.arrays(
        f"questions-{candidate.id}",
        lambda: {"vectors": encode_queries(f"{candidate.name}: encode questions", index.encoder, texts)},
    )
    bounds = np.cumsum([0, *map(len, kinds.values())])
    return {kind: arrays["vectors"][bounds[row] : bounds[row + 1]] for row, kind in enumerate(kinds)}


def _rank(
    candidates: Sequence[Candidate],
    indexes: Sequence[Index],
    kinds: dict[Kind, Questions],
    vectors: Sequence[dict[Kind, Vectors]],
    sample: Sample,
) -> dict[Kind, Ballot]:
    """Return the values of all models on each kind of question, and on agreement where there are enough models."""
    ballots: dict[Kind, Ballot] = {}
    for kind, questions in kinds.items():
        ranked = [
            rank(f"{candidate.name}: {kind}", index, questions, own[kind])
            for candidate, index, own in zip(candidates, indexes, vectors, strict=True)
        ]
        clusters: list[Hashable] = list(questions.clusters)
        if kind == "labels" and sample.labelled is not None:
            clusters = list(cluster_queries(sample.labelled.qrels, {}).values())
        ballots[kind] = select_questions(kind, [measure(each) for each in ranked], lexical(ranked[0]), clusters)
        if kind == "neighbours" and len(candidates) > 2:
            values = agreement(indexes, [own[kind] for own in vectors], questions, ranked)
            ballots["agreement"] = select_questions("agreement", values, lexical(ranked[0]), clusters)
    return ballots


def decide_bases(
    source: str,
    corpus: Corpus,
    candidates: Sequence[Candidate],
    measured: Measurements,
    *,
    default: int,
    settings: CompareSettings,
) -> BaseComparison:
    """Return the result: figures of each model, differences to the default, and the choice."""
    ballots = voting(measured.ballots)
    if not ballots:
        raise UserError(
            "the corpus: too few questions to compare models on; give more documents, a larger --sample, or labels with --qrels"
        )
    weights = {kind: ballot.weight for kind, ballot in ballots.items()}
    cheapest = min(cost.ms_query for cost in measured.costs)
    models: list[BaseFigures] = []
    for number, (candidate, cost) in enumerate(zip(candidates, measured.costs, strict=True)):
        differences = {
            kind: {leg: difference(ballot, default, number, leg, settings.seed) for leg in LEGS}
            for kind, ballot in ballots.items()
            if number != default
        }
        models.append(
            BaseFigures(
                id=candidate.id,
                name=candidate.name,
                licence=candidate.licence,
                cost=cost,
                within_budget=cost.ms_query <= settings.max_cost * cheapest,
                scores={leg: pooled(ballots, leg, number) for leg in LEGS},
                figures={
                    kind: {
                        leg: summary(getattr(ballot.models[number], leg), ballot.clusters, settings.seed)
                        for leg in LEGS
                    }
                    for kind, ballot in measured.ballots.items()
                    if ballot.clusters
                },
                differences=differences,
                total={leg: total(differences, weights, leg) for leg in LEGS} if differences else {},
            )
        )
    choice, decided, reasons = _choose(models, default)
    return BaseComparison(
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        corpus=Path(source).name if "://" not in source else "a database",
        documents=corpus.documents,
        sample=len(measured.sample.documents.ids),
        language=measured.sample.language,
        judged_by="labels" if "labels" in ballots else "synthetic queries",
        questions={kind: len(ballot.clusters) for kind, ballot in measured.ballots.items()},
        weights=weights,
        max_cost=settings.max_cost,
        default=models[default].id,
        choice=models[choice].id,
        decided=decided,
        reasons=reasons,
        models=models,
    )


def _choose(models: Sequence[BaseFigures], default: int) -> tuple[int, bool, list[str]]:
    """Return the number of the best model, whether that is certain, and why."""
    kept = models[default].name
    winners = [
        number
        for number, model in enumerate(models)
        if model.total and is_win(model.total, model.differences.get(GUARD))
    ]
    affordable = [number for number in winners if models[number].within_budget]
    reasons = [
        f"{models[number].name} is better than {kept}, and over the budget"
        for number in winners
        if number not in affordable
    ]
    if affordable:
        best = max(affordable, key=lambda number: merit(models[number].total))
        figures = ", ".join(
            f"{leg} {_signed(each.mean, each.low, each.high)}" for leg, each in models[best].total.items()
        )
        return best, True, [f"{models[best].name} is better than {kept}: {figures}", *reasons]
    worse = [model for model in models if model.total and all(each.high < 0 for each in model.total.values())]
    others = [model for model in models if model.total]
    if len(worse) == len(others):
        return default, True, [f"{kept} is better than all others", *reasons]
    undecided = [
        f"{model.name} against {kept}: "
        + ", ".join(f"{leg} {_signed(each.mean, each.low, each.high)}" for leg, each in model.total.items())
        for model in others
    ]
    return (
        default,
        False,
        [f"undecided: no model is better than {kept} for certain, which is kept", *undecided, *reasons],
    )


def _signed(mean: float, low: float, high: float) -> str:
    return f"{mean:+.3f} (95 % interval {low:+.3f} to {high:+.3f})"
