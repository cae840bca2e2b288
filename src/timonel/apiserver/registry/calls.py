"""Who writes, and how: what every write of the registry is told beside the object."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from timonel.api.objects import Object
from timonel.api.resource import Resource
from timonel.apiserver.authn.user import LOOPBACK, UserInfo
from timonel.apiserver.authz.attributes import Attributes


@dataclass(slots=True)
class Call:
    """One write. `warnings` and `audit` are filled on the way; `options` is the CreateOptions, … object."""

    attributes: Attributes
    dry_run: bool = False
    field_manager: str = "timonel"
    field_validation: str = "Warn"
    """Ignore, Warn or Strict."""
    options: Object = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)
    audit: dict[str, str] = field(default_factory=dict)
    may_create: Callable[[], Awaitable[None]] | None = None
    """Asked before an update or an apply creates what is not there; raises Forbidden. None: the caller may."""

    @property
    def user(self) -> UserInfo:
        return self.attributes.user


def own_call(resource: Resource, verb: str, namespace: str = "", name: str = "", *, subresource: str = "") -> Call:
    """A write of the server itself: bootstrap objects, its own Service."""
    ref = resource.ref
    return Call(
        Attributes(LOOPBACK, verb, ref.group, ref.version, ref.plural, subresource, namespace, name),
        field_manager="kube-apiserver",
    )
