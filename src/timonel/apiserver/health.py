"""/livez, /readyz, /healthz: named checks, each also at a path of its own, all listed with ?verbose.

Source: kubernetes.io/docs/reference/using-api/health-checks
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from timonel.storage.protocol import Store, StoreError

if TYPE_CHECKING:
    from timonel.apiserver.server import ApiServer

log = logging.getLogger(__name__)

_TIMEOUT_SECONDS = 2.0
_FRESH_SECONDS = 0.5

Check = Callable[[], str]
"""Returns "" when all is well, else why not."""


_STARTED = (
    "start-apiserver-admission-initializer",
    "start-system-namespaces-controller",
    "start-cluster-authentication-info-controller",
    "start-kube-apiserver-identity-lease-controller",
    "start-legacy-token-tracking-controller",
    "start-service-ip-repair-controllers",
    "rbac/bootstrap-roles",
    "scheduling/bootstrap-system-priority-classes",
    "bootstrap-controller",
    "start-kubernetes-service-cidr-controller",
    "apiservice-status-local-available-controller",
    "kube-apiserver-autoregistration",
)
"""Upstream's names of what `ApiServer.run` has done before it serves."""


@dataclass(frozen=True, slots=True)
class Health:
    """`groups` maps "livez", "readyz", "healthz" to their checks by name, in order."""

    groups: Mapping[str, Mapping[str, Check]]

    def answer(self, path: str, *, verbose: bool, exclude: frozenset[str]) -> tuple[int, str] | None:
        """Status code and text for a path such as "/readyz" or "/livez/ping"; None when there is no such check."""
        parts = path[1:].split("/", 1)
        checks = self.groups.get(parts[0])
        if checks is None:
            return None
        if len(parts) == 2:
            check = checks.get(parts[1])
            if check is None:
                return None
            why = check()
            return (200, "ok") if not why else (500, f"internal server error: {why}\n")
        lines: list[str] = []
        failed = False
        for name, check in checks.items():
            if name in exclude:
                lines.append(f"[+]{name} excluded: ok")
                continue
            why = check()
            failed = failed or bool(why)
            # The reason may name paths and addresses, so it stays in the server's log, as upstream keeps it.
            lines.append(f"[-]{name} failed: reason withheld" if why else f"[+]{name} ok")
        unknown = sorted(exclude - checks.keys())
        if unknown:
            listed = ", ".join(f'"{name}"' for name in unknown)
            lines.append(f"warn: some health checks cannot be excluded: no matches for {listed}")
        if failed:
            lines.append(f"{parts[0]} check failed")
            return 500, "\n".join(lines) + "\n"
        if verbose:
            lines.append(f"{parts[0]} check passed")
            return 200, "\n".join(lines) + "\n"
        return 200, "ok"


class StoreHealth:
    """Whether the store answers, whichever it is; looked at when somebody asks, not more often than every half second.

    Source: kube-apiserver --etcd-healthcheck-timeout.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self._looked_at = -_FRESH_SECONDS
        self._looking = asyncio.Lock()
        self.why = ""
        """Why not, when last looked."""

    async def look(self) -> None:
        async with self._looking:
            if time.monotonic() - self._looked_at < _FRESH_SECONDS:
                return
            try:
                async with asyncio.timeout(_TIMEOUT_SECONDS):
                    await self._store.check()
                self.why = ""
            except TimeoutError:
                self.why = f"the store did not answer within {_TIMEOUT_SECONDS:g} seconds"
            except StoreError as exc:
                self.why = str(exc)
            if self.why:
                log.warning("store is not well error=%s", self.why)
            self._looked_at = time.monotonic()


def server_checks(server: ApiServer) -> dict[str, dict[str, Check]]:
    """The checks of one API server; names are upstream's, where people and monitoring know them.

    The store counts as "etcd" whichever it is.
    """

    def ping() -> str:
        return ""

    def read() -> str:
        behind = [prefix for prefix, cache in server.registry.caches if not cache.is_synced]
        return f"not read yet: {', '.join(behind)}" if behind else ""

    def storage() -> str:
        return server.store_health.why or read()

    def shutdown() -> str:
        return "process is shutting down" if server.is_stopping else ""

    def started() -> str:
        return "" if server.is_serving else "not started"

    hooks: dict[str, Check] = {
        "poststarthook/generic-apiserver-start-informers": read,
        **server.flow.checks(),
        "poststarthook/storage-readiness": read,
        **{f"poststarthook/{name}": started for name in _STARTED},
        "autoregister-completion": started,
    }
    live = {"ping": ping, "log": ping, "etcd": storage, **hooks}
    ready = {"ping": ping, "log": ping, "etcd": storage, "etcd-readiness": storage, "informer-sync": read, **hooks,
             "shutdown": shutdown}  # fmt: skip
    return {"livez": live, "readyz": ready, "healthz": live}
