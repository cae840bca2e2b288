"""The one ordered table of admission plugins, in upstream's order."""

from __future__ import annotations

from timonel.api.clock import Clock
from timonel.apiserver.admission.chain import Plugin
from timonel.apiserver.admission.escalation import RbacEscalation
from timonel.apiserver.admission.namespace_lifecycle import NamespaceLifecycle
from timonel.apiserver.admission.node_restriction import NodeRestriction
from timonel.apiserver.admission.pod_security.plugin import PodSecurity
from timonel.apiserver.admission.priority import Priority
from timonel.apiserver.admission.runtime_class import RuntimeClass
from timonel.apiserver.admission.service_account import ServiceAccount
from timonel.apiserver.admission.tolerations import DefaultTolerationSeconds, TaintNodesByCondition
from timonel.apiserver.authz.attributes import Authorizer
from timonel.apiserver.authz.rbac import RbacAuthorizer
from timonel.apiserver.readers import Readers


def build_plugins(
    *,
    readers: Readers,
    authorizer: Authorizer,
    rbac: RbacAuthorizer,
    clock: Clock,
    not_ready_seconds: int = 300,
    unreachable_seconds: int = 300,
) -> tuple[Plugin, ...]:
    return (
        NamespaceLifecycle(readers=readers),
        ServiceAccount(readers=readers, clock=clock),
        NodeRestriction(readers=readers),
        TaintNodesByCondition(),
        PodSecurity(readers=readers),
        Priority(readers=readers),
        DefaultTolerationSeconds(not_ready_seconds=not_ready_seconds, unreachable_seconds=unreachable_seconds),
        RuntimeClass(),
        RbacEscalation(authorizer=authorizer, rbac=rbac),
    )
