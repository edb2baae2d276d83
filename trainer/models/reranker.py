"""Publish a cross-encoder, a model that reads query and passage together, as the re-ranker of searches."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Protocol

from indexer.artifacts.manifest import InputEntry, Kind, Manifest, fingerprint, library_versions
from indexer.artifacts.store import Store
from indexer.errors import UserError, first_line
from indexer.inference.reranker import GRAPH, Reranker
from indexer.progress import say, stage
from trainer.models.base import PublishResult, describe_model, locate
from trainer.models.load import positions_of
from trainer.models.settings import RerankerSettings

KIND: Kind = "reranker"
MAX_DIFFERENCE = 1e-3
"""Largest difference between a logit of the graph and that of torch."""


@dataclass(frozen=True)
class Judgement:
    """Outcome of a comparison of searches with and without re-ranking: fields of the manifest, and reasons."""

    config: dict[str, Any]
    metrics: dict[str, float]
    reasons: list[str]


class Judge(Protocol):
    """Compares searches with and without re-ranking; see `trainer.pipeline.rerank.judge`."""

    @property
    def recipe(self) -> dict[str, Any]:
        """Settings that decide the verdict."""

    @property
    def files(self) -> list[InputEntry]:
        """Files that decide the verdict."""

    def __call__(self, open_reranker: Callable[..., Reranker], key: str) -> Judgement:
        """Return the verdict about the cross-encoder that is opened, for the artifact with the fingerprint ``key``."""


def publish_reranker(
    model: str, settings: RerankerSettings, data: Path | None = None, judge: Judge | None = None
) -> PublishResult:
    """Publish a cross-encoder with its ONNX graph and make it live.

    A live cross-encoder that won its comparison stays live unless the new one has won, too.

    Args:
        model: name on the Hub or a local directory, with one label, such as cross-encoder/ms-marco-MiniLM-L6-v2.
        settings: how long an input may be, and whether to publish again where the same model is published already.
        data: the data directory; by default ``$DOWSE_DATA``.
        judge: gives the verdict; without one there is none, and only searches that ask for it are re-ranked.

    Raises:
        UserError: the model cannot be loaded or is no cross-encoder, or the scores of its graph differ from torch's.
    """
    name, directory = locate(model)
    models = Store(KIND, data)
    with models.building():
        inputs = [describe_model(name, directory)]
        recipe: dict[str, Any] = {"base": name, "max_tokens": settings.max_tokens}
        judged = {"judge": judge.recipe, "judged_files": [entry.sha256 for entry in judge.files]} if judge else {}
        key = fingerprint(KIND, {}, inputs, recipe | judged)
        if not settings.force and (existing := models.reuse(key, live=False)):
            _go_live(models, existing)
            return PublishResult(existing, fresh=False)
        folder = models.staging(key)
        shutil.rmtree(folder)  # an export is fast: one that was killed starts anew
        folder.mkdir()
        counts, metrics, contract = _write(directory, folder, settings.max_tokens)
        verdict = judge(partial(Reranker, folder, **contract), key) if judge else Judgement({}, {}, [])
        draft = Manifest(
            kind=KIND, fingerprint=key, inputs=inputs + (judge.files if judge else []),
            config=recipe | contract | verdict.config, counts=counts, metrics=metrics | verdict.metrics,
            notes=verdict.reasons, versions=library_versions("transformers", "torch", "onnx", "onnxruntime"),
        )  # fmt: skip
        manifest = models.publish(folder, draft, live=False)
        say(f"re-ranking model {manifest.id}: {contract['max_tokens']} tokens of query and passage")
        _go_live(models, manifest)
    return PublishResult(manifest, fresh=True)


def open_cross_encoder(model: str, folder: Path, max_tokens: int) -> Reranker:
    """Export a cross-encoder into ``folder``, whose earlier content is removed, and open it.

    Args:
        model: name on the Hub or a local directory.
        folder: where its files are written.
        max_tokens: longest query and passage together.

    Raises:
        UserError: as `publish_reranker`.
    """
    _, directory = locate(model)
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    _, _, contract = _write(directory, folder, max_tokens)
    return Reranker(folder, **contract)


def _go_live(models: Store, manifest: Manifest) -> None:
    """Make a cross-encoder live unless one that won is live and it is not better; print the verdict and what it means."""
    verdict = manifest.config.get("verdict")
    if verdict:
        say(f"verdict: {verdict}")
        for reason in manifest.notes:
            say(f"  {reason}")
    live = models.current_id()
    if live and live != manifest.id and (kept_since := _reason_to_keep(models.manifest(live), manifest)):
        say(f"live stays {live}: {kept_since}; `{models.command('activate')} {manifest.id}` replaces it")
        return
    models.reuse(manifest.fingerprint)
    if verdict == "WIN":
        say(f"searches that do not say are re-ranked by {models.current_id()}, unless --rerank-on-request is set")
    else:
        say("searches are re-ranked where they ask for it")


def wins_with(manifest: Manifest, model: str | None) -> bool:
    """Say whether a cross-encoder re-ranks by default the searches of an index with this model."""
    return manifest.config.get("verdict") == "WIN" and manifest.config.get("judged_with") == model


def _reason_to_keep(live: Manifest, new: Manifest) -> str | None:
    """Return why the live cross-encoder stays; None where the new one replaces it."""
    if live.config.get("verdict") != "WIN":
        return None
    if new.config.get("verdict") != "WIN":
        return "it was measured to be better than no re-ranking"
    if not wins_with(live, new.config.get("judged_with")):
        return None  # it was measured with another model, and re-ranks nothing by default
    if new.config.get("compared_with") != live.id:
        return "the new one was not compared with it; `--force` compares them"
    return None if new.config["verdict_against_live"] == "WIN" else "the new one is not better for certain"


def _write(directory: Path, folder: Path, max_tokens: int) -> tuple[dict[str, int], dict[str, float], dict[str, int]]:
    """Write model, tokenizer and graph; return counts, metrics and input contract of the manifest."""
    with stage("load the model"):
        network, tokenizer = load_cross_encoder(directory)
    positions = positions_of(network, network.config, unknown=max_tokens)
    contract = {
        "max_tokens": int(min(max_tokens, positions, tokenizer.model_max_length)),
        "pad_token_id": int(tokenizer.pad_token_id or 0),
    }
    network.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    with stage("export to ONNX"):
        export_cross_encoder(network, tokenizer, folder / GRAPH)
    with stage("compare the graph with torch"):
        difference = compare_scores(network, tokenizer, Reranker(folder, **contract, cores=1), contract["max_tokens"])
    if not difference <= MAX_DIFFERENCE:
        raise UserError(
            f"{directory}: the ONNX graph differs from torch by {difference:.2g} in a score, "
            f"at most {MAX_DIFFERENCE:g} is allowed; not published"
        )
    return {"parameters": network.num_parameters()}, {"parity_score": round(difference, 7)}, contract


def load_cross_encoder(directory: Path) -> tuple[Any, Any]:
    """Load a cross-encoder in the Hub's format and its fast tokenizer for inference on the CPU.

    Raises:
        UserError: the directory holds no such model, or one with more than one score per pair.
    """
    import transformers
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    transformers.utils.logging.disable_progress_bar()  # type: ignore[no-untyped-call]
    logger = logging.getLogger("transformers")  # would report missing weights, which are refused below
    level, options = logger.level, {"local_files_only": True, "trust_remote_code": False}
    logger.setLevel(logging.ERROR + 1)
    try:
        network, loading = AutoModelForSequenceClassification.from_pretrained(
            str(directory), attn_implementation="eager", output_loading_info=True, use_safetensors=True, **options
        )
        tokenizer = AutoTokenizer.from_pretrained(str(directory), **options)
    except (OSError, ValueError, KeyError, TypeError) as error:
        reason = first_line(error)
        raise UserError(f"{directory}: not loadable as a cross-encoder ({reason})") from error
    finally:
        logger.setLevel(level)
    if missing := sorted(loading["missing_keys"]):
        raise UserError(f"{directory}: has no head that scores a pair (no {missing[0]}); give a cross-encoder")
    if network.config.num_labels != 1:
        raise UserError(
            f"{directory}: gives {network.config.num_labels} numbers for a pair; a cross-encoder for ranking gives one"
        )
    if not tokenizer.is_fast:
        raise UserError(f"{directory}: has no fast tokenizer (tokenizer.json), which the service needs")
    return network.eval(), tokenizer


def export_cross_encoder(network: Any, tokenizer: Any, path: Path) -> None:
    """Write the model as ONNX, with its weights in a separate file that processes map into memory and share.

    The graph takes ``input_ids`` and ``attention_mask`` (and ``token_type_ids`` where the tokenizer gives them), each
    int64 of shape (batch, tokens). It returns ``logits``, float32 of shape (batch, 1).
    """
    import onnx
    import torch

    from trainer.models.onnx import OPSET, quiet_export

    pairs = tokenizer(["a query", "two"], ["a passage of some length", "short"], padding=True, return_tensors="pt")
    inputs = [name for name in ("input_ids", "attention_mask", "token_type_ids") if name in pairs]

    class Graph(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.network = network

        def forward(self, *tensors: torch.Tensor) -> torch.Tensor:
            logits: torch.Tensor = self.network(**dict(zip(inputs, tensors, strict=True))).logits
            return logits

    path.parent.mkdir(parents=True, exist_ok=True)
    single_file = path.with_suffix(".whole")
    with quiet_export(), torch.no_grad():
        torch.onnx.export(
            Graph().eval(), tuple(pairs[name] for name in inputs), str(single_file), input_names=inputs,
            output_names=["logits"], opset_version=OPSET, dynamo=False,
            dynamic_axes={name: {0: "batch", 1: "tokens"} for name in inputs} | {"logits": {0: "batch"}},
        )  # fmt: skip
    graph = onnx.load(str(single_file))
    single_file.unlink()
    onnx.save(graph, str(path), save_as_external_data=True, location=path.name + ".data", size_threshold=1024)


def compare_scores(network: Any, tokenizer: Any, reranker: Reranker, max_tokens: int) -> float:
    """Return the largest difference between torch's scores and the published model's, over pairs of many lengths.

    Each side tokenizes by itself, which compares truncation and padding too.
    """
    import numpy as np
    import torch

    words = [token for token in tokenizer.get_vocab() if token.isalpha()]
    rng = np.random.default_rng(0)
    lengths = [1, 2, 5, 9, 17, 33, max_tokens, 2 * max_tokens]
    passages = [" ".join(rng.choice(words, length)) for length in lengths]
    query = " ".join(rng.choice(words, 4))
    pairs = tokenizer(
        [query] * len(passages), passages, padding=True, truncation=True, max_length=max_tokens, return_tensors="pt"
    )
    with torch.inference_mode():
        expected = network(**pairs).logits[:, 0].numpy()
    scores = reranker.score(query, passages).scores
    return float("inf") if scores is None else float(np.abs(scores - expected).max())
