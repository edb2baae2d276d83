"""The losses: each learns from its documented columns, and the toy tasks that can be learned are."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path
from typing import Any, get_args

import pytest
import torch
from datasets import Dataset
from sentence_transformers import SentenceTransformer
from sentence_transformers.sentence_transformer.data_collator import SentenceTransformerDataCollator
from stories import WORDS
from tests_support import make_tiny_model

from indexer.errors import UserError
from trainer.finetune.finetune import finetune
from trainer.finetune.losses import LOSSES, LossOptions, divide_scores, make_loss, teacher_temperature
from trainer.finetune.settings import FinetuneSettings, LossName
from trainer.training.base_model import load_base_model, read_weights

ROWS = 8


def toy(columns: str) -> Dataset:
    """Return eight examples: a query of two words, a text with them, and texts without."""
    chance = random.Random(3)
    queries = [" ".join(chance.sample(WORDS[15:], 2)) for _ in range(ROWS)]
    positives = [f"{query} {' '.join(chance.sample(WORDS[15:], 3))}" for query in queries]
    negatives = [[" ".join(chance.sample(WORDS[15:], 5)) for _ in range(ROWS)] for _ in range(2)]
    pairs: dict[str, Any] = {"query": queries, "positive": positives}
    sentences = {"sentence1": queries, "sentence2": [*positives[:4], *negatives[0][4:]]}
    return Dataset.from_dict(
        {
            "pairs": pairs | {"negative": negatives[0]},
            "plain-pairs": pairs,
            "neighbours": pairs,
            "one-negative": pairs | {"negative": negatives[0]},
            "listwise": pairs
            | {"negative_1": negatives[0], "negative_2": negatives[1], "scores": [[9.0, -2.0, -4.0]] * ROWS},
            "scored": sentences | {"score": [0.9] * 4 + [0.1] * 4},
            "labelled": sentences
            | {"label": [0.0] * 4 + [1.0] * 4},  # the hard way round: online-contrastive skips the easy
            "texts": {"text": positives},
        }[columns]
    )


def train(model: SentenceTransformer, name: str, options: LossOptions, steps: int, **wrapper: Any) -> list[float]:
    """Take ``steps`` steps on one batch, without dropout, and return the losses."""
    loss = make_loss(name, model, options, **wrapper)
    collate = SentenceTransformerDataCollator(preprocess_fn=model.preprocess)
    examples = toy(LOSSES[name].columns)
    if name == "margin-mse":
        examples = divide_scores(examples, 13.0)
    labels = {"score", "scores", "label"}
    batch = collate(list(examples))
    sides = [side for side in examples.column_names if side not in labels]
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    seen = []
    for _ in range(steps):
        features = [
            {key.removeprefix(f"{side}_"): value for key, value in batch.items() if key.startswith(f"{side}_")}
            for side in sides
        ]
        optimizer.zero_grad()
        value = loss(features, batch.get("label"))
        value.backward()
        optimizer.step()
        seen.append(float(value.detach()))
    return seen


@pytest.fixture
def model(tiny_model: Path) -> SentenceTransformer:
    """Return the tiny model, ready to train, without dropout."""
    return load_base_model(tiny_model).eval()


def test_the_settings_name_all_losses() -> None:
    """A loss that is added to the table can be chosen, and none that is not there."""
    assert set(get_args(LossName)) == set(LOSSES)


@pytest.mark.parametrize("name", LOSSES)
def test_every_loss_trains(name: str, tiny_model: Path, tmp_path: Path) -> None:
    """Two steps of every loss, through the command's own function, change the weights and give a finite loss."""
    guide = tiny_model if name == "gist" else None
    settings = FinetuneSettings(
        model=str(tiny_model), loss=name, guide=guide, batch_size=4, max_steps=2, save_steps=99, learning_rate=1e-3
    )
    examples = toy(LOSSES[name].columns)
    if name == "gist":
        examples = examples.select_columns(["query", "positive"])
    result = finetune(examples, settings, tmp_path / "out")
    before, after = read_weights(tiny_model), read_weights(result.path)
    assert before.keys() == after.keys()
    changed = [key for key in before if not torch.equal(before[key], after[key])]
    assert any("word_embeddings" in key for key in changed)
    assert any("layer.0" in key for key in changed)
    assert all(torch.isfinite(after[key]).all() for key in changed)
    assert [line["step"] for line in result.log] == [1, 2]


@pytest.mark.parametrize("name", [name for name in LOSSES if name != "tsdae"])
def test_matryoshka_wraps_every_loss(name: str, model: SentenceTransformer, tiny_model: Path) -> None:
    """Prefixes of the vectors take part in the loss: it is another one, and it is learned too."""
    options = LossOptions(guide=tiny_model if name == "gist" else None, mini_batch_size=4)
    plain = train(model, name, options, 1)
    wrapped = train(load_base_model(tiny_model).eval(), name, options, 6, matryoshka=(32, 8))
    assert wrapped[0] != pytest.approx(plain[0], abs=1e-9)
    assert min(wrapped[1:]) < wrapped[0]


@pytest.mark.parametrize("name", ["mnr", "cached-mnr", "symmetric-mnr", "mse", "cosine", "kl", "margin-mse", "triplet"])
def test_a_toy_task_is_learned(name: str, model: SentenceTransformer) -> None:
    """What can be learned is: the loss on the same batch falls to less than half."""
    seen = train(model, name, LossOptions(teacher_temperature=4.0), 25)
    assert seen[-1] < 0.5 * seen[0]


def embed(model: SentenceTransformer, texts: list[str]) -> torch.Tensor:
    """Return the vectors of the texts."""
    return model.encode(texts, convert_to_tensor=True, show_progress_bar=False)


def test_mse_pulls_a_query_to_its_text(model: SentenceTransformer) -> None:
    """The two texts' own embeddings are each other's target: the loss is their distance, and it shrinks."""
    examples = toy("plain-pairs")
    queries, positives = examples["query"][:], examples["positive"][:]
    before = torch.nn.functional.mse_loss(embed(model, queries), embed(model, positives))
    seen = train(model, "mse", LossOptions(), 10)
    assert seen[0] == pytest.approx(float(before), abs=1e-6)
    assert torch.nn.functional.mse_loss(embed(model, queries), embed(model, positives)) < before


def test_label_1_means_alike(model: SentenceTransformer) -> None:
    """With the contrastive losses a label of 1 pulls together and 0 pushes apart, as documented."""
    examples = toy("labelled")
    texts = (examples["sentence1"][:], examples["sentence2"][:])

    def cosines() -> torch.Tensor:
        return torch.cosine_similarity(embed(model, texts[0]), embed(model, texts[1]))

    before = cosines()
    train(model, "contrastive", LossOptions(margin=0.9), 20)
    after = cosines()
    assert after[:4].mean() < before[:4].mean(), "label 0"
    assert after[4:].mean() > before[4:].mean(), "label 1"


@pytest.mark.parametrize(("name", "scale"), [("mnr", 20.0), ("cosent", 20.0)])
def test_the_temperature_is_the_inverse_of_the_scale(name: str, scale: float, model: SentenceTransformer) -> None:
    """0.05 is the field's scale of 20, and another temperature is another scale."""
    assert make_loss(name, model, LossOptions()).scale == pytest.approx(scale)
    assert make_loss(name, model, LossOptions(temperature=0.1)).scale == pytest.approx(10)


def test_gist_needs_a_guide(model: SentenceTransformer, tmp_path: Path) -> None:
    """Without a guide, or with one that is not there, the flag is named."""
    with pytest.raises(UserError, match="--guide"):
        make_loss("gist", model, LossOptions())
    with pytest.raises(UserError, match="no directory"):
        make_loss("gist", model, LossOptions(guide=tmp_path / "absent"))


def test_the_guide_does_not_learn(model: SentenceTransformer, tiny_model: Path) -> None:
    """The guide says which negatives are false; it stays as it is."""
    loss = make_loss("gist", model, LossOptions(guide=tiny_model))
    assert not any(parameter.requires_grad for parameter in loss.guide.parameters())


@pytest.mark.parametrize(("name", "lengths"), [("mnr", (64, 16)), ("tsdae", (16,))])
def test_matryoshka_that_cannot_be(name: str, lengths: tuple[int, ...], model: SentenceTransformer) -> None:
    """A prefix longer than the vector, or of a loss that needs the whole one, is refused by the flag's name."""
    with pytest.raises(UserError, match="--matryoshka"):
        make_loss(name, model, LossOptions(), lengths)


def listwise(rows: list[list[float]]) -> Dataset:
    """Return examples with these scores of the teacher."""
    texts = {"query": ["q"] * len(rows), "positive": ["p"] * len(rows), "negative": ["n"] * len(rows)}
    return Dataset.from_dict(texts | {"scores": rows})


def test_logits_are_brought_into_the_reach_of_cosines(model: SentenceTransformer) -> None:
    """A cross-encoder's margin of 12 is no target for unit vectors, which differ by 2 at most: it is scaled down."""
    examples = listwise([[10.0, -2.0], [8.0, 0.0]] * 20)
    divisor = teacher_temperature("margin-mse", examples, model)
    assert divisor == pytest.approx(12)
    assert divide_scores(examples, divisor)["scores"][0] == pytest.approx([10 / 12, -2 / 12])
    assert divide_scores(examples, divisor).column_names == examples.column_names


def test_margins_of_cosines_stay(model: SentenceTransformer) -> None:
    """A teacher whose margins a student can reach is taken at its word."""
    examples = listwise([[0.9, 0.2]] * 4)
    assert teacher_temperature("margin-mse", examples, model) == 1
    assert divide_scores(examples, 1.0) is examples


def test_a_model_without_normalize_takes_logits_as_they_are(tmp_path: Path) -> None:
    """Dot products reach any margin."""
    model = load_base_model(make_tiny_model(tmp_path, normalise=False))
    assert teacher_temperature("margin-mse", listwise([[10.0, -2.0]] * 4), model) == 1


@pytest.mark.parametrize("scale", [1.0, 20.0])
def test_kl_softens_by_the_range_of_the_scores(scale: float, model: SentenceTransformer) -> None:
    """Whether a teacher speaks in logits or in cosines, it is as decided."""
    examples = listwise([[scale, 0.0], [scale / 2, 0.0]])
    assert teacher_temperature("kl", examples, model) == pytest.approx(0.3 * 0.75 * scale)


def test_kl_with_a_teacher_that_sees_no_difference(model: SentenceTransformer) -> None:
    """Equal scores give a temperature that can be divided by."""
    assert teacher_temperature("kl", listwise([[1.0, 1.0]]), model) == 1


def batches_of(name: str, tiny_model: Path, out: Path, monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """Train on a data set in which every text answers four queries; return the texts of each batch."""
    seen: list[list[str]] = []
    call: Callable[..., Any] = SentenceTransformerDataCollator.__call__

    def spy(self: SentenceTransformerDataCollator, features: list[dict[str, Any]]) -> dict[str, Any]:
        seen.append([row["positive"] for row in features])
        return call(self, features)

    monkeypatch.setattr(SentenceTransformerDataCollator, "__call__", spy)
    examples = Dataset.from_dict(
        {
            "query": [f"{word} {n}" for word in WORDS[15:23] for n in "abcd"],
            "positive": [w for w in WORDS[15:23] for _ in range(4)],
        }
    )
    settings = FinetuneSettings(model=str(tiny_model), loss=name, batch_size=4, max_steps=6, save_steps=99)
    finetune(examples, settings, out)
    return seen


def test_no_text_is_its_own_negative(tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Five queries share a document: in a batch of `mnr` it may stand only once."""
    batches = batches_of("mnr", tiny_model, tmp_path / "out", monkeypatch)
    assert len(batches) >= 6
    assert all(len(set(batch)) == len(batch) for batch in batches)


def test_other_losses_take_batches_as_they_come(
    tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where a batch's other texts are no negatives, no row is put off (and the test above can fail)."""
    batches = batches_of("mse", tiny_model, tmp_path / "out", monkeypatch)
    assert any(len(set(batch)) < len(batch) for batch in batches)
