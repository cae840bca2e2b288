"""The paths of `dumps`, for administrators."""

from __future__ import annotations

from typing import TYPE_CHECKING

from aiohttp import web

from timonel.apiserver.flowcontrol.dumps import dump_levels, dump_queues, dump_requests
from timonel.apiserver.paths import PATHS
from timonel.apiserver.responses import text_reply
from timonel.apiserver.routing import Route

if TYPE_CHECKING:
    from timonel.apiserver.server import ApiServer

_FOLDER = "/debug/api_priority_and_fairness/"


async def _dump(server: ApiServer, request: web.BaseRequest, route: Route, audit_id: str) -> web.StreamResponse:
    levels = server.flow.levels
    if levels is None:
        return text_reply("404 page not found\n", status=404, audit_id=audit_id)
    match route.path.removeprefix(_FOLDER):
        case "dump_priority_levels":
            text = dump_levels(levels)
        case "dump_queues":
            text = dump_queues(levels)
        case _:
            text = dump_requests(levels, server.clock, details=bool(route.text("includeRequestDetails")))
    return text_reply(text, audit_id=audit_id)


PATHS.update({_FOLDER + name: _dump for name in ("dump_priority_levels", "dump_queues", "dump_requests")})
