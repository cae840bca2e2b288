"""Every failure a client sees is a Kubernetes `Status`; the server raises these and the client rebuilds them.

ApiError
├── BadRequest 400            ├── Conflict 409 Conflict            ├── Invalid 422
├── Unauthorized 401          ├── AlreadyExists 409                ├── TooManyRequests 429
├── Forbidden 403             ├── Expired 410 (watch, continue)    ├── InternalError 500
├── NotFound 404              ├── RequestEntityTooLarge 413        ├── ServiceUnavailable 503
├── MethodNotAllowed 405      └── UnsupportedMediaType 415         └── Timeout 504
└── NotAcceptable 406

Source: kubernetes.io/docs/reference/kubernetes-api/common-definitions/status, API conventions "Response Status Kind".
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from timonel.api.objects import Object
from timonel.api.refs import ResourceRef


@dataclass(frozen=True, slots=True)
class FieldError:
    """One finding of validation. `reason` is a CauseType such as "FieldValueInvalid"; `message` is without the path."""

    reason: str
    field: str
    message: str

    def __str__(self) -> str:
        return f"{self.field}: {self.message}" if self.field else self.message

    def cause(self) -> Object:
        return {"reason": self.reason, "message": self.message, "field": self.field}


class ApiError(Exception):
    """A failed request. `status` is the whole Status object; the attributes are its most read fields.

    Empty `details` are shown when they were given: upstream's answers to paths that name no resource have them.
    """

    code: ClassVar[int] = 500
    reason: ClassVar[str] = ""

    def __init__(
        self,
        message: str,
        *,
        details: Object | None = None,
        code: int | None = None,
        reason: str | None = None,
        retry_after_seconds: int | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.status_code = self.code if code is None else code
        self.status_reason = self.reason if reason is None else reason
        self.details: Object = dict(details or {})
        self._shows_details = details is not None
        self.metadata: Object = {}
        """ListMeta of the Status: an expired list puts a `continue` here."""
        if retry_after_seconds is not None:
            self.details["retryAfterSeconds"] = retry_after_seconds

    @property
    def retry_after_seconds(self) -> int | None:
        return self.details.get("retryAfterSeconds")

    @property
    def status(self) -> Object:
        status: Object = {
            "kind": "Status",
            "apiVersion": "v1",
            "metadata": self.metadata,
            "status": "Failure",
            "message": self.message,
        }
        if self.status_reason:
            status["reason"] = self.status_reason
        if self.details or self._shows_details:
            status["details"] = self.details
        status["code"] = self.status_code
        return status


class BadRequest(ApiError):
    code, reason = 400, "BadRequest"


class Unauthorized(ApiError):
    code, reason = 401, "Unauthorized"

    def __init__(self, message: str = "Unauthorized", **kwargs: Any) -> None:
        super().__init__(message, **kwargs)


class Forbidden(ApiError):
    code, reason = 403, "Forbidden"


class NotFound(ApiError):
    code, reason = 404, "NotFound"


class MethodNotAllowed(ApiError):
    code, reason = 405, "MethodNotAllowed"


class NotAcceptable(ApiError):
    code, reason = 406, "NotAcceptable"


class Conflict(ApiError):
    code, reason = 409, "Conflict"


class AlreadyExists(ApiError):
    code, reason = 409, "AlreadyExists"


class Expired(ApiError):
    code, reason = 410, "Expired"


class RequestEntityTooLarge(ApiError):
    code, reason = 413, "RequestEntityTooLarge"


class UnsupportedMediaType(ApiError):
    code, reason = 415, "UnsupportedMediaType"


class Invalid(ApiError):
    code, reason = 422, "Invalid"


class TooManyRequests(ApiError):
    code, reason = 429, "TooManyRequests"


class InternalError(ApiError):
    code, reason = 500, "InternalError"


class ServiceUnavailable(ApiError):
    code, reason = 503, "ServiceUnavailable"


class Timeout(ApiError):
    code, reason = 504, "Timeout"


_BY_REASON: dict[str, type[ApiError]] = {
    cls.reason: cls
    for cls in (
        BadRequest, Unauthorized, Forbidden, NotFound, MethodNotAllowed, NotAcceptable, Conflict, AlreadyExists,
        Expired, RequestEntityTooLarge, UnsupportedMediaType, Invalid, TooManyRequests, InternalError,
        ServiceUnavailable, Timeout,
    )
}  # fmt: skip
_BY_REASON["Gone"] = Expired
_BY_REASON["ServerTimeout"] = Timeout
_BY_CODE: dict[int, type[ApiError]] = {
    cls.code: cls for cls in reversed(_BY_REASON.values()) if cls not in (AlreadyExists,)
}


def error_from_status(status: Object, http_code: int = 500) -> ApiError:
    """Rebuilds the exception from a Status body; unknown reasons fall back to the code, then to ApiError."""
    code = status.get("code") or http_code
    reason = status.get("reason") or ""
    cls = _BY_REASON.get(reason) or _BY_CODE.get(code) or ApiError
    return cls(status.get("message") or reason or str(code), details=status.get("details"), code=code, reason=reason)


def _details(ref: ResourceRef, name: str) -> Object:
    details: Object = {"name": name} if name else {}
    if ref.group:
        details["group"] = ref.group
    details["kind"] = ref.plural
    return details


def not_found(ref: ResourceRef, name: str) -> NotFound:
    return NotFound(f'{ref.group_resource} "{name}" not found', details=_details(ref, name))


def already_exists(ref: ResourceRef, name: str, *, going: bool = False) -> AlreadyExists:
    """`going`: the one that exists is being deleted."""
    message = f'{ref.group_resource} "{name}" already exists'
    return AlreadyExists(f"object is being deleted: {message}" if going else message, details=_details(ref, name))


OBJECT_MODIFIED = "the object has been modified; please apply your changes to the latest version and try again"


def conflict(ref: ResourceRef, name: str, why: str = OBJECT_MODIFIED) -> Conflict:
    return Conflict(
        f'Operation cannot be fulfilled on {ref.group_resource} "{name}": {why}', details=_details(ref, name)
    )


def forbidden(ref: ResourceRef, name: str, why: str) -> Forbidden:
    subject = f'{ref.group_resource} "{name}"' if name else ref.group_resource
    return Forbidden(f"{subject} is forbidden: {why}", details=_details(ref, name))


def invalid(ref: ResourceRef, name: str, errors: Sequence[FieldError]) -> Invalid:
    """422 with every finding as a cause; several are joined as upstream's aggregate prints them."""
    details: Object = {"name": name} if name else {}
    if ref.group:
        details["group"] = ref.group
    if ref.kind:
        details["kind"] = ref.kind
    details["causes"] = [error.cause() for error in errors]
    qualified = f"{ref.kind}.{ref.group}" if ref.group else ref.kind
    return Invalid(f'{qualified} "{name}" is invalid: {join_errors(errors)}', details=details)


def join_errors(errors: Iterable[object]) -> str:
    """Go's aggregate of errors: one as it is, several distinct ones as "[a, b]"."""
    texts = list(dict.fromkeys(str(error) for error in errors))
    return texts[0] if len(texts) == 1 else f"[{', '.join(texts)}]"
