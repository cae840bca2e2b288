"""Names and addresses of a pod: host name, DNS settings, host aliases, the host's network."""

from __future__ import annotations

import re

from timonel.api.field_errors import Path, forbidden, invalid, required, too_long
from timonel.api.kinds.rules import Errors, check_ip, check_label, check_subdomain
from timonel.api.names import SUBDOMAIN_MAX
from timonel.api.objects import Object

MAX_NAMESERVERS = 3
MAX_SEARCHES = 32
MAX_SEARCH_CHARACTERS = 2048
# A subdomain whose labels may begin with, and hold, underscores: service records need them.
_SEARCH_LABEL = "_?[a-z0-9]([-_a-z0-9]*[a-z0-9])?"
_SEARCH = rf"{_SEARCH_LABEL}(\.{_SEARCH_LABEL})*"
_search_match = re.compile(_SEARCH).fullmatch


def check_dns(errors: Errors, path: Path, config: Object | None, policy: str) -> None:
    if policy == "None":
        if config is None:
            errors.append(required(path, "must provide `dnsConfig` when `dnsPolicy` is None"))
            return
        if not config.get("nameservers"):
            why = "must provide at least one DNS nameserver when `dnsPolicy` is None"
            errors.append(required(path / "nameservers", why))
            return
    if not config:
        return
    servers, searches = config.get("nameservers") or [], config.get("searches") or []
    if len(servers) > MAX_NAMESERVERS:
        why = f"must not have more than {MAX_NAMESERVERS} nameservers"
        errors.append(invalid(path / "nameservers", servers, why))
    for index, server in enumerate(servers):
        check_ip(errors, (path / "nameservers")[index], server)
    if len(searches) > MAX_SEARCHES:
        errors.append(invalid(path / "searches", searches, f"must not have more than {MAX_SEARCHES} search paths"))
    if len(" ".join(searches)) > MAX_SEARCH_CHARACTERS:
        why = f"must not have more than {MAX_SEARCH_CHARACTERS} characters (including spaces) in the search list"
        errors.append(invalid(path / "searches", searches, why))
    for index, search in enumerate(searches):
        if search != ".":
            _check_search(errors, (path / "searches")[index], search.removesuffix("."))
    for index, option in enumerate(config.get("options") or ()):
        if not option.get("name"):
            errors.append(required((path / "options")[index], "must not be empty"))


def _check_search(errors: Errors, path: Path, search: str) -> None:
    if len(search) > SUBDOMAIN_MAX:
        errors.append(invalid(path, search, f"must be no more than {SUBDOMAIN_MAX} characters"))
    if not _search_match(search):
        why = (
            "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '_', '-' or '.', and "
            "must start and end with an alphanumeric character "
            f"(e.g. 'example.com', regex used for validation is '{_SEARCH}')"
        )
        errors.append(invalid(path, search, why))


def check_host_aliases(errors: Errors, path: Path, aliases: list[Object]) -> None:
    for index, alias in enumerate(aliases):
        check_ip(errors, path[index] / "ip", alias.get("ip") or "")
        for position, hostname in enumerate(alias.get("hostnames") or ()):
            check_subdomain(errors, (path[index] / "hostnames")[position], hostname)


def check_host_names(errors: Errors, path: Path, spec: Object) -> None:
    for field in ("hostname", "subdomain"):
        if spec.get(field):
            check_label(errors, path / field, spec[field])
    override = spec.get("hostnameOverride")
    if override is None:
        return
    here = path / "hostnameOverride"
    if spec.get("setHostnameAsFQDN"):
        errors.append(forbidden(here, "may not be specified when setHostnameAsFQDN is true"))
    if spec.get("hostNetwork"):
        errors.append(forbidden(here, "may not be specified when hostNetwork is true"))
    if len(override) > 64:
        errors.append(too_long(here, 64))
    check_subdomain(errors, here, override)


def check_host_network(errors: Errors, path: Path, spec: Object, *, is_pod: bool) -> None:
    """On the host's network a port has one number only."""
    if not spec.get("hostNetwork"):
        return
    for index, container in enumerate(spec.get("containers") or ()):
        for position, port in enumerate(container.get("ports") or ()):
            host, inner = port.get("hostPort") or 0, port.get("containerPort") or 0
            if (is_pod or host) and host != inner:
                here = ((path / "containers")[index] / "ports")[position] / "hostPort"
                errors.append(invalid(here, host, "must match `containerPort` when `hostNetwork` is true"))
