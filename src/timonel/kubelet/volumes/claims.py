"""From a pod's claim to the volume behind it, as the API has them now.

The node authorizer lets a node read just the claims its pods name, and the volumes these are bound to.
Source: kubernetes.io/docs/concepts/storage/persistent-volumes/#claims-as-volumes; messages are upstream's.
"""

from __future__ import annotations

from dataclasses import dataclass

from timonel.api.errors import ApiError
from timonel.api.objects import Object, get_path, is_deleting, name_of, namespace_of, uid_of
from timonel.api.refs import PERSISTENT_VOLUME_CLAIMS, PERSISTENT_VOLUMES
from timonel.api.volumes import claim_name, is_made_for, not_made_for, volume_mode_of
from timonel.client.protocol import ApiClient


class ClaimError(Exception):
    """The message is the text of the FailedMount event."""


@dataclass(frozen=True, slots=True)
class ClaimedVolume:
    claim: Object
    volume: Object
    read_only: bool
    """The pod asks for it so."""

    @property
    def is_block(self) -> bool:
        return volume_mode_of(self.volume) == "Block"


async def claimed_volume(client: ApiClient, pod: Object, volume: Object) -> ClaimedVolume:
    """What is behind one of the pod's volumes. Raises ClaimError."""
    name, namespace = claim_name(pod, volume), namespace_of(pod)
    try:
        claim = await _bound_claim(client, pod, volume, name)
        bound = await _volume_of(client, claim)
    except ClaimError as exc:
        what = f"[{volume['name']}]"
        raise ClaimError(
            f"Unable to attach or mount volumes: unmounted volumes={what}, unattached volumes=[], failed to process "
            f"volumes={what}: error processing PVC {namespace}/{name}: {exc}"
        ) from exc
    return ClaimedVolume(claim, bound, bool((volume.get("persistentVolumeClaim") or {}).get("readOnly")))


async def _bound_claim(client: ApiClient, pod: Object, volume: Object, name: str) -> Object:
    try:
        claim = await client.get(PERSISTENT_VOLUME_CLAIMS, name, namespace_of(pod))
    except ApiError as exc:
        raise ClaimError(f"failed to fetch PVC from API server: {exc.message}") from exc
    if volume.get("ephemeral") is not None and not is_made_for(claim, pod):
        raise ClaimError(not_made_for(claim, pod))
    if is_deleting(claim):
        # What is going must not be used anew: its protection ends when no pod on a node uses it.
        raise ClaimError("PVC is being deleted")
    if get_path(claim, "status", "phase") != "Bound" or not get_path(claim, "spec", "volumeName"):
        raise ClaimError("PVC is not bound")
    return claim


async def _volume_of(client: ApiClient, claim: Object) -> Object:
    name = claim["spec"]["volumeName"]
    try:
        volume = await client.get(PERSISTENT_VOLUMES, name)
    except ApiError as exc:
        raise ClaimError(f"failed to fetch PV {name} from API server: {exc.message}") from exc
    ref = get_path(volume, "spec", "claimRef")
    if ref is None:
        why = "it has a nil pv.Spec.ClaimRef indicating it is not yet bound to the claim"
        raise ClaimError(f'found PV object "{name}" but {why}')
    if ref.get("uid") != uid_of(claim):
        raise ClaimError(
            f'found PV object "{name_of(volume)}" but its pv.Spec.ClaimRef.UID "{ref.get("uid") or ""}" does not point '
            f'to claim.UID "{uid_of(claim)}"'
        )
    return volume
