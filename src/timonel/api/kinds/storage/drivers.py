"""CSIDriver: how a storage driver wants to be treated. CSINode: the drivers that a node has.

Source: kubernetes.io/docs/reference/kubernetes-api/config-and-storage-resources/csi-driver-v1 and csi-node-v1
"""

from __future__ import annotations

from timonel.api import refs
from timonel.api.errors import FieldError
from timonel.api.field_errors import Path, duplicate, invalid, not_supported, required
from timonel.api.kinds.columns import AGE, NAME, UNSET, cell_at, joined, plain
from timonel.api.kinds.pod.volumes import check_csi_driver
from timonel.api.kinds.rules import Errors, check_immutable, check_not_negative, check_option, check_qualified_name
from timonel.api.objects import Object, get_path
from timonel.api.resource import Column, Resource, Strategy

_SPEC = Path("spec")
_DRIVERS = _SPEC / "drivers"
_NODE_ID_LIMIT = 256
_SHORTEST_TOKEN = 600  # seconds
_LONGEST_TOKEN = 1 << 32  # seconds
_MODES = ("Persistent", "Ephemeral")
_DEFAULTS = {
    "attachRequired": True, "podInfoOnMount": False, "storageCapacity": False,
    "fsGroupPolicy": "ReadWriteOnceWithFSType", "requiresRepublish": False, "seLinuxMount": False,
}  # fmt: skip
_TOKENS_IN_SECRETS = (
    "spec.serviceAccountTokenInSecrets is unset; if supported by this CSI driver, set to true to prevent possible "
    "logging of tokens in volume attributes"
)


class CSIDriverStrategy(Strategy):
    tracks_generation = False
    """A new driver has no generation; its first change makes it 1."""
    allow_unconditional_update = False

    def default(self, obj: Object) -> None:
        spec = obj.setdefault("spec", {})
        for field, value in _DEFAULTS.items():
            spec.setdefault(field, value)
        if not spec.get("volumeLifecycleModes"):
            spec["volumeLifecycleModes"] = ["Persistent"]

    def prepare_create(self, obj: Object) -> None:
        obj["spec"].pop("preventPodSchedulingIfMissing", None)  # alpha, off by default

    def validate_create(self, obj: Object) -> list[FieldError]:
        errors: Errors = []
        spec = obj["spec"]
        policies = ("File", "None", "ReadWriteOnceWithFSType")
        check_option(errors, _SPEC / "fsGroupPolicy", spec.get("fsGroupPolicy"), policies)
        requests = spec.get("tokenRequests") or []
        _check_token_requests(errors, requests)
        for mode in spec.get("volumeLifecycleModes") or ():
            if mode not in _MODES:
                errors.append(not_supported(_SPEC / "volumeLifecycleModes", mode, _MODES))
        period = spec.get("nodeAllocatableUpdatePeriodSeconds")
        if period is not None and period < 10:
            why = "must be greater than or equal to 10 seconds"
            errors.append(invalid(_SPEC / "nodeAllocatableUpdatePeriodSeconds", period, why))
        in_secrets = spec.get("serviceAccountTokenInSecrets")
        if in_secrets is not None and not requests:
            why = "serviceAccountTokenInSecrets is set but no tokenRequests are specified"
            errors.append(invalid(_SPEC / "serviceAccountTokenInSecrets", in_secrets, why))
        return errors

    def prepare_update(self, new: Object, old: Object) -> None:
        self.prepare_create(new)
        if new["spec"] != old.get("spec"):
            new["metadata"]["generation"] = (old["metadata"].get("generation") or 0) + 1

    def validate_update(self, new: Object, old: Object) -> list[FieldError]:
        errors = self.validate_create(new)
        spec, before = new["spec"], old.get("spec") or {}
        attach, modes = "attachRequired", "volumeLifecycleModes"
        check_immutable(errors, _SPEC / "attachedRequired", spec.get(attach), before.get(attach))
        check_immutable(errors, _SPEC / modes, spec.get(modes), before.get(modes))
        return errors

    def warnings(self, obj: Object, old: Object | None) -> list[str]:
        spec = obj["spec"]
        requests = spec.get("tokenRequests")
        unchanged = old is not None and requests == get_path(old, "spec", "tokenRequests")
        if not requests or unchanged or spec.get("serviceAccountTokenInSecrets") is not None:
            return []
        return [_TOKENS_IN_SECRETS]


class CSINodeStrategy(Strategy):
    tracks_generation = False
    allow_unconditional_update = False

    def validate_create(self, obj: Object) -> list[FieldError]:
        errors: Errors = []
        names: set[str] = set()
        for index, driver in enumerate(get_path(obj, "spec", "drivers", default=[])):
            _check_node_driver(errors, _DRIVERS[index], driver, names)
        return errors

    def validate_update(self, new: Object, old: Object) -> list[FieldError]:
        errors = self.validate_create(new)
        known = {driver.get("name"): driver for driver in get_path(old, "spec", "drivers", default=[])}
        for driver in get_path(new, "spec", "drivers", default=[]):
            if driver.get("name") in known:
                # How many volumes a node can take may be measured again; the rest of an entry may not change.
                check_immutable(errors, _DRIVERS, _fixed(driver), _fixed(known[driver.get("name")]))
        return errors


def _check_token_requests(errors: Errors, requests: list[Object]) -> None:
    audiences: set[str] = set()
    for index, request in enumerate(requests):
        path, audience = (_SPEC / "tokenRequests")[index], request.get("audience") or ""
        if audience in audiences:
            errors.append(duplicate(path / "audience", audience))
            continue
        audiences.add(audience)
        seconds = request.get("expirationSeconds")
        if seconds is not None and seconds < _SHORTEST_TOKEN:
            why = "may not specify a duration less than 10 minutes"
            errors.append(invalid(path / "expirationSeconds", seconds, why))
        if seconds is not None and seconds > _LONGEST_TOKEN:
            why = "may not specify a duration larger than 2^32 seconds"
            errors.append(invalid(path / "expirationSeconds", seconds, why))


def _check_node_driver(errors: Errors, path: Path, driver: Object, names: set[str]) -> None:
    name, node_id = driver.get("name") or "", driver.get("nodeID") or ""
    check_csi_driver(errors, path / "name", name)
    if not node_id:
        errors.append(required(path / "nodeID"))
    if len(node_id.encode()) > _NODE_ID_LIMIT:
        errors.append(invalid(path / "nodeID", node_id, f"must be {_NODE_ID_LIMIT} characters or less"))
    count = get_path(driver, "allocatable", "count")
    check_not_negative(errors, path / "allocatable" / "count", count)
    if name in names:
        errors.append(duplicate(path / "name", name))
    names.add(name)
    seen: set[str] = set()
    for key in driver.get("topologyKeys") or ():
        if not key:
            errors.append(required(path))
        if key in seen:
            errors.append(duplicate(path, key))
        seen.add(key)
        check_qualified_name(errors, path, key)


def _fixed(driver: Object) -> Object:
    return {field: value for field, value in driver.items() if field != "allocatable"}


def _audiences(driver: Object) -> str:
    requests = driver["spec"].get("tokenRequests")
    return UNSET if requests is None else ",".join(request.get("audience") or "" for request in requests)


def _flag(name: str, field: str, missing: bool, description: str) -> Column:
    return Column(name, cell_at("spec", field, default=missing), type="boolean", description=description)


CSI_DRIVERS = Resource(
    ref=refs.CSI_DRIVERS,
    definition="io.k8s.api.storage.v1.CSIDriver",
    singular="csidriver",
    strategy=CSIDriverStrategy(),
    columns=(
        NAME,
        _flag("AttachRequired", "attachRequired", True, "Whether volumes are attached before they are mounted."),
        _flag("PodInfoOnMount", "podInfoOnMount", False, "Whether the driver is told of the pod."),
        _flag("StorageCapacity", "storageCapacity", False, "Whether scheduling looks at what capacity is left."),
        Column("TokenRequests", plain(_audiences), description="Audiences of the tokens it gets."),
        _flag("RequiresRepublish", "requiresRepublish", False, "Whether volumes are published again and again."),
        Column(
            "Modes",
            plain(lambda driver: joined(driver["spec"].get("volumeLifecycleModes") or ())),
            description="Lifecycles of the volumes it makes.",
        ),
        AGE,
    ),
    storage_prefix="/registry/csidrivers/",
)

CSI_NODES = Resource(
    ref=refs.CSI_NODES,
    definition="io.k8s.api.storage.v1.CSINode",
    singular="csinode",
    strategy=CSINodeStrategy(),
    columns=(
        NAME,
        Column(
            "Drivers",
            plain(lambda node: len(get_path(node, "spec", "drivers", default=[]))),
            type="integer",
            description="Number of CSI drivers on the node.",
        ),
        AGE,
    ),
    storage_prefix="/registry/csinodes/",
)
