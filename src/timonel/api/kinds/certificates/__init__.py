"""CertificateSigningRequest: a wish for a certificate, who approves it, and the certificate.

Source: kubernetes.io/docs/reference/access-authn-authz/certificate-signing-requests
"""

from __future__ import annotations

from timonel.api import refs
from timonel.api.certificate_requests import APPROVED, DENIED, FAILED, conditions_of
from timonel.api.clock import format_time
from timonel.api.errors import FieldError
from timonel.api.kinds.certificates.rules import check_request, check_update
from timonel.api.kinds.columns import AGE, NAME, NONE, cell_at, human_duration, plain
from timonel.api.kinds.fields import text_at
from timonel.api.kinds.rules import Errors
from timonel.api.kinds.subresources import STATUS
from timonel.api.names import validate_path_segment
from timonel.api.objects import Object, copy_object, get_path
from timonel.api.resource import Column, Occasion, Resource, Strategy, Subresource

_REQUESTER = ("username", "uid", "groups", "extra")


class CertificateSigningRequestStrategy(Strategy):
    """Of the object itself nothing but metadata changes after it was made; the subresources have the rest."""

    tracks_generation = False

    def validate_name(self, name: str) -> list[str]:
        return validate_path_segment(name)

    def prepare_create(self, obj: Object) -> None:
        for field in _REQUESTER:
            obj.setdefault("spec", {}).pop(field, None)
        obj["status"] = {}

    def stamp(self, new: Object, old: Object | None, occasion: Occasion) -> None:
        if old is None:
            asker = {
                "username": occasion.username, "uid": occasion.uid, "groups": list(occasion.groups),
                "extra": {key: list(values) for key, values in occasion.extra.items()},
            }  # fmt: skip
            new["spec"].update({field: value for field, value in asker.items() if value})
        elif occasion.subresource in ("status", "approval"):
            _stamp_conditions(new, old, format_time(occasion.now))

    def validate_create(self, obj: Object) -> list[FieldError]:
        errors: Errors = []
        check_request(errors, obj, None)
        return errors

    def prepare_update(self, new: Object, old: Object) -> None:
        new["spec"] = copy_object(old.get("spec") or {})

    def validate_update(self, new: Object, old: Object) -> list[FieldError]:
        return check_update(new, old)

    def prepare_status_update(self, new: Object, old: Object) -> None:
        """A signer's update carries the approval along; if it has as many such conditions, they are as they were."""
        for kind in (APPROVED, DENIED):
            before, now = conditions_of(old, kind), conditions_of(new, kind)
            if len(before) == len(now):
                for mine, theirs in zip(now, before, strict=True):
                    mine.clear()
                    mine.update(copy_object(theirs))

    def validate_status_update(self, new: Object, old: Object) -> list[FieldError]:
        return check_update(new, old, may_issue=True)


class ApprovalStrategy(CertificateSigningRequestStrategy):
    """Rules of the subresource `approval`: only conditions change, and among them those that decide."""

    def prepare_update(self, new: Object, old: Object) -> None:
        conditions = get_path(new, "status", "conditions")
        new["spec"] = copy_object(old.get("spec") or {})
        new["status"] = copy_object(old.get("status") or {})
        new["status"].pop("conditions", None)
        if conditions is not None:
            new["status"]["conditions"] = conditions

    def validate_update(self, new: Object, old: Object) -> list[FieldError]:
        return check_update(new, old, may_decide=True)


APPROVAL = ApprovalStrategy()


def _stamp_conditions(new: Object, old: Object, now: str) -> None:
    for condition in get_path(new, "status", "conditions", default=[]):
        condition["lastUpdateTime"] = condition.get("lastUpdateTime") or now
        if not condition.get("lastTransitionTime"):
            same = (
                before["lastTransitionTime"]
                for before in get_path(old, "status", "conditions", default=[])
                if before.get("type") == condition.get("type")
                and before.get("status") == condition.get("status")
                and before.get("lastTransitionTime")
            )
            condition["lastTransitionTime"] = next(same, now)


def _state(request: Object) -> str:
    state = (
        "Denied" if conditions_of(request, DENIED) else "Approved" if conditions_of(request, APPROVED) else "Pending"
    )
    if conditions_of(request, FAILED):
        state += ",Failed"
    return f"{state},Issued" if get_path(request, "status", "certificate") else state


def _duration(request: Object) -> str:
    seconds = get_path(request, "spec", "expirationSeconds")
    return NONE if seconds is None else human_duration(seconds)


CERTIFICATE_SIGNING_REQUESTS = Resource(
    ref=refs.CERTIFICATE_SIGNING_REQUESTS,
    definition="io.k8s.api.certificates.v1.CertificateSigningRequest",
    singular="certificatesigningrequest",
    short_names=("csr",),
    subresources=(Subresource("approval", strategy=APPROVAL), STATUS),
    strategy=CertificateSigningRequestStrategy(),
    columns=(
        NAME,
        AGE,
        Column("SignerName", cell_at("spec", "signerName", default=NONE), description="Who shall sign."),
        Column("Requestor", cell_at("spec", "username"), description="Who asks."),
        Column("RequestedDuration", plain(_duration), description="How long it shall be valid."),
        Column("Condition", plain(_state), description="Whether it is decided and issued."),
    ),
    selectable_fields={"spec.signerName": text_at("spec", "signerName")},
    storage_prefix="/registry/certificatesigningrequests/",
    has_status=True,
)

CERTIFICATE_ROWS = (CERTIFICATE_SIGNING_REQUESTS,)

__all__ = [
    "APPROVAL",
    "CERTIFICATE_ROWS",
    "CERTIFICATE_SIGNING_REQUESTS",
    "CertificateSigningRequestStrategy",
]
