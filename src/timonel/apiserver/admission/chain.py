"""The admission chain: every plugin sees every request it handles, mutating ones first, in one fixed order."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

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


class Meeting(NamedTuple):
    """A kind of request, and whether it may still be changed or only refused."""

    operation: str
    group: str
    plural: str
    subresource: str
    mutates: bool


class Plugin:
    """One admission concern. `operations`, `resources` and `cares` are looked at before it is called at all."""

    name = ""
    operations: frozenset[str] = frozenset({"CREATE", "UPDATE", "DELETE", "CONNECT"})
    resources: frozenset[tuple[str, str]] | None = None
    """(group, plural) pairs it cares for; None for all."""

    def cares(self, meeting: Meeting) -> bool:
        """Whether it has anything to say in such a meeting. Asked once for each: a call that says nothing costs 1
        µs."""
        return True

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
    """Runs plugins in order. Which ones a request meets is worked out once per kind of request."""

    def __init__(self, plugins: Iterable[Plugin] = ()) -> None:
        self.plugins: tuple[Plugin, ...] = ()
        self.times = AdmissionTimes()
        self.use(plugins)

    def use(self, plugins: Iterable[Plugin]) -> None:
        """Sets the plugins. Apart from the constructor because plugins read from the registry, which needs a chain."""
        self.plugins = tuple(plugins)
        self._known: dict[Meeting, Sequence[_Met]] = {}

    async def mutate(self, request: AdmissionRequest) -> None:
        await self._run(request, "admit", mutates=True)

    async def validate(self, request: AdmissionRequest) -> None:
        await self._run(request, "validate", mutates=False)

    async def admit(self, request: AdmissionRequest) -> None:
        """Both, for what nothing happens to between them."""
        await self.mutate(request)
        await self.validate(request)

    async def _run(self, request: AdmissionRequest, step: str, *, mutates: bool) -> None:
        operation, ref = request.operation, request.resource.ref
        meeting = Meeting(operation, ref.group, ref.plural, request.subresource, mutates)
        plugins = self._known.get(meeting)
        if plugins is None:
            plugins = self._known[meeting] = self._select(meeting, step)
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
            seconds, spent = met.seconds, now - at
            if spent <= seconds.bounds[0]:  # as nearly always; `observe` would cost a third of what some plugins do
                seconds.counts[0] += 1
                seconds.total += spent
            else:
                seconds.observe(spent)
            at = now
        self.times.of_step(operation, step, rejected=False).observe(at - began)

    def _select(self, meeting: Meeting, step: str) -> Sequence[_Met]:
        overriding = "mutate" if meeting.mutates else "validate"
        return tuple(
            _Met(
                plugin.name,
                getattr(plugin, overriding),
                self.times.of_plugin(plugin.name, meeting.operation, step, rejected=False),
            )
            for plugin in self.plugins
            if meeting.operation in plugin.operations
            and (plugin.resources is None or (meeting.group, meeting.plural) in plugin.resources)
            and getattr(type(plugin), overriding) is not getattr(Plugin, overriding)
            and plugin.cares(meeting)
        )
