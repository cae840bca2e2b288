"""What authorisation is asked, what it answers, and upstream's words for a refusal."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Protocol

from timonel.api.errors import Forbidden
from timonel.api.objects import Object
from timonel.apiserver.authn.user import UserInfo


@dataclass(slots=True)  # read-only all the same: frozen would cost 1.5 µs more a request
class Attributes:
    """`resource` is "" for a request to a plain path such as /healthz; then only `verb` and `path` count."""

    user: UserInfo
    verb: str
    group: str = ""
    version: str = ""
    resource: str = ""
    subresource: str = ""
    namespace: str = ""
    name: str = ""
    path: str = ""
    field_selector: str = ""
    """As in the query of a list, watch or deletecollection; nodes may list only their own pods."""
    label_selector: str = ""
    """The same; nodes may list only the local volumes that are theirs."""
    asked: tuple[str, str] | None = field(init=False, default=None, compare=False, repr=False)
    """What the audit log has made of it, for when the same is asked again."""

    @property
    def is_resource_request(self) -> bool:
        return bool(self.resource)

    @property
    def qualified_resource(self) -> str:
        """Gives "pods", "pods/log": how RBAC rules name it."""
        return f"{self.resource}/{self.subresource}" if self.subresource else self.resource


@dataclass(frozen=True, slots=True)
class Decision:
    allowed: bool
    reason: str = ""


class Authorizer(Protocol):
    async def authorize(self, a: Attributes) -> Decision: ...


class Decider(Protocol):
    """An authoriser that has all it needs at hand."""

    def decide(self, a: Attributes) -> Decision: ...


def denial_message(a: Attributes, reason: str = "") -> str:
    """Upstream's sentence, without the `pods "x" is forbidden: ` that `denied` puts before it."""
    user = a.user.name
    if not a.is_resource_request:
        text = f'User "{user}" cannot {a.verb} path "{a.path}"'
    else:
        text = f'User "{user}" cannot {a.verb} resource "{a.qualified_resource}" in API group "{a.group}"'
        text += f' in the namespace "{a.namespace}"' if a.namespace else " at the cluster scope"
    return f"{text}: {reason}" if reason else text


def denied(a: Attributes, reason: str = "") -> Forbidden:
    """The 403 for a refused request."""
    message = denial_message(a, reason)
    if not a.is_resource_request:
        return Forbidden(f"forbidden: {message}", details={})
    details: Object = {"name": a.name} if a.name else {}
    if a.group:
        details["group"] = a.group
    details["kind"] = a.resource
    resource = f"{a.resource}.{a.group}" if a.group else a.resource
    subject = f'{resource} "{a.name}"' if a.name else resource
    return Forbidden(f"{subject} is forbidden: {message}", details=details)
