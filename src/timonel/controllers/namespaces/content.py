"""What every namespace is given by its controllers."""

from __future__ import annotations

from timonel.api.errors import AlreadyExists, ApiError
from timonel.api.objects import Object
from timonel.api.refs import ResourceRef
from timonel.client.protocol import ApiClient
from timonel.controllers.conditions import has_cause


async def create_once(client: ApiClient, ref: ResourceRef, obj: Object) -> None:
    """Creates the object; nothing is owed when somebody was quicker, or when the namespace is on its way out."""
    try:
        await client.create(ref, obj)
    except AlreadyExists:
        return
    except ApiError as exc:
        if not has_cause(exc, "NamespaceTerminating"):
            raise
