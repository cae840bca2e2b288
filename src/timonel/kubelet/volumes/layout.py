"""Where a pod's things are below the kubelet's root directory: upstream's layout. Pure."""

from __future__ import annotations

from typing import NamedTuple

from timonel.api.objects import Object

_PLUGINS = {
    "emptyDir": "empty-dir", "configMap": "configmap", "secret": "secret", "projected": "projected",
    "downwardAPI": "downward-api", "image": "image",
}  # fmt: skip
BUILT = (*_PLUGINS, "hostPath")
PERSISTENT = ("persistentVolumeClaim", "ephemeral", "nfs", "csi")
"""Sources whose place is known only once they are attached (persistent.py)."""
IMAGE = "image"
"""Mounted when a container needs it, for the image is pulled with the sandbox's configuration at hand."""
WRITTEN = ("configMap", "secret", "projected", "downwardAPI")
"""Sources whose files the kubelet writes itself."""


class PodPaths(NamedTuple):
    root: str

    @property
    def hosts_file(self) -> str:
        return f"{self.root}/etc-hosts"

    @property
    def volumes(self) -> str:
        return f"{self.root}/volumes"

    @property
    def images(self) -> str:
        return f"{self.volumes}/kubernetes.io~image"

    @property
    def subpaths(self) -> str:
        return f"{self.root}/volume-subpaths"

    def volume(self, volume: Object) -> str:
        """Of a hostPath volume, the path itself. Not for PERSISTENT ones."""
        source = source_of(volume)
        if source == "hostPath":
            return str(volume["hostPath"]["path"])
        return f"{self.volumes}/kubernetes.io~{_PLUGINS[source]}/{volume['name']}"

    def container(self, name: str) -> str:
        """Termination messages of a container's runs."""
        return f"{self.root}/containers/{name}"


def source_of(volume: Object) -> str:
    """ "emptyDir", "configMap", …: the one field beside the name that says what the volume is."""
    return next((key for key, value in volume.items() if key != "name" and value is not None), "emptyDir")
