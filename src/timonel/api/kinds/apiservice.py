"""APIService: a group and version that another server serves, or this one.

Source: kubernetes.io/docs/reference/kubernetes-api/cluster-resources/api-service-v1
"""

from __future__ import annotations

from timonel.api import refs
from timonel.api.clock import format_time
from timonel.api.errors import FieldError
from timonel.api.field_errors import Path, invalid, not_supported, required
from timonel.api.kinds.admission.clients import default_client
from timonel.api.kinds.columns import AGE, NAME, plain
from timonel.api.kinds.rules import Errors, check_subdomain, check_text
from timonel.api.kinds.subresources import STATUS
from timonel.api.names import validate_dns1035_label, validate_path_segment, validate_port_number
from timonel.api.objects import Object, copy_object, find_by, get_path
from timonel.api.resource import Column, Occasion, Resource, Strategy

_SPEC = Path("spec")
_STATUSES = ("True", "False", "Unknown")
_KEPT = ("labels", "annotations", "finalizers", "ownerReferences")


class APIServiceStrategy(Strategy):
    tracks_generation = False
    allow_unconditional_update = False

    def validate_name(self, name: str) -> list[str]:
        return validate_path_segment(name)

    def default(self, obj: Object) -> None:
        default_client(obj.get("spec"))

    def stamp(self, new: Object, old: Object | None, occasion: Occasion) -> None:
        if old is None and get_path(new, "spec", "service") is None:
            available = {
                "type": "Available", "status": "True", "lastTransitionTime": format_time(occasion.now),
                "reason": "Local", "message": "Local APIServices are always available",
            }  # fmt: skip
            new["status"] = {"conditions": [available]}

    def validate_create(self, obj: Object) -> list[FieldError]:
        errors: Errors = []
        spec, name = obj.get("spec") or {}, obj["metadata"].get("name") or ""
        group, version = spec.get("group") or "", spec.get("version") or ""
        if name and name != f"{version}.{group}" and not validate_path_segment(name):
            why = f'must be `spec.version+"."+spec.group`: "{version}.{group}"'
            errors.append(invalid(Path("metadata") / "name", name, why))
        if group:
            check_subdomain(errors, _SPEC / "group", group)
        elif version != "v1":
            why = "only v1 may have an empty group and it better be legacy kube"
            errors.append(required(_SPEC / "group", why))
        check_text(errors, _SPEC / "version", version, validate_dns1035_label)
        for field, most in (("groupPriorityMinimum", 20000), ("versionPriority", 1000)):
            priority = spec.get(field) or 0
            if not 0 < priority <= most:
                errors.append(invalid(_SPEC / field, priority, f"must be positive and less than {most}"))
        _check_service(errors, spec)
        return errors

    def prepare_status_update(self, new: Object, old: Object) -> None:
        for field in _KEPT:
            new["metadata"].pop(field, None)
            if field in old["metadata"]:
                new["metadata"][field] = copy_object(old["metadata"])[field]

    def validate_status_update(self, new: Object, old: Object) -> list[FieldError]:
        path = Path("status") / "conditions"
        return [
            not_supported(path[index] / "status", condition.get("status") or "", _STATUSES)
            for index, condition in enumerate(get_path(new, "status", "conditions", default=[]))
            if condition.get("status") not in _STATUSES
        ]


def _check_service(errors: Errors, spec: Object) -> None:
    service, bundle, insecure = spec.get("service"), spec.get("caBundle"), bool(spec.get("insecureSkipTLSVerify"))
    path = _SPEC / "insecureSkipTLSVerify"
    if service is None:
        if bundle:
            size = f"{len(bundle) * 3 // 4 - bundle.count('=')} bytes"  # it is base64 here
            errors.append(invalid(_SPEC / "caBundle", size, "local APIServices may not have a caBundle"))
        if insecure:
            errors.append(invalid(path, insecure, "local APIServices may not have insecureSkipTLSVerify"))
        return
    for part in ("namespace", "name"):
        if not service.get(part):
            errors.append(required(_SPEC / "service" / part))
    port = service.get("port") or 0
    if found := validate_port_number(port):
        errors.append(invalid(_SPEC / "service" / "port", port, f"port is not valid: {', '.join(found)}"))
    if insecure and bundle:
        errors.append(invalid(path, insecure, "may not be true if caBundle is present"))


def _server(api: Object) -> str:
    service = get_path(api, "spec", "service")
    return "Local" if service is None else f"{service.get('namespace') or ''}/{service.get('name') or ''}"


def _available(api: Object) -> str:
    condition = find_by(get_path(api, "status", "conditions"), "type", "Available")
    if condition is None:
        return "Unknown"
    status, reason = condition.get("status") or "", condition.get("reason")
    return f"{status} ({reason})" if status != "True" and reason else status


API_SERVICES = Resource(
    ref=refs.API_SERVICES,
    definition="io.k8s.kube-aggregator.pkg.apis.apiregistration.v1.APIService",
    singular="apiservice",
    categories=("api-extensions",),
    subresources=(STATUS,),
    strategy=APIServiceStrategy(),
    columns=(
        NAME,
        Column("Service", plain(_server), description="Who serves it."),
        Column("Available", plain(_available), description="Whether it is served."),
        AGE,
    ),
    # The aggregator of old was a server of its own, which put the group into its keys.
    storage_prefix="/registry/apiregistration.k8s.io/apiservices/",
    has_status=True,
)

API_REGISTRATION_ROWS = (API_SERVICES,)
