"""Which plugins run: the default ones, in upstream's order, and what flags change of that."""

from __future__ import annotations

from typing import Any, cast

import pytest

from timonel.api.kinds import BUILTIN
from timonel.apiserver.admission.plugins import Tools, build_plugins, plugin_names
from timonel.apiserver.admission.selection import NOT_BUILT, OFF_BY_DEFAULT, ORDER, WITH_SETTINGS, AdmissionConfig
from timonel.testing.clock import VirtualClock
from timonel.testing.readers import FakeReaders

X = {"type": "X", "qps": 1, "burst": 1}


def names(**config: Any) -> list[str]:
    nobody = cast(Any, None)
    tools = Tools(
        readers=FakeReaders(), writer=nobody, authorizer=nobody, rbac=nobody, table=BUILTIN, clock=VirtualClock()
    )
    return [plugin.name for plugin in build_plugins(tools, AdmissionConfig(**config))]


def test_the_table_has_what_can_be_selected_in_order() -> None:
    assert plugin_names() == list(ORDER)
    assert set(ORDER) > OFF_BY_DEFAULT > WITH_SETTINGS
    assert not set(ORDER) & NOT_BUILT


def test_default_plugins_are_those_of_upstream_that_are_built() -> None:
    # Source: kube-apiserver -h, --enable-admission-plugins "in addition to default enabled ones"; the last but one
    # are our own.
    assert names() == [
        "NamespaceLifecycle", "LimitRanger", "ServiceAccount", "NodeRestriction", "TaintNodesByCondition",
        "PodSecurity", "Priority", "DefaultTolerationSeconds", "DefaultStorageClass", "StorageObjectInUseProtection",
        "PersistentVolumeClaimResize", "RuntimeClass", "CertificateApproval", "CertificateSigning",
        "CertificateSubjectRestriction", "DefaultIngressClass", "PodTopologyLabels", "NodeDeclaredFeatureValidator",
        "PodResizeValidator", "Unbuilt", "RbacEscalation", "DeviceAccess", "ResourceQuota",
    ]  # fmt: skip


def test_flags_add_and_take_away() -> None:
    chosen = names(enable=("NamespaceExists", "OwnerReferencesPermissionEnforcement"), disable=("PodSecurity",))
    assert chosen.index("NamespaceLifecycle") + 1 == chosen.index("NamespaceExists")
    assert "OwnerReferencesPermissionEnforcement" in chosen
    assert "PodSecurity" not in chosen
    assert names(disable=("AlwaysDeny",)) == names()


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"enable": ("Nope",)}, 'enable-admission-plugins plugin "Nope" is unknown'),
        ({"disable": ("SecurityContextDeny",)}, 'disable-admission-plugins plugin "SecurityContextDeny" is unknown'),
        (
            {"enable": ("ValidatingAdmissionWebhook",)},
            'enable-admission-plugins plugin "ValidatingAdmissionWebhook" is not built in this version',
        ),
        (
            {"enable": ("Priority",), "disable": ("Priority",)},
            "[Priority] in enable-admission-plugins and disable-admission-plugins overlapped",
        ),
        ({"settings": {"Nope": {}}}, 'plugin "Nope" of the admission configuration is unknown'),
        ({"settings": {"ResourceQuota": {}}}, "takes no settings in this version"),
        ({"enable": ("EventRateLimit",)}, "EventRateLimit: limits must not be empty"),
        (
            {"enable": ("EventRateLimit",), "settings": {"EventRateLimit": {"limits": [X]}}},
            "type of an event limit must be one of Server, Namespace, User, SourceAndObject, not X",
        ),
        (
            {"enable": ("PodNodeSelector",), "settings": {"PodNodeSelector": {"selectors": {}}}},
            "PodNodeSelector: unknown field selectors",
        ),
    ],
)  # fmt: skip
def test_what_cannot_be_had_is_refused_by_name(config: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=r".+") as caught:
        names(**config)
    assert message in str(caught.value)
