"""What namespaces need: a default ServiceAccount, the cluster's CA, and an orderly end."""

from timonel.controllers.namespaces.deletion import NamespaceController
from timonel.controllers.namespaces.root_ca import RootCaPublisher
from timonel.controllers.namespaces.service_accounts import ServiceAccountController

__all__ = ["NamespaceController", "RootCaPublisher", "ServiceAccountController"]
