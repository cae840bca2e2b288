"""/livez, /readyz, /healthz: named checks, each also at a path of its own, all listed with ?verbose.

Source: kubernetes.io/docs/reference/using-api/health-checks
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from timonel.apiserver.server import ApiServer

Check = Callable[[], str]
"""Returns "" when all is well, else why not."""


@dataclass(frozen=True, slots=True)
class Health:
    """`groups` maps "livez", "readyz", "healthz" to their checks by name, in order."""

    groups: Mapping[str, Mapping[str, Check]]

    def answer(self, path: str, *, verbose: bool, exclude: frozenset[str]) -> tuple[int, str] | None:
        """Status code and text for a path such as "/readyz" or "/livez/ping"; None when there is no such check."""
        parts = path.strip("/").split("/", 1)
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


def server_checks(server: ApiServer) -> dict[str, dict[str, Check]]:
    """The checks of one API server; names are upstream's, where people and monitoring know them.

    The store counts as "etcd" whichever it is.
    """

    def ping() -> str:
        return ""

    def storage() -> str:
        behind = [prefix for prefix, cache in server.registry.caches if not cache.is_synced]
        return f"not read yet: {', '.join(behind)}" if behind else ""

    def shutdown() -> str:
        return "process is shutting down" if server.is_stopping else ""

    def started() -> str:
        return "" if server.is_serving else "not started"

    live = {"ping": ping, "log": ping, "etcd": storage, "poststarthook/start-apiserver": started,
            **server.flow.checks()}  # fmt: skip
    ready = {"ping": ping, "log": ping, "etcd": storage, "etcd-readiness": storage,
             "informer-sync": storage, "poststarthook/start-apiserver": started, **server.flow.checks(),
             "shutdown": shutdown}  # fmt: skip
    return {"livez": live, "readyz": ready, "healthz": live}
