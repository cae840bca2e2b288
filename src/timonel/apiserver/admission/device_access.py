"""Who may ask for devices as their administrator, and who may write what about devices into a ResourceClaim's status.

Not a plugin upstream, where it sits in the storage of these kinds; the rules and the words are the same.
Source: kubernetes.io/docs/concepts/scheduling-eviction/dynamic-resource-allocation/#admin-access
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from dataclasses import replace

from timonel.api.errors import FieldError, invalid
from timonel.api.field_errors import Path, forbidden
from timonel.api.objects import Object, get_path, labels_of
from timonel.api.refs import NAMESPACES, RESOURCE_CLAIM_TEMPLATES, RESOURCE_CLAIMS
from timonel.apiserver.admission.chain import AdmissionRequest, Plugin
from timonel.apiserver.authn.user import UserInfo, split_service_account_user
from timonel.apiserver.authz.attributes import Authorizer, denied
from timonel.apiserver.readers import Readers

ADMIN_LABEL = "resource.kubernetes.io/admin-access"
_NODE_NAME = "authentication.kubernetes.io/node-name"
_WHY = f"admin access to devices requires the `{ADMIN_LABEL}: true` label on the containing namespace"
_STATUS = Path("status")


class DeviceAccess(Plugin):
    name = "DeviceAccess"
    operations = frozenset({"CREATE", "UPDATE"})
    resources = frozenset((ref.group, ref.plural) for ref in (RESOURCE_CLAIMS, RESOURCE_CLAIM_TEMPLATES))

    def __init__(self, *, readers: Readers, authorizer: Authorizer) -> None:
        self._namespaces = readers.reader(NAMESPACES)
        self._authorizer = authorizer

    async def validate(self, request: AdmissionRequest) -> None:
        new = request.obj
        if new is None:
            return
        found: list[FieldError] = []
        if request.operation == "CREATE" and not request.subresource:
            asked = _asks_for_admin(new, request.resource.ref == RESOURCE_CLAIM_TEMPLATES)
            if asked is not None and not self._grants_admin(request.namespace):
                found.append(forbidden(asked, _WHY))
        elif request.subresource == "status" and request.resource.ref == RESOURCE_CLAIMS:
            found = [finding async for finding in self._check_status(request, new, request.old or {})]
        if found:
            raise invalid(request.resource.ref, request.name, found)

    def _grants_admin(self, namespace: str) -> bool:
        found = self._namespaces.get("", namespace)
        return found is not None and labels_of(found).get(ADMIN_LABEL) == "true"

    async def _check_status(self, request: AdmissionRequest, new: Object, old: Object) -> AsyncIterator[FieldError]:
        granted = _admin_result(new)
        if granted is not None and _admin_result(old) is None and not self._grants_admin(request.namespace):
            yield forbidden(granted, _WHY)
        if any(
            get_path(new, "status", part) != get_path(old, "status", part) for part in ("allocation", "reservedFor")
        ):
            verb = request.attributes.verb
            why = await self._denial(request, verb, "binding", "", "")
            if why:
                yield forbidden(
                    _STATUS / "allocation",
                    "changing status.allocation or status.reservedFor requires"
                    f' resource="resourceclaims/binding", verb="{verb}" permission: {why}',
                )
        # What drivers said of devices goes with the allocation, whoever takes that away.
        drivers = sorted(_changed_drivers(new, old)) if get_path(new, "status", "allocation") else []
        if drivers:
            verbs = [f"arbitrary-node:{request.attributes.verb}"]
            if _is_on_node(request.user, _allocated_node(new)):
                verbs.insert(0, f"associated-node:{request.attributes.verb}")
            for driver in drivers:
                whys = [await self._denial(request, verb, "driver", request.namespace, driver) for verb in verbs]
                if all(whys):
                    yield forbidden(
                        _STATUS / "devices",
                        f'changing status.devices requires resource="resourceclaims/driver", verb="[{" ".join(verbs)}]"'
                        f" permission: {whys[0]}",
                    )

    async def _denial(self, request: AdmissionRequest, verb: str, subresource: str, namespace: str, name: str) -> str:
        """Why not; "" when it is allowed."""
        attributes = replace(request.attributes, verb=verb, subresource=subresource, namespace=namespace, name=name)
        decision = await self._authorizer.authorize(attributes)
        return "" if decision.allowed else denied(attributes, decision.reason).message


def _asks_for_admin(obj: Object, is_template: bool) -> Path | None:
    """Where, or None."""
    spec = obj.get("spec") or {}
    if is_template:
        spec = spec.get("spec") or {}
    for index, item in enumerate(get_path(spec, "devices", "requests", default=[])):
        if (item.get("exactly") or {}).get("adminAccess"):
            return (Path("spec") / "devices" / "requests")[index] / "adminAccess"
    return None


def _admin_result(claim: Object) -> Path | None:
    for index, item in enumerate(get_path(claim, "status", "allocation", "devices", "results", default=[])):
        if item.get("adminAccess"):
            return (_STATUS / "allocation" / "devices" / "results")[index] / "adminAccess"
    return None


def _changed_drivers(new: Object, old: Object) -> Iterator[str]:
    before, after = (
        {_key(item): item for item in get_path(obj, "status", "devices", default=[])} for obj in (old, new)
    )
    drivers = {key[0] for key in before.keys() | after.keys() if before.get(key) != after.get(key)}
    yield from drivers


def _key(device: Object) -> tuple[str, ...]:
    return tuple(device.get(field) or "" for field in ("driver", "pool", "device", "shareID"))


def _allocated_node(claim: Object) -> str:
    """The one node of an allocation that is for one node."""
    terms = get_path(claim, "status", "allocation", "nodeSelector", "nodeSelectorTerms", default=[])
    if len(terms) != 1 or terms[0].get("matchExpressions"):
        return ""
    fields = terms[0].get("matchFields") or []
    if len(fields) != 1 or fields[0].get("key") != "metadata.name" or fields[0].get("operator") != "In":
        return ""
    values: list[str] = fields[0].get("values") or []
    return values[0] if len(values) == 1 else ""


def _is_on_node(user: UserInfo, node: str) -> bool:
    return bool(node) and split_service_account_user(user.name) is not None and user.extra.get(_NODE_NAME) == (node,)
