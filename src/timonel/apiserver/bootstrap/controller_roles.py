"""The ClusterRoles of those controllers that exist here, in the notation of `policy.py`; names and rights as upstream.

Source: kubernetes.io/docs/reference/access-authn-authz/rbac/#controller-roles
"""

CONTROLLER_ROLES = r"""
system:controller:clusterrole-aggregation-controller
  read,escalate,patch,update | rbac.authorization.k8s.io | clusterroles
system:controller:deployment-controller
  read,update | apps extensions | deployments
  update | apps extensions | deployments/status
  update | apps extensions | deployments/finalizers
  read,create,delete,patch,update | apps extensions | replicasets
  read,update | core | pods
  events
system:controller:endpoint-controller
  read | core | pods services
  read,create,delete,update | core | endpoints
  create | core | endpoints/restricted
  events
system:controller:endpointslice-controller
  read | core | nodes pods services
  update | core | services/finalizers
  read,create,delete,update | discovery.k8s.io | endpointslices
  create | discovery.k8s.io | endpointslices/restricted
  events
system:controller:generic-garbage-collector
  read,delete,patch,update | * | *
  events
system:controller:namespace-controller
  read,delete | core | namespaces
  update | core | namespaces/finalize namespaces/status
  read,delete,deletecollection | * | *
system:controller:node-controller
  read,delete,patch,update | core | nodes
  patch,update | core | nodes/status
  patch,update | core | pods/status
  read,delete | core | pods
  events
system:controller:pod-garbage-collector
  delete,list,watch | core | pods
  read | core | nodes
  patch | core | pods/status
system:controller:replicaset-controller
  read,update | apps extensions | replicasets
  update | apps extensions | replicasets/status
  update | apps extensions | replicasets/finalizers
  create,delete,list,patch,watch | core | pods
  events
system:controller:root-ca-cert-publisher
  create,update | core | configmaps
  events
system:controller:service-account-controller
  create | core | serviceaccounts
  events
"""
