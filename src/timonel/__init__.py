"""Timonel: a complete Kubernetes in Python. ARCHITECTURE.md is the map."""

__version__ = "0.1.0"
KUBERNETES_VERSION = "1.36.0"
GIT_VERSION = f"v{KUBERNETES_VERSION}+timonel.{__version__}"
