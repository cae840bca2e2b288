"""Which admission plugins run, by upstream's names: what is on by default, what is enabled and disabled by flag."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from timonel.api.objects import Object


@dataclass(frozen=True, kw_only=True)
class AdmissionConfig:
    enable: tuple[str, ...] = ()
    """As --enable-admission-plugins: beside those that are on by default."""
    disable: tuple[str, ...] = ()
    """As --disable-admission-plugins; what is also enabled stays on."""
    settings: Mapping[str, Object] = field(default_factory=dict)
    """By plugin, its configuration: what an AdmissionConfiguration has for it."""


NOT_BUILT = frozenset({
    "AlwaysAdmit", "AlwaysDeny", "ClusterTrustBundleAttest", "ImagePolicyWebhook", "JobValidation",
    "MutatingAdmissionPolicy", "MutatingAdmissionWebhook", "PodGroupProtection", "PodGroupWorkloadExists",
    "ValidatingAdmissionPolicy", "ValidatingAdmissionWebhook",
})  # fmt: skip
"""Names that upstream knows. Their kinds are not served, or they call out."""


def select_names(
    config: AdmissionConfig, ordered: Iterable[str], off_by_default: Iterable[str], configurable: Iterable[str]
) -> set[str]:
    """The plugins to run. Raises ValueError for a name that is unknown or not built, and for settings nobody reads."""
    known = set(ordered)
    for flag, names in (("enable-admission-plugins", config.enable), ("disable-admission-plugins", config.disable)):
        for name in names:
            if name in NOT_BUILT and flag.startswith("enable"):
                raise ValueError(f'{flag} plugin "{name}" is not built in this version')
            if name not in known and name not in NOT_BUILT:
                raise ValueError(f'{flag} plugin "{name}" is unknown')
    selected = (known - set(off_by_default) - set(config.disable)) | set(config.enable)
    for name in config.settings:
        if name not in known | NOT_BUILT:
            raise ValueError(f'admission plugin "{name}" of the configuration is unknown')
        if name not in set(configurable):
            raise ValueError(f'admission plugin "{name}" has no configuration in this version')
    return selected
