"""Files of a corpus: which ones a path names, and their formats."""

from __future__ import annotations

import glob
import os
import re
from itertools import takewhile
from pathlib import Path, PurePath
from urllib.parse import unquote, urlsplit

from indexer.corpus.chunks import SourceFile
from indexer.errors import UserError

FORMATS = {
    ".parquet": "Parquet",
    ".csv": "CSV",
    ".tsv": "CSV",
    ".jsonl": "JSON lines",
    ".ndjson": "JSON lines",
    ".json-lines": "JSON lines",
    ".json": "JSON lines",
}
COMPRESSED = (".gz", ".zst")
NO_PARTITION = "__HIVE_DEFAULT_PARTITION__"
"""Name that Hive and Spark give to the folder of rows without a value."""
_REMOTE = re.compile(
    r"\s*(s3[an]?|gc?s|hf|https?|s?ftps?|scp|ssh|smb|az|abfss?|adl|wasbs?|(?:web)?hdfs|viewfs|dbfs|r2|oss|cosn?|obs|b2|swift"
    r"|gdrive|github|git|kaggle|ipfs|webdavs?|minio):/",
    re.IGNORECASE,
)


def local_path(spec: str) -> str:
    """Return the path that a ``file:`` URL names; any other ``spec`` as it is.

    Raises:
        UserError: it is the URL of a file on another machine.
    """
    if match := _REMOTE.match(spec):
        raise UserError(
            f"{match.group(1)}://…: files are read from this machine only; fetch the file first and give its path"
        )
    if spec.lower().startswith("file:/") and not Path(spec).exists():
        parts = urlsplit(spec)
        if parts.netloc not in ("", "localhost"):
            raise UserError(f"{spec}: files are read from this machine only; write file:///path")
        return unquote(parts.path)
    return spec


def suffix_of(path: PurePath) -> str:
    """Return the suffix that names the format of a file, in small letters; that of compression is left out."""
    name = path.name.lower()
    for suffix in COMPRESSED:
        name = name.removesuffix(suffix)
    suffix = PurePath(name).suffix
    return "" if suffix == ".parquet" and path.suffix.lower() in COMPRESSED else suffix


def format_of(path: PurePath) -> str:
    """Return the format of a file that `find_files` has found."""
    return FORMATS[suffix_of(path)]


def find_files(spec: str) -> list[SourceFile]:
    """Return the files that ``spec`` names: a file, a folder with all folders in it, or a glob; sorted by name.

    Of a folder in BEIR's layout only the corpus is returned: queries and judgements beside it are no documents.

    Raises:
        UserError: there is no such file, or the files are not all of one supported format.
    """
    path = Path(spec)
    supported = " ".join(FORMATS)
    if path.is_file():
        if suffix_of(path) not in FORMATS:
            raise UserError(
                f"{spec}: not a supported format; give a file that ends in one of {supported}; "
                "all but Parquet may also end in .gz or .zst"
            )
        return [SourceFile(path, spec)]
    if not path.exists() and not glob.has_magic(spec):
        raise UserError(f"{spec}: no such file or folder; give the path of the corpus")
    matches = glob.iglob(spec, recursive=True)  # noqa: PTH207 - a Path has no glob for an absolute pattern
    paths = sorted(
        file
        for file in (_walk(path) if path.is_dir() else map(Path, matches))
        if file.is_file() and suffix_of(file) in FORMATS and not file.name.startswith((".", "~$"))
    )
    if path.is_dir():
        others = [file for file in paths if suffix_of(file) != ".json"]
        within = path.joinpath(*_common_folders(path, paths))
        paths = (
            _beir_corpus(path, paths) or _beir_corpus(within, paths) or others or paths
        )  # JSON beside data describes it, as dataset_info.json does
    if not paths:
        raise UserError(f"{spec}: holds no corpus file; give files that end in one of {supported}")
    for file in paths:
        if format_of(file) != format_of(paths[0]):
            raise UserError(
                f"{spec}: {paths[0].name} is {format_of(paths[0])} and {file.name} is {format_of(file)}; "
                "give files of one format, for instance by a glob such as '*.parquet'"
            )
    return [SourceFile(file, str(file), _partitions(file, path)) for file in paths]


def _walk(folder: Path) -> list[Path]:
    """Return all files of a folder and of the folders in it, but for those that begin with a dot or an underscore."""
    files = []
    for place, folders, names in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith((".", "_")))
        files += [Path(place) / name for name in names]
    return files


def _common_folders(folder: Path, files: list[Path]) -> tuple[str, ...]:
    """Return the names of the folders within ``folder`` that hold all ``files``: an unpacked archive is often in one."""
    parts = [file.relative_to(folder).parts[:-1] for file in files]
    return tuple(names[0] for names in takewhile(lambda names: len(set(names)) == 1, zip(*parts, strict=False)))


def _beir_corpus(folder: Path, files: list[Path]) -> list[Path]:
    """Return the files of ``corpus`` in a folder of BEIR's layout; an empty list for any other folder.

    There, and in the Hub's copies, ``corpus`` lies beside ``queries`` or ``qrels``; each is a file or a folder.
    """
    places = {file: file.relative_to(folder).parts[0].lower().partition(".")[0] for file in files}
    if not {"queries", "qrels"} & set(places.values()) and not (folder / "qrels").is_dir():
        return []
    return [file for file, place in places.items() if place == "corpus"]


def _partitions(file: Path, root: Path) -> tuple[tuple[str, str | None], ...]:
    """Return names and values of the folders ``name=value`` below ``root`` that lead to a file."""
    fixed = len(root.parts) if root.is_dir() else next(n for n, part in enumerate(root.parts) if glob.has_magic(part))
    pairs = [part.partition("=") for part in file.parts[fixed:-1]]
    return tuple(
        (unquote(name), None if value == NO_PARTITION else unquote(value))
        for name, separator, value in pairs
        if separator and name
    )
