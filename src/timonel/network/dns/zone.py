"""Answers for the cluster domain, by the Kubernetes DNS specification 1.1 (github.com/kubernetes/dns).

Names are lower case without the final dot. A name that exists without the type asked for has an empty answer
(NODATA); one that does not exist is NXDOMAIN. Pod names are answered from the name itself, as clusters commonly do.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address

from timonel.api.objects import Object, ObjectKey, get_path, name_of
from timonel.client.lister import Lister

SPECIFICATION_VERSION = "1.1.0"
_DASHED = re.compile(r"\d{1,3}(-\d{1,3}){3}")


@dataclass(frozen=True, slots=True)
class Record:
    name: str
    type: str
    """A, SRV, PTR, CNAME or TXT."""
    value: str
    """Address, target name or text; for SRV "priority weight port target"."""


@dataclass(frozen=True, slots=True)
class Answer:
    exists: bool
    records: Sequence[Record] = ()
    extra: Sequence[Record] = ()
    """Addresses of SRV targets."""


NXDOMAIN = Answer(False)
NODATA = Answer(True)


class Zone:
    """`slices` needs the indexes "service" (ObjectKey) and "address"; `services` the index "address"."""

    def __init__(self, *, domain: str, services: Lister, slices: Lister) -> None:
        self._domain = domain.rstrip(".").lower()
        self._services = services
        self._slices = slices

    def covers(self, name: str) -> bool:
        """Whether the name is ours to answer: under the domain, or the reverse of an address we know."""
        if name == self._domain or name.endswith("." + self._domain):
            return True
        address = reverse_address(name)
        return bool(
            address and (self._services.by_index("address", address) or self._slices.by_index("address", address))
        )

    def answer(self, name: str, type: str) -> Answer:
        """`type` is the type asked for; a CNAME is given for any. Only names that `covers` accepts."""
        if name.endswith(".in-addr.arpa"):
            return self._reverse(name, type)
        labels = name[: -len(self._domain)].rstrip(".").split(".") if name != self._domain else []
        if not labels or labels in (["svc"], ["pod"]):
            return NODATA
        if labels == ["dns-version"]:
            return self._only(type, [Record(name, "TXT", SPECIFICATION_VERSION)])
        if labels[-1] == "svc":
            return self._service_name(name, labels[:-1], type)
        if labels[-1] == "pod":
            return self._pod_name(name, labels[:-1], type)
        return NXDOMAIN

    def _service_name(self, name: str, labels: list[str], type: str) -> Answer:
        if len(labels) == 1:
            return NODATA if self._services.list(labels[0]) else NXDOMAIN
        service = self._services.get(labels[-1], labels[-2])
        if service is None:
            return NXDOMAIN
        base = f"{labels[-2]}.{labels[-1]}.svc.{self._domain}"
        rest = labels[:-2]
        spec = service.get("spec") or {}
        if spec.get("type") == "ExternalName":
            return (
                Answer(True, [Record(name, "CNAME", spec.get("externalName", "").rstrip("."))])
                if not rest
                else NXDOMAIN
            )
        headless = spec.get("clusterIP") == "None"
        if not rest:
            addresses = self._ready_addresses(service) if headless else _cluster_ips(spec)
            return self._only(type, [Record(name, "A", address) for address in addresses])
        if rest[0].startswith("_"):
            return self._srv(name, base, service, rest, type)
        if headless and len(rest) == 1:
            found = [address for host, address, _ in self._endpoints(service) if host == rest[0]]
            if found:
                return self._only(type, [Record(name, "A", address) for address in sorted(set(found))])
        return NXDOMAIN

    def _srv(self, name: str, base: str, service: Object, rest: list[str], type: str) -> Answer:
        if len(rest) != 2 or not rest[1].startswith("_"):
            # _tcp.service.namespace exists as an empty level when a port is below it.
            return NODATA if len(rest) == 1 and rest[0] in ("_tcp", "_udp", "_sctp") else NXDOMAIN
        port_name, protocol = rest[0][1:], rest[1][1:].upper()
        spec = service.get("spec") or {}
        targets: set[tuple[int, str, str]] = set()
        if spec.get("clusterIP") == "None":
            for host, address, ports in self._endpoints(service):
                targets |= {
                    (port["port"], f"{host}.{base}", address)
                    for port in ports
                    if (port.get("name") or "") == port_name and port.get("protocol", "TCP") == protocol
                }
        else:
            targets = {
                (port["port"], base, address)
                for port in spec.get("ports") or []
                if (port.get("name") or "") == port_name and port.get("protocol", "TCP") == protocol
                for address in _cluster_ips(spec)
            }
        if not targets:
            return NXDOMAIN
        weight = max(1, 100 // len(targets))
        names = sorted({(port, target) for port, target, _ in targets})
        records = [Record(name, "SRV", f"0 {weight} {port} {target}") for port, target in names]
        extra = [Record(target, "A", address) for _, target, address in sorted(targets)]
        return Answer(True, records, extra) if type == "SRV" else NODATA

    def _pod_name(self, name: str, labels: list[str], type: str) -> Answer:
        """a-b-c-d.<namespace>.pod.<domain>"""
        if len(labels) == 1:
            return NODATA if self._services.list(labels[0]) else NXDOMAIN
        if len(labels) == 2 and _DASHED.fullmatch(labels[0]):
            try:
                return self._only(type, [Record(name, "A", str(IPv4Address(labels[0].replace("-", "."))))])
            except ValueError:
                return NXDOMAIN
        return NXDOMAIN

    def _reverse(self, name: str, type: str) -> Answer:
        address = reverse_address(name)
        records = [
            Record(name, "PTR", f"{name_of(service)}.{service['metadata']['namespace']}.svc.{self._domain}")
            for service in self._services.by_index("address", address)
        ]
        for item in self._slices.by_index("address", address):
            key = service_of_slice(item)
            service = self._services.get(*key) if key else None
            if service is None or get_path(service, "spec", "clusterIP") != "None" or key is None:
                continue
            records += [
                Record(name, "PTR", f"{host}.{key.name}.{key.namespace}.svc.{self._domain}")
                for host, found, _ in self._endpoints(service)
                if found == address
            ]
        unique = list(dict.fromkeys(records))
        return self._only(type, unique) if unique else NXDOMAIN

    def _ready_addresses(self, service: Object) -> list[str]:
        return sorted({address for _, address, _ in self._endpoints(service)})

    def _endpoints(self, service: Object) -> Iterable[tuple[str, str, list[Object]]]:
        """Host label, address and ports of each ready endpoint; slices of Services that publish all call all ready."""
        metadata = service["metadata"]
        for item in self._slices.by_index("service", ObjectKey(metadata["namespace"], metadata["name"])):
            if item.get("addressType") != "IPv4":
                continue
            for endpoint in item.get("endpoints") or []:
                if not (endpoint.get("conditions") or {}).get("ready", True):
                    continue
                for address in endpoint["addresses"]:
                    yield endpoint.get("hostname") or address.replace(".", "-"), address, item.get("ports") or []

    def _only(self, type: str, records: list[Record]) -> Answer:
        return Answer(True, tuple(record for record in records if type in (record.type, "ANY")))


def reverse_address(name: str) -> str:
    """4.3.2.1.in-addr.arpa -> 1.2.3.4; "" for anything else."""
    labels = name.removesuffix(".in-addr.arpa").split(".")
    if name.endswith(".in-addr.arpa") and len(labels) == 4 and all(label.isdigit() for label in labels):
        return ".".join(reversed(labels))
    return ""


def service_of_slice(item: Object) -> ObjectKey | None:
    service = (item["metadata"].get("labels") or {}).get("kubernetes.io/service-name")
    return ObjectKey(item["metadata"]["namespace"], service) if service else None


def _cluster_ips(spec: Object) -> list[str]:
    return [address for address in spec.get("clusterIPs") or [spec.get("clusterIP") or ""] if "." in address]
