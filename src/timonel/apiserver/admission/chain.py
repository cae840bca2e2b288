"""The admission chain: every plugin sees every request it handles, mutating ones first, in one fixed order."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass, field

from timonel.api.buckets import Buckets
from timonel.api.errors import ApiError, Forbidden, forbidden
from timonel.api.objects import Object, copy_object
from timonel.api.resource import Resource
from timonel.apiserver.admission.times import AdmissionTimes
from timonel.apiserver.authn.user import UserInfo
from timonel.apiserver.authz.attributes import Attributes


@dataclass(slots=True)
class AdmissionRequest:
    """One write on its way to the store. `obj` may be changed in mutate, never in validate; `old` is read-only, and so
    are parts of `obj` that are still its own: `own` gives what may be changed.

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

    def own(self, part: str) -> Object:
        """A part of `obj`, to change it: a copy from now on where it was still the old one's. Metadata never is."""
        obj = self.obj or {}
        value: Object = obj[part]
        if self.old is not None and self.old.get(part) is value:
            value = obj[part] = copy_object(value)
        return value

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


@dataclass(slots=True)
class _Met:
    """A plugin that handles a kind of request, and how long it took when it had nothing against it."""

    name: str
    call: Callable[[AdmissionRequest], Awaitable[None]]
    seconds: Buckets


class Admission:
    """Runs plugins in order. Which ones a request meets is worked out once per (operation, resource)."""

    def __init__(self, plugins: Iterable[Plugin] = ()) -> None:
        self.plugins: tuple[Plugin, ...] = ()
        self.times = AdmissionTimes()
        self.use(plugins)

    def use(self, plugins: Iterable[Plugin]) -> None:
        """Sets the plugins. Apart from the constructor because plugins read from the registry, which needs a chain."""
        self.plugins = tuple(plugins)
        self._mutating: dict[tuple[str, str, str], Sequence[_Met]] = {}
        self._validating: dict[tuple[str, str, str], Sequence[_Met]] = {}

    async def mutate(self, request: AdmissionRequest) -> None:
        await self._run(request, "admit", self._meeting(request, self._mutating, "mutate"))

    async def validate(self, request: AdmissionRequest) -> None:
        await self._run(request, "validate", self._meeting(request, self._validating, "validate"))

    async def admit(self, request: AdmissionRequest) -> None:
        """Both, for what nothing happens to between them."""
        await self.mutate(request)
        await self.validate(request)

    async def _run(self, request: AdmissionRequest, step: str, plugins: Sequence[_Met]) -> None:
        operation = request.operation
        at = began = time.perf_counter()
        for met in plugins:
            try:
                await met.call(request)
            except ApiError:
                now = time.perf_counter()
                self.times.of_plugin(met.name, operation, step, rejected=True).observe(now - at)
                self.times.of_step(operation, step, rejected=True).observe(now - began)
                raise
            now = time.perf_counter()
            met.seconds.observe(now - at)
            at = now
        self.times.of_step(operation, step, rejected=False).observe(at - began)

    def _meeting(
        self, request: AdmissionRequest, known: dict[tuple[str, str, str], Sequence[_Met]], method: str
    ) -> Sequence[_Met]:
        ref = request.resource.ref
        key = (request.operation, ref.group, ref.plural)
        plugins = known.get(key)
        if plugins is None:
            plugins = known[key] = self._select(key, overriding=method)
        return plugins

    def _select(self, key: tuple[str, str, str], *, overriding: str) -> Sequence[_Met]:
        operation, group, plural = key
        step = "admit" if overriding == "mutate" else overriding
        return tuple(
            _Met(
                plugin.name,
                getattr(plugin, overriding),
                self.times.of_plugin(plugin.name, operation, step, rejected=False),
            )
            for plugin in self.plugins
            if operation in plugin.operations
            and (plugin.resources is None or (group, plural) in plugin.resources)
            and getattr(type(plugin), overriding) is not getattr(Plugin, overriding)
        )
