"""The admission chain: every plugin sees every request it handles, mutating ones first, in one fixed order."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from timonel.api.errors import Forbidden, forbidden
from timonel.api.objects import Object
from timonel.api.resource import Resource
from timonel.apiserver.authn.user import UserInfo
from timonel.apiserver.authz.attributes import Attributes


@dataclass(slots=True)
class AdmissionRequest:
    """One write on its way to the store. `obj` may be changed in mutate, never in validate; `old` is read-only.

    `operation` is CREATE, UPDATE, DELETE or CONNECT. `warnings` become `Warning: 299` headers;
    `audit` becomes annotations of the audit event.
    """

    attributes: Attributes
    resource: Resource
    operation: str
    obj: Object | None = None
    old: Object | None = None
    options: Object = field(default_factory=dict)
    dry_run: bool = False
    warnings: list[str] = field(default_factory=list)
    subresource: str = ""
    audit: dict[str, str] = field(default_factory=dict)

    @property
    def user(self) -> UserInfo:
        return self.attributes.user

    @property
    def namespace(self) -> str:
        return self.attributes.namespace

    @property
    def name(self) -> str:
        """The name in the URL, else in the object (the old one, when it is deleted), else its generateName."""
        metadata = (self.obj or self.old or {}).get("metadata") or {}
        return self.attributes.name or metadata.get("name") or metadata.get("generateName") or ""

    def forbidden(self, why: str) -> Forbidden:
        """The 403 of a plugin: `pods "x" is forbidden: why`. Without any name upstream says "Unknown"."""
        return forbidden(self.resource.ref, self.name or "Unknown", why)


class Plugin:
    """One admission concern. `operations` and `resources` are looked at before it is called at all."""

    name = ""
    operations: frozenset[str] = frozenset({"CREATE", "UPDATE", "DELETE", "CONNECT"})
    resources: frozenset[tuple[str, str]] | None = None
    """(group, plural) pairs it cares for; None for all."""

    async def mutate(self, request: AdmissionRequest) -> None:
        """May change `request.obj`. Raises an ApiError to refuse."""

    async def validate(self, request: AdmissionRequest) -> None:
        """Raises an ApiError to refuse."""


class Admission:
    """Runs plugins in order. Which ones a request meets is worked out once per (operation, resource)."""

    def __init__(self, plugins: Iterable[Plugin] = ()) -> None:
        self.plugins: tuple[Plugin, ...] = ()
        self.use(plugins)

    def use(self, plugins: Iterable[Plugin]) -> None:
        """Sets the plugins. Apart from the constructor because plugins read from the registry, which needs a chain."""
        self.plugins = tuple(plugins)
        self._mutating: dict[tuple[str, str, str], Sequence[Plugin]] = {}
        self._validating: dict[tuple[str, str, str], Sequence[Plugin]] = {}

    async def mutate(self, request: AdmissionRequest) -> None:
        for plugin in self._meeting(request, self._mutating, "mutate"):
            await plugin.mutate(request)

    async def validate(self, request: AdmissionRequest) -> None:
        for plugin in self._meeting(request, self._validating, "validate"):
            await plugin.validate(request)

    async def admit(self, request: AdmissionRequest) -> None:
        """Both, for what nothing happens to between them."""
        await self.mutate(request)
        await self.validate(request)

    def _meeting(
        self, request: AdmissionRequest, known: dict[tuple[str, str, str], Sequence[Plugin]], method: str
    ) -> Sequence[Plugin]:
        ref = request.resource.ref
        key = (request.operation, ref.group, ref.plural)
        plugins = known.get(key)
        if plugins is None:
            plugins = known[key] = self._select(key, overriding=method)
        return plugins

    def _select(self, key: tuple[str, str, str], *, overriding: str) -> Sequence[Plugin]:
        operation, group, plural = key
        return tuple(
            plugin
            for plugin in self.plugins
            if operation in plugin.operations
            and (plugin.resources is None or (group, plural) in plugin.resources)
            and getattr(type(plugin), overriding) is not getattr(Plugin, overriding)
        )
