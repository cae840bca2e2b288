"""Where a webhook is: a URL, or a Service in the cluster. Shared with the conversion of custom resources."""

from __future__ import annotations

from collections.abc import Sequence
from urllib.parse import urlsplit

from timonel.api.field_errors import Path, invalid, required
from timonel.api.kinds.rules import Errors
from timonel.api.names import validate_dns1035_label, validate_dns1123_subdomain, validate_port_number
from timonel.api.objects import Object

_FORM = "; desired format: https://host[/path]"
_PORT = 443
REVIEW_VERSIONS = ("v1", "v1beta1")


def default_client(config: Object | None) -> None:
    service = (config or {}).get("service")
    if service is not None:
        service.setdefault("port", _PORT)


def check_client(errors: Errors, path: Path, config: Object) -> None:
    url, service = config.get("url"), config.get("service")
    if (url is None) == (service is None):
        errors.append(required(path, "exactly one of url or service is required"))
    elif url is not None:
        _check_url(errors, path / "url", url)
    elif service is not None:
        _check_service(errors, path / "service", service)


def check_review_versions(errors: Errors, path: Path, versions: Sequence[str], when_missing: str = "") -> None:
    """Versions of the review that the webhook understands; one must be known here too."""
    if not versions:
        errors.append(required(path, when_missing))
        return
    for index, version in enumerate(versions):
        if version in versions[:index]:
            errors.append(invalid(path[index], version, "duplicate version"))
            continue
        for why in validate_dns1035_label(version):
            errors.append(invalid(path[index], version, why))
    if not set(versions) & set(REVIEW_VERSIONS):
        errors.append(invalid(path, list(versions), f"must include at least one of {', '.join(REVIEW_VERSIONS)}"))


def _check_url(errors: Errors, path: Path, text: str) -> None:
    try:
        url = urlsplit(text)
        host = url.netloc.rpartition("@")[2]
        _ = url.port
    except ValueError as exc:
        errors.append(required(path, f"url must be a valid URL: {exc}{_FORM}"))
        return
    if url.scheme != "https":
        errors.append(invalid(path, url.scheme, f"'https' is the only allowed URL scheme{_FORM}"))
    if not host:
        errors.append(invalid(path, host, f"host must be specified{_FORM}"))
    if "@" in url.netloc:
        errors.append(invalid(path, url.netloc.rpartition("@")[0], "user information is not permitted in the URL"))
    if url.fragment:
        errors.append(invalid(path, url.fragment, "fragments are not permitted in the URL"))
    if url.query:
        errors.append(invalid(path, url.query, "query parameters are not permitted in the URL"))


def _check_service(errors: Errors, path: Path, service: Object) -> None:
    # Upstream takes the one for the other here: a missing namespace is found at `name`.
    for missing, reported in (("namespace", "name"), ("name", "namespace")):
        if not service.get(missing):
            errors.append(required(path / reported))
    port = service.get("port") or 0
    if found := validate_port_number(port):
        errors.append(invalid(path / "port", port, f"port is not valid: {', '.join(found)}"))
    target = service.get("path") or ""
    if target in ("", "/"):
        return
    if target == "//":
        errors.append(invalid(path / "path", target, "segment[0] may not be empty"))
        return
    if not target.startswith("/"):
        errors.append(invalid(path / "path", target, "must start with a '/'"))
    for index, step in enumerate(target[1:].removesuffix("/").split("/")):
        if not step:
            errors.append(invalid(path / "path", target, f"segment[{index}] may not be empty"))
            continue
        for why in validate_dns1123_subdomain(step):
            errors.append(invalid(path / "path", target, f"segment[{index}]: {why}"))
