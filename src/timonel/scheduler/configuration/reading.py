"""From a document to a configuration that the scheduler runs by."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from timonel.api.objects import Object
from timonel.scheduler.configuration.defaults import with_defaults
from timonel.scheduler.configuration.errors import InvalidConfiguration, aggregated
from timonel.scheduler.configuration.extenders import ExtenderConfig, parse_extender
from timonel.scheduler.configuration.profiles import make_profile
from timonel.scheduler.configuration.schema import ARGUMENTS, CONFIGURATION, unknown_fields
from timonel.scheduler.configuration.validation import VERSION, findings
from timonel.scheduler.core.plugins import DEFAULT_PROFILE, IN_TREE
from timonel.scheduler.core.profile import PluginRow, Profile

KIND = "KubeSchedulerConfiguration"


@dataclass(frozen=True, slots=True)
class SchedulerConfiguration:
    profiles: tuple[Profile, ...] = (DEFAULT_PROFILE,)
    extenders: tuple[ExtenderConfig, ...] = ()
    initial_backoff_seconds: float = 1.0
    max_backoff_seconds: float = 10.0
    document: Object = field(default_factory=dict)
    """With every default, for /configz."""
    notes: tuple[str, ...] = ()
    """What is accepted and means nothing here, and why: to be logged."""


def parse_configuration(document: Object, plugins: Iterable[PluginRow] = ()) -> SchedulerConfiguration:
    """`plugins` are those from elsewhere, beside the scheduler's own. Raises InvalidConfiguration."""
    rows = {row.name: row for row in (*IN_TREE, *plugins)}
    _check_type(document)
    if unknown := unknown_fields(document, CONFIGURATION):
        raise InvalidConfiguration(_strictly(unknown))
    _check_arguments(document)
    complete = with_defaults(document, rows)
    if errors := findings(complete):
        raise InvalidConfiguration(aggregated(errors))
    extenders = tuple(parse_extender(each) for each in complete["extenders"])
    ignored = {name for each in extenders for name in each.ignored_by_scheduler}
    try:
        profiles = tuple(make_profile(each, rows, ignored) for each in complete["profiles"])
    except InvalidConfiguration as exc:
        raise InvalidConfiguration(f"initializing profiles: {exc}") from None
    return SchedulerConfiguration(
        profiles=profiles,
        extenders=extenders,
        initial_backoff_seconds=float(complete["podInitialBackoffSeconds"]),
        max_backoff_seconds=float(complete["podMaxBackoffSeconds"]),
        document=complete,
        notes=tuple(_notes(document)),
    )


def named_plugins(document: Object) -> set[str]:
    """Those that a document, not yet checked, may mean that do not come with the scheduler."""
    found: set[str] = set()

    def visit(value: Any) -> None:
        if isinstance(value, dict):
            if isinstance(value.get("name"), str):
                found.add(value["name"])
            for each in value.values():
                visit(each)
        elif isinstance(value, list):
            for each in value:
                visit(each)

    visit(document.get("profiles"))
    return found - {row.name for row in IN_TREE}


def _check_type(document: Object) -> None:
    if not isinstance(document, dict):
        raise InvalidConfiguration(f"must be a {KIND} of {VERSION}")
    for key, why in (("kind", "Kind"), ("apiVersion", "apiVersion")):
        if not document.get(key):
            raise InvalidConfiguration(f"Object '{why}' is missing: must be a {KIND} of {VERSION}")
    if (document["apiVersion"], document["kind"]) != (VERSION, KIND):
        told = f'no kind "{document["kind"]}" is registered for version "{document["apiVersion"]}"'
        raise InvalidConfiguration(f"{told}: must be a {KIND} of {VERSION}")


def _check_arguments(document: Object) -> None:
    """Of plugins that come with the scheduler; what others are told is their own business."""
    strict = []
    for number, profile in enumerate(document.get("profiles") or ()):
        for index, config in enumerate(profile.get("pluginConfig") or ()):
            name, args = config.get("name") or "", config.get("args")
            if name not in ARGUMENTS or args is None:
                continue
            where = f"decoding .profiles[{number}].pluginConfig[{index}]"
            kind = args.get("kind") if isinstance(args, dict) else None
            if kind is not None and kind != f"{name}Args":
                group = "kubescheduler.config.k8s.io"
                told = f"args for plugin {name} were not of type {name}Args.{group}, got {kind}.{group}"
                raise InvalidConfiguration(f"{where}: {told}")
            try:
                unknown = unknown_fields(args, ARGUMENTS[name])
            except InvalidConfiguration as exc:
                raise InvalidConfiguration(f"{where}: decoding args for plugin {name}: {exc}") from None
            if unknown:
                told = f"decoding args for plugin {name}: {_strictly(unknown)}"
                strict.append(f"{where}: strict decoding error: {told}")
    if strict:
        raise InvalidConfiguration(f"strict decoding error: {', '.join(strict)}")


def _strictly(unknown: Iterable[str]) -> str:
    listed = ", ".join(f'unknown field "{path}"' for path in unknown)
    return f"strict decoding error: {listed}"


_WITHOUT_MEANING: Mapping[str, str] = {
    "percentageOfNodesToScore": "every node is considered",
    "parallelism": "nodes are considered all at once, as arrays",
    "delayCacheUntilActive": "the manager's informers serve controllers as well, and fill when it leads",
    "leaderElection": "the manager elects its leader by a Lease of its own",
    "clientConnection": "the manager's settings name its kubeconfig, and the API server paces requests",
    "enableProfiling": "use a profiler of Python's, such as py-spy",
    "enableContentionProfiling": "use a profiler of Python's, such as py-spy",
}


def _notes(document: Object) -> Iterable[str]:
    for key, why in _WITHOUT_MEANING.items():
        if document.get(key) is not None:
            yield f"{key} changes nothing here: {why}"
    for index, profile in enumerate(document.get("profiles") or ()):
        if profile.get("percentageOfNodesToScore") is not None:
            yield f"profiles[{index}].percentageOfNodesToScore changes nothing here: every node is considered"
