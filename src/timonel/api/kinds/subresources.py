"""Subresources that several kinds have in the same shape."""

from __future__ import annotations

from timonel.api.resource import Subresource

STATUS = Subresource("status")
SCALE = Subresource("scale", kind="Scale", group="autoscaling", version="v1")
PROXY_VERBS = ("create", "delete", "get", "patch", "update")
