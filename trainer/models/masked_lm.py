"""Publish a masked-language model: its own files, and the graph that the service and `fill-mask` read with."""

from __future__ import annotations

import shutil
from pathlib import Path

from indexer.artifacts.manifest import Kind, Manifest, describe_input, fingerprint, library_versions
from indexer.artifacts.store import Store
from indexer.errors import UserError
from indexer.inference.masked_lm import GRAPH
from indexer.progress import say, stage
from trainer.models.base import Published
from trainer.models.settings_reading import PublishMlmSettings

KIND: Kind = "masked"
NEEDED = ("config.json", "tokenizer.json", "tokenizer_config.json")
PATTERNS = (
    *NEEDED, "special_tokens_map.json", "added_tokens.json", "vocab.*", "merges.txt",
    "*.safetensors", "*.safetensors.index.json",
)  # fmt: skip
"""Files of the Hub's format; what else lies in the directory, such as logs and checkpoints, stays there."""
REPORT = "report"


def publish_mlm(directory: Path, settings: PublishMlmSettings, data: Path | None = None) -> Published:
    """Publish the masked-language model in ``directory`` and make it the live one.

    Args:
        directory: of the Hub's format, with a fast tokenizer and weights in safetensors, as `pretrain` writes it.
        settings: whether to publish again what is there.
        data: the data directory; by default ``$DOWSE_DATA``.

    Raises:
        UserError: the directory holds no such model, or the exported graph gives other numbers than torch.
    """
    files = _files(directory)
    models = Store(KIND, data)
    with models.building():
        inputs = [describe_input(path, path.name) for path in files]
        recipe = {"base": directory.resolve().name}
        key = fingerprint(KIND, {}, inputs, recipe)
        if not settings.force and (existing := models.reuse(key)):
            return Published(existing, fresh=False)
        folder = models.staging(key)
        counts, metrics = _write(directory, files, folder)
        draft = Manifest(
            kind=KIND, fingerprint=key, inputs=inputs, config=recipe, counts=counts, metrics=metrics,
            versions=library_versions("transformers", "torch", "onnx", "onnxruntime"),
        )  # fmt: skip
        manifest = models.publish(folder, draft)
    say(
        f"masked-language model {manifest.id}: {counts['layers']} layers, {counts['heads']} heads, "
        f"{counts['vocabulary']:,} word pieces, {counts['max_tokens']} at most in a text"
    )
    return Published(manifest, fresh=True)


def _files(directory: Path) -> list[Path]:
    """Return the files of the Hub's format in a directory; raise `UserError` where one is missing that is needed."""
    if not directory.is_dir():
        raise UserError(f"{directory}: no directory; give one as `python -m trainer pretrain` writes")
    for name in NEEDED:
        if not (directory / name).is_file():
            raise UserError(
                f"{directory / name}: missing; give a directory of the Hub's format with a fast tokenizer, "
                "as `python -m trainer pretrain` writes"
            )
    return sorted(path for pattern in PATTERNS for path in directory.glob(pattern))


def _write(directory: Path, files: list[Path], folder: Path) -> tuple[dict[str, int], dict[str, float]]:
    """Copy the model's files, export the graph, compare the two; return what the manifest counts and measures."""
    from indexer.inference.masked_lm import MaskedModel
    from trainer.models.reader_export import check_reader, export_reader, load_masked

    shutil.rmtree(folder)  # an export is quick: nothing of a killed one is taken up
    folder.mkdir()
    with stage("load the model"):
        model = load_masked(directory)
    for path in files:
        shutil.copyfile(path, folder / path.name)
    if (directory / REPORT).is_dir():
        shutil.copytree(directory / REPORT, folder / REPORT)
    with stage("export to ONNX"):
        export_reader(model, folder / GRAPH)
    metrics = check_reader(model, folder)
    opened = MaskedModel.open(folder)
    counts = {
        "parameters": sum(parameter.numel() for parameter in model.parameters()),
        "layers": opened.heads[0],
        "heads": opened.heads[1],
        "vocabulary": opened.vocabulary,
        "max_tokens": opened.max_tokens,
    }
    return counts, metrics
