"""The settings of `python -m service`: the only place where a name, a default and a help text stand."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field


class ServiceSettings(BaseModel):
    """Where the service finds its index and where it listens. Each has an environment variable."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    data: Path = Field(
        default=Path("data"),
        description="Data directory, as written by trainer and indexer",
        json_schema_extra={"env": "DOWSE_DATA"},
    )
    host: str = Field(
        default="127.0.0.1",
        description="Address to listen on; 0.0.0.0 for all, which needs a key file, or --insecure",
        json_schema_extra={"env": "DOWSE_HOST"},
    )
    port: int = Field(
        default=8000, ge=0, le=65535, description="Port to listen on", json_schema_extra={"env": "DOWSE_PORT"}
    )
    workers: int = Field(
        default=1,
        ge=1,
        description="Processes that answer; they share the port and the files of the index, and divide --cores and "
        "--queue among them. Rate limits and the cache of queries are each one's own",
        json_schema_extra={"env": "DOWSE_WORKERS"},
    )
    cores: int | None = Field(
        default=None,
        ge=1,
        description="Queries encoded at the same time, by all workers together, at least one by each "
        "(default: as many as there are cores)",
        json_schema_extra={"env": "DOWSE_CORES"},
    )
    writable: bool = Field(
        default=False,
        description="Take writes: PUT and DELETE /documents, and POST /feedback; they are kept in live/ of the data directory",
        json_schema_extra={"env": "DOWSE_WRITABLE"},
    )
    poll_seconds: float = Field(
        default=1.0,
        gt=0,
        description="How often to look for a newly published index or other model, and for changed keys",
        json_schema_extra={"env": "DOWSE_POLL_SECONDS"},
    )
    queue: int = Field(
        default=64,
        ge=0,
        description="Requests that may wait for a core; the next one is refused with 429",
        json_schema_extra={"env": "DOWSE_QUEUE"},
    )
    deadline_seconds: float = Field(
        default=10.0,
        gt=0,
        description="How long a request may wait and be worked on; then it is answered with 504",
        json_schema_extra={"env": "DOWSE_DEADLINE_SECONDS"},
    )
    drain_seconds: float = Field(
        default=0.0,
        ge=0,
        description="How long to go on answering after SIGTERM while /readyz says 503, so that load balancers notice",
        json_schema_extra={"env": "DOWSE_DRAIN_SECONDS"},
    )
    query_cache_mb: int = Field(
        default=8,
        ge=0,
        description="Megabytes for the vectors of the latest queries, which need not be encoded again; 0 for none",
        json_schema_extra={"env": "DOWSE_QUERY_CACHE_MB"},
    )
    log_format: Literal["text", "json"] = Field(
        default="text",
        description="How the log is written: lines for people, or a JSON object a line, one for every request too",
        json_schema_extra={"env": "DOWSE_LOG_FORMAT"},
    )
    keys: Path | None = Field(
        default=None,
        description="File of the API keys, made by `python -m service keys add`; where there is one, requests need a key "
        "(default: keys.json in the data directory)",
        json_schema_extra={"env": "DOWSE_KEYS"},
    )
    insecure: bool = Field(
        default=False,
        description="Listen on other addresses than this machine's own without a key file: whoever reaches them may search",
        json_schema_extra={"env": "DOWSE_INSECURE"},
    )
    allowed_hosts: str | None = Field(
        default=None,
        description="Names by which the service may be called without a key, beside localhost, --host and IP addresses, "
        "with commas between them; `*` for all (default: none, where it listens on this machine alone)",
        json_schema_extra={"env": "DOWSE_ALLOWED_HOSTS"},
    )
    requests_per_minute: int | None = Field(
        default=None,
        ge=1,
        description="Requests that each key without a limit of its own, or each address, may make in a minute "
        "(default: as many as it likes)",
        json_schema_extra={"env": "DOWSE_REQUESTS_PER_MINUTE"},
    )
    max_body_mb: int = Field(
        default=16,
        ge=1,
        le=1_000,
        description="Megabytes that a request may bring to where documents are written; to all other routes it is one",
        json_schema_extra={"env": "DOWSE_MAX_BODY_MB"},
    )
    body_seconds: float = Field(
        default=20.0,
        gt=0,
        description="Seconds within which the body of a request has to come",
        json_schema_extra={"env": "DOWSE_BODY_SECONDS"},
    )
    cors: str | None = Field(
        default=None,
        description="Origins whose pages may use the API from a browser, with commas between them; `*` for all "
        "(default: none but the service's own)",
        json_schema_extra={"env": "DOWSE_CORS"},
    )

    @property
    def key_file(self) -> Path:
        """Where the keys are."""
        return self.keys or self.data / "keys.json"
