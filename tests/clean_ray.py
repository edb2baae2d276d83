"""Ray, without what its import replaces in the standard library: the sample corpus is made of that library's documentation."""

from __future__ import annotations

import inspect
import sys

kept = inspect.isgenerator, sys.excepthook

import ray  # noqa: E402 - between taking and giving back
import ray.cluster_utils  # noqa: E402 - as above

inspect.isgenerator, sys.excepthook = kept  # type: ignore[assignment]

__all__ = ["ray"]
