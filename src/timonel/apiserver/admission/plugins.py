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
from timonel.apiserver.admission.selection import AdmissionConfig, select_plugins
from timonel.apiserver.admission.service_account import ServiceAccount
from timonel.apiserver.admission.storage_protection import StorageObjectInUseProtection
from timonel.apiserver.admission.tolerations import DefaultTolerationSeconds, TaintNodesByCondition
from timonel.apiserver.admission.topology_labels import PodTopologyLabels
from timonel.apiserver.admission.unbuilt import Unbuilt
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


Maker = Callable[[Tools, Object], Plugin]
"""Gets the plugin's own settings as well; raises ValueError and TypeError for what they must not be."""


def _made_of(plugin: Callable[..., Plugin], *needs: str) -> Maker:
    """`needs` names those of the tools that the constructor takes under the same name."""
    return lambda tools, settings: plugin(**{name: getattr(tools, name) for name in needs})


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


_TABLE: tuple[tuple[type[Plugin], Maker], ...] = (
    (NamespaceAutoProvision, _made_of(NamespaceAutoProvision, "readers", "writer")),
    (NamespaceLifecycle, _made_of(NamespaceLifecycle, "readers")),
    (NamespaceExists, _made_of(NamespaceExists, "readers")),
    (LimitPodHardAntiAffinityTopology, _made_of(LimitPodHardAntiAffinityTopology)),
    (LimitRanger, _made_of(LimitRanger, "readers")),
    (ServiceAccount, _made_of(ServiceAccount, "readers", "clock")),
    (NodeRestriction, _made_of(NodeRestriction, "readers")),
    (TaintNodesByCondition, _made_of(TaintNodesByCondition)),
    (AlwaysPullImages, _made_of(AlwaysPullImages)),
    (PodSecurity, _made_of(PodSecurity, "readers")),
    (PodNodeSelector, _node_selector),
    (Priority, _made_of(Priority, "readers")),
    (DefaultTolerationSeconds, _toleration_seconds),
    (PodTolerationRestriction, _toleration_restriction),
    (EventRateLimit, _event_rate_limit),
    (ExtendedResourceToleration, _made_of(ExtendedResourceToleration)),
    (DefaultStorageClass, _made_of(DefaultStorageClass, "readers")),
    (StorageObjectInUseProtection, _made_of(StorageObjectInUseProtection)),
    (OwnerReferencesPermissionEnforcement, _made_of(OwnerReferencesPermissionEnforcement, "authorizer", "table")),
    (PersistentVolumeClaimResize, _made_of(PersistentVolumeClaimResize, "readers")),
    (RuntimeClass, _made_of(RuntimeClass, "readers")),
    (CertificateApproval, _made_of(CertificateApproval, "authorizer")),
    (CertificateSigning, _made_of(CertificateSigning, "authorizer")),
    (CertificateSubjectRestriction, _made_of(CertificateSubjectRestriction)),
    (DefaultIngressClass, _made_of(DefaultIngressClass, "readers")),
    (DenyServiceExternalIPs, _made_of(DenyServiceExternalIPs)),
    (PodTopologyLabels, _made_of(PodTopologyLabels, "readers")),
    (NodeDeclaredFeatureValidator, _made_of(NodeDeclaredFeatureValidator, "readers")),
    (PodResizeValidator, _made_of(PodResizeValidator, "readers")),
    (Unbuilt, _made_of(Unbuilt)),  # our own: upstream has nothing to warn of
    # What the storage of some kinds checks upstream, where nobody can turn it off. Quota is charged last.
    (RbacEscalation, _made_of(RbacEscalation, "authorizer", "rbac")),
    (DeviceAccess, _made_of(DeviceAccess, "readers", "authorizer")),
    (ResourceQuota, _made_of(ResourceQuota, "readers", "writer", "clock")),
)
_ALWAYS = frozenset({RbacEscalation.name, DeviceAccess.name})


def build_plugins(tools: Tools, config: AdmissionConfig | None = None) -> tuple[Plugin, ...]:
    """Raises ValueError for names and settings that cannot be had, in one line."""
    config = config or AdmissionConfig()
    selected = select_plugins(config) | _ALWAYS
    plugins: list[Plugin] = []
    for plugin, make in _TABLE:
        if plugin.name in selected:
            try:
                plugins.append(make(tools, config.settings.get(plugin.name, {})))
            except (ValueError, TypeError, AttributeError) as exc:
                raise ValueError(f"configuration of admission plugin {plugin.name}: {exc}") from exc
    return tuple(plugins)


def plugin_names() -> list[str]:
    """Those that can be chosen, in the order they run in."""
    return [plugin.name for plugin, _ in _TABLE if plugin.name not in _ALWAYS]
