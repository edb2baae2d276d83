"""An exception for each kind of problem. Written by `make client` from `service/openapi.json`; do not edit."""

from __future__ import annotations

from dowse_client.errors import ProblemError


class ClientGone(ProblemError):
    """The client is gone."""


class Deadline(ProblemError):
    """The answer took too long."""


class DiskFull(ProblemError):
    """The disk is full."""


class Draining(ProblemError):
    """The service is about to end."""


class Forbidden(ProblemError):
    """The key does not allow this."""


class ForbiddenHost(ProblemError):
    """The service is not known by this name."""


class ForbiddenOrigin(ProblemError):
    """Pages of this origin are not let in."""


class Http(ProblemError):
    """The request failed."""


class Internal(ProblemError):
    """Something went wrong here."""


class InvalidRequest(ProblemError):
    """The request is not valid."""


class MethodNotAllowed(ProblemError):
    """The method is not allowed here."""


class ModelNotFound(ProblemError):
    """The service has no such model."""


class NotFound(ProblemError):
    """There is no such thing."""


class NotReady(ProblemError):
    """The service is not ready."""


class NotWritable(ProblemError):
    """The service takes no writes."""


class NotWritten(ProblemError):
    """Nothing was written."""


class Overloaded(ProblemError):
    """There is too much to do."""


class Timeout(ProblemError):
    """The request took too long to come."""


class TooLarge(ProblemError):
    """The request is too large."""


class TooManyRequests(ProblemError):
    """Too many requests."""


class Unauthorized(ProblemError):
    """A key is needed."""


BY_TYPE: dict[str, type[ProblemError]] = {
    "urn:dowse:problem:client-gone": ClientGone,
    "urn:dowse:problem:deadline": Deadline,
    "urn:dowse:problem:disk-full": DiskFull,
    "urn:dowse:problem:draining": Draining,
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
    "urn:dowse:problem:not-writable": NotWritable,
    "urn:dowse:problem:not-written": NotWritten,
    "urn:dowse:problem:overloaded": Overloaded,
    "urn:dowse:problem:timeout": Timeout,
    "urn:dowse:problem:too-large": TooLarge,
    "urn:dowse:problem:too-many-requests": TooManyRequests,
    "urn:dowse:problem:unauthorized": Unauthorized,
}
