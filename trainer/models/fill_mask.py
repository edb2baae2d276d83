"""`python -m trainer fill-mask`: predictions of a masked-language model for each [MASK] and, on request, every step."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable
from pathlib import Path

from indexer.artifacts.store import ID_PATTERN, Store
from indexer.errors import UserError
from indexer.inference.masked_lm import MaskedModel, Prediction, Reading
from indexer.progress import stage
from trainer.models.settings import FillMaskSettings


def open_masked(model: str | None, data: Path | None = None) -> MaskedModel:
    """Open a masked-language model: a published one with its ONNX graph, a directory with torch.

    Args:
        model: a directory in the Hub's format, or the id of a published model; by default the live one.
        data: the data directory; by default ``$DOWSE_DATA``.

    Raises:
        UserError: there is no such model, or it cannot fill masks.
    """
    if model is None or ID_PATTERN.fullmatch(model):
        return MaskedModel.open(Store("masked", data).resolve(model))
    directory = Path(model)
    if not directory.is_dir():
        raise UserError(
            f"--model {model}: neither a directory nor the id of a published model; "
            "see `python -m indexer list --kind masked`"
        )
    from trainer.models.load import positions_of
    from trainer.models.masked_lm import load_masked, torch_network

    with stage("load the model"):
        loaded = load_masked(directory)
        return MaskedModel(directory, torch_network(loaded), positions_of(loaded, loaded.config))


def fill_mask(
    texts: Iterable[str],
    settings: FillMaskSettings,
    *,
    as_json: bool = False,
    show: Callable[[str], object],
    data: Path | None = None,
) -> None:
    """Show the most probable words for each mask of each text.

    Raises:
        UserError: a text has no mask or is too long, or there is no model.
    """
    model = open_masked(settings.model, data)
    for text in texts:
        reading = model.read(text)
        if not reading.masked:
            raise UserError(
                f"{text[:60]!r}: no {model.mask_token} in it; write {model.mask_token} where a word is to be predicted"
            )
        guesses = model.predict(reading, settings.top_k)
        if as_json:
            show(json.dumps(build_record(text, model, reading, guesses), ensure_ascii=False))
        else:
            show("\n".join(_format_lines(text, model, reading, guesses, explain=settings.explain)))


def build_record(text: str, model: MaskedModel, reading: Reading, guesses: list[Prediction]) -> dict[str, object]:
    """Return the predictions for JSON: the text, the filled text, and for each mask its most probable words."""
    masks = [
        {
            "position": guess.position,
            "entropy": round(guess.entropy, 4),
            "best": [
                {
                    "word": candidate.text,
                    "id": candidate.id,
                    "probability": round(candidate.probability, 6),
                    "logit": round(candidate.logit, 4),
                }
                for candidate in guess.best
            ],
        }
        for guess in guesses
    ]
    return {"text": text, "filled": model.fill(reading, guesses), "masks": masks}


def _format_lines(
    text: str, model: MaskedModel, reading: Reading, guesses: list[Prediction], *, explain: bool
) -> list[str]:
    """Return the predictions as lines for people, with ``explain`` also every step from pieces to the decoded text."""
    lines = [text]
    if explain:
        lines += ["", "1. word pieces and their ids; the model does not see those marked *"]
        lines += [
            f"  {row:4} {'*' if row in reading.masked else ' '} {piece.id:6}  {piece.text}"
            for row, piece in enumerate(reading.pieces)
        ]
        rows, columns = reading.logits.shape
        lines += [
            "",
            f"2. logits: {rows} × {columns:,} numbers, one for each position and each piece of the vocabulary",
        ]
        lines += ["3. softmax: exp(logit) over the sum of all of a position's exp(logit); here those of the masks"]
    for number, guess in enumerate(guesses, start=1):
        if len(guesses) > 1 or explain:
            entropy = _describe_entropy(guess, model.vocabulary_size)
            lines += ["", f"{model.mask_token} {number}, position {guess.position}: {entropy}"]
        for candidate in guess.best:
            logit = f"  logit {candidate.logit:7.3f}  id {candidate.id:6}" if explain else ""
            lines.append(f"  {candidate.probability:6.1%}  {candidate.text}{logit}")
    if explain:
        best = ", ".join(f"{guess.best[0].id} ({guess.best[0].text})" for guess in guesses)
        lines += ["", f"4. arg max: {best}", f"5. decoded: {model.fill(reading, guesses)}"]
    return [*lines, ""] if explain or len(guesses) > 1 else lines


def _describe_entropy(guess: Prediction, vocabulary: int) -> str:
    """Return the entropy of a prediction and its perplexity, the equivalent number of equally likely words, as text."""
    return (
        f"entropy {guess.entropy:.2f} nats of at most {math.log(vocabulary):.2f}, "
        f"as a choice among {math.exp(guess.entropy):,.1f} equally likely words"
    )
