"""Carries a granted resize out: the pod's cgroup is widened, its containers are changed, then the cgroup is fitted.

Source: kubernetes.io/docs/tasks/configure-pod-container/resize-container-resources, KEP-1287.
"""

from __future__ import annotations

from collections.abc import Sequence

from timonel.api.objects import Object, uid_of
from timonel.kubelet.containers.config import container_resources
from timonel.kubelet.containers.resources import amount, container_limit
from timonel.kubelet.cri.runtime import RuntimeFailure, RuntimeUnavailable
from timonel.kubelet.pods.plan import Update
from timonel.kubelet.pods.services import PodServices
from timonel.kubelet.pods.spec import container_status, find_container
from timonel.kubelet.pods.view import PodView

RETRY_SECONDS = 10.0
"""After a failure: mostly memory that is in use and has to become free first."""


class ResizeFailure(Exception):
    """The message is the condition's."""


class PodResizer:
    """Of one pod. Remembers what its containers run with; what it does not know it reads from the pod's status."""

    def __init__(self, services: PodServices) -> None:
        self._services = services
        self._actual: dict[str, Object] = {}

    def started(self, container_id: str, resources: Object) -> None:
        self._actual[container_id] = resources

    def actual(self, pod: Object, status: Object, view: PodView) -> dict[str, Object]:
        """Container id -> resources it runs with. `pod` is as granted."""
        found = {}
        for container in view.running:
            if container.id not in self._actual:
                known = container_status(status, container.name) or {}
                spec = find_container(pod, container.name)
                if str(known.get("containerID") or "").endswith(container.id) and known.get("resources"):
                    self._actual[container.id] = known["resources"]
                elif spec is not None and not self._services.allocations.in_progress(uid_of(pod)):
                    self._actual[container.id] = spec[1].get("resources") or {}
                else:
                    continue  # nobody can tell: setting it again does no harm
            found[container.id] = self._actual[container.id]
        self._actual = {key: value for key, value in self._actual.items() if key in found}
        return found

    async def carry_out(self, pod: Object, updates: Sequence[Update]) -> None:
        """Raises ResizeFailure; containers changed before that stay changed."""
        services = self._services
        services.cgroups.widen_pod(pod)
        for update in sorted(updates, key=lambda update: self._grows(pod, update)):
            found = find_container(pod, update.name)
            if found is None:
                continue
            container = found[1]
            self._check_memory(pod, container, update)
            made = container_resources(
                pod,
                container,
                memory_capacity=services.memory_capacity,
                unified_cgroups=services.cgroups.unified,
                whole=True,
            )
            try:
                await services.runtime.update_container_resources(update.container_id, made)
            except RuntimeUnavailable:
                raise
            except RuntimeFailure as exc:
                raise ResizeFailure(f"failed to resize container {update.name}: {exc.description}") from exc
            self._actual[update.container_id] = container.get("resources") or {}

    def _grows(self, pod: Object, update: Update) -> bool:
        """What shrinks comes first, so that the whole never takes more than it had and will have."""
        found = find_container(pod, update.name)
        before = self._actual.get(update.container_id)
        if found is None or before is None:
            return True
        after = found[1].get("resources") or {}
        return any((amount(after, "limits", name) or 0) > (amount(before, "limits", name) or 0) for name in _BOUND)

    def _check_memory(self, pod: Object, container: Object, update: Update) -> None:
        before = amount(self._actual.get(update.container_id) or {}, "limits", "memory") or 0
        limit = container_limit(container, "memory") or 0
        if not limit or (before and limit >= before):
            return
        used = self._services.cgroups.memory_usage(pod, update.container_id)
        if used is not None and used >= limit:
            raise ResizeFailure(
                f'cannot decrease memory limits: attempting to set container "{container["name"]}" memory limit '
                f"({limit}) below current usage ({used})"
            )


_BOUND = ("cpu", "memory")
