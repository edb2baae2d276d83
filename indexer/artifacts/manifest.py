"""Manifest of an artifact: its kind, its inputs and configuration, and the checksum of every file.

`manifest.json` is written last. Its ``checksum`` covers the manifest's own text: one flipped byte anywhere in the
directory is noticed.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Collection, Sequence
from concurrent.futures import ThreadPoolExecutor
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from indexer import __version__
from indexer.errors import UserError, is_missing

FORMAT = 1
WORDS = 2
"""Version of the analysis of words with which an index is built; it keeps its own, and one that names none has 1."""
WEIGHTING = 2
"""Version of how the weight of the legs is found and adapted to each query; an index of an earlier one is not up to date."""
RELEVANCE = 2
"""Version of the features of `indexer.retrieval.relevance`: coefficients of another version are not used."""
UNSET = "0" * 64
"""Stands in place of the manifest's checksum while that is computed."""
Kind = Literal["model", "index", "masked", "classifier", "reranker", "sparse"]


class FileEntry(BaseModel):
    """Size and checksum of one file."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    size: int = Field(description="size in bytes")
    sha256: str = Field(description="SHA-256 of the content, in hex")


class InputEntry(BaseModel):
    """One file or directory that the artifact was made from."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str = Field(description="name of the file as it was given")
    size: int = Field(description="size in bytes")
    sha256: str = Field(
        description="SHA-256 of the content, and of the values that its folders `name=value` give, in hex"
    )


class EncoderContract(BaseModel):
    """How a text becomes a vector as the model's authors intended: prompts, length, pooling, normalisation."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    dimension: int = Field(description="length of a vector")
    max_tokens: int = Field(description="longest input in tokens, special tokens included; the rest is cut off")
    pooling: str = Field(description="how token vectors become one: mean, cls, max, …")
    normalised: bool = Field(description="whether vectors have unit length")
    query_prompt: str = Field(description="text put before a query")
    document_prompt: str = Field(description="text put before a document")
    pad_token_id: int = Field(description="id of the token that fills up a batch")


class Manifest(BaseModel):
    """Everything that is known about an artifact."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    format: int = Field(default=FORMAT, description="number of this format")
    kind: Kind = Field(
        description="`model`, `index`, `masked` (a masked-language model), `classifier`, `reranker` or `sparse` (a "
        "learned-sparse model)"
    )
    id: str = Field(default="", description="UTC time of publishing and the first 8 digits of the fingerprint")
    created: str = Field(default="", description="time of publishing, ISO 8601, UTC")
    fingerprint: str = Field(
        description="SHA-256 of kind, parents, inputs and configuration: equal means nothing to do"
    )
    parents: dict[str, str] = Field(
        default={}, description="artifacts that this one needs, by kind: an index pins its models"
    )
    inputs: list[InputEntry] = Field(description="the files it was made from")
    config: dict[str, Any] = Field(description="the full configuration")
    encoder: EncoderContract | None = Field(default=None, description="how a text becomes a vector (models, indexes)")
    counts: dict[str, int] = Field(default={}, description="documents, passages, rejected rows, …")
    metrics: dict[str, float] = Field(default={}, description="what was measured while it was made")
    notes: list[str] = Field(default=[], description="what a reader should know, in sentences")
    versions: dict[str, str] = Field(description="versions of Dowse and of the libraries that wrote the files")
    files: dict[str, FileEntry] = Field(default={}, description="every file of the artifact but the manifest")
    checksum: str = Field(default=UNSET, description="SHA-256 of this manifest's text with this value as 64 zeros")

    @property
    def contract(self) -> EncoderContract:
        """The encoder contract; raise `UserError` where the artifact has no sentence encoder."""
        if self.encoder is None:
            raise UserError(f"{self.id}: a {self.kind} has no sentence encoder; give the id of a model")
        return self.encoder


def fingerprint(kind: Kind, parents: dict[str, str], inputs: list[InputEntry], config: dict[str, Any]) -> str:
    """Return the SHA-256 over everything that decides what an artifact contains.

    File names are left out: the same bytes under another name give the same artifact.
    """
    content = {
        "format": FORMAT,
        "dowse": __version__,
        "kind": kind,
        "parents": parents,
        "inputs": [[entry.size, entry.sha256] for entry in inputs],
        "config": config,
    }
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def library_versions(*packages: str) -> dict[str, str]:
    """Return the installed versions of ``packages``, and of Dowse."""
    versions = {"dowse": __version__}
    for package in packages:
        try:
            versions[package] = version(package)
        except PackageNotFoundError:
            versions[package] = "absent"
    return versions


def file_sha256(path: Path) -> str:
    """Return the SHA-256 of a file's content, read in bounded pieces."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def describe_input(path: Path, name: str, values: Sequence[tuple[str, str | None]] = ()) -> InputEntry:
    """Describe one input file under the name by which the user knows it.

    Args:
        path: of the file.
        name: as given.
        values: names and values that all rows have besides; the checksum covers them.
    """
    checksum = file_sha256(path)
    if values:
        checksum = hashlib.sha256(json.dumps([checksum, list(values)]).encode()).hexdigest()
    return InputEntry(name=name, size=path.stat().st_size, sha256=checksum)


def describe_files(directory: Path, *, follow_links: bool = False) -> dict[str, FileEntry]:
    """Describe every file below ``directory``; keys are POSIX paths relative to it.

    Raises:
        UserError: there is a symbolic link, and ``follow_links`` is off. Artifacts must not hold links; inputs may.
    """
    files = {}
    for path in sorted(directory.rglob("*")):
        if path.is_symlink() and not follow_links:
            raise UserError(f"{path}: an artifact holds no links; replace it by the file it points to")
        if path.is_file() and path != directory / "manifest.json":
            name = path.relative_to(directory).as_posix()
            files[name] = FileEntry(size=path.stat().st_size, sha256=file_sha256(path))
    return files


def write_manifest(directory: Path, manifest: Manifest) -> Manifest:
    """Write ``manifest.json`` with its checksum and return the manifest with it."""
    blank = _serialise(manifest.model_copy(update={"checksum": UNSET}))
    checksum = hashlib.sha256(blank.encode()).hexdigest()
    (directory / "manifest.json").write_text(blank.replace(UNSET, checksum), encoding="utf-8")
    return manifest.model_copy(update={"checksum": checksum})


def read_manifest(directory: Path) -> Manifest:
    """Read and check ``manifest.json``; raise `UserError` where it is absent, altered or of another format.

    An error of the machine, such as too many open files, is raised as it is: the file may be sound.
    """
    path = directory / "manifest.json"
    try:
        text = path.read_bytes().decode()  # `read_text` would translate line ends
        number = json.loads(text).get("format")
        if number != FORMAT:
            raise UserError(f"{path}: format {number}, this Dowse reads format {FORMAT}; build the artifact again")
        manifest = Manifest.model_validate_json(text)
    except OSError as error:
        if not is_missing(error):  # an error of the machine says nothing about the file
            raise
        raise UserError(f"{path}: there is no such file; build the artifact again") from error
    except (ValueError, AttributeError, ValidationError) as error:
        raise UserError(
            f"{path}: not readable as a manifest ({type(error).__name__}); build the artifact again"
        ) from error
    blank = text.replace(manifest.checksum, UNSET)
    if hashlib.sha256(blank.encode()).hexdigest() != manifest.checksum:
        raise UserError(f"{path}: the text does not match its checksum; build the artifact again")
    return manifest


def verify_files(
    directory: Path, *, unchanged: Collection[str] = (), read: Callable[[Path], str] = file_sha256, threads: int = 4
) -> Manifest:
    """Check size and SHA-256 of every file of an artifact and return its manifest.

    Args:
        directory: of the artifact.
        unchanged: names of files that are not read, since they are known to be as published.
        read: returns the SHA-256 of a file.
        threads: files that are read at the same time.

    Raises:
        UserError: a file is missing, was altered, or was not published with the artifact.
    """
    manifest = read_manifest(directory)
    published = {"manifest.json", *manifest.files}
    for path in sorted(directory.rglob("*")):
        if path.is_symlink() or (path.is_file() and path.relative_to(directory).as_posix() not in published):
            raise UserError(f"{path}: was not published with the artifact; remove it")
    with ThreadPoolExecutor(threads) as pool:  # hashlib releases the interpreter lock on large blocks
        checks = [
            pool.submit(_check_file, directory, name, entry, None if name in unchanged else read)
            for name, entry in manifest.files.items()
        ]
        for check in checks:
            check.result()
    return manifest


def _check_file(directory: Path, name: str, entry: FileEntry, read: Callable[[Path], str] | None) -> None:
    path = directory / name
    remedy = "restore it from a backup or build the artifact again"
    if not path.resolve().is_relative_to(directory.resolve()):
        raise UserError(f"{directory / 'manifest.json'}: {name!r} is outside the artifact; {remedy}")
    if not path.is_file():
        raise UserError(f"{path}: missing; {remedy}")
    size = path.stat().st_size
    if size != entry.size:
        raise UserError(f"{path}: {size} bytes where the manifest says {entry.size}; {remedy}")
    if read is not None and read(path) != entry.sha256:
        raise UserError(f"{path}: content differs from the manifest's SHA-256; {remedy}")


def _serialise(manifest: Manifest) -> str:
    return json.dumps(manifest.model_dump(), indent=2, ensure_ascii=False) + "\n"
