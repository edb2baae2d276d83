"""A typed client of Dowse, semantic search that learns the corpus it serves."""

from dowse_client import models, problems
from dowse_client.client import AsyncDowse, Dowse
from dowse_client.errors import DowseError, NotReachedError, ProblemError

__all__ = ["AsyncDowse", "Dowse", "DowseError", "NotReachedError", "ProblemError", "models", "problems"]
