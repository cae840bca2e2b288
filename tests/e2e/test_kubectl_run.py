"""`kubectl run` of commands that end at once.

kubectl attaches as soon as the pod runs; a quick command has ended by then, or ends meanwhile. What it printed must
arrive all the same: kubectl shows the log when it is told that there is nothing to attach to.
"""

from __future__ import annotations

import pytest

from tests.e2e.kubectl import Kubectl

TIMES = 10

PLAIN = {"KUBECTL_REMOTE_COMMAND_WEBSOCKETS": "false"}
"""SPDY only, for a kubectl that would speak WebSocket."""


def ways(kubectl: Kubectl) -> list[dict[str, str]]:
    return [{}, PLAIN] if kubectl.minor >= 30 else [{}]


@pytest.mark.parametrize(
    "script", ["echo hello; exit 3", "sleep 0.2; echo hello; exit 3", "echo hello; sleep 0.1; exit 3"]
)
def test_quick_commands_lose_nothing(kubectl: Kubectl, script: str) -> None:
    for env in ways(kubectl):
        for number in range(TIMES):
            quick = ("run", f"quick-{number}", "--image=busybox:1.36", "--rm", "-i", "--restart=Never", "--")
            result = kubectl.run(*quick, "sh", "-c", script, stdin="", check=False, **env)
            assert "hello" in result.stdout, result
            assert result.returncode == 3, result


def test_a_terminal_without_one_ends_with_its_command(kubectl: Kubectl) -> None:
    """-t in a script: kubectl says that its input is no terminal, and the pod has one all the same."""
    for env in ways(kubectl):
        command = ("run", "scripted", "--image=busybox:1.36", "--rm", "-it", "--restart=Never", "--", "echo", "hello")
        result = kubectl.run(*command, stdin="", **env)
        assert "hello" in result.stdout
        assert "Unable to use a TTY" in result.stderr


def test_quick_commands_on_a_terminal_lose_nothing(kubectl: Kubectl) -> None:
    for number in range(TIMES):
        command = ("run", f"shown-{number}", "--image=busybox:1.36", "--rm", "-it", "--restart=Never", "--")
        with kubectl.start(*command, "echo", "hel" + "lo", terminal=True) as shown:
            shown.expect("^hello$")
            assert shown.wait() == 0
