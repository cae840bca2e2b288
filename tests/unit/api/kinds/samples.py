"""Small objects that the tests of kinds start from, and a way to run them through a strategy as the server does."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

from timonel.api.clock import format_time
from timonel.api.kinds import BUILTIN, families
from timonel.api.kinds.admission import ADMISSION_ROWS
from timonel.api.kinds.apiservice import API_REGISTRATION_ROWS
from timonel.api.kinds.certificates import CERTIFICATE_ROWS
from timonel.api.kinds.crd import API_EXTENSIONS_ROWS
from timonel.api.kinds.devices import RESOURCE_ROWS
from timonel.api.kinds.flowcontrol import FLOW_CONTROL_ROWS
from timonel.api.kinds.networking import NETWORKING_ROWS
from timonel.api.kinds.runtimeclass import NODE_ROWS
from timonel.api.kinds.storage import STORAGE_ROWS
from timonel.api.objects import Object, copy_object
from timonel.api.refs import ResourceRef
from timonel.api.resource import Occasion, ResourceTable, Strategy

FAMILIES = (
    *STORAGE_ROWS,
    *NETWORKING_ROWS,
    *NODE_ROWS,
    *CERTIFICATE_ROWS,
    *FLOW_CONTROL_ROWS,
    *ADMISSION_ROWS,
    *API_REGISTRATION_ROWS,
    *API_EXTENSIONS_ROWS,
    *RESOURCE_ROWS,
)
NOW = datetime(2026, 3, 1, 12, 0, 0, tzinfo=UTC)


def ago(**kwargs: float) -> str:
    return format_time(NOW - timedelta(**kwargs))


WORKLOAD_FAMILIES = (
    *families.WORKLOAD_ROWS, *families.BATCH_ROWS, *families.AUTOSCALING_ROWS, *families.POLICY_ROWS,
    *families.NAMESPACE_LIMIT_ROWS, *families.CORE_ROWS,
)  # fmt: skip
TABLE = ResourceTable((*BUILTIN.rows, *FAMILIES, *WORKLOAD_FAMILIES))
"""Every row there is, also those that nothing serves yet."""


def strategy(ref: ResourceRef) -> Strategy:
    return TABLE.row(ref).strategy


def created(ref: ResourceRef, obj: Object) -> Object:
    """The object after defaults and preparation."""
    new = copy_object(obj)
    strategy(ref).default(new)
    strategy(ref).prepare_create(new)
    return new


def findings(ref: ResourceRef, obj: Object) -> list[str]:
    return [str(error) for error in strategy(ref).validate_create(created(ref, obj))]


def update_findings(ref: ResourceRef, old: Object, change: Callable[[Object], Any]) -> list[str]:
    """What is said about an update of the created `old`, changed by `change`."""
    before = created(ref, old)
    new = copy_object(before)
    change(new)
    strategy(ref).default(new)
    strategy(ref).prepare_update(new, before)
    return [str(error) for error in strategy(ref).validate_update(new, before)]


def status_findings(ref: ResourceRef, old: Object, change: Callable[[Object], Any]) -> list[str]:
    """As `update_findings`, for a write of the status."""
    new = copy_object(old)
    change(new)
    strategy(ref).default(new)
    strategy(ref).prepare_status_update(new, old)
    strategy(ref).stamp(new, old, Occasion(NOW, "status"))
    return [str(error) for error in strategy(ref).validate_status_update(new, old)]


def warned(ref: ResourceRef, obj: Object, old: Object | None = None) -> list[str]:
    return strategy(ref).warnings(created(ref, obj), old)


def changed(*path: str | int, to: Any) -> Callable[[Object], None]:
    """A change that sets one field; None removes it."""

    def change(obj: Any) -> None:
        *steps, last = path
        for step in steps:
            obj = obj[step] if isinstance(step, int) else obj.setdefault(step, {})
        if to is None:
            obj.pop(last, None)
        else:
            obj[last] = to

    return change


def cells(ref: ResourceRef, obj: Object, *, wide: bool = False) -> dict[str, Any]:
    columns = TABLE.row(ref).columns
    return {column.name: column.value(obj, NOW) for column in columns if wide or not column.priority}


def pod(**spec: Any) -> Object:
    containers = [{"name": "app", "image": "nginx"}]
    return {
        "kind": "Pod", "apiVersion": "v1",
        "metadata": {"name": "web", "namespace": "default", "creationTimestamp": ago(minutes=3)},
        "spec": {"containers": containers, **spec},
    }  # fmt: skip


def pod_with(**container: Any) -> Object:
    """A pod of one container with these fields."""
    return pod(containers=[{"name": "app", "image": "nginx", **container}])


def deployment(**spec: Any) -> Object:
    return {
        "kind": "Deployment", "apiVersion": "apps/v1",
        "metadata": {"name": "web", "namespace": "default", "creationTimestamp": ago(days=2)},
        "spec": {
            "selector": {"matchLabels": {"app": "web"}},
            "template": {
                "metadata": {"labels": {"app": "web"}},
                "spec": {"containers": [{"name": "app", "image": "nginx:1"}, {"name": "log", "image": "busybox"}]},
            },
            **spec,
        },
    }  # fmt: skip


def service(**spec: Any) -> Object:
    return {
        "kind": "Service", "apiVersion": "v1",
        "metadata": {"name": "web", "namespace": "default", "creationTimestamp": ago(hours=5)},
        "spec": {"selector": {"app": "web"}, "ports": [{"port": 80}], **spec},
    }  # fmt: skip
