"""Settings of the store of served indexes, the same for indexer and service."""

from __future__ import annotations

from importlib.util import find_spec
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationInfo, field_validator

from indexer.errors import UserError


class StoreSettings(BaseModel):
    """Where served indexes are kept."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    store: Literal["files", "milvus"] = Field(
        default="files",
        description="Where served indexes are kept: in files of the data directory, or in Milvus as well",
        json_schema_extra={"env": "DOWSE_STORE"},
    )
    uri: str | None = Field(
        default=None,
        validate_default=True,
        description="Address of Milvus, such as http://localhost:19530, with --store milvus",
        json_schema_extra={"env": "DOWSE_STORE_URI"},
    )
    token: str | None = Field(
        default=None,
        description="Token of Milvus, as `user:password`; rather in the environment than on the command line "
        "(default: none)",
        json_schema_extra={"env": "DOWSE_STORE_TOKEN"},
    )
    alias: str = Field(
        default="dowse",
        pattern=r"^[A-Za-z_][A-Za-z0-9_]{0,99}$",
        description="Alias in Milvus that names the live index; collections have it before their names",
        json_schema_extra={"env": "DOWSE_STORE_ALIAS"},
    )

    @field_validator("uri")
    @classmethod
    def _complete(cls, value: str | None, info: ValidationInfo) -> str | None:
        if info.data.get("store") == "milvus" and not value:
            raise ValueError("--store milvus needs an address, such as http://localhost:19530")
        return value


def require_client() -> None:
    """Refuse to go on where Milvus's client is not installed.

    Raises:
        UserError: it is not.
    """
    if find_spec("pymilvus") is None:
        raise UserError("--store milvus needs the package pymilvus: `pip install -r requirements-milvus.lock`")
