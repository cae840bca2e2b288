"""What /version answers: the Kubernetes API this is, and the release of Timonel behind the plus sign."""

from __future__ import annotations

import platform
import sys

from timonel import GIT_VERSION, KUBERNETES_VERSION
from timonel.api.objects import Object

MAJOR, MINOR = KUBERNETES_VERSION.split(".")[:2]


def version_info() -> Object:
    """The `version.Info` object. `goVersion` and `compiler` are names that clients print; ours say Python."""
    machine = {"x86_64": "amd64", "aarch64": "arm64"}.get(platform.machine(), platform.machine())
    return {
        "major": MAJOR,
        "minor": MINOR,
        "emulationMajor": MAJOR,
        "emulationMinor": MINOR,
        "minCompatibilityMajor": MAJOR,
        "minCompatibilityMinor": str(int(MINOR) - 1),
        "gitVersion": GIT_VERSION,
        "gitCommit": "",
        "gitTreeState": "clean",
        "buildDate": "1970-01-01T00:00:00Z",
        "goVersion": f"python{platform.python_version()}",
        "compiler": sys.implementation.name,
        "platform": f"{sys.platform}/{machine}",
    }
