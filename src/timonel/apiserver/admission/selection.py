"""Which admission plugins run, by upstream's names: what is on by default, what is enabled and disabled by flag.

Apart from the plugins themselves, so that a configuration can be checked without loading them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from timonel.api.objects import Object


@dataclass(frozen=True, kw_only=True)
class AdmissionConfig:
    enable: tuple[str, ...] = ()
    """As --enable-admission-plugins: beside those that are on by default."""
    disable: tuple[str, ...] = ()
    """As --disable-admission-plugins."""
    settings: Mapping[str, Object] = field(default_factory=dict)
    """By plugin, its configuration: what an AdmissionConfiguration has for it."""


ORDER = (
    "NamespaceAutoProvision", "NamespaceLifecycle", "NamespaceExists", "LimitPodHardAntiAffinityTopology",
    "LimitRanger", "ServiceAccount", "NodeRestriction", "TaintNodesByCondition", "AlwaysPullImages", "PodSecurity",
    "PodNodeSelector", "Priority", "DefaultTolerationSeconds", "PodTolerationRestriction", "EventRateLimit",
    "ExtendedResourceToleration", "DefaultStorageClass", "StorageObjectInUseProtection",
    "OwnerReferencesPermissionEnforcement", "PersistentVolumeClaimResize", "RuntimeClass", "CertificateApproval",
    "CertificateSigning", "CertificateSubjectRestriction", "DefaultIngressClass", "DenyServiceExternalIPs",
    "PodTopologyLabels", "NodeDeclaredFeatureValidator", "PodResizeValidator", "Unbuilt", "ResourceQuota",
)  # fmt: skip
"""Upstream's, with one of our own: Unbuilt."""
OFF_BY_DEFAULT = frozenset({
    "NamespaceAutoProvision", "NamespaceExists", "LimitPodHardAntiAffinityTopology", "AlwaysPullImages",
    "PodNodeSelector", "PodTolerationRestriction", "EventRateLimit", "ExtendedResourceToleration",
    "OwnerReferencesPermissionEnforcement", "DenyServiceExternalIPs",
})  # fmt: skip
"""NodeRestriction is off upstream as well, and enabled by its installers."""
WITH_SETTINGS = frozenset({"EventRateLimit", "PodNodeSelector", "PodTolerationRestriction"})
NOT_BUILT = frozenset({
    "AlwaysAdmit", "AlwaysDeny", "ClusterTrustBundleAttest", "ImagePolicyWebhook", "JobValidation",
    "MutatingAdmissionPolicy", "MutatingAdmissionWebhook", "PodGroupProtection", "PodGroupWorkloadExists",
    "ValidatingAdmissionPolicy", "ValidatingAdmissionWebhook",
})  # fmt: skip
"""Names that upstream knows beside these: they call out, or the kinds they are about are not served."""


def select_plugins(config: AdmissionConfig) -> set[str]:
    """The plugins to run. Raises ValueError for a name that is unknown or not built, and for settings nobody reads."""
    for name in config.enable:
        if name in NOT_BUILT:
            raise ValueError(f'enable-admission-plugins plugin "{name}" is not built in this version')
    for flag, names in (("enable-admission-plugins", config.enable), ("disable-admission-plugins", config.disable)):
        for name in names:
            if name not in ORDER and name not in NOT_BUILT:
                raise ValueError(f'{flag} plugin "{name}" is unknown')
    if both := sorted(set(config.enable) & set(config.disable)):
        raise ValueError(f"[{' '.join(both)}] in enable-admission-plugins and disable-admission-plugins overlapped")
    for name in config.settings:
        if name not in ORDER and name not in NOT_BUILT:
            raise ValueError(f'plugin "{name}" of the admission configuration is unknown')
        if name not in WITH_SETTINGS:
            raise ValueError(f'plugin "{name}" of the admission configuration takes no settings in this version')
    return (set(ORDER) - OFF_BY_DEFAULT - set(config.disable)) | set(config.enable)
