"""Settings of `python -m service`: name, default, environment variable and help text of each flag, in one place."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import ConfigDict, Field

from indexer.milvus.settings import StoreSettings


class ServiceSettings(StoreSettings):
    """Flags of the service; each has an environment variable."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    data: Path = Field(
        default=Path("data"),
        description="Data directory that the trainer and the indexer write",
        json_schema_extra={"env": "DOWSE_DATA"},
    )
    host: str = Field(
        default="127.0.0.1",
        description="Address to listen on; 0.0.0.0 for all addresses, which needs a key file or --insecure",
        json_schema_extra={"env": "DOWSE_HOST"},
    )
    port: int = Field(
        default=8000, ge=0, le=65535, description="Port to listen on", json_schema_extra={"env": "DOWSE_PORT"}
    )
    workers: int = Field(
        default=1,
        ge=1,
        description="Worker processes; they share the port and the files of the index, and divide --cores and --queue. "
        "Each has its own rate limits and its own query cache",
        json_schema_extra={"env": "DOWSE_WORKERS"},
    )
    cores: int | None = Field(
        default=None,
        ge=1,
        description="Queries encoded at the same time by all workers together, at least one by each worker "
        "(default: the number of CPU cores)",
        json_schema_extra={"env": "DOWSE_CORES"},
    )
    writable: bool = Field(
        default=False,
        description="Accept writes: PUT and DELETE /documents, POST /documents/import, and POST /feedback; stored in live/ of the data directory",
        json_schema_extra={"env": "DOWSE_WRITABLE"},
    )
    poll_seconds: float = Field(
        default=1.0,
        gt=0,
        description="Seconds between checks for a newly published index or other model, and for changed keys",
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
        description="Seconds that a request may wait and run, together; then it is answered with 504",
        json_schema_extra={"env": "DOWSE_DEADLINE_SECONDS"},
    )
    drain_seconds: float = Field(
        default=0.0,
        ge=0,
        description="Seconds to go on answering after SIGTERM while /readyz says 503, for load balancers to notice",
        json_schema_extra={"env": "DOWSE_DRAIN_SECONDS"},
    )
    query_cache_mb: int = Field(
        default=8,
        ge=0,
        description="Megabytes for a cache of the vectors of recent queries; 0 for no cache",
        json_schema_extra={"env": "DOWSE_QUERY_CACHE_MB"},
    )
    synonyms: Path | None = Field(
        default=None,
        description="File of synonyms in place of those of the index; it is read again when it changes",
        json_schema_extra={"env": "DOWSE_SYNONYMS"},
    )
    stop_words: Path | None = Field(
        default=None,
        description="File of words that are not searched, in place of those of the index; it is read again when it changes",
        json_schema_extra={"env": "DOWSE_STOP_WORDS"},
    )
    rerank_on_request: bool = Field(
        default=False,
        description="Re-rank only searches that ask for it, also where the live cross-encoder has won its comparison",
        json_schema_extra={"env": "DOWSE_RERANK_ON_REQUEST"},
    )
    log_format: Literal["text", "json"] = Field(
        default="text",
        description="Format of the log: text lines, or one JSON object per line with a line for every request",
        json_schema_extra={"env": "DOWSE_LOG_FORMAT"},
    )
    keys: Path | None = Field(
        default=None,
        description="File of the API keys, created by `python -m service keys add`; if it exists, requests need a key "
        "(default: keys.json in the data directory)",
        json_schema_extra={"env": "DOWSE_KEYS"},
    )
    insecure: bool = Field(
        default=False,
        description="Listen on addresses that other machines can reach without a key file: anybody there may use the service",
        json_schema_extra={"env": "DOWSE_INSECURE"},
    )
    allowed_hosts: str | None = Field(
        default=None,
        description="Host names by which the service may be called without a key, besides localhost, --host and IP "
        "addresses, separated by commas; `*` for all (default: none if it listens on loopback only, else all)",
        json_schema_extra={"env": "DOWSE_ALLOWED_HOSTS"},
    )
    requests_per_minute: int | None = Field(
        default=None,
        ge=1,
        description="Rate limit: requests per minute of each key without its own limit, or of each client address "
        "(default: no limit)",
        json_schema_extra={"env": "DOWSE_REQUESTS_PER_MINUTE"},
    )
    max_body_mb: int = Field(
        default=16,
        ge=1,
        le=1_000,
        description="Largest body in megabytes of PUT /documents, POST /v1/embeddings and POST /v1/rerank; all other routes accept 1 MB",
        json_schema_extra={"env": "DOWSE_MAX_BODY_MB"},
    )
    body_seconds: float = Field(
        default=20.0,
        gt=0,
        description="Seconds within which the body of a request must arrive; of an import, its next piece",
        json_schema_extra={"env": "DOWSE_BODY_SECONDS"},
    )
    cors: str | None = Field(
        default=None,
        description="Origins whose pages may use the API from a browser, separated by commas; `*` for all "
        "(default: only the service's own)",
        json_schema_extra={"env": "DOWSE_CORS"},
    )

    url_column: str | None = Field(
        default=None,
        description="Metadata column with the address to which a result's title leads on the page (default: one called url, "
        "link or the like, else the only one with addresses)",
        json_schema_extra={"env": "DOWSE_URL_COLUMN"},
    )
    image_column: str | None = Field(
        default=None,
        description="Metadata column with the address of a result's picture (default: one called image, picture or the like, "
        "else one with addresses of picture files); shown with --image-sources only",
        json_schema_extra={"env": "DOWSE_IMAGE_COLUMN"},
    )
    image_sources: str | None = Field(
        default=None,
        description="Origins from which the page may load pictures, separated by commas, such as https://images.example.com, "
        "https://*.example.com, or `https:` for all. Readers' browsers then ask these hosts (default: no pictures)",
        json_schema_extra={"env": "DOWSE_IMAGE_SOURCES"},
    )
    clicks: bool = Field(
        default=False,
        description="Have the page send which results are opened to POST /feedback, which then needs no --writable",
        json_schema_extra={"env": "DOWSE_CLICKS"},
    )
    query_log: bool = Field(
        default=False,
        description="Keep what is searched for in live/queries/ of the data directory, for statistics, suggestions and "
        "training; the next four settings bound and redact it",
        json_schema_extra={"env": "DOWSE_QUERY_LOG"},
    )
    query_log_mb: int = Field(
        default=16,
        ge=1,
        description="Megabytes of the query log; the oldest entries go first",
        json_schema_extra={"env": "DOWSE_QUERY_LOG_MB"},
    )
    query_log_days: int = Field(
        default=90,
        ge=1,
        description="Days for which the query log keeps an entry",
        json_schema_extra={"env": "DOWSE_QUERY_LOG_DAYS"},
    )
    query_log_redact: Literal["personal", "none"] = Field(
        default="personal",
        description="`personal`: e-mail addresses and numbers of six digits or more are replaced before a query is kept, also "
        "in feedback; `none`: kept as written",
        json_schema_extra={"env": "DOWSE_QUERY_LOG_REDACT"},
    )
    query_log_min_count: int = Field(
        default=1,
        ge=1,
        description="Times that a query must be searched before its words are kept; of rarer ones only the time, the mode "
        "and the milliseconds are",
        json_schema_extra={"env": "DOWSE_QUERY_LOG_MIN_COUNT"},
    )

    @property
    def key_file(self) -> Path:
        """Path of the API key file."""
        return self.keys or self.data / "keys.json"
