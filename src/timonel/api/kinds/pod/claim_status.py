"""What a pod's status says of resource claims and of devices that its containers got."""

from __future__ import annotations

from timonel.api.field_errors import Path, duplicate, forbidden, invalid, not_supported, required, too_long
from timonel.api.kinds.rules import Errors
from timonel.api.names import validate_dns1123_label, validate_dns1123_subdomain
from timonel.api.objects import Object, find_by, get_path

_STATUS = Path("status")
_HEALTH = ("Healthy", "Unhealthy", "Unknown")
_MAX_MESSAGE = 1024
_NO_CLAIM = (
    "must match one of the container's resource claims in a format 'claim:<claimName>/<request>' or "
    "'claim:<claimName>' if request is empty"
)
_OF_SPEC = "must match the {} of an entry in spec.initContainers.{} or spec.containers.{}"


def check_claim_statuses(errors: Errors, status: Object, spec: Object) -> None:
    claims = {claim.get("name") for claim in spec.get("resourceClaims") or ()}
    seen: set[str] = set()
    for index, item in enumerate(status.get("resourceClaimStatuses") or ()):
        here, name = (_STATUS / "resourceClaimStatuses")[index], item.get("name") or ""
        if name not in claims:
            errors.append(invalid(here / "name", name, "must match the name of an entry in `spec.resourceClaims`"))
        if name in seen:
            errors.append(duplicate(here / "name", name))
        seen.add(name)
        generated = item.get("resourceClaimName")
        if generated is not None:
            for why in validate_dns1123_subdomain(generated):
                errors.append(invalid(here / "resourceClaimName", generated, why))
    extended = status.get("extendedResourceClaimStatus")
    if extended is not None:
        _check_extended(errors, _STATUS / "extendedResourceClaimStatus", extended, spec)


def _check_extended(errors: Errors, path: Path, status: Object, spec: Object) -> None:
    """Devices asked for as extended resources, in a claim that the scheduler made."""
    mappings = status.get("requestMappings") or []
    if not mappings:
        errors.append(required(path / "requestMappings", "at least one request mapping is required"))
    containers = {
        container.get("name"): container
        for kind in ("initContainers", "containers")
        for container in spec.get(kind) or ()
    }
    seen: set[tuple[str, ...]] = set()
    for index, mapping in enumerate(mappings):
        here = (path / "requestMappings")[index]
        name, resource, request = (mapping.get(f) or "" for f in ("containerName", "resourceName", "requestName"))
        container = containers.get(name)
        if container is None:
            errors.append(invalid(here / "containerName", name, _OF_SPEC.format("name", "name", "name")))
        elif resource not in (get_path(container, "resources", "requests") or {}):
            part = "resources.requests"
            errors.append(
                invalid(here / "resourceName", resource, _OF_SPEC.format("extended resource name", part, part))
            )
        for why in validate_dns1123_label(request):
            errors.append(invalid(path / "requestName", request, why))
        if (name, resource, request) in seen:
            for field, value in (("containerName", name), ("resourceName", resource), ("requestName", request)):
                errors.append(duplicate(here / field, value))
        seen.add((name, resource, request))
    claim = status.get("resourceClaimName") or ""
    if not claim:
        errors.append(required(path / "resourceClaimName"))
    else:
        for why in validate_dns1123_subdomain(claim):
            errors.append(invalid(path / "resourceClaimName", claim, why))


def check_container_statuses(errors: Errors, status: Object, spec: Object) -> None:
    system = get_path(spec, "os", "name", default="linux")
    kinds = ("containerStatuses", "initContainerStatuses", "ephemeralContainerStatuses")
    for kind in kinds:
        for index, item in enumerate(status.get(kind) or ()):
            if item.get("user") is not None:
                _check_user(errors, (_STATUS / kind)[index] / "user" / "linux", item["user"].get("linux"), system)
    for kind, listed in (("containerStatuses", "containers"), ("initContainerStatuses", "initContainers")):
        for index, item in enumerate(status.get(kind) or ()):
            container = find_by(spec.get(listed), "name", item.get("name"))
            for position, allocated in enumerate(item.get("allocatedResourcesStatus") or ()):
                here = ((_STATUS / kind)[index] / "allocatedResourcesStatus")[position]
                _check_allocated(errors, here, allocated, container)
    for index, item in enumerate(status.get("ephemeralContainerStatuses") or ()):
        if item.get("allocatedResourcesStatus"):
            here = (_STATUS / "ephemeralContainerStatuses")[index] / "allocatedResourcesStatus"
            errors.append(forbidden(here, "must not be specified in container status"))


def _check_user(errors: Errors, path: Path, user: Object | None, system: str) -> None:
    if user is None:
        return
    if system == "windows":
        errors.append(forbidden(path, "cannot be set for a windows pod"))
        return
    groups = user.get("supplementalGroups") or ()
    ids = [(path / name, user.get(name) or 0) for name in ("uid", "gid")]
    ids += [((path / "supplementalGroups")[index], group) for index, group in enumerate(groups)]
    for here, value in ids:
        if not 0 <= value < 2**31:
            errors.append(invalid(here, value, "must be between 0 and 2147483647, inclusive"))


def _check_allocated(errors: Errors, path: Path, allocated: Object, container: Object | None) -> None:
    name = allocated.get("name") or ""
    if container is not None:
        resources = container.get("resources") or {}
        if name.startswith("claim:"):
            known = ["/".join(filter(None, (f"claim:{c.get('name')}", c.get("request")))) for c in
                     resources.get("claims") or ()]  # fmt: skip
            why = _NO_CLAIM
        else:
            known, why = list(resources.get("requests") or ()), "must match one of the container's resource requests"
        if name not in known:
            errors.append(invalid(path / "name", name, why))
    seen: set[str] = set()
    for index, item in enumerate(allocated.get("resources") or ()):
        here, health, message = (path / "resources")[index], item.get("health") or "", item.get("message")
        if health not in _HEALTH:
            errors.append(not_supported(here / "health", health, _HEALTH))
        if message is not None and not message:
            errors.append(required(here / "message", "must be non-empty if specified"))
        elif message is not None and len(message.encode()) > _MAX_MESSAGE:
            errors.append(too_long(here / "message", _MAX_MESSAGE))
        identity = item.get("resourceID") or ""
        if identity in seen:
            errors.append(duplicate(here / "resourceID", identity))
        seen.add(identity)
