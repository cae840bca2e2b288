"""One write for what several controllers change of a Node at the same moment, where they act as the same account.

A new node needs its pod network from one and is freed of its first taint by another: two requests, two revisions, and
two events to everybody who watches nodes, for each of thousands of nodes. What is asked for in one turn of the event
loop goes out together, and on a busy server what is asked for while a write of that node waits for its turn: fewer
writes are under way than the controllers have workers, so that those meet whose pace differs.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from timonel.api.objects import Object
from timonel.api.refs import NODES
from timonel.client.protocol import ApiClient

PARALLEL = 8
WORKERS = 4 * PARALLEL
"""Of each controller that writes through one."""


@dataclass(slots=True)
class _Joint:
    patch: Object
    task: asyncio.Task[Object] | None = None


class JointNodeWrites:
    def __init__(self, client: ApiClient) -> None:
        self._client = client
        self._open: dict[str, _Joint] = {}
        self._slots = asyncio.Semaphore(PARALLEL)

    async def patch(self, name: str, patch: Object) -> Object:
        """A merge patch of metadata and spec; the Node as it is then. Raises what the request raises, for all alike.

        A guard (uid, resourceVersion) of one holds for all; patches that contradict each other go out one by one.
        """
        joint = self._open.get(name)
        together = _joined(joint.patch, patch) if joint is not None else None
        if joint is None or together is None:
            joint = _Joint(patch)
            self._open.setdefault(name, joint)
            joint.task = asyncio.create_task(self._send(name, joint), name=f"write of node {name}")
        else:
            joint.patch = together
        assert joint.task is not None
        # Shielded, for it is not only this caller's.
        return await asyncio.shield(joint.task)

    async def _send(self, name: str, joint: _Joint) -> Object:
        """Begins in the next turn of the loop at the earliest; until then others may join."""
        async with self._slots:
            if self._open.get(name) is joint:
                del self._open[name]
            return await self._client.patch(NODES, name, joint.patch, type="merge")


def _joined(one: Object, other: Object) -> Object | None:
    """Both, field by field of each part; None when they want different things of one field."""
    joined = {part: dict(fields) for part, fields in one.items()}
    for part, fields in other.items():
        into = joined.setdefault(part, {})
        for name, value in fields.items():
            if name in into and into[name] != value:
                return None
            into[name] = value
    return joined
