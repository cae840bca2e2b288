"""Bring-up: what turns a machine into a cluster and back. Wires the components; contains no Kubernetes behaviour."""
