"""NetworkPolicy: which peers may speak with which pods.

Source: kubernetes.io/docs/reference/kubernetes-api/policy-resources/network-policy-v1
"""

from __future__ import annotations

from collections.abc import Iterator

from timonel.api import refs
from timonel.api.errors import FieldError
from timonel.api.field_errors import Path, forbidden, invalid, not_supported, required
from timonel.api.kinds.columns import AGE, NAME, NONE, plain
from timonel.api.kinds.networking.addresses import cidr_warnings, is_strict_subset, parse_cidr
from timonel.api.kinds.rules import Errors, check_cidr, check_label_selector, check_option, check_port
from timonel.api.labels import InvalidSelector, selector_from_object
from timonel.api.names import validate_port_number
from timonel.api.objects import Object, get_path
from timonel.api.resource import Column, Resource, Strategy

_SPEC = Path("spec")
_PROTOCOLS = ("TCP", "UDP", "SCTP")
_DIRECTIONS = ("Ingress", "Egress")
_SIDES = (("ingress", "from"), ("egress", "to"))


class NetworkPolicyStrategy(Strategy):
    def default(self, obj: Object) -> None:
        spec = obj.setdefault("spec", {})
        for direction, _ in _SIDES:
            for rule in spec.get(direction) or ():
                for port in rule.get("ports") or ():
                    port.setdefault("protocol", "TCP")
        if not spec.get("policyTypes"):
            spec["policyTypes"] = ["Ingress", "Egress"] if spec.get("egress") else ["Ingress"]

    def validate_create(self, obj: Object) -> list[FieldError]:
        return _validate_policy(obj, ())

    def validate_update(self, new: Object, old: Object) -> list[FieldError]:
        # Networks that were accepted once stay acceptable wherever in the policy they are now.
        known = {text for _, block in _blocks(old) for text in (block.get("cidr"), *(block.get("except") or ()))}
        return _validate_policy(new, known)

    def warnings(self, obj: Object, old: Object | None) -> list[str]:
        found = []
        for path, block in _blocks(obj):
            found += cidr_warnings(path / "cidr", block.get("cidr") or "")
            for index, text in enumerate(block.get("except") or ()):
                found += cidr_warnings((path / "except")[index], text)
        return found


def _validate_policy(policy: Object, known_cidrs: set[str] | tuple[()]) -> Errors:
    errors: Errors = []
    spec = policy.get("spec") or {}
    check_label_selector(errors, _SPEC / "podSelector", spec.get("podSelector"))
    for direction, peers in _SIDES:
        for index, rule in enumerate(spec.get(direction) or ()):
            path = (_SPEC / direction)[index]
            for position, port in enumerate(rule.get("ports") or ()):
                _check_port(errors, (path / "ports")[position], port)
            for position, peer in enumerate(rule.get(peers) or ()):
                _check_peer(errors, (path / peers)[position], peer, known_cidrs)
    types = spec.get("policyTypes") or []
    if len(types) > len(_DIRECTIONS):
        errors.append(invalid(_SPEC / "policyTypes", types, "may not specify more than two policyTypes"))
        return errors
    for index, kind in enumerate(types):
        if kind not in _DIRECTIONS:
            errors.append(not_supported((_SPEC / "policyTypes")[index], kind, _DIRECTIONS))
    return errors


def _check_port(errors: Errors, path: Path, port: Object) -> None:
    check_option(errors, path / "protocol", port.get("protocol"), _PROTOCOLS)
    number, end = port.get("port"), port.get("endPort")
    if number is None:
        if end is not None:
            errors.append(invalid(path / "endPort", end, "may not be specified when `port` is not specified"))
        return
    if isinstance(number, str):
        if end is not None:
            errors.append(invalid(path / "endPort", end, "may not be specified when `port` is non-numeric"))
        check_port(errors, path / "port", number)
        return
    check_port(errors, path / "port", number)
    if end is not None:
        if end < number:
            # Upstream shows the first port here, not the last.
            errors.append(invalid(path / "endPort", number, "must be greater than or equal to `port`"))
        for why in validate_port_number(end):
            errors.append(invalid(path / "endPort", end, why))


def _check_peer(errors: Errors, path: Path, peer: Object, known_cidrs: set[str] | tuple[()]) -> None:
    selectors = [kind for kind in ("podSelector", "namespaceSelector") if peer.get(kind) is not None]
    for kind in selectors:
        check_label_selector(errors, path / kind, peer[kind])
    block = peer.get("ipBlock")
    if block is not None:
        _check_block(errors, path / "ipBlock", block, known_cidrs)
    if block is None and not selectors:
        errors.append(required(path, "must specify a peer"))
    elif block is not None and selectors:
        errors.append(forbidden(path, "may not specify both ipBlock and another peer"))


def _check_block(errors: Errors, path: Path, block: Object, known_cidrs: set[str] | tuple[()]) -> None:
    text = block.get("cidr") or ""
    if not text:
        errors.append(required(path / "cidr"))
        return
    check_cidr(errors, path / "cidr", text, known_cidrs)
    network = parse_cidr(text)
    if network is None:
        return
    for index, excluded in enumerate(block.get("except") or ()):
        here = (path / "except")[index]
        check_cidr(errors, here, excluded, known_cidrs)
        part = parse_cidr(excluded)
        if part is not None and not is_strict_subset(part, network):
            errors.append(invalid(here, excluded, "must be a strict subset of `cidr`"))


def _blocks(policy: Object) -> Iterator[tuple[Path, Object]]:
    for direction, peers in _SIDES:
        for index, rule in enumerate(get_path(policy, "spec", direction, default=[])):
            for position, peer in enumerate(rule.get(peers) or ()):
                if peer.get("ipBlock") is not None:
                    yield ((_SPEC / direction)[index] / peers)[position] / "ipBlock", peer["ipBlock"]


def _selector(policy: Object) -> str:
    try:
        return str(selector_from_object(get_path(policy, "spec", "podSelector", default={}))) or NONE
    except InvalidSelector:
        return "<error>"


NETWORK_POLICIES = Resource(
    ref=refs.NETWORK_POLICIES,
    definition="io.k8s.api.networking.v1.NetworkPolicy",
    singular="networkpolicy",
    short_names=("netpol",),
    strategy=NetworkPolicyStrategy(),
    columns=(NAME, Column("Pod-Selector", plain(_selector), description="Labels of the pods it is about."), AGE),
    storage_prefix="/registry/networkpolicies/",
)
