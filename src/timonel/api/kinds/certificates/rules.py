"""What a CertificateSigningRequest may ask, and which of its changes come through which subresource."""

from __future__ import annotations

from timonel.api.certificate_requests import APPROVED, DENIED, FAILED, conditions_of
from timonel.api.field_errors import Path, duplicate, forbidden, invalid, not_supported, quote, required, too_long
from timonel.api.kinds.certificates.pem import certificates_problem, request_problem
from timonel.api.kinds.pod.update import describe_difference
from timonel.api.kinds.rules import Errors
from timonel.api.names import LABEL_MAX, SUBDOMAIN_MAX, validate_dns1123_label, validate_dns1123_subdomain
from timonel.api.objects import Object, get_path

_SPEC = Path("spec")
_CONDITIONS = Path("status") / "conditions"
_CERTIFICATE = Path("status") / "certificate"
_LEGACY_SIGNER = "kubernetes.io/legacy-unknown"
_SHORTEST = 600  # seconds
_SIGNER_LIMIT = SUBDOMAIN_MAX + 1 + SUBDOMAIN_MAX + LABEL_MAX + 1
_USAGES = (
    "any", "cert sign", "client auth", "code signing", "content commitment", "crl sign", "data encipherment",
    "decipher only", "digital signature", "email protection", "encipher only", "ipsec end system", "ipsec tunnel",
    "ipsec user", "key agreement", "key encipherment", "microsoft sgc", "netscape sgc", "ocsp signing", "s/mime",
    "server auth", "signing", "timestamping",
)  # fmt: skip


def check_request(errors: Errors, request: Object, old: Object | None) -> None:
    spec, status = request.get("spec") or {}, request.get("status") or {}
    text = spec.get("request") or ""
    if problem := request_problem(text):
        errors.append(invalid(_SPEC / "request", text or None, problem))
    usages = spec.get("usages") or []
    if not usages:
        errors.append(required(_SPEC / "usages"))
    for index, usage in enumerate(usages):
        if usage not in _USAGES:
            errors.append(not_supported((_SPEC / "usages")[index], usage, _USAGES))
    for index, usage in enumerate(usages):
        if usage in usages[:index]:
            errors.append(duplicate((_SPEC / "usages")[index], usage))
    signer = spec.get("signerName") or ""
    if signer == _LEGACY_SIGNER:
        why = "the legacy signerName is not allowed via this API version"
        errors.append(invalid(_SPEC / "signerName", signer, why))
    else:
        check_signer_name(errors, _SPEC / "signerName", signer)
    seconds = spec.get("expirationSeconds")
    if seconds is not None and seconds < _SHORTEST:
        why = "may not specify a duration less than 600 seconds (10 minutes)"
        errors.append(invalid(_SPEC / "expirationSeconds", seconds, why))
    _check_conditions(errors, status.get("conditions") or [])
    certificate = status.get("certificate")
    if (old is None or certificate != get_path(old, "status", "certificate")) and certificate:
        problem = certificates_problem(certificate)
        if problem:
            errors.append(invalid(_CERTIFICATE, "<certificate data>", problem))


def check_update(new: Object, old: Object, *, may_issue: bool = False, may_decide: bool = False) -> Errors:
    """`may_issue`: the certificate may come. `may_decide`: Approved and Denied may come."""
    errors: Errors = []
    check_request(errors, new, old)
    for kind in (APPROVED, DENIED, FAILED):
        if len(conditions_of(new, kind)) < len(conditions_of(old, kind)):
            errors.append(forbidden(_CONDITIONS, f"updates may not remove a condition of type {quote(kind)}"))
    if not may_decide:
        for kind in (APPROVED, DENIED):
            before, now = conditions_of(old, kind), conditions_of(new, kind)
            if len(now) > len(before):
                errors.append(forbidden(_CONDITIONS, f"updates may not add a condition of type {quote(kind)}"))
            elif len(now) == len(before) and now != before:
                lines = "\n".join(describe_difference(before, now, "status.conditions"))
                why = f"updates may not modify a condition of type {quote(kind)}\n{lines}"
                errors.append(forbidden(_CONDITIONS, why))
    certificate = get_path(old, "status", "certificate")
    if get_path(new, "status", "certificate") != certificate:
        if not may_issue:
            errors.append(forbidden(_CERTIFICATE, "updates may not set certificate content"))
        elif certificate:
            errors.append(forbidden(_CERTIFICATE, "updates may not modify existing certificate content"))
    return errors


def _check_conditions(errors: Errors, conditions: list[Object]) -> None:
    seen: set[str] = set()
    for index, condition in enumerate(conditions):
        path, kind, status = _CONDITIONS[index], condition.get("type") or "", condition.get("status") or ""
        if not kind:
            errors.append(required(path / "type"))
        allowed = ("True",) if kind in (APPROVED, DENIED, FAILED) else ("False", "True", "Unknown")
        if not status:
            errors.append(required(path / "status"))
        elif status not in allowed:
            errors.append(not_supported(path / "status", status, allowed))
        if (kind == APPROVED and DENIED in seen) or (kind == DENIED and APPROVED in seen):
            errors.append(invalid(_CONDITIONS, kind, "Approved and Denied conditions are mutually exclusive"))
        if kind in seen:
            errors.append(duplicate(path / "type", kind))
        seen.add(kind)


def check_signer_name(errors: Errors, path: Path, name: str) -> None:
    """A domain and a path, "example.com/signer"."""
    if not name:
        errors.append(required(path))
        return
    segments = name.split("/")
    if len(segments) != 2:
        why = "must be a fully qualified domain and path of the form 'example.com/signer-name'"
        errors.append(invalid(path, name, why))
        return
    domain, rest = segments
    if len(domain.encode()) > SUBDOMAIN_MAX:
        errors.append(too_long(path, SUBDOMAIN_MAX))
    labels = domain.split(".")
    for text, parts, rule in (
        (domain, labels, validate_dns1123_label),
        (rest, rest.split("."), validate_dns1123_subdomain),
    ):
        for part in parts:
            if found := rule(part):
                errors += [invalid(path, text, f"validating label {quote(part)}: {why}") for why in found]
                break
        if text is domain and len(labels) < 2:
            why = "should be a domain with at least two segments separated by dots"
            errors.append(invalid(path, domain, why))
    if len(name.encode()) > _SIGNER_LIMIT:
        errors.append(too_long(path, _SIGNER_LIMIT))
