"""`rerank`: the first results in the order of a published cross-encoder, or unchanged where that is not possible."""

from __future__ import annotations

import shutil
from contextlib import ExitStack
from itertools import count

import numpy as np
import pytest
import torch
from starlette.testclient import TestClient
from tiny_reranker import make_tiny_reranker
from transformers import AutoTokenizer, BertForSequenceClassification

from indexer.artifacts.manifest import InputEntry
from indexer.artifacts.store import Store
from indexer.cache import owner
from indexer.errors import UserError
from indexer.inference.passages import encoder_input
from indexer.inference.reranker import Reranker, RerankResult
from service.api.search import rerank_memory
from service.api.search.rerank_memory import Outcome, RerankMemory, key_of
from service.app import create_app
from service.serving.queue import RequestQueue
from service.settings import ServiceSettings
from trainer.models.reranker import Judgement, publish_reranker
from trainer.models.settings import RerankerSettings

QUERY = "the dog eats bread"
SETTINGS = RerankerSettings(max_tokens=48)


@pytest.fixture(scope="module")
def directory(tiny_model, tmp_path_factory):
    """A cross-encoder of the Hub's format."""
    return make_tiny_reranker(tiny_model, tmp_path_factory.mktemp("reranker"))


@pytest.fixture(scope="module")
def data(built_data, directory, tmp_path_factory):
    """A data directory with the six stories and the published cross-encoder."""
    data = shutil.copytree(built_data, tmp_path_factory.mktemp("reranked") / "data")
    assert publish_reranker(str(directory), SETTINGS, data).fresh
    return data


@pytest.fixture(scope="module")
def reranking(data):
    """A client of a service that re-ranks."""
    with TestClient(create_app(ServiceSettings(data=data))) as client:
        yield client


def search(client, **body):
    """The answer to a search."""
    answer = client.post("/search", json={"query": QUERY, **body})
    assert answer.status_code == 200, answer.text
    return answer.json()


def by_torch(directory, results):
    """The scores of results as the original model gives them, one pair at a time."""
    tokenizer = AutoTokenizer.from_pretrained(directory)
    network = BertForSequenceClassification.from_pretrained(directory).eval()
    with torch.inference_mode():
        return [
            float(network(**tokenizer(QUERY, encoder_input(r["title"], r["text"]), truncation=True, max_length=48, return_tensors="pt")).logits)
            for r in results
        ]  # fmt: skip


def test_the_first_results_are_in_the_order_of_the_cross_encoder(reranking, directory):
    """The first N are ordered by the scores that torch gives; the others follow in their own order."""
    plain = search(reranking)["results"]
    for top_n in (1, 4, 50):
        answer = search(reranking, rerank={"top_n": top_n, "budget_ms": 60_000}, explain=True)
        head = plain[:top_n]
        scores = by_torch(directory, head)
        order = np.argsort(-np.array(scores), kind="stable")
        expected = [head[place]["id"] for place in order] + [result["id"] for result in plain[top_n:]]
        assert [result["id"] for result in answer["results"]] == expected
        assert [result["rank"] for result in answer["results"]] == [1, 2, 3, 4, 5, 6]
        given = [result["scores"]["rerank"] for result in answer["results"][: len(head)]]
        assert given == pytest.approx(sorted(scores, reverse=True), abs=1e-3)
        assert all("rerank" not in result["scores"] for result in answer["results"][len(head) :])
        assert answer["rerank"] == {
            "applied": True,
            "scored": len(head),
            "took_ms": answer["rerank"]["took_ms"],
            "reason": None,
        }
        assert {r["id"]: r["score"] for r in answer["results"]} == {r["id"]: r["score"] for r in plain}
    assert expected != [result["id"] for result in plain]


def test_a_boost_counts_in_the_order_of_the_cross_encoder(reranking):
    """Full weight brings a document to the front of those that were re-ranked; a sort alone decides the order."""
    choices = {"rerank": {"top_n": 50, "budget_ms": 60_000}}
    plain = [result["id"] for result in search(reranking, **choices)["results"]]
    for name in plain:
        boost = [{"filter": {"must": [{"field": "id", "eq": name}]}, "weight": 1}]
        boosted = [result["id"] for result in search(reranking, **choices, boost=boost)["results"]]
        assert boosted.index(name) <= 1  # level with the best, so before it where it comes first among equal ones
        assert [each for each in boosted if each != name] == [each for each in plain if each != name]
        sunk = [{**boost[0], "weight": -1}]
        assert [result["id"] for result in search(reranking, **choices, boost=sunk)["results"]].index(name) >= 4


def test_pages_are_cut_after_the_re_ranking(reranking):
    """Pages of a re-ranked search neither repeat nor lose a document, with diversity too."""
    for more in ({}, {"diversity": 0.5}, {"group_by": "rooms"}):
        choices = {"rerank": {"top_n": 4, "budget_ms": 60_000}, **more}
        whole = [result["id"] for result in search(reranking, **choices)["results"]]
        pages = [search(reranking, top_k=2, offset=offset, **choices)["results"] for offset in (0, 2, 4)]
        assert [result["id"] for page in pages for result in page] == whole
        assert sorted(whole) == list("abcdef")


def test_without_time_the_order_stays_and_the_response_says_so(reranking, monkeypatch):
    """A budget that does not suffice gives the fused order, with how long it would have taken."""
    plain = search(reranking)["results"]
    score = Reranker.score
    ticks = iter(range(1000))
    monkeypatch.setattr(Reranker, "score", lambda self, *given: score(self, *given, clock=lambda: float(next(ticks))))
    answer = search(reranking, rerank={"budget_ms": 1500})
    assert answer["results"] == plain
    said = answer["rerank"]
    assert said["applied"] is False and said["scored"] == 6
    assert "budget of 1500 ms" in said["reason"] and "top_n" in said["reason"]


def test_re_rankings_of_a_batch_share_a_time_limit(data, monkeypatch):
    """However many searches a batch has, they are re-ranked for half of the deadline; the rest say why they were not."""
    given: list[float] = []
    score = Reranker.score

    def slow(self, query, passages, budget=np.inf):
        given.extend([budget] if np.isfinite(budget) else [])  # not the warm-up
        result = score(self, query, passages, budget)
        return (
            RerankResult(result.scores, result.scored, 1.5, 1.5) if budget >= 1.5 else RerankResult(None, 4, 0.5, 1.5)
        )

    monkeypatch.setattr(Reranker, "score", slow)
    searches = [{"query": f"{QUERY} {number}", "rerank": {"budget_ms": 2000}} for number in range(5)]
    with TestClient(create_app(ServiceSettings(data=data, deadline_seconds=7.0))) as client:
        outcomes = [
            each["rerank"] for each in client.post("/search/batch", json={"searches": searches}).json()["responses"]
        ]
    assert given == pytest.approx([2.0, 2.0, 0.5])
    assert [outcome["applied"] for outcome in outcomes] == [True, True, False, False, False]
    assert "left 500 ms" in outcomes[2]["reason"]
    assert "took all time" in outcomes[3]["reason"] and outcomes[3]["scored"] == 0


def test_other_requests_run_between_the_re_rankings_of_a_batch(data, monkeypatch):
    """Each re-ranked search of a batch has a turn of its own in the queue; a batch without re-ranking has one turn."""
    turns: list[int] = []
    run = RequestQueue.run

    async def counted(self, work, *more):
        turns.append(1)
        return await run(self, work, *more)

    monkeypatch.setattr(RequestQueue, "run", counted)
    for rerank, expected in (({"budget_ms": 60_000}, 3), (False, 1)):
        turns.clear()
        searches = [{"query": f"{QUERY} {number}", "rerank": rerank} for number in range(3)]
        with TestClient(create_app(ServiceSettings(data=data))) as client:
            assert client.post("/search/batch", json={"searches": searches}).status_code == 200
        assert len(turns) == expected


@pytest.fixture
def workers(data, tmp_path):
    """Clients of two workers of one service that re-ranks."""
    with ExitStack() as stack:
        clients = []
        for _ in range(2):
            app = create_app(ServiceSettings(data=data))
            app.state.workers_folder = tmp_path
            clients.append(stack.enter_context(TestClient(app)))
        yield clients


@pytest.fixture
def set_pace(monkeypatch):
    """Sets whether scoring takes thousands of seconds or no time, by the clock that is read."""
    score = Reranker.score

    def set_(*, slow: bool) -> None:
        ticks = count(step=1000.0 if slow else 0.0)
        monkeypatch.setattr(Reranker, "score", lambda self, *given: score(self, *given, clock=lambda: next(ticks)))

    return set_


@pytest.mark.parametrize("slow", [(True, False, False), (False, True, True), (True, True, False), (False, True, False)])
@pytest.mark.parametrize("order", [(0, 0, 0), (0, 1, 0), (1, 0, 1)], ids=str)
@pytest.mark.parametrize("more", [{}, {"diversity": 0.5}, {"group_by": "rooms"}], ids=str)
def test_pages_repeat_nothing_whichever_of_them_keep_their_budget(workers, set_pace, slow, order, more):
    """The pages of a search have one outcome, whichever worker answers and however long it takes."""
    body = {"rerank": {"top_n": 5, "budget_ms": 1_500}, "top_k": 2, **more}
    seen, applied = [], set()
    for page, (worker, is_slow) in enumerate(zip(order, slow, strict=True)):
        set_pace(slow=is_slow)
        answer = search(workers[worker], offset=2 * page, **body)
        seen += [result["id"] for result in answer["results"]]
        applied.add(answer["rerank"]["applied"])
    assert sorted(seen) == list("abcdef")
    assert applied == {not slow[0]}


def test_a_first_page_undoes_no_outcome_of_others(workers, set_pace):
    """Scores stay while others begin the same search, in another worker and without time; a failure is tried again."""
    body = {"rerank": {"budget_ms": 1_501}, "top_k": 3}
    set_pace(slow=True)
    assert not search(workers[0], **body)["rerank"]["applied"]
    set_pace(slow=False)
    first = search(workers[0], **body)
    set_pace(slow=True)
    again = search(workers[1], **body)
    second = search(workers[0], offset=3, **body)
    assert [each["rerank"]["applied"] for each in (first, again, second)] == [True, True, True]
    assert [result["id"] for result in first["results"]] == [result["id"] for result in again["results"]]
    assert not search(workers[1], rerank={"budget_ms": 1_502})["rerank"]["applied"]


def test_pages_that_are_scored_at_once_have_one_outcome(tmp_path):
    """The page that is done first decides for those that are being scored meanwhile; owners share nothing."""
    one, two = RerankMemory(tmp_path), RerankMemory(tmp_path)
    scores = np.array([1.5, 0.5], np.float32)
    key = key_of("query", ["passage"], 200)

    def fail_meanwhile() -> Outcome:
        assert two.settle(key, lambda: Outcome(scores, None, "m"), first_page=False, model="m").scores is not None
        return Outcome(None, "no time", "m")

    outcome = one.settle(key, fail_meanwhile, first_page=True, model="m")
    assert outcome.scores.tolist() == scores.tolist()
    token = owner.set("another key")
    assert key_of("query", ["passage"], 200) != key
    owner.reset(token)
    renewed = one.settle(key, lambda: Outcome(scores + 1, None, "n"), first_page=True, model="n")
    assert renewed.model == "n", "a new model scores again"
    for memory in (one, two):
        memory.stop()


def test_outcomes_are_bounded_and_no_search_needs_them(tmp_path, monkeypatch, caplog):
    """Old outcomes make room for new ones; a damaged file loses outcomes and no answer."""
    monkeypatch.setattr(rerank_memory, "MAX_OUTCOMES", 10)
    memory = RerankMemory(tmp_path)
    for number in range(100):
        memory.settle(b"%d" % number, lambda: Outcome(None, "no time", "m"), first_page=True, model="m")
    assert memory._database.execute("SELECT count(*) FROM outcomes").fetchone() == (10,)
    memory._database.execute("DROP TABLE outcomes")
    assert memory.settle(b"x", lambda: Outcome(None, "later", "m"), first_page=False, model="m").reason == "later"
    assert "cannot be kept" in caplog.text
    memory.stop()


def test_half_a_re_ranking_stops_early(data):
    """After the first wave it is known that the time will not suffice: the rest is not read."""
    store = Store("reranker", data)
    live = store.current_id() or ""
    reranker = Reranker.open(store.path(live), store.manifest(live), cores=1)
    passages = ["the cat sits in the garden " * 4] * 60
    whole = reranker.score(QUERY, passages)
    assert whole.scores is not None and whole.scored == 60
    ticks = iter(range(1000))
    partial = reranker.score(QUERY, passages, budget=2.5, clock=lambda: float(next(ticks)))
    assert partial.scores is None and 0 < partial.scored < 60
    assert partial.expected > 2.5


def test_without_a_model_the_order_stays(client):
    """Where none is published a search is answered as ever, and says what to run."""
    answer = search(client, rerank={})
    assert answer["results"] == search(client)["results"]
    assert answer["rerank"]["applied"] is False
    assert "python -m trainer reranker" in answer["rerank"]["reason"]
    assert "rerank" not in search(client)


def test_publishing_again_does_nothing(data, directory):
    """The same model gives the same artifact, which says how well its graph agrees with torch."""
    published = publish_reranker(str(directory), SETTINGS, data)
    assert not published.fresh
    assert published.manifest.metrics["parity_score"] < 1e-3
    assert published.manifest.config["max_tokens"] == 32  # what the tiny model's tokenizer takes


def test_a_model_that_is_no_cross_encoder_is_refused(tiny_model, tmp_path):
    """A sentence encoder has no head, and a classifier gives several numbers: neither ranks."""
    with pytest.raises(UserError, match="no head that scores a pair"):
        publish_reranker(str(tiny_model), SETTINGS, tmp_path / "data")
    classifier = make_tiny_reranker(tiny_model, tmp_path / "classifier", labels=3)
    with pytest.raises(UserError, match="gives 3 numbers"):
        publish_reranker(str(classifier), SETTINGS, tmp_path / "data")
    assert Store("reranker", tmp_path / "data").ids() == []


class Decided:
    """A judge with a given verdict about a model, in place of a comparison."""

    def __init__(self, verdict: str, model: str, weight: float) -> None:
        self.files: list[InputEntry] = []
        self.recipe = {
            "verdict": verdict, "judged_by": "labels", "judged_with": model, "judged_on": "", "top_n": 4,
            "budget_ms": 60_000, "weight": weight,
        }  # fmt: skip

    def __call__(self, *_) -> Judgement:
        """Return the verdict."""
        return Judgement(self.recipe, {}, [])


@pytest.fixture
def judged(built_data, directory, tmp_path):
    """Makes a client of a service whose cross-encoder has a verdict."""
    with ExitStack() as stack:

        def make(verdict: str, *, other_model: bool = False, weight: float = 1.0, **settings) -> TestClient:
            data = shutil.copytree(built_data, tmp_path / f"data-{verdict}")
            model = "20200101T000000Z-00000000" if other_model else Store("model", data).current_id()
            publish_reranker(str(directory), SETTINGS, data, Decided(verdict, model or "", weight))
            return stack.enter_context(TestClient(create_app(ServiceSettings(data=data, **settings))))

        yield make


def test_after_a_win_searches_are_re_ranked_that_do_not_say(judged):
    """Hybrid search is re-ranked as it was judged, in every kind of request; dense and lexical search are not."""
    client = judged("WIN")
    asked = search(client, rerank={"top_n": 4, "budget_ms": 60_000})
    answer = search(client)
    assert answer["rerank"]["applied"] and answer["rerank"]["scored"] == 4
    assert answer["results"] == asked["results"]
    first = search(client, rerank=False)
    assert "rerank" not in first
    assert [result["id"] for result in first["results"]] != [result["id"] for result in answer["results"]]
    assert "rerank" not in search(client, mode="dense") and "rerank" not in search(client, mode="lexical")
    assert client.get("/search", params={"q": QUERY}).json()["results"] == answer["results"]
    assert client.get("/search", params={"q": QUERY, "rerank": "false"}).json()["results"] == first["results"]
    batch = client.post("/search/batch", json={"searches": [{"query": QUERY}, {"query": QUERY, "rerank": False}]})
    assert [each["results"] for each in batch.json()["responses"]] == [answer["results"], first["results"]]
    facts = client.get("/info").json()["reranker"]
    assert facts["verdict"] == "WIN" and facts["by_default"] is True


@pytest.mark.parametrize(
    ("verdict", "options"),
    [("TIE", {}), ("LOSS", {}), ("WIN", {"other_model": True}), ("WIN", {"rerank_on_request": True})],
)
def test_else_only_searches_that_ask_are_re_ranked(judged, verdict, options):
    """Without a win, with another model than the one it was measured with, or by the operator's wish, it is by request."""
    client = judged(verdict, **options)
    assert "rerank" not in search(client)
    assert search(client, rerank=True)["rerank"]["applied"]
    assert client.get("/info").json()["reranker"]["by_default"] is False


def test_the_order_is_by_the_mixed_scores(judged):
    """The weight that the judge found best counts, another one by request; the shown scores are the cross-encoder's."""
    client = judged("WIN", weight=0.5)
    plain = search(client, rerank=False)["results"][:4]
    answer = search(client, explain=True)["results"][:4]
    alone = search(client, rerank={"top_n": 4, "budget_ms": 60_000, "weight": 1}, explain=True)["results"][:4]
    cross = {result["id"]: result["scores"]["rerank"] for result in alone}
    assert {result["id"]: result["scores"]["rerank"] for result in answer} == cross
    first = np.array([result["score"] for result in plain])
    scores = np.array([cross[result["id"]] for result in plain])
    mixed = 0.5 * (scores - scores.mean()) / scores.std() + 0.5 * (first - first.mean()) / first.std()
    assert [result["id"] for result in answer] == [plain[row]["id"] for row in np.argsort(-mixed)]
    pages = [search(client, top_k=2, offset=offset)["results"] for offset in (0, 2, 4)]
    assert [result["id"] for page in pages for result in page] == [r["id"] for r in search(client)["results"]]


@pytest.mark.parametrize(
    "asked", [{"top_n": 0}, {"top_n": 201}, {"budget_ms": 0}, {"budget_ms": 60_001}, {"n": 1}, {"weight": 0}, 3]
)
def test_what_cannot_be_re_ranked_is_refused(client, asked):
    """Bounds and unknown fields are a 422."""
    assert client.post("/search", json={"query": "a", "rerank": asked}).status_code == 422
