"""PolicyRules of RBAC: does a rule match a request, and does a set of rules cover another.

Source: kubernetes.io/docs/reference/access-authn-authz/rbac
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import product

from timonel.api.objects import Object
from timonel.apiserver.authz.attributes import Attributes


def matches_resource_type(rule: Object, verb: str, group: str, resource: str, subresource: str) -> bool:
    """Whether the rule speaks of this verb and resource at all, names aside."""
    return (
        _has(rule.get("verbs"), verb)
        and _has(rule.get("apiGroups"), group)
        and _has_resource(rule.get("resources"), resource, subresource)
    )


def matches_path(rule: Object, verb: str, path: str) -> bool:
    """A nonResourceURL is "*", exact, or a prefix that ends in "*"."""
    return _has(rule.get("verbs"), verb) and any(_covers_path(url, path) for url in rule.get("nonResourceURLs") or ())


def matches(rule: Object, a: Attributes) -> bool:
    if not a.is_resource_request:
        return matches_path(rule, a.verb, a.path)
    names = rule.get("resourceNames")
    return matches_resource_type(rule, a.verb, a.group, a.resource, a.subresource) and (not names or a.name in names)


def uncovered(owned: Sequence[Object], wanted: Iterable[Object]) -> list[Object]:
    """Those single-verb, single-resource pieces of `wanted` that no rule of `owned` grants."""
    return [piece for rule in wanted for piece in _pieces(rule) if not any(_covers(own, piece) for own in owned)]


def _has(values: Sequence[str] | None, wanted: str) -> bool:
    return values is not None and (wanted in values or "*" in values)


def _has_resource(resources: Sequence[str] | None, resource: str, subresource: str) -> bool:
    if not resources:
        return False
    if "*" in resources:
        return True
    if subresource:
        return f"{resource}/{subresource}" in resources or f"*/{subresource}" in resources
    return resource in resources


def _covers_path(owned: str, path: str) -> bool:
    return owned in ("*", path) or (owned.endswith("*") and path.startswith(owned[:-1]))


def _pieces(rule: Object) -> Iterator[Object]:
    """Splits a rule into rules of one verb and one group, resource, name or one URL: each is granted or not."""
    verbs = rule.get("verbs") or ()
    for group, resource, verb in product(rule.get("apiGroups") or (), rule.get("resources") or (), verbs):
        piece: Object = {"apiGroups": [group], "resources": [resource], "verbs": [verb]}
        if names := rule.get("resourceNames"):
            yield from ({**piece, "resourceNames": [name]} for name in names)
        else:
            yield piece
    for url, verb in product(rule.get("nonResourceURLs") or (), verbs):
        yield {"nonResourceURLs": [url], "verbs": [verb]}


def _covers(owned: Object, piece: Object) -> bool:
    verb = piece["verbs"][0]
    if not _has(owned.get("verbs"), verb):
        return False
    if urls := piece.get("nonResourceURLs"):
        return any(_covers_path(own, urls[0]) for own in owned.get("nonResourceURLs") or ())
    resource, _, subresource = piece["resources"][0].partition("/")
    if not _has(owned.get("apiGroups"), piece["apiGroups"][0]):
        return False
    if not _has_resource(owned.get("resources"), resource, subresource):
        return False
    names = owned.get("resourceNames")
    return not names or (bool(piece.get("resourceNames")) and piece["resourceNames"][0] in names)
