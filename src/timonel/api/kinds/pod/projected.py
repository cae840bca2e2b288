"""Projected volumes: several sources as files in one directory, no path twice."""

from __future__ import annotations

from collections.abc import Callable

from timonel.api.field_errors import Path, forbidden, invalid, required
from timonel.api.kinds.pod.paths import check_unreserved
from timonel.api.kinds.rules import Errors, check_label_selector, check_option, check_subdomain
from timonel.api.objects import Object

_CONFLICT = "conflicting duplicate paths"
_KEY_TYPES = ("RSA3072", "RSA4096", "ECDSAP256", "ECDSAP384", "ECDSAP521", "ED25519")
_TEN_MINUTES = 600
_HOUR, _DAY = 3600, 86400


def check_projected(
    errors: Errors,
    path: Path,
    projected: Object,
    *,
    check_items: Callable[[Errors, Path, list[Object]], None],
    check_downward_file: Callable[[Errors, Path, Object], None],
) -> None:
    """The item checks are handed in by the module of all volumes, which this one is part of."""
    paths: set[str] = set()

    def claim(target: str, reported: str | None = None) -> None:
        if target:
            if target in paths:
                errors.append(invalid(path, target if reported is None else reported, _CONFLICT))
            paths.add(target)

    for index, source in enumerate(projected.get("sources") or ()):
        here = (path / "sources")[index]
        count = 0
        for kind in ("secret", "configMap"):
            keyed = source.get(kind)
            if keyed is None:
                continue
            count += 1
            if not keyed.get("name"):
                errors.append(required(here / kind / "name"))
            check_items(errors, here / kind / "items", keyed.get("items") or [])
            for item in keyed.get("items") or ():
                claim(item.get("path") or "", keyed.get("name") or "")
        downward = source.get("downwardAPI")
        if downward is not None:
            count += 1
            for item in downward.get("items") or ():
                check_downward_file(errors, here / "downwardAPI", item)
                claim(item.get("path") or "")
        token = source.get("serviceAccountToken")
        if token is not None:
            count += 1
            _check_token(errors, path, here / "serviceAccountToken", token)
        bundle = source.get("clusterTrustBundle")
        if bundle is not None:
            count += 1
            _check_trust_bundle(errors, here / "clusterTrustBundle", bundle)
            claim(bundle.get("path") or "")
        certificate = source.get("podCertificate")
        if certificate is not None:
            count += 1
            _check_certificate(errors, here / "podCertificate", certificate, claim)
        if count > 1:
            errors.append(forbidden(here, "may not specify more than 1 volume type per source"))


def _check_token(errors: Errors, volume_path: Path, path: Path, token: Object) -> None:
    seconds = token.get("expirationSeconds", _HOUR)
    if seconds < _TEN_MINUTES:
        errors.append(invalid(path / "expirationSeconds", seconds, "may not specify a duration less than 10 minutes"))
    if seconds > 1 << 32:
        why = "may not specify a duration larger than 2^32 seconds"
        errors.append(invalid(path / "expirationSeconds", seconds, why))
    if not token.get("path"):
        errors.append(required(volume_path / "path"))
    else:
        check_unreserved(errors, volume_path / "path", token["path"])


def _check_trust_bundle(errors: Errors, path: Path, bundle: Object) -> None:
    name, signer = bundle.get("name"), bundle.get("signerName")
    if name is not None and signer is not None:
        errors.append(invalid(path, bundle, "only one of name and signerName may be used"))
    elif name is not None:
        if not name:
            errors.append(required(path / "name", "must be a valid object name"))
        check_subdomain(errors, path / "name", name.rpartition(":")[2])
        if bundle.get("labelSelector") is not None:
            why = "labelSelector must be unset if name is specified"
            errors.append(invalid(path / "labelSelector", bundle["labelSelector"], why))
    elif signer is not None:
        if not signer:
            errors.append(required(path / "signerName", "must be a valid signer name"))
        check_signer_name(errors, path / "signerName", signer)
        check_label_selector(errors, path / "labelSelector", bundle.get("labelSelector"))
    else:
        errors.append(required(path, "either name or signerName must be specified"))
    if not bundle.get("path"):
        errors.append(required(path / "path"))
    check_unreserved(errors, path / "path", bundle.get("path") or "")


def check_signer_name(errors: Errors, path: Path, name: str) -> None:
    """A domain with a path: "example.com/signer"."""
    if not name:
        errors.append(required(path))
        return
    domain, slash, rest = name.partition("/")
    if not slash or not rest or "/" in rest:
        errors.append(
            invalid(path, name, "must be a fully qualified domain and path of the form 'example.com/signer-name'")
        )
        return
    check_subdomain(errors, path, domain)
    if domain.count(".") < 1:
        errors.append(invalid(path, name, "should be a domain with at least two segments separated by dots"))


def _check_certificate(errors: Errors, path: Path, certificate: Object, claim: Callable[[str], None]) -> None:
    signer = certificate.get("signerName") or ""
    check_signer_name(errors, path / "signerName", signer)
    check_option(errors, path / "keyType", certificate.get("keyType") or "", _KEY_TYPES)
    seconds = certificate.get("maxExpirationSeconds")
    if seconds is not None:
        if seconds < _HOUR:
            why = "if provided, maxExpirationSeconds must be >= 3600"
            errors.append(invalid(path / "maxExpirationSeconds", seconds, why))
        longest = _DAY if signer.startswith("kubernetes.io/") else 91 * _DAY
        if seconds > longest:
            why = f"if provided, maxExpirationSeconds must be <= {longest}"
            errors.append(invalid(path / "maxExpirationSeconds", seconds, why))
    given = False
    for field in ("credentialBundlePath", "keyPath", "certificateChainPath"):
        target = certificate.get(field)
        if target:
            given = True
            check_unreserved(errors, path / field, target)
            claim(target)
    if not given:
        why = "specify at least one of credentialBundlePath, keyPath, and certificateChainPath"
        errors.append(required(path, why))
