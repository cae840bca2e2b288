"""PUT namespaces/NAME/finalize: the namespace controller's last word, after which a deleted Namespace is gone.

Source: kubernetes.io/docs/reference/kubernetes-api/cluster-resources/namespace-v1 ("replace finalize").
"""

from __future__ import annotations

from aiohttp import web

from timonel.api.errors import BadRequest, conflict, invalid
from timonel.api.field_errors import Path
from timonel.api.field_errors import invalid as invalid_field
from timonel.api.names import validate_qualified_name
from timonel.api.objects import Object, copy_object
from timonel.api.refs import NAMESPACES
from timonel.apiserver.answers import answer_written
from timonel.apiserver.options import call_of, read_object, registry_of
from timonel.apiserver.requests import RequestContext
from timonel.apiserver.subresources import HANDLERS

_STANDARD = "kubernetes"


async def finalize_namespace(context: RequestContext) -> web.StreamResponse:
    registry, name = registry_of(context), context.name
    call = call_of(context, "UpdateOptions")
    wanted = await read_object(context, registry, call)
    given = wanted["metadata"].get("name")
    if given and given != name:
        raise BadRequest(f"the name of the object ({given}) does not match the name on the URL ({name})")
    finalizers: list[str] = (wanted.get("spec") or {}).get("finalizers") or []
    path = Path("spec") / "finalizers"
    found = [invalid_field(path, text, why) for text in finalizers for why in validate_qualified_name(text)]
    found += [
        invalid_field(path, text, "name is neither a standard finalizer name nor is it fully qualified")
        for text in finalizers
        if "/" not in text and text != _STANDARD
    ]
    if found:
        raise invalid(NAMESPACES, name, found)
    revision = wanted["metadata"].get("resourceVersion")

    def change(live: Object) -> Object:
        if revision and revision != live["metadata"]["resourceVersion"]:
            raise conflict(NAMESPACES, name)
        changed = copy_object(live)
        spec = changed.setdefault("spec", {})
        spec.pop("finalizers", None)
        if finalizers:
            spec["finalizers"] = finalizers
        return changed

    written = await registry.update("", name, change, call, subresource="finalize", patching=True)
    return answer_written(context, registry, written)


HANDLERS["", "namespaces", "finalize"] = finalize_namespace
