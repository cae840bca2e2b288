"""Container images as bytes: layers and a configuration to an archive or to a registry.

Source: OCI image specification 1.0 (layout, manifest, configuration) and distribution specification 1.0 (push).
"""

from __future__ import annotations

import gzip
import hashlib
import http.client
import io
import json
import platform
import tarfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from timonel.cluster.errors import UserError

MANIFEST = "application/vnd.oci.image.manifest.v1+json"
CONFIG = "application/vnd.oci.image.config.v1+json"
LAYER = "application/vnd.oci.image.layer.v1.tar+gzip"

ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64", "armv7l": "arm", "ppc64le": "ppc64le", "s390x": "s390x"}
"""Go's names, which images use, by the kernel's."""


def architecture() -> str:
    machine = platform.machine()
    return ARCHITECTURES.get(machine, machine)


@dataclass(frozen=True, slots=True)
class Layer:
    """One layer: its uncompressed tar's digest, and the compressed bytes."""

    diff_id: str
    blob: bytes

    @classmethod
    def of(cls, tar: bytes) -> Layer:
        return cls(digest_of(tar), gzip.compress(tar, compresslevel=1, mtime=0))


@dataclass(frozen=True, slots=True)
class Image:
    layers: Sequence[Layer]
    settings: Mapping[str, Any] = field(default_factory=dict)
    """The "config" of the image configuration: Entrypoint, Cmd, Env, User, StopSignal, ExposedPorts …"""

    @property
    def config(self) -> bytes:
        return render_json(
            {
                "architecture": architecture(),
                "os": "linux",
                "config": dict(self.settings),
                "rootfs": {"type": "layers", "diff_ids": [layer.diff_id for layer in self.layers]},
                "history": [{"created_by": "timonel"} for _ in self.layers],
            }
        )

    @property
    def manifest(self) -> bytes:
        return render_json(
            {
                "schemaVersion": 2,
                "mediaType": MANIFEST,
                "config": descriptor(CONFIG, self.config),
                "layers": [descriptor(LAYER, layer.blob) for layer in self.layers],
            }
        )

    @property
    def blobs(self) -> list[bytes]:
        return [self.config, *(layer.blob for layer in self.layers)]


def oci_archive(image: Image, name: str) -> bytes:
    """A tar in the OCI layout, reproducible to the byte."""
    entry = descriptor(MANIFEST, image.manifest)
    entry["annotations"] = {"io.containerd.image.name": name, "org.opencontainers.image.ref.name": name}
    index = render_json({"schemaVersion": 2, "manifests": [entry]})
    blobs = {f"blobs/sha256/{digest_of(blob)[7:]}": (blob, 0o644) for blob in (*image.blobs, image.manifest)}
    layout = render_json({"imageLayoutVersion": "1.0.0"})
    return build_tar({"oci-layout": (layout, 0o644), "index.json": (index, 0o644), **blobs})


def docker_archive(image: Image, name: str) -> bytes:
    """A tar as `docker save` writes it: manifest.json naming the configuration and the uncompressed layers."""
    config_name = f"{digest_of(image.config)[7:]}.json"
    layers = {f"{layer.diff_id[7:]}/layer.tar": (gzip.decompress(layer.blob), 0o644) for layer in image.layers}
    manifest = render_json([{"Config": config_name, "RepoTags": [name], "Layers": list(layers)}])
    return build_tar({"manifest.json": (manifest, 0o644), config_name: (image.config, 0o644), **layers})


def push(image: Image, registry: str, repository: str, tags: Iterable[str]) -> None:
    """Uploads to a registry at "http://host:port" what it does not have. Raises UserError."""
    parts = urlsplit(registry)
    connection_class = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
    connection = connection_class(parts.hostname or "", parts.port, timeout=60)

    def request(method: str, path: str, body: bytes | None = None, content_type: str = "") -> Any:
        headers = {"Content-Type": content_type} if content_type else {}
        connection.request(method, path, body, headers)
        response = connection.getresponse()
        response.read()
        return response

    try:
        for blob in image.blobs:
            digest = digest_of(blob)
            if request("HEAD", f"/v2/{repository}/blobs/{digest}").status == 200:
                continue
            location = request("POST", f"/v2/{repository}/blobs/uploads/").headers["Location"]
            target = urlsplit(location)
            query = f"{target.query}&digest={digest}" if target.query else f"digest={digest}"
            answer = request("PUT", f"{target.path}?{query}", blob, "application/octet-stream")
            if answer.status != 201:
                raise UserError(f"{registry} did not take a layer of {repository}: {answer.status} {answer.reason}")
        for tag in tags:
            answer = request("PUT", f"/v2/{repository}/manifests/{tag}", image.manifest, MANIFEST)
            if answer.status != 201:
                raise UserError(f"{registry} did not take {repository}:{tag}: {answer.status} {answer.reason}")
    except (OSError, http.client.HTTPException) as error:
        raise UserError(f"registry {registry}: {error}") from error
    finally:
        connection.close()


def build_tar(files: Mapping[str, tuple[bytes, int]]) -> bytes:
    """Regular files by name with content and mode; owner root, no times."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.GNU_FORMAT) as archive:
        for name, (content, mode) in files.items():
            member = tarfile.TarInfo(name)
            member.size, member.mode = len(content), mode
            archive.addfile(member, io.BytesIO(content))
    return buffer.getvalue()


def render_json(value: Any) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode()


def digest_of(blob: bytes) -> str:
    return "sha256:" + hashlib.sha256(blob).hexdigest()


def descriptor(media_type: str, blob: bytes) -> dict[str, Any]:
    return {"mediaType": media_type, "digest": digest_of(blob), "size": len(blob)}
