"""OpenID Connect discovery: how others learn to verify our service account tokens.

Source: kubernetes.io/docs/tasks/configure-pod-container/configure-service-account/#service-account-issuer-discovery
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import orjson
from aiohttp import web

from timonel.api.objects import Object
from timonel.apiserver.paths import PATHS
from timonel.apiserver.routing import Route

if TYPE_CHECKING:
    from timonel.apiserver.server import ApiServer

CONFIGURATION_PATH = "/.well-known/openid-configuration"
JWKS_PATH = "/openid/v1/jwks"
_MAX_AGE_SECONDS = 3600


async def answer_configuration(
    server: ApiServer, request: web.BaseRequest, route: Route, audit_id: str
) -> web.StreamResponse:
    tokens = server.security.tokens
    return _answer(
        {
            "issuer": tokens.issuer,
            "jwks_uri": server.security.config.jwks_uri or f"https://{server.public_address}{JWKS_PATH}",
            "response_types_supported": ["id_token"],
            "subject_types_supported": ["public"],
            "id_token_signing_alg_values_supported": tokens.keys.algorithms(),
        },
        "application/json",
        audit_id,
    )


async def answer_keys(server: ApiServer, request: web.BaseRequest, route: Route, audit_id: str) -> web.StreamResponse:
    return _answer(server.security.tokens.keys.jwks(), "application/jwk-set+json", audit_id)


def _answer(content: Object, content_type: str, audit_id: str) -> web.Response:
    headers = {"Cache-Control": f"public, max-age={_MAX_AGE_SECONDS}", "Audit-Id": audit_id}
    return web.Response(body=orjson.dumps(content), content_type=content_type, headers=headers)


PATHS.update({
    CONFIGURATION_PATH: answer_configuration,
    f"{CONFIGURATION_PATH}/": answer_configuration,
    JWKS_PATH: answer_keys,
    f"{JWKS_PATH}/": answer_keys,
})  # fmt: skip
