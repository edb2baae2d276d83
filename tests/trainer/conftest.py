"""What the tests of training runs share: a model that has something to learn."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest


@pytest.fixture(scope="session")
def skewed_model(tmp_path_factory: pytest.TempPathFactory, tiny_model: Path) -> Path:
    """The tiny model with three directions so loud that they drown the others: any training on any corpus finds out."""
    from trainer.adapter.dense_module import with_map

    folder = tmp_path_factory.mktemp("skewed")
    loud = np.eye(32, dtype=np.float32)
    loud[range(3), range(3)] = 8
    with_map(tiny_model, loud).save_pretrained(str(folder / "model"), create_model_card=False)
    return folder / "model"


@pytest.fixture(scope="session")
def skewed_data(tmp_path_factory: pytest.TempPathFactory, skewed_model: Path) -> Path:
    """A data directory in which the skewed model is published. Copy it, do not change it."""
    from tests_support import publish

    data = tmp_path_factory.mktemp("skewed-data")
    publish(skewed_model, data)
    return data
