"""One kubectl program in one namespace, and how to read what it prints."""

from __future__ import annotations

import json
import re
import subprocess
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.cluster import Cluster, CommandError, run
from tests.e2e.terminal import Session

DEBIAN_KUBECTL = Path("/var/cache/timonel-kubectl")
"""Where Debian's kubernetes-client is unpacked, beside the kubectl of the machine."""
AGE = re.compile(r"(\d+[smhd])+")


def debian_kubectl() -> str:
    """The distribution's own kubectl, 1.20 in Debian 12, which speaks SPDY only; downloaded once."""
    program = DEBIAN_KUBECTL / "usr/bin/kubectl"
    if not program.exists():
        DEBIAN_KUBECTL.mkdir(parents=True, exist_ok=True)
        download = ("apt-get", "download", "kubernetes-client")
        if run(*download, check=False, cwd=DEBIAN_KUBECTL).returncode != 0:
            run("apt-get", "update", "-qq", check=False)
            if run(*download, check=False, cwd=DEBIAN_KUBECTL).returncode != 0:
                pytest.skip("this distribution has no package kubernetes-client to try an older kubectl with")
        archive = next(DEBIAN_KUBECTL.glob("kubernetes-client_*.deb"))
        run("dpkg-deb", "-x", str(archive), str(DEBIAN_KUBECTL))
        archive.unlink()
    return str(program)


@dataclass
class Kubectl:
    cluster: Cluster
    program: str
    namespace: str

    @cached_property
    def minor(self) -> int:
        """20 for v1.20."""
        found = run(self.program, "version", "--client", "-o", "json").stdout
        return int(json.loads(found)["clientVersion"]["minor"].rstrip("+"))

    def needs(self, minor: int, what: str) -> None:
        if self.minor < minor:
            pytest.skip(f"kubectl 1.{self.minor} has no {what}")

    def command(self, *arguments: str) -> list[str]:
        return [self.program, "--namespace", self.namespace, *arguments]

    def run(
        self, *arguments: str, check: bool = True, stdin: str | None = None, timeout: float = 60, **env: str
    ) -> subprocess.CompletedProcess[str]:
        return run(
            *self.command(*arguments),
            check=check,
            stdin=stdin,
            timeout=timeout,
            env={**self.cluster.environment, **env},
            cwd=self.cluster.folder,
        )

    def __call__(self, *arguments: str, stdin: str | None = None, timeout: float = 60, **env: str) -> str:
        """Standard output of a command that succeeds."""
        return self.run(*arguments, stdin=stdin, timeout=timeout, **env).stdout

    def fails(self, *arguments: str, code: int = 1, stdin: str | None = None) -> str:
        """Standard error of a command that fails with this exit code."""
        result = self.run(*arguments, check=False, stdin=stdin)
        if result.returncode != code:
            raise CommandError(result)
        return result.stderr

    def start(self, *arguments: str, terminal: bool = False) -> Session:
        return Session(self.command(*arguments), self.cluster.environment, terminal=terminal)

    def get(self, *arguments: str) -> Any:
        return json.loads(self("get", *arguments, "-o", "json"))

    def apply(self, *documents: Any) -> str:
        return self("apply", "-f", "-", stdin=as_yaml(*documents))

    def path(self, name: str, *documents: Any) -> str:
        """A file with the documents, for -f."""
        target = self.cluster.folder / f"{self.namespace}-{name}"
        target.write_text(as_yaml(*documents))
        return str(target)


def as_yaml(*documents: Any) -> str:
    """JSON is YAML; texts go in as they are. Opens with a mark, or kubectl takes it for a stream of JSON."""
    return "".join(f"---\n{item if isinstance(item, str) else json.dumps(item)}\n" for item in documents)


def rows(output: str) -> list[list[str]]:
    """The cells of a printed table, its header first."""
    return [re.split(r" {2,}", line.rstrip()) for line in output.splitlines() if line.strip()]


def row_of(output: str, name: str, column: int = 0) -> list[str]:
    return next(row for row in rows(output)[1:] if row[column] == name)


def sections(description: str) -> dict[str, str]:
    """What `kubectl describe` printed, by its top headings, blanks squeezed."""
    found: dict[str, str] = {}
    heading = ""
    for line in description.splitlines():
        match = re.match(r"([A-Z][^:]*):\s*(.*)", line)
        if match:
            heading = match[1]
            found[heading] = match[2].strip()
        elif heading:
            found[heading] += "\n" + re.sub(r"\s+", " ", line).strip()
    return found
