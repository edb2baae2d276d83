"""A cross-encoder from a local directory as the teacher: it reads query and text together and knows better than vectors."""

from __future__ import annotations

import json
import logging
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
import transformers
from sentence_transformers import CrossEncoder

from indexer.errors import UserError


class CrossEncoderTeacher:
    """Scores pairs of query and text by the raw logit: the sigmoid that rankers end with flattens what is to be learned.

    Raises:
        UserError: the directory holds no cross-encoder, or one with several outputs.
    """

    def __init__(self, directory: Path) -> None:
        if not directory.is_dir():
            raise UserError(f"--teacher {directory}: no directory; give one with a cross-encoder")
        transformers.utils.logging.disable_progress_bar()  # type: ignore[no-untyped-call]
        logging.getLogger("sentence_transformers").setLevel(logging.ERROR)
        try:
            self._model = CrossEncoder(
                str(directory), local_files_only=True, trust_remote_code=False, activation_fn=torch.nn.Identity()
            )
        except (OSError, ValueError, KeyError, TypeError, json.JSONDecodeError) as error:
            reason = str(error).strip().splitlines()[0][:200]
            raise UserError(f"--teacher {directory}: not loadable as a cross-encoder ({reason})") from error
        if self._model.num_labels != 1:
            raise UserError(
                f"--teacher {directory}: has {self._model.num_labels} outputs; give a cross-encoder with one score"
            )

    def scores(self, pairs: Sequence[tuple[str, str]]) -> npt.NDArray[np.float64]:
        """Return the logit of each (query, text), shape (pairs,)."""
        found = self._model.predict(list(pairs), show_progress_bar=False, convert_to_numpy=True)
        return np.asarray(found, dtype=np.float64).reshape(-1)
