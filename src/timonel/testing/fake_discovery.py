"""Discovery documents of the fake client: as the real ones, of the kinds that it is told to serve."""

from __future__ import annotations

from collections.abc import Collection, Iterable

from timonel.api.objects import Object
from timonel.api.refs import ResourceRef


def discovery_document(path: str, served: Iterable[ResourceRef], with_scale: Collection[ResourceRef]) -> Object | None:
    """What is at "/apis", "/apis/apps", "/api/v1" …; None when nothing is."""
    groups: dict[str, dict[str, list[ResourceRef]]] = {}
    for ref in served:
        groups.setdefault(ref.group, {}).setdefault(ref.version, []).append(ref)
    documents = {
        group: {
            "name": group,
            "versions": [{"groupVersion": f"{group}/{v}", "version": v} for v in versions],
            "preferredVersion": {"groupVersion": f"{group}/{next(iter(versions))}"},
        }
        for group, versions in groups.items()
        if group
    }
    if path == "/apis":
        return {"kind": "APIGroupList", "groups": list(documents.values())}
    if path.removeprefix("/apis/") in documents:
        return {"kind": "APIGroup", **documents[path.removeprefix("/apis/")]}
    group, _, version = path.removeprefix("/apis/").removeprefix("/api/").rpartition("/")
    found = groups.get(group, {}).get(version)
    if found is None:
        return None
    verbs = ["create", "delete", "deletecollection", "get", "list", "patch", "update", "watch"]
    rows: list[Object] = []
    for ref in found:
        row = {"name": ref.plural, "kind": ref.kind, "namespaced": ref.namespaced, "verbs": verbs}
        rows.append(row)
        if ref in with_scale:
            rows.append({**row, "name": f"{ref.plural}/scale", "kind": "Scale", "verbs": ["get", "update"]})
    return {"kind": "APIResourceList", "groupVersion": found[0].api_version, "resources": rows}
