"""POST pods/NAME/binding: a pod gets its node.

Source: kubernetes.io/docs/reference/kubernetes-api/workload-resources/binding-v1
"""

from __future__ import annotations

from aiohttp import web

from timonel.api.clock import format_time
from timonel.api.errors import BadRequest, conflict, invalid, join_errors
from timonel.api.field_errors import Path, required
from timonel.api.kinds.reviews import validate_binding
from timonel.api.objects import Object, find_by
from timonel.api.refs import BINDINGS, PODS, ResourceRef
from timonel.apiserver.admission.chain import AdmissionRequest
from timonel.apiserver.answers import answer_content
from timonel.apiserver.options import call_of, read_kind
from timonel.apiserver.registry.calls import Call
from timonel.apiserver.requests import RequestContext
from timonel.apiserver.subresources import HANDLERS

_POD_BINDINGS = ResourceRef("", "v1", "pods/binding", "Binding")
"""How upstream names it in conflicts."""


async def bind_pod(context: RequestContext) -> web.StreamResponse:
    """POST pods/NAME/binding, and POST bindings, where the name is the Binding's own."""
    call = call_of(context, "CreateOptions")
    binding = await read_kind(context, call, BINDINGS, "io.k8s.api.core.v1.Binding")
    name = context.name or binding["metadata"].get("name") or ""
    if not name:
        raise invalid(BINDINGS, "", [required(Path("metadata") / "name", "name or generateName is required")])
    if binding["metadata"].get("name") != name:
        raise BadRequest("name in URL does not match name in Binding object")
    found = validate_binding(binding)
    if found:
        raise BadRequest(join_errors(found))
    await admit_body(context, call, binding)
    registry = context.server.registry.of(PODS)
    node = binding["target"]["name"]
    now = format_time(context.server.clock.now())
    await registry.update(
        context.namespace,
        name,
        lambda live: bound(live, binding, node, now),
        call,
        subresource="binding",
        patching=True,
    )
    return answer_content(context, {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success",
                                    "code": 201}, status=201)  # fmt: skip


def bound(pod: Object, binding: Object, node: str, now: str) -> Object:
    """The pod on its node, with PodScheduled true; it shares what stays. Raises Conflict when it cannot be bound any
    more."""
    metadata, name = pod["metadata"], pod["metadata"]["name"]
    given = binding["metadata"]
    for part, what in (("uid", "uid"), ("resourceVersion", "resource version")):
        if given.get(part) and given[part] != metadata.get(part):
            raise conflict(PODS, name, f"Precondition failed: {what} in precondition: {given[part]}, "
                           f"{what} in object meta: {metadata.get(part, '')}")  # fmt: skip
    if metadata.get("deletionTimestamp"):
        raise conflict(_POD_BINDINGS, name, f"pod {name} is being deleted, cannot be assigned to a host")
    spec = pod["spec"]
    if spec.get("nodeName"):
        raise conflict(_POD_BINDINGS, name, f'pod {name} is already assigned to node "{spec["nodeName"]}"')
    if spec.get("schedulingGates"):
        raise conflict(_POD_BINDINGS, name, f"pod {name} has non-empty .spec.schedulingGates")
    metadata = dict(metadata)
    for field in ("annotations", "labels"):
        if given.get(field):
            metadata[field] = {**(metadata.get(field) or {}), **given[field]}
    status = dict(pod.get("status") or {})
    status.pop("nominatedNodeName", None)  # it has come true, or to nothing
    conditions = status.get("conditions") or []
    scheduled = find_by(conditions, "type", "PodScheduled")
    if scheduled is None or scheduled.get("status") != "True":
        true = {"type": "PodScheduled", "status": "True", "lastProbeTime": None, "lastTransitionTime": now}
        if scheduled is None:
            status["conditions"] = [*conditions, true]
        else:
            status["conditions"] = [true if condition is scheduled else condition for condition in conditions]
    return {**pod, "metadata": metadata, "spec": {**spec, "nodeName": node}, "status": status}


async def admit_body(context: RequestContext, call: Call, obj: Object) -> None:
    """Asks admission about what is posted to a subresource of a pod. Raises ApiErrors."""
    request = AdmissionRequest(
        context.attributes, context.resource, "CREATE", obj, None, call.options, call.dry_run, call.warnings,
        context.route.subresource, call.audit,
    )  # fmt: skip
    await context.server.admission.admit(request)


HANDLERS["", "pods", "binding"] = bind_pod
HANDLERS["", "bindings", ""] = bind_pod
