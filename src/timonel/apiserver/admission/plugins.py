"""The one ordered table of admission plugins, in upstream's order."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from timonel.api.clock import Clock
from timonel.api.objects import Object
from timonel.api.resource import ResourceTable
from timonel.apiserver.admission.certificates import (
    CertificateApproval,
    CertificateSigning,
    CertificateSubjectRestriction,
)
from timonel.apiserver.admission.chain import Plugin
from timonel.apiserver.admission.default_classes import DefaultIngressClass, DefaultStorageClass
from timonel.apiserver.admission.device_access import DeviceAccess
from timonel.apiserver.admission.escalation import RbacEscalation
from timonel.apiserver.admission.event_rate_limit import EventLimit, EventRateLimit
from timonel.apiserver.admission.external_ips import DenyServiceExternalIPs
from timonel.apiserver.admission.limit_ranger import LimitRanger
from timonel.apiserver.admission.namespace_lifecycle import NamespaceLifecycle
from timonel.apiserver.admission.namespace_placement import PodNodeSelector, PodTolerationRestriction
from timonel.apiserver.admission.namespace_presence import NamespaceAutoProvision, NamespaceExists
from timonel.apiserver.admission.node_restriction import NodeRestriction
from timonel.apiserver.admission.owner_references import OwnerReferencesPermissionEnforcement
from timonel.apiserver.admission.pod_resize import NodeDeclaredFeatureValidator, PodResizeValidator
from timonel.apiserver.admission.pod_rules import (
    AlwaysPullImages,
    ExtendedResourceToleration,
    LimitPodHardAntiAffinityTopology,
)
from timonel.apiserver.admission.pod_security.plugin import PodSecurity
from timonel.apiserver.admission.priority import Priority
from timonel.apiserver.admission.resource_quota import ResourceQuota
from timonel.apiserver.admission.runtime_class import RuntimeClass
from timonel.apiserver.admission.selection import AdmissionConfig, select_names
from timonel.apiserver.admission.service_account import ServiceAccount
from timonel.apiserver.admission.storage_protection import StorageObjectInUseProtection
from timonel.apiserver.admission.tolerations import DefaultTolerationSeconds, TaintNodesByCondition
from timonel.apiserver.admission.topology_labels import PodTopologyLabels
from timonel.apiserver.admission.volume_resize import PersistentVolumeClaimResize
from timonel.apiserver.authz.attributes import Authorizer
from timonel.apiserver.authz.rbac import RbacAuthorizer
from timonel.apiserver.readers import Readers, Writer


@dataclass(frozen=True, slots=True, kw_only=True)
class Tools:
    """What plugins are made from."""

    readers: Readers
    writer: Writer
    authorizer: Authorizer
    rbac: RbacAuthorizer
    table: ResourceTable
    clock: Clock
    not_ready_seconds: int = 300
    unreachable_seconds: int = 300


@dataclass(frozen=True, slots=True)
class _Row:
    make: Callable[[Tools, Object], Plugin]
    """Gets the plugin's own settings as well; raises ValueError and TypeError for what they must not be."""
    name: str
    is_on: bool = True
    has_settings: bool = False


def _on(plugin: type[Plugin], *needs: str) -> _Row:
    """`needs` names those of the tools that the constructor takes under the same name."""
    return _Row(lambda tools, settings: _build(plugin, tools, needs), plugin.name)


def _off(plugin: type[Plugin], *needs: str) -> _Row:
    return _Row(lambda tools, settings: _build(plugin, tools, needs), plugin.name, is_on=False)


def _build(plugin: Callable[..., Plugin], tools: Tools, needs: tuple[str, ...]) -> Plugin:
    return plugin(**{name: getattr(tools, name) for name in needs})


def _toleration_seconds(tools: Tools, settings: Object) -> Plugin:
    return DefaultTolerationSeconds(
        not_ready_seconds=tools.not_ready_seconds, unreachable_seconds=tools.unreachable_seconds
    )


def _node_selector(tools: Tools, settings: Object) -> Plugin:
    selectors = _only(settings, "podNodeSelectorPluginConfig").get("podNodeSelectorPluginConfig") or {}
    return PodNodeSelector(readers=tools.readers, selectors=selectors)


def _toleration_restriction(tools: Tools, settings: Object) -> Plugin:
    given = _only(settings, "default", "whitelist")
    return PodTolerationRestriction(
        readers=tools.readers, default=given.get("default"), allowed=given.get("whitelist")
    )  # fmt: skip


def _event_rate_limit(tools: Tools, settings: Object) -> Plugin:
    limits = []
    for item in _only(settings, "limits").get("limits") or ():
        given: dict[str, Any] = {"cache_size" if key == "cacheSize" else key: value for key, value in item.items()}
        limits.append(EventLimit(**given))
    if not limits:
        raise ValueError("limits must not be empty")
    return EventRateLimit(limits=limits, clock=tools.clock)


def _only(settings: Object, *fields: str) -> Object:
    unknown = settings.keys() - {"apiVersion", "kind", *fields}
    if unknown:
        raise ValueError(f"unknown field {min(unknown)}")
    return settings


_TABLE: tuple[_Row, ...] = (
    _off(NamespaceAutoProvision, "readers", "writer"),
    _on(NamespaceLifecycle, "readers"),
    _off(NamespaceExists, "readers"),
    _off(LimitPodHardAntiAffinityTopology),
    _on(LimitRanger, "readers"),
    _on(ServiceAccount, "readers", "clock"),
    _on(NodeRestriction, "readers"),  # off by default upstream; its installers enable it
    _on(TaintNodesByCondition),
    _off(AlwaysPullImages),
    _on(PodSecurity, "readers"),
    _Row(_node_selector, PodNodeSelector.name, is_on=False, has_settings=True),
    _on(Priority, "readers"),
    _Row(_toleration_seconds, DefaultTolerationSeconds.name),
    _Row(_toleration_restriction, PodTolerationRestriction.name, is_on=False, has_settings=True),
    _Row(_event_rate_limit, EventRateLimit.name, is_on=False, has_settings=True),
    _off(ExtendedResourceToleration),
    _on(DefaultStorageClass, "readers"),
    _on(StorageObjectInUseProtection),
    _off(OwnerReferencesPermissionEnforcement, "authorizer", "table"),
    _on(PersistentVolumeClaimResize, "readers"),
    _on(RuntimeClass, "readers"),
    _on(CertificateApproval, "authorizer"),
    _on(CertificateSigning, "authorizer"),
    _on(CertificateSubjectRestriction),
    _on(DefaultIngressClass, "readers"),
    _off(DenyServiceExternalIPs),
    _on(PodTopologyLabels, "readers"),
    _on(NodeDeclaredFeatureValidator, "readers"),
    _on(PodResizeValidator, "readers"),
    _on(ResourceQuota, "readers", "writer", "clock"),
)


def build_plugins(tools: Tools, config: AdmissionConfig | None = None) -> tuple[Plugin, ...]:
    """Raises ValueError for names and settings that cannot be had, in one line."""
    config = config or AdmissionConfig()
    selected = select_names(
        config,
        [row.name for row in _TABLE],
        [row.name for row in _TABLE if not row.is_on],
        [row.name for row in _TABLE if row.has_settings],
    )
    plugins: list[Plugin] = []
    for row in _TABLE:
        if row.name == ResourceQuota.name:
            # What the storage of some kinds checks upstream, where nobody can turn it off; and quota comes last.
            plugins += [
                RbacEscalation(authorizer=tools.authorizer, rbac=tools.rbac),
                DeviceAccess(readers=tools.readers, authorizer=tools.authorizer),
            ]
        if row.name in selected:
            try:
                plugins.append(row.make(tools, config.settings.get(row.name, {})))
            except (ValueError, TypeError, AttributeError) as exc:
                raise ValueError(f"configuration of admission plugin {row.name}: {exc}") from exc
    return tuple(plugins)
