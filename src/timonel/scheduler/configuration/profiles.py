"""From the plugins that a profile names to the order in which they act at each extension point.

Source: kubernetes.io/docs/reference/scheduling/config/#multipoint
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import replace

from timonel.api.objects import Object
from timonel.scheduler.configuration.arguments import parse_arguments
from timonel.scheduler.configuration.errors import InvalidConfiguration
from timonel.scheduler.core.arguments import NodeResourcesFitArgs
from timonel.scheduler.core.profile import EXTENSION_POINTS, PluginRow, Profile, build_profile


def make_profile(document: Object, rows: Mapping[str, PluginRow], ignored_resources: Collection[str] = ()) -> Profile:
    """`document` is one of `profiles`, defaulted and checked; `ignored_resources` are left to extenders.

    Raises InvalidConfiguration for plugins that do not exist, or that cannot act so.
    """
    name, plugins = document["schedulerName"], document["plugins"]
    try:
        points = {point: _ordered(point, plugins[point], plugins["multiPoint"], rows) for point in EXTENSION_POINTS}
        _check_points(name, points, rows)
        args = {each["name"]: each.get("args") or {} for each in document["pluginConfig"]}
        for plugin in args:
            if plugin not in rows:
                raise InvalidConfiguration(f"pluginConfig: plugin {_quoted(plugin)} does not exist")
        parsed = {plugin: parse_arguments(plugin, value) for plugin, value in args.items()}
        fit = parsed.get("NodeResourcesFit")
        if ignored_resources and isinstance(fit, NodeResourcesFitArgs):
            parsed["NodeResourcesFit"] = replace(fit, ignored_resources=fit.ignored_resources | set(ignored_resources))
        return build_profile(name, rows, points, weights=_weights(plugins), args=parsed)
    except InvalidConfiguration as exc:
        raise InvalidConfiguration(f"creating profile for scheduler name {name}: {exc}") from None


def _ordered(point: str, own: Object, multi: Object, rows: Mapping[str, PluginRow]) -> list[str]:
    """First those that the point itself tells anew, then those from multiPoint, then the point's others."""
    kind = f"{point[0].upper()}{point[1:]}Plugin"
    enabled: list[str] = []
    for plugin in own["enabled"]:
        name = plugin.get("name") or ""
        if name not in rows:
            raise InvalidConfiguration(f"{kind} {_quoted(name)} does not exist")
        if point not in rows[name].points:
            raise InvalidConfiguration(f"plugin {_quoted(name)} does not extend {kind} plugin")
        if name in enabled:
            raise InvalidConfiguration(f"plugin {_quoted(name)} already registered as {_quoted(kind)}")
        enabled.append(name)
    disabled = {each["name"] for each in own["disabled"]}
    if "*" in disabled:
        return enabled
    overridden: set[str] = set()
    added: list[str] = []
    for plugin in multi["enabled"]:
        name = plugin.get("name") or ""
        if name not in rows:
            raise InvalidConfiguration(f"{kind} {_quoted(name)} does not exist")
        if point not in rows[name].points or name in disabled:
            continue
        if name in enabled:
            overridden.add(name)
        elif name in added:
            raise InvalidConfiguration(f"plugin {_quoted(name)} already registered as {_quoted(kind)}")
        else:
            added.append(name)
    first = [name for name in enabled if name in overridden]
    return [*first, *added, *(name for name in enabled if name not in overridden)]


def _check_points(name: str, points: Mapping[str, list[str]], rows: Mapping[str, PluginRow]) -> None:
    if len(points["queueSort"]) != 1:
        count = len(points["queueSort"])
        why = f"only one queue sort plugin required for profile with scheduler name {_quoted(name)}, but got {count}"
        raise InvalidConfiguration(why)
    if not points["bind"]:
        raise InvalidConfiguration(
            f"at least one bind plugin is needed for profile with scheduler name {_quoted(name)}"
        )
    for row in rows.values():
        at = {point for point in row.points if row.name in points[point]}
        if "filter" in at and "preFilter" in row.points and "preFilter" not in at:
            raise InvalidConfiguration(f"plugin {_quoted(row.name)} cannot filter without its preFilter; disable both")
        needed = {"preFilter", "filter", "reserve", "preBind"} & set(row.points)
        if "reserve" in needed and needed & at and not needed <= at:
            listed = ", ".join(point for point in row.points if point in needed)
            raise InvalidConfiguration(f"plugin {_quoted(row.name)} acts at all of {listed} or at none of them")


def _weights(plugins: Mapping[str, Object]) -> dict[str, int]:
    """What the score point says goes before what multiPoint says; no weight is 1."""
    weights: dict[str, int] = {}
    for plugin in (*plugins["score"]["enabled"], *plugins["multiPoint"]["enabled"]):
        weights.setdefault(plugin.get("name") or "", plugin.get("weight") or 1)
    return weights


def _quoted(text: str) -> str:
    return f'"{text}"'
