"""The learned-sparse leg: exact scores as brute force gives them, built in parts, resumed, over live documents, compacted."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from stories import STORIES, WORDS
from tiny_sparse import make_tiny_sparse
from typer.testing import CliRunner

from indexer.artifacts.manifest import file_sha256
from indexer.artifacts.store import Store
from indexer.build.build import build
from indexer.build.compact import compact
from indexer.build.legs import sparse as sparse_build
from indexer.build.legs.sparse import SparseWriter
from indexer.build.settings import BuildSettings
from indexer.cli import app
from indexer.errors import UserError
from indexer.index.document_mask import DocumentMask
from indexer.index.index import Index
from indexer.index.lexical import search
from indexer.index.sparse import FOLDER, SparseIndex, StoredVectors, best_documents
from indexer.inference.passages import encoder_input
from indexer.inference.sparse_encoder import SparseEncoder, SparseVectors
from indexer.live.log import WriteLog
from indexer.live.overlay import LiveIndex
from indexer.live.prepare import NewDocument, Preparer, apply_writes
from indexer.live.write import Write
from indexer.retrieval.fusion import Fusion, standardised
from indexer.retrieval.retriever import Retriever
from trainer.models.settings import SparseSettings
from trainer.models.sparse import publish_sparse

QUERIES = ["the cat in the garden", "a storm at sea", "king and queen", "snow", "red horse", "the", "zebra"]
TERMS = 12


@pytest.fixture(scope="module")
def sparse_data(built_data: Path, tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data directory with a published learned-sparse model, and the index of the stories without the leg."""
    data = Path(shutil.copytree(built_data, tmp_path_factory.mktemp("sparse") / "data"))
    publish_sparse(str(make_tiny_sparse(tiny_model, data / "made")), SparseSettings(), data)
    return data


@pytest.fixture(scope="module")
def indexed(sparse_data: Path) -> Path:
    """The same with a live index that has the leg, with weight .3. Read it, do not change it."""
    settings = BuildSettings(sparse_model="current", sparse_terms=TERMS, sparse_weight=0.3)
    build(str(sparse_data / "corpus.parquet"), settings, sparse_data, cores=1)
    return sparse_data


@pytest.fixture
def own(indexed: Path, tmp_path: Path) -> Path:
    """A copy of it for one test."""
    return Path(shutil.copytree(indexed, tmp_path / "own"))


def opened(data: Path) -> Index:
    """Return the live index."""
    return Index.open(Store("index", data).resolve(), cores=1)


def brute_force(index: Index, query: str, documents: list[tuple[str | None, str]]) -> list[float]:
    """Return the scores of documents, encoded one passage at a time: the largest sum of products over the terms."""
    encoder = index.sparse.encoder
    config = index.manifest.config
    maker = encoder.passage_maker(config["passages"], config["overlap_tokens"])
    terms, weights = encoder.query_terms(query)
    scores = []
    for title, text in documents:
        ((*passages,),) = maker.make([title], [text])
        vectors = [encoder.encode_documents([content], TERMS).vectors()[0] for _, content in passages]
        products = [dict(zip(of.tolist(), values.tolist(), strict=True)) for of, values in vectors]
        scores.append(
            max(
                sum(float(weight) * vector.get(term, 0.0) for term, weight in zip(terms.tolist(), weights, strict=True))
                for vector in products
            )
        )
    return scores


def put(index: Index, *documents: NewDocument, deleted: tuple[str, ...] = (), sequence: int = 1) -> Write:
    """Return a write as a service makes it."""
    preparer = Preparer(index)
    prepared = tuple(preparer.prepare(list(documents)))
    return Write(sequence, preparer.recipe, prepared, deleted, "2026-11-29T12:00:00.000+00:00")


def random_leg(folder: Path, encoder: SparseEncoder, documents: int, seed: int) -> tuple[SparseIndex, np.ndarray]:
    """Write a leg of random vectors; return it opened, and its weights by document and passage as a list of matrices."""
    rng = np.random.default_rng(seed)
    counts = rng.integers(1, 4, documents)
    dense = np.where(
        rng.random((int(counts.sum()), encoder.contract.dimension)) < 0.2,
        rng.integers(1, 5, (int(counts.sum()), encoder.contract.dimension)) / 4, 0,
    ).astype(np.float16)  # fmt: skip
    vectors = [(np.flatnonzero(row).astype(np.int32), row[np.flatnonzero(row)]) for row in dense]
    found = iter([SparseVectors.of([vector]) for vector in vectors])

    class Maker:
        def make(self, _: list, texts: list) -> list:
            return [[(None, f"{text} {n}") for n in range(counts[int(text)])] for text in texts]

    folder.mkdir(exist_ok=True)
    with SparseWriter(folder, encoder, TERMS, Maker(), lambda keys: [next(found) for _ in keys]) as writer:
        for start in range(0, documents, 7):
            rows = range(start, min(start + 7, documents))
            writer.add([None] * len(rows), [str(row) for row in rows])
        writer.finish()
    return SparseIndex.open(folder / FOLDER, encoder), np.split(dense.astype(np.float32), np.cumsum(counts)[:-1])


@pytest.mark.parametrize("part", [1, 50, 4_000_000])
def test_search_is_exact(indexed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, part: int) -> None:
    """However many parts the postings were sorted in: scores, order and ties are those of a product of matrices."""
    monkeypatch.setattr(sparse_build, "POSTINGS_PER_PART", part)
    encoder = opened(indexed).sparse.encoder
    leg, passages = random_leg(tmp_path / "leg", encoder, 40, seed=part)
    assert len(leg) == 40
    assert not list((tmp_path / "leg" / FOLDER).glob("part-*"))
    rng = np.random.default_rng(1)
    first = leg.first_passage
    for _ in range(20):
        query = " ".join(rng.choice(WORDS, 4))
        terms, weights = encoder.query_terms(query)
        expected = np.array([(matrix[:, terms] @ weights).max() for matrix in passages], dtype=np.float32)
        assert np.allclose(leg.all_scores(query), expected, atol=1e-4)
        allowed = DocumentMask(rng.random(40) < 0.5, first)
        for mask in (None, allowed):
            scores, rows = leg.search(query, 9, mask)
            everything = leg.all_scores(query)
            kept = [row for row in range(40) if everything[row] > 0 and (mask is None or mask.mask[row])]
            best = sorted(kept, key=lambda row: (-everything[row], row))[:9]
            assert rows.tolist() == best
            assert np.array_equal(scores, everything[best]) and np.array_equal(leg.scores(query, rows), scores)


def test_ties_go_by_row() -> None:
    """Of equal scores the lower row comes first, also where only some of them are returned."""
    scores = np.array([1, 3, 2, 2, 0, 2, 3], dtype=np.float32)
    assert best_documents(scores, 4)[1].tolist() == [1, 6, 2, 3]
    assert best_documents(scores, 10)[1].tolist() == [1, 6, 2, 3, 5, 0]
    assert best_documents(scores, 0)[1].tolist() == []


def test_documents_count_with_their_best_passage(indexed: Path) -> None:
    """The scores of the built index are those of its texts, encoded one passage at a time; long texts have several."""
    index = opened(indexed)
    assert len(index.sparse) == len(STORIES) < index.sparse.first_passage[-1]
    for query in QUERIES:
        expected = brute_force(index, query, [(title, text) for _, title, text in STORIES])
        assert np.allclose(index.sparse.all_scores(query), expected, atol=2e-3)
    assert not index.sparse.all_scores("zebra the").any()


def test_hybrid_search_fuses_three_legs(indexed: Path) -> None:
    """Each leg brings its own candidates, all legs score all of them, and the parts add up to the score."""
    index = opened(indexed)
    retriever = Retriever(index)
    assert retriever.fusion.sparse_weight == 0.3
    for query in QUERIES:
        for depth in (1, 2, 6):
            ranking = retriever.search(query, candidates=depth)
            best = set(index.sparse.search(query, depth)[1].tolist())
            two = retriever.search(query, candidates=depth, fusion=Fusion(dense_weight=0.4)).rows.tolist()
            assert set(ranking.rows.tolist()) == best | set(two)
            assert np.array_equal(ranking.sparse, index.sparse.scores(query, ranking.rows).astype(np.float64))
            bm25 = index.lexical.scores(query, np.sort(ranking.rows))
            assert np.allclose(ranking.lexical[np.argsort(ranking.rows)], bm25)
            parts = ranking.dense_part + ranking.lexical_part + ranking.sparse_part
            assert np.allclose(parts, ranking.scores)
            weight = ranking.weight
            expected = 0.3 * standardised(ranking.sparse) + 0.7 * (
                weight * standardised(ranking.dense) + (1 - weight) * standardised(ranking.lexical)
            )
            assert np.allclose(ranking.scores, expected)
    rrf = retriever.search("the cat", fusion=Fusion(method="rrf", sparse_weight=0.5))
    assert np.allclose(rrf.scores, rrf.dense_part + rrf.lexical_part + rrf.sparse_part)


def test_candidates_of_the_leg_are_scored_by_words(indexed: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the lexical leg fetches its best alone, what this leg adds to the candidates still gets its BM25 score."""
    index = opened(indexed)
    rng = np.random.default_rng(2)
    for query in [" ".join(rng.choice(WORDS, 12)) for _ in range(20)]:  # every document has some of so many words
        for depth in (1, 2, 3):
            complete = Retriever(index).search(query, candidates=depth)
            with monkeypatch.context() as patch:
                patch.setattr(search, "MAX_HITS_FETCHED", 0)
                ranking = Retriever(index).search(query, candidates=depth)
            assert ranking.rows.tolist() == complete.rows.tolist()
            assert np.allclose(ranking.lexical, complete.lexical) and np.allclose(ranking.scores, complete.scores)


def test_a_request_can_switch_it_off(indexed: Path, built_data: Path) -> None:
    """With weight 0 the ranking is that of an index without the leg, to the bit; such an index ignores a weight."""
    with_leg, without = Retriever(opened(indexed)), Retriever(opened(built_data))
    fusion = Fusion(dense_weight=0.4)
    for query in QUERIES:
        for index, weight in ((with_leg, 0), (without, 0.7)):
            one = index.search(query, fusion=fusion.model_copy(update={"sparse_weight": weight}))
            other = without.search(query, fusion=fusion)
            assert np.array_equal(one.rows, other.rows) and np.array_equal(one.scores, other.scores)
            assert one.sparse is None and one.sparse_part is None


def test_masks_are_respected(indexed: Path) -> None:
    """A document that is not allowed is no candidate of this leg either."""
    index = opened(indexed)
    for row in range(len(index)):
        mask = np.ones(index.rows, dtype=bool)
        mask[row] = False
        found = Retriever(index).search("the cat and the king", candidates=6, allowed=index.allowed(mask))
        assert row not in found.rows and len(found.rows) == 5


def test_an_index_without_the_leg_is_as_before(built_data: Path, sparse_data: Path) -> None:
    """Neither configuration, parents, fingerprint nor files of an index without the leg know of it."""
    before = Store("index", built_data).manifest(Store("index", built_data).current_id())
    assert before.parents.keys() == {"model"} and "sparse" not in before.config
    assert "sparse_weight" not in before.config["fusion"]
    assert not any(name.startswith("sparse") for name in before.files)
    for settings in (BuildSettings(sparse_terms=7), BuildSettings(sparse_weight=0.2)):
        assert settings.recipe() == BuildSettings().recipe()
        assert not build(str(sparse_data / "corpus.parquet"), settings, built_data).fresh


def test_the_leg_decides_the_fingerprint(own: Path) -> None:
    """The same build is up to date; another number of terms is another index, and takes nothing over."""
    corpus = str(own / "corpus.parquet")
    same = BuildSettings(sparse_model="current", sparse_terms=TERMS, sparse_weight=0.3)
    assert not build(corpus, same, own, cores=1).fresh
    assert build(corpus, same.model_copy(update={"sparse_terms": 3}), own, cores=1).fresh
    assert np.diff(opened(own).sparse._offsets).sum() == 3 * opened(own).sparse.first_passage[-1]


def test_known_weights_are_taken_over(own: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A build of a corpus with one more document encodes that one alone, and gets the same postings otherwise."""
    before = opened(own)
    columns = pq.read_table(own / "corpus.parquet").to_pylist()
    columns.append({**columns[0], "id": "new", "text": "The big ship sleeps in the river."})
    pq.write_table(pa.Table.from_pylist(columns), own / "more.parquet")
    encoded: list[str] = []
    original = SparseEncoder.encode_documents
    monkeypatch.setattr(
        SparseEncoder, "encode_documents", lambda self, texts, n: encoded.extend(texts) or original(self, texts, n)
    )
    settings = BuildSettings(sparse_model="current", sparse_terms=TERMS, sparse_weight=0.3)
    build(str(own / "more.parquet"), settings, own, cores=1)
    assert encoded == [encoder_input(columns[0]["title"], "The big ship sleeps in the river.")]
    for query in QUERIES:
        assert np.array_equal(opened(own).sparse.all_scores(query)[:-1], before.sparse.all_scores(query))


def test_a_killed_build_goes_on(indexed: Path, tmp_path: Path) -> None:
    """What was written whole is kept; half a passage, and what is no passage of the corpus, is cut off and written again."""
    encoder = opened(indexed).sparse.encoder
    maker = encoder.passage_maker("split", 4)
    texts = [text for _, _, text in STORIES]
    titles = [None] * len(texts)

    def write(folder: Path, count: int, *, finish: bool = True) -> list[str]:
        folder.mkdir(exist_ok=True)
        encoded: list[str] = []

        class Counting(SparseEncoder):
            def encode_documents(self, texts, max_terms):
                encoded.extend(texts)
                return super().encode_documents(texts, max_terms)

        counting = Counting.open(encoder.folder, cores=1)
        with SparseWriter(folder, counting, TERMS, maker, None) as writer:
            for row in range(count):
                writer.add(titles[row : row + 1], texts[row : row + 1])
            if finish:
                writer.finish()
        return encoded

    everything = write(tmp_path / "whole", 6)
    assert write(tmp_path / "killed", 3, finish=False) == everything[: len(write(tmp_path / "three", 3))]
    for name, lost in (("terms.i32", 6), ("values.f16", 3), ("lengths.i32", 1), ("keys.b16", 17)):
        path = tmp_path / "killed" / FOLDER / name
        path.write_bytes(path.read_bytes()[:-lost])
    again = write(tmp_path / "killed", 6)
    assert 1 < len(again) < len(everything) and again == everything[-len(again) :]
    for name in ("rows.i32", "offsets.i64", "first.i64", "keys.b16", "lengths.i32", "terms.i32"):
        assert file_sha256(tmp_path / "killed" / FOLDER / name) == file_sha256(tmp_path / "whole" / FOLDER / name), name
    with (tmp_path / "killed" / FOLDER / "keys.b16").open("r+b") as keys:  # as a power cut leaves a file that had grown
        keys.seek(-16, 2)
        keys.write(bytes(16))
    assert write(tmp_path / "killed", 6) == everything[-1:]
    for name in ("rows.i32", "keys.b16", "terms.i32"):
        assert file_sha256(tmp_path / "killed" / FOLDER / name) == file_sha256(tmp_path / "whole" / FOLDER / name), name


def test_live_documents_are_scored_as_built_ones(own: Path) -> None:
    """Put, replaced and deleted documents: the scores are those of an index that was built with them, by every leg."""
    base = opened(own)
    changed = NewDocument("b", "The dog", "The old dog sleeps at night. " * 4, {})
    new = NewDocument("x", None, "The queen swims with the fish in the green sea.", {})
    write = put(base, changed, new, deleted=("c",))
    assert all(document.sparse for document in write.documents)
    live = apply_writes(base, [Write.parse(write.line()[:-1])])
    assert isinstance(live, LiveIndex) and len(live.sparse) == len(STORIES) + 2
    for query in QUERIES:
        scores = live.sparse.all_scores(query)
        expected = brute_force(base, query, [(each.title, each.text) for each in (changed, new)])
        assert np.allclose(scores[-2:], expected, atol=2e-3)
        ranking = Retriever(live).search(query)
        found = {live.document(row).id for row in ranking.rows.tolist()}
        assert "c" not in found and len(ranking.rows) == len(found)
    # A copy of a document has its score to the bit, wherever it lies.
    text = STORIES[0]
    twice = apply_writes(live, [put(base, NewDocument("copy", text[1], text[2], {}), sequence=2)])
    for query in QUERIES:
        scores = twice.sparse.all_scores(query)
        assert np.isclose(scores[0], scores[-1], atol=2e-3)


def test_writes_for_another_leg_are_encoded_again(own: Path, built_data: Path) -> None:
    """A write that was made for an index without the leg gets its weights when it is put over one that has it."""
    plain = opened(built_data)
    write = put(plain, NewDocument("x", None, "The king eats cheese.", {}))
    assert b"sparse" not in write.line() and write.documents[0].sparse is None
    assert write.recipe == " ".join(Preparer(opened(own)).recipe.split()[:4])
    live = apply_writes(opened(own), [write])
    scores = [live.sparse.all_scores(query)[-1] for query in QUERIES]
    assert any(scores)
    assert np.allclose(scores, [brute_force(live, query, [(None, "The king eats cheese.")])[0] for query in QUERIES])


def test_the_turns_of_a_write(own: Path) -> None:
    """Documents that are prepared in turns are those that are prepared at once."""
    base = opened(own)
    documents = [NewDocument(name, title, text * 3, {}) for name, title, text in STORIES]
    preparer, prepared = Preparer(base), []
    turns = sum(1 for _ in preparer.prepare_in_turns(documents, prepared, tokens=40))
    assert turns > len(STORIES)
    for one, other in zip(prepared, preparer.prepare(documents), strict=True):
        assert np.array_equal(one.sparse.offsets, other.sparse.offsets)
        assert np.allclose(one.sparse.weights, other.sparse.weights, atol=2e-3)


def test_compaction_encodes_nothing_again(own: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Folded documents keep weights and scores, the weight of the leg stays, and the new index can be compacted, too."""
    base = opened(own)
    write = put(base, NewDocument("x", None, "The queen swims in the sea. " * 4, {}), deleted=("a",))
    log = WriteLog(own)
    with log.locked():
        log.read()
        log.append(log.draft(write.recipe, write.documents, write.deleted))
        log.close()
    live = apply_writes(base, [write])
    monkeypatch.setattr(SparseEncoder, "document_weights", None)
    result = compact(own, cores=1)
    assert result.fresh and result.manifest.parents == base.manifest.parents
    assert result.manifest.config["sparse"] == {"terms": TERMS}
    assert result.manifest.config["fusion"] == base.manifest.config["fusion"]
    folded = opened(own)
    for query in QUERIES:
        assert np.array_equal(folded.sparse.all_scores(query), live.sparse.all_scores(query)[1:])


def test_verification_knows_the_files(own: Path) -> None:
    """A changed byte of the leg, or of its model, is found; a missing model is named."""
    folder = Store("index", own).resolve()
    opened(own)
    for path in (folder / FOLDER / "weights.f16", opened(own).sparse.encoder.folder / "query" / "weights.npy"):
        content = path.read_bytes()
        path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
        with pytest.raises(UserError, match="content differs"):
            opened(own)
        path.write_bytes(content)
    (folder / FOLDER / "rows.i32").unlink()
    with pytest.raises(UserError, match=r"rows\.i32: missing"):
        opened(own)
    shutil.rmtree(own / "sparse")
    with pytest.raises(UserError, match="no learned-sparse model"):
        Index.open(folder, verify=False)


def test_the_commands_know_the_model(own: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`prune` keeps the model that an index pins, `verify` and `activate` check it with the index."""
    monkeypatch.setenv("DOWSE_DATA", str(own))

    def run(*words: str) -> str:
        done = CliRunner().invoke(app, words)
        if done.exception and not isinstance(done.exception, SystemExit):
            return str(done.exception)
        return done.stdout

    pinned = Store("index", own).manifest(Store("index", own).current_id()).parents["sparse"]
    publish_sparse(str(own / "made" / "model"), SparseSettings(force=True), own)
    publish_sparse(str(own / "made" / "model"), SparseSettings(force=True), own)
    assert len(Store("sparse", own).ids()) == 3
    run("prune", "--keep", "0")
    assert Store("sparse", own).ids() == [pinned, Store("sparse", own).current_id()]
    assert "files as published" in run("verify")
    assert pinned in run("list", "--kind", "sparse")
    index = Store("index", own).current_id()
    (Store("sparse", own).path(pinned) / "query" / "weights.npy").write_bytes(b"altered")
    assert "weights.npy" in run("verify", index)
    assert "weights.npy" in run("activate", index)


def test_stored_vectors(indexed: Path) -> None:
    """The weights by passage are those of the postings."""
    index = opened(indexed)
    folder = index.folder / FOLDER
    keys = (folder / "keys.b16").read_bytes()
    found = StoredVectors(folder).find([keys[start : start + 16] for start in range(0, len(keys), 16)] + [b"\1" * 16])
    assert found.pop() is None
    matrix = np.zeros((len(found), index.sparse.encoder.contract.dimension), dtype=np.float16)
    for row, vector in enumerate(found):
        matrix[row, vector.terms] = vector.weights
    for term in range(matrix.shape[1]):
        rows, weights = index.sparse._postings(term)
        assert rows.tolist() == np.flatnonzero(matrix[:, term]).tolist()
        assert np.array_equal(weights, matrix[rows, term])


@pytest.mark.parametrize("name", ["nothing", "folder/model", "20261129T000000Z-00000000"])
def test_an_unknown_model_is_refused(data: Path, corpus: Path, name: str) -> None:
    """The flag takes `current` or the id of a published model."""
    with pytest.raises(UserError, match="sparse"):
        build(str(corpus), BuildSettings(sparse_model=name), data)
    with pytest.raises(UserError, match="python -m trainer sparse MODEL"):
        build(str(corpus), BuildSettings(sparse_model="current"), data)
