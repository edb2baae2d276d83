"""Fixtures of the tests of training runs: a model that training can improve."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest


@pytest.fixture(scope="session")
def skewed_model(tmp_path_factory: pytest.TempPathFactory, tiny_model: Path) -> Path:
    """The tiny model with three dominating directions: whitening or training on any corpus improves it."""
    from trainer.adapter.dense_module import with_map

    folder = tmp_path_factory.mktemp("skewed")
    skew = np.eye(32, dtype=np.float32)
    skew[range(3), range(3)] = 8
    with_map(tiny_model, skew).save_pretrained(str(folder / "model"), create_model_card=False)
    return folder / "model"


@pytest.fixture(scope="session")
def skewed_data(tmp_path_factory: pytest.TempPathFactory, skewed_model: Path) -> Path:
    """A data directory in which the skewed model is published. Copy it, do not change it."""
    from tests_support import publish

    data = tmp_path_factory.mktemp("skewed-data")
    publish(skewed_model, data)
    return data


@pytest.fixture(scope="session")
def blind_model(tmp_path_factory: pytest.TempPathFactory, tiny_model: Path) -> Path:
    """The tiny model with all directions but two nearly flattened: it hardly tells documents apart."""
    from trainer.adapter.dense_module import with_map

    folder = tmp_path_factory.mktemp("blind")
    flat = np.eye(32, dtype=np.float32) * 0.01
    flat[range(2), range(2)] = 1
    with_map(tiny_model, flat).save_pretrained(str(folder / "blind"), create_model_card=False)
    return folder / "blind"
