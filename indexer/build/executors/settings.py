"""Settings of where passages are encoded: name, default and help text of every flag are defined here only."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field


class ExecutorSettings(BaseModel):
    """Processes that encode the passages. They change nothing in the index."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    executor: Literal["local", "ray"] = Field(
        default="local", description="Where passages are encoded: local on this machine, ray on a Ray cluster"
    )
    workers: int | None = Field(
        default=None,
        ge=1,
        description="Processes that encode; they share the cores (default: local has one, the build itself; ray has one for "
        "each GPU of the cluster, or for each machine where there is none)",
    )
    address: str | None = Field(
        default=None,
        description="Ray cluster as host:port, or auto for the one that runs on this machine (default: one is started for "
        "the build, on this machine)",
    )
