"""An exception for each kind of problem. Written by `make client` from `service/openapi.json`; do not edit."""

from __future__ import annotations

from dowse_client.errors import ProblemError


class ClientGone(ProblemError):
    """Client closed the connection."""


class Deadline(ProblemError):
    """Deadline exceeded."""


class DiskFull(ProblemError):
    """Disk full."""


class Draining(ProblemError):
    """Service shutting down."""


class Exhausted(ProblemError):
    """Machine out of resources."""


class Forbidden(ProblemError):
    """Not allowed for this key."""


class ForbiddenHost(ProblemError):
    """Unknown host name."""


class ForbiddenOrigin(ProblemError):
    """Origin not allowed."""


class Http(ProblemError):
    """Request failed."""


class Internal(ProblemError):
    """Internal error."""


class InvalidRequest(ProblemError):
    """Invalid request."""


class MethodNotAllowed(ProblemError):
    """Method not allowed."""


class ModelNotFound(ProblemError):
    """Model not found."""


class NotFound(ProblemError):
    """Not found."""


class NotReady(ProblemError):
    """Service not ready."""


class NotSupported(ProblemError):
    """Not supported by this store."""


class NotWritable(ProblemError):
    """Writes disabled."""


class NotWritten(ProblemError):
    """Nothing written."""


class Overloaded(ProblemError):
    """Too many requests waiting."""


class StoreUnavailable(ProblemError):
    """Store not available."""


class Timeout(ProblemError):
    """Request body timed out."""


class TooLarge(ProblemError):
    """Request too large."""


class TooManyRequests(ProblemError):
    """Rate limit exceeded."""


class Unauthorized(ProblemError):
    """API key required."""


BY_TYPE: dict[str, type[ProblemError]] = {
    "urn:dowse:problem:client-gone": ClientGone,
    "urn:dowse:problem:deadline": Deadline,
    "urn:dowse:problem:disk-full": DiskFull,
    "urn:dowse:problem:draining": Draining,
    "urn:dowse:problem:exhausted": Exhausted,
    "urn:dowse:problem:forbidden": Forbidden,
    "urn:dowse:problem:forbidden-host": ForbiddenHost,
    "urn:dowse:problem:forbidden-origin": ForbiddenOrigin,
    "urn:dowse:problem:http": Http,
    "urn:dowse:problem:internal": Internal,
    "urn:dowse:problem:invalid-request": InvalidRequest,
    "urn:dowse:problem:method-not-allowed": MethodNotAllowed,
    "urn:dowse:problem:model-not-found": ModelNotFound,
    "urn:dowse:problem:not-found": NotFound,
    "urn:dowse:problem:not-ready": NotReady,
    "urn:dowse:problem:not-supported": NotSupported,
    "urn:dowse:problem:not-writable": NotWritable,
    "urn:dowse:problem:not-written": NotWritten,
    "urn:dowse:problem:overloaded": Overloaded,
    "urn:dowse:problem:store-unavailable": StoreUnavailable,
    "urn:dowse:problem:timeout": Timeout,
    "urn:dowse:problem:too-large": TooLarge,
    "urn:dowse:problem:too-many-requests": TooManyRequests,
    "urn:dowse:problem:unauthorized": Unauthorized,
}
