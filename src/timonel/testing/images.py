"""Small real images from Debian packages, for clusters without internet: nginx, redis, python and busybox tools.

    python -m timonel.testing.images --push http://127.0.0.1:5000
    python -m timonel.testing.images --save FOLDER

They carry the names and tags of the public images the examples use, and behave as those do as far as the examples go:
nginx reads /etc/nginx/conf.d and serves /usr/share/nginx/html, redis listens on 6379. Each has at least two layers,
the first shared by all. Built once with mmdebstrap (about 6 s an image) and kept in a cache folder.
"""

from __future__ import annotations

import argparse
import hashlib
import io
import json
import os
import subprocess
import tarfile
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from timonel.cluster import oci
from timonel.cluster.errors import UserError

CACHE = Path("/var/cache/timonel-images")
SUITE = "bookworm"
BASE_PACKAGES = ("base-files", "busybox-static", "libc6", "netbase")
"""Debian 12's busybox crashes at `wget -T`, whatever its build; tests do without that option."""
EPOCH = "1700000000"
"""SOURCE_DATE_EPOCH: equal inputs give equal layers, which registries and nodes then share."""

_LEFT_OUT = ("./dev/", "./var/lib/apt/", "./var/cache/", "./var/lib/dpkg/", "./usr/share/doc/", "./usr/share/man/")
_USERS = """\
root:x:0:0:root:/root:/bin/sh
www-data:x:33:33:www-data:/var/www:/bin/false
redis:x:999:999:redis:/data:/bin/false
nobody:x:65534:65534:nobody:/nonexistent:/bin/false
"""
_GROUPS = "root:x:0:\nwww-data:x:33:\nredis:x:999:\nnogroup:x:65534:\n"
_NGINX_CONF = """\
user www-data;
worker_processes 1;
pid /run/nginx.pid;
error_log /dev/stderr notice;
events { worker_connections 1024; }
http {
  include /etc/nginx/mime.types;
  default_type application/octet-stream;
  access_log /dev/stdout;
  client_body_temp_path /tmp/client;
  proxy_temp_path /tmp/proxy;
  fastcgi_temp_path /tmp/fastcgi;
  uwsgi_temp_path /tmp/uwsgi;
  scgi_temp_path /tmp/scgi;
  sendfile on;
  keepalive_timeout 65;
  include /etc/nginx/conf.d/*.conf;
}
"""
_NGINX_SITE = """\
server {
  listen 80;
  server_name localhost;
  location / { root /usr/share/nginx/html; index index.html; }
}
"""


@dataclass(frozen=True, slots=True)
class Recipe:
    name: str
    tags: Sequence[str]
    packages: Sequence[str] = ()
    files: Mapping[str, str] = field(default_factory=dict)
    """Put on top, in a layer of their own. "{tag}" stands for the image's tag."""
    settings: Mapping[str, Any] = field(default_factory=dict)


RECIPES = (
    Recipe("busybox", ("1.36", "1.37"), settings={"Cmd": ["sh"]}),
    Recipe(
        "nginx",
        ("1.27", "1.28"),
        ("nginx-light",),
        {
            "etc/nginx/nginx.conf": _NGINX_CONF,
            "etc/nginx/conf.d/default.conf": _NGINX_SITE,
            "usr/share/nginx/html/index.html": "<h1>Welcome to nginx!</h1>\n<p>nginx:{tag}</p>\n",
            "etc/nginx-release": "{tag}\n",
        },
        {
            "Cmd": ["nginx", "-g", "daemon off;"],
            "ExposedPorts": {"80/tcp": {}},
            "StopSignal": "SIGQUIT",
        },
    ),
    Recipe(
        "redis",
        ("7.4",),
        ("redis-server", "redis-tools"),
        {"data/.keep": ""},
        {
            "Cmd": ["redis-server", "--bind", "0.0.0.0", "--protected-mode", "no", "--dir", "/data"],
            "ExposedPorts": {"6379/tcp": {}},
            "WorkingDir": "/data",
        },
    ),
    Recipe(
        "python",
        ("3.13",),
        ("python3-minimal", "libpython3-stdlib"),
        {"app/.keep": ""},
        {"Cmd": ["python3"], "WorkingDir": "/app"},
    ),
)
"""Tags are those the examples ask for; the programs are Debian's own versions."""

_PATH = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


def build_images(recipes: Sequence[Recipe] = RECIPES, cache: Path = CACHE) -> dict[str, oci.Image]:
    """Images by "name:tag". Raises UserError when mmdebstrap fails."""
    images = {}
    base = _tree(BASE_PACKAGES, cache)
    first = _layer(base)
    tools = _layer(_applets(base))
    for recipe in recipes:
        layers = [first, tools]
        if recipe.packages:
            whole = _tree((*BASE_PACKAGES, *recipe.packages), cache)
            layers.append(_layer({path: entry for path, entry in whole.items() if base.get(path) != entry}))
        for tag in recipe.tags:
            on_top = [_layer(_own_files(recipe, tag))] if recipe.files else []
            settings = {"Env": [_PATH], **recipe.settings}
            images[f"{recipe.name}:{tag}"] = oci.Image([*layers, *on_top], settings)
    return images


def push_images(images: Mapping[str, oci.Image], registry: str) -> None:
    """Under "library/<name>", where clients of Docker Hub's mirrors look."""
    for reference, image in images.items():
        name, tag = reference.split(":")
        oci.push(image, registry, f"library/{name}", [tag])


@dataclass(frozen=True, slots=True)
class Entry:
    """What of a file matters in an image; equal entries are the same file."""

    type: bytes
    mode: int
    uid: int = 0
    gid: int = 0
    link: str = ""
    content: bytes = b""


Tree = dict[str, Entry]
"""By path, "./" in front."""


def _tree(packages: Sequence[str], cache: Path) -> Tree:
    """What the packages and their dependencies unpack to."""
    key = hashlib.sha256(json.dumps([SUITE, EPOCH, sorted(packages)]).encode()).hexdigest()[:16]
    kept = cache / f"{key}.tar"
    if not kept.exists():
        cache.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=cache) as folder:
            target = Path(folder) / "root.tar"
            command = [
                *("mmdebstrap", "--quiet", "--variant=extract", f"--include={','.join(packages)}"),
                *("--hook-dir=/usr/share/mmdebstrap/hooks/merged-usr", SUITE, str(target)),
            ]
            result = subprocess.run(
                command, capture_output=True, text=True, check=False, env={**os.environ, "SOURCE_DATE_EPOCH": EPOCH}
            )
            if result.returncode != 0:
                raise UserError(f"mmdebstrap failed: {result.stderr.strip().splitlines()[-1:]}")
            os.replace(target, kept)
    tree: Tree = {}
    with tarfile.open(kept) as archive:
        for member in archive:
            if not member.name.startswith("./") and member.name != ".":
                member.name = f"./{member.name}"
            if (member.name + "/").startswith(_LEFT_OUT) or member.isdev():
                continue
            source = archive.extractfile(member) if member.isreg() else None
            content = source.read() if source else b""
            tree[member.name] = Entry(member.type, member.mode, member.uid, member.gid, member.linkname, content)
    return tree


def _applets(base: Tree) -> Tree:
    """busybox under its many names, and the users that programs ask for."""
    names = subprocess.run(["busybox", "--list"], capture_output=True, text=True, check=True).stdout.split()
    tree: Tree = {}
    for name in names:
        path = f"./usr/bin/{name}"
        if path not in base and f"./usr/sbin/{name}" not in base:
            tree[path] = Entry(tarfile.SYMTYPE, 0o777, link="busybox")
    tree |= _files({"etc/passwd": _USERS, "etc/group": _GROUPS})
    return tree | _folders(("tmp", 0o1777), ("root", 0o700), ("run", 0o755))


def _own_files(recipe: Recipe, tag: str) -> Tree:
    files = {path: text.replace("{tag}", tag) for path, text in recipe.files.items()}
    parents = {str(Path(path).parent) for path in files}
    wanted = [parent for parent in sorted(parents) if parent in ("data", "app")]
    return _folders(*((parent, 0o777) for parent in wanted)) | _files(files) | _nginx_folders(recipe)


def _nginx_folders(recipe: Recipe) -> Tree:
    return _folders(("var/lib/nginx", 0o755), ("var/log/nginx", 0o755)) if recipe.name == "nginx" else {}


def _files(files: Mapping[str, str]) -> Tree:
    return {f"./{path}": Entry(tarfile.REGTYPE, 0o644, content=text.encode()) for path, text in files.items()}


def _folders(*folders: tuple[str, int]) -> Tree:
    return {f"./{path}": Entry(tarfile.DIRTYPE, mode) for path, mode in folders}


def _layer(tree: Tree) -> oci.Layer:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.GNU_FORMAT) as archive:
        for path, entry in tree.items():
            member = tarfile.TarInfo(path)
            member.type, member.mode, member.linkname = entry.type, entry.mode, entry.link
            member.uid, member.gid, member.size = entry.uid, entry.gid, len(entry.content)
            archive.addfile(member, io.BytesIO(entry.content))
    return oci.Layer.of(buffer.getvalue())


def main() -> None:
    parser = argparse.ArgumentParser(description="Build small images from Debian packages.")
    parser.add_argument("--push", metavar="URL", help="registry to push them to, such as http://127.0.0.1:5000")
    parser.add_argument("--save", metavar="FOLDER", type=Path, help="folder for OCI archives")
    parser.add_argument("names", nargs="*", help="only these: busybox, nginx, redis, python")
    arguments = parser.parse_args()
    if not arguments.push and not arguments.save:
        parser.error("say --push or --save")
    recipes = [recipe for recipe in RECIPES if not arguments.names or recipe.name in arguments.names]
    try:
        images = build_images(recipes)
        if arguments.push:
            push_images(images, arguments.push)
    except UserError as error:
        parser.exit(1, f"{error}\n")
    if arguments.save:
        arguments.save.mkdir(parents=True, exist_ok=True)
        for reference, image in images.items():
            target = arguments.save / f"{reference.replace(':', '-')}.tar"
            target.write_bytes(oci.oci_archive(image, f"docker.io/library/{reference}"))


if __name__ == "__main__":
    main()
