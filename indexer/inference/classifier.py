"""Text classifier: calibrated probabilities of labels, by ONNX Runtime and `tokenizers`, without torch.

    onnx/model.onnx      input_ids, attention_mask (, token_type_ids) → logits (batch, labels)
    tokenizer.json
    classifier.json      labels, calibration, thresholds: `ClassifierContract`

The directory may be one that `trainer classify train` has written, or a published artifact.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Literal, Self

import numpy as np
import numpy.typing as npt
import onnxruntime
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from indexer.artifacts.manifest import describe_files, verify_files
from indexer.artifacts.store import ID_PATTERN, Store
from indexer.errors import UserError
from indexer.inference.session import load_tokenizer, open_session, padded, run_batches

CONTRACT = "classifier.json"
GRAPH = "onnx/model.onnx"
CURRENT = "current"
Numbers = npt.NDArray[np.float32]


class ClassifierContract(BaseModel):
    """How a text becomes input, and logits become probabilities, exactly as when the classifier was measured."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    format: Literal[1] = Field(default=1, description="number of this format")
    labels: list[str] = Field(min_length=2, description="the labels, in the order of the logits")
    multi_label: bool = Field(description="whether several labels, or none, may apply to a text")
    max_tokens: int = Field(description="longest input in tokens, special tokens included; the rest is cut off")
    prompt: str = Field(default="", description="text put before every text")
    pad_token_id: int = Field(description="id of the token that fills up a batch")
    temperature: float = Field(default=1.0, gt=0, description="one label per text: logits are divided by it")
    scale: list[float] = Field(default=[], description="several labels: factor on each label's logit (Platt)")
    bias: list[float] = Field(default=[], description="several labels: added to each label's scaled logit (Platt)")
    thresholds: list[float] = Field(default=[], description="several labels: a label applies from this probability on")

    def probabilities(self, logits: Numbers) -> Numbers:
        """Return calibrated probabilities of ``logits``; both of shape (texts, labels).

        With one label per text a row sums to 1; with several, every label has a probability of its own.
        """
        scaled = logits.astype(np.float64)
        if self.multi_label:
            scaled *= np.asarray(self.scale) if self.scale else 1.0
            scaled += np.asarray(self.bias) if self.bias else 0
            probabilities = np.exp(-np.logaddexp(0.0, -scaled))  # the logistic function, without overflow
        else:
            scaled /= self.temperature
            powers = np.exp(scaled - scaled.max(axis=1, keepdims=True, initial=-np.inf))
            probabilities = powers / powers.sum(axis=1, keepdims=True)
        return probabilities.astype(np.float32)

    def applies(self, probabilities: Numbers) -> npt.NDArray[np.bool_]:
        """Return which labels apply, shape (texts, labels): the most probable, or all that reach their thresholds."""
        if self.multi_label:
            return probabilities >= np.asarray(self.thresholds or [0.5] * len(self.labels), dtype=np.float32)
        applies = np.zeros(probabilities.shape, dtype=np.bool_)
        applies[np.arange(len(probabilities)), probabilities.argmax(axis=1)] = True
        return applies


class Classifier:
    """A trained or published classifier. Safe to use from several threads.

    Attributes:
        contract: labels, calibration, thresholds.
        name: the id of the artifact, or the name of the directory.
        cores: how many batches run in parallel.
    """

    def __init__(self, folder: Path, contract: ClassifierContract, cores: int | None = None) -> None:
        self.folder = folder
        self.contract = contract
        self.name = folder.resolve().name
        self.cores = cores or len(os.sched_getaffinity(0))
        for name in (GRAPH, "tokenizer.json"):
            if not (folder / name).is_file():
                raise UserError(f"{folder / name}: missing; train the classifier again")
        self._tokenizer = load_tokenizer(folder)
        self._tokenizer.enable_truncation(contract.max_tokens)
        self._session: onnxruntime.InferenceSession = open_session(folder / GRAPH, threads=1)
        self._inputs = {node.name for node in self._session.get_inputs()}

    @classmethod
    def open(cls, folder: Path, cores: int | None = None) -> Self:
        """Open the classifier in directory ``folder``; a published one is checked against its manifest first.

        Raises:
            UserError: the directory holds no classifier, or was altered.
        """
        if (folder / "manifest.json").is_file():
            verify_files(folder)
        return cls(folder, read_contract(folder), cores)

    @property
    def labels(self) -> list[str]:
        """The labels, in the order of the probabilities."""
        return self.contract.labels

    def digest(self) -> str:
        """Return the SHA-256 of all that decides what this classifier answers."""
        parts = [f"{CONTRACT} {(self.folder / CONTRACT).read_text(encoding='utf-8')}"]
        parts += [f"{name} {entry.sha256}" for name, entry in describe_files(self.folder / "onnx").items()]
        parts.append((self.folder / "tokenizer.json").read_text(encoding="utf-8"))
        return hashlib.sha256("\n".join(parts).encode()).hexdigest()

    def predict(self, texts: Sequence[str]) -> Numbers:
        """Return the calibrated probabilities of every label for ``texts``, shape (texts, labels)."""
        return self.contract.probabilities(self.logits(texts))

    def logits(self, texts: Sequence[str]) -> Numbers:
        """Return the logits of every label for ``texts``, shape (texts, labels).

        Batches hold texts of similar length and at most `BATCH_TOKENS` padded tokens; the cores share them.
        """
        prompt = self.contract.prompt
        tokens = [encoding.ids for encoding in self._tokenizer.encode_batch([prompt + text for text in texts])]
        logits = np.empty((len(texts), len(self.labels)), dtype=np.float32)

        def run(batch: list[int]) -> None:
            logits[batch] = self._run([tokens[row] for row in batch])

        run_batches(tokens, run, self.cores)
        return logits

    def _run(self, tokens: Sequence[Sequence[int]]) -> Numbers:
        feed = padded(tokens, self.contract.pad_token_id, self._inputs)
        logits: Numbers = self._session.run(["logits"], feed)[0]
        return logits


def read_contract(folder: Path) -> ClassifierContract:
    """Read ``classifier.json``; raise `UserError` where the directory holds no classifier that this Dowse can read."""
    path = folder / CONTRACT
    try:
        return ClassifierContract.model_validate_json(path.read_bytes())
    except FileNotFoundError as error:
        raise UserError(f"{folder}: holds no classifier; make one with `python -m trainer classify train`") from error
    except (OSError, ValidationError) as error:
        raise UserError(f"{path}: not readable ({type(error).__name__}); train the classifier again") from error


def find_classifier(name: str, data: Path | None = None) -> Path:
    """Return the directory of a classifier: ``current``, the id of a published one, or a directory as it is.

    Raises:
        UserError: there is no classifier of this name.
    """
    store = Store("classifier", data)
    if name == CURRENT:
        return store.resolve()
    if ID_PATTERN.fullmatch(name):
        return store.path(name)
    if not Path(name).is_dir():
        raise UserError(
            f"{name}: neither `current`, nor the id of a classifier, nor a directory; see `{store.command('list')}`"
        )
    return Path(name)
