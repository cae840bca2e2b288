"""`kubectl logs`, `exec`, `cp`, `attach`, `port-forward`: over SPDY from 1.20, over WebSocket from newer ones."""

from __future__ import annotations

import hashlib
import os
import re
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.e2e.cluster import container_status, pod, sleeper, wait_until
from tests.e2e.kubectl import Kubectl, row_of


def test_logs_of_a_container(kubectl: Kubectl, talker: str) -> None:
    wait_until("some lines", lambda: "tick 2" in kubectl("logs", talker, "-c", "main"))
    lines = kubectl("logs", talker, "-c", "main").splitlines()
    # Standard output and standard error reach the log by two pipes; between the two no order is promised.
    assert "err" in lines
    assert [line for line in lines if line != "err"][:3] == ["out", "tick 1", "tick 2"]
    last = int(lines[-1].split()[1])
    tail = kubectl("logs", talker, "-c", "main", "--tail=2").splitlines()
    assert len(tail) == 2
    assert int(tail[1].split()[1]) - int(tail[0].split()[1]) == 1
    assert int(tail[1].split()[1]) >= last
    assert kubectl("logs", talker, "-c", "main", "--limit-bytes=3") in ("out", "err")
    assert len(kubectl("logs", talker, "-c", "main", "--since=2s").splitlines()) <= 5
    stamped = kubectl("logs", talker, "-c", "main", "--timestamps", "--tail=1")
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{9}Z tick \d+\n", stamped)
    since = stamped.split()[0]
    later = kubectl("logs", talker, "-c", "main", "--timestamps", f"--since-time={since}").splitlines()
    assert all(line.split()[0][:19] >= since[:19] for line in later)


def test_logs_of_several(kubectl: Kubectl, talker: str, server: str) -> None:
    everything = kubectl("logs", talker, "--all-containers", "--prefix", "--tail=-1").splitlines()
    assert f"[pod/{talker}/echo] ready" in everything
    assert f"[pod/{talker}/main] tick 1" in everything
    by_label = kubectl("logs", "-l", f"app={server}", "--prefix", "--tail=1").splitlines()
    pods = {item["metadata"]["name"] for item in kubectl.get("pods", "-l", f"app={server}")["items"]}
    assert {re.match(r"\[pod/([^/]+)/nginx\] ", line)[1] for line in by_label} == pods  # type: ignore[index]
    assert "start worker process" in kubectl("logs", f"deployment/{server}")


def test_following_ends_with_the_container(kubectl: Kubectl) -> None:
    script = "for n in 1 2 3; do echo step $n; sleep 0.3; done"
    kubectl("run", "steps", "--image=busybox:1.36", "--restart=Never", "--", "sh", "-c", script)
    wait_until("it started", lambda: kubectl.get("pod", "steps")["status"]["phase"] != "Pending")
    with kubectl.start("logs", "-f", "steps") as follow:
        follow.expect("^step 1$")
        follow.expect("^step 3$")
        assert follow.wait() == 0
    assert kubectl("logs", "steps") == "step 1\nstep 2\nstep 3\n"
    kubectl("delete", "pod", "steps", "--wait=false")


def test_logs_of_the_previous_run(kubectl: Kubectl) -> None:
    script = "echo run $(cat /data/n || echo 0); echo x >> /data/n; [ $(wc -l < /data/n) -gt 1 ] || exit 3; sleep 3600"
    volume = {"name": "data", "emptyDir": {}}
    mount = {"name": "data", "mountPath": "/data"}
    document = pod(
        "restarted", "busybox:1.36", "sh", "-c", script, container={"volumeMounts": [mount]}, volumes=[volume]
    )
    kubectl.apply(document)
    wait_until(
        "the second run",
        lambda: (
            (status := container_status(kubectl.get("pod", "restarted"), "main"))["restartCount"] == 1
            and "running" in status["state"]
        ),
    )
    assert kubectl("logs", "restarted", "--previous").splitlines()[-1] == "run 0"
    assert kubectl("logs", "restarted") == "run x\n"
    assert re.match(r"1 \(\d+s ago\)", row_of(kubectl("get", "pods"), "restarted")[3])
    kubectl("delete", "pod", "restarted", "--grace-period=0", "--force")


def test_logs_that_are_not_there(kubectl: Kubectl, talker: str) -> None:
    assert 'previous terminated container "main" in pod "talker" not found' in kubectl.fails(
        "logs", talker, "-c", "main", "--previous"
    )
    assert "container nobody is not valid for pod talker" in kubectl.fails("logs", talker, "-c", "nobody")
    assert 'pods "nobody" not found' in kubectl.fails("logs", "nobody")
    # Which container is meant must be said, or newer kubectl says which it took.
    unsaid = kubectl.run("logs", talker, "--tail=1", check=False)
    assert ("[main echo]" in unsaid.stderr) or ('Defaulted container "main" out of: main, echo' in unsaid.stderr)


def test_exec_output_exit_codes_and_streams(kubectl: Kubectl, talker: str) -> None:
    result = kubectl.run("exec", talker, "-c", "main", "--", "sh", "-c", "echo to out; echo to err >&2")
    assert (result.stdout, result.stderr) == ("to out\n", "to err\n")
    assert "command terminated with exit code 7" in kubectl.fails(
        "exec", talker, "-c", "main", "--", "sh", "-c", "exit 7", code=7
    )
    missing = kubectl.fails("exec", talker, "-c", "main", "--", "no-such-program")
    assert 'exec: "no-such-program": executable file not found in $PATH' in missing
    assert "container nobody is not valid for pod talker" in kubectl.fails("exec", talker, "-c", "nobody", "--", "true")
    assert 'pods "nobody" not found' in kubectl.fails("exec", "nobody", "--", "true")


def test_exec_needs_no_second_way(kubectl: Kubectl, talker: str) -> None:
    """1.20 speaks SPDY. Newer ones ask for a WebSocket first, and would fall back to SPDY without a word."""
    result = kubectl.run("exec", "-v=8", talker, "-c", "main", "--", "true")
    asked_for_websocket = "v5.channel.k8s.io" in result.stderr
    asked_for_spdy = "SPDY/3.1" in result.stderr
    assert (asked_for_websocket, asked_for_spdy) == ((True, False) if kubectl.minor >= 31 else (False, True))


def test_exec_reads_standard_input_to_its_end(kubectl: Kubectl, talker: str) -> None:
    text = "".join(f"line {number}\n" for number in range(20_000))
    assert kubectl("exec", "-i", talker, "-c", "main", "--", "cat", stdin=text) == text
    counted = kubectl("exec", "-i", talker, "-c", "main", "--", "wc", "-c", stdin=text)
    assert int(counted) == len(text)


def test_exec_with_a_terminal(kubectl: Kubectl, talker: str) -> None:
    with kubectl.start("exec", "-it", talker, "-c", "main", "--", "sh", terminal=True) as shell:
        shell.send("tty && echo is-a-$((40+2))\n")
        shell.expect(r"^/dev/pts/\d+$")
        shell.expect("^is-a-42$")
        shell.send("stty size\n")
        shell.expect("^24 80$")
        shell.resize(31, 97)
        # The new size travels on a stream of its own, beside what is typed.
        shell.send("until [ \"$(stty size)\" = '31 97' ]; do sleep 0.05; done; echo re''sized\n")
        shell.expect("^resized$")
        # An interrupt typed here reaches the program there, not kubectl.
        shell.send("echo sleep''ing; sleep 1000\n")
        shell.expect("^sleeping$")
        shell.send("\x03")
        shell.expect("# ")
        shell.send("exit 5\n")
        assert shell.wait() == 5


def test_exec_by_owner(kubectl: Kubectl, server: str) -> None:
    pods = {item["metadata"]["name"] for item in kubectl.get("pods", "-l", f"app={server}")["items"]}
    for target in (f"deployment/{server}", f"service/{server}"):
        assert kubectl("exec", target, "--", "hostname").strip() in pods


def test_copying_both_ways(kubectl: Kubectl, talker: str, tmp_path: Path) -> None:
    source = tmp_path / "source"
    (source / "deep").mkdir(parents=True)
    big = os.urandom(3_000_000)
    (source / "big.bin").write_bytes(big)
    (source / "deep" / "script.sh").write_text("#!/bin/sh\necho copied\n")
    (source / "deep" / "script.sh").chmod(0o755)
    target = f"{talker}:/tmp/{kubectl.namespace}"
    kubectl("cp", str(source), target, "-c", "main")
    there = kubectl("exec", talker, "-c", "main", "--", "sha256sum", f"/tmp/{kubectl.namespace}/big.bin")
    assert there.split()[0] == hashlib.sha256(big).hexdigest()
    assert kubectl("exec", talker, "-c", "main", "--", f"/tmp/{kubectl.namespace}/deep/script.sh") == "copied\n"
    kubectl("cp", "-c", "main", target, str(tmp_path / "back"))
    assert (tmp_path / "back" / "big.bin").read_bytes() == big
    kubectl("cp", "-c", "main", f"{target}/deep/script.sh", str(tmp_path / "one.sh"))
    assert (tmp_path / "one.sh").read_text() == "#!/bin/sh\necho copied\n"
    # kubectl does not wait for what tar there says about it.
    kubectl.run("cp", "-c", "main", f"{talker}:/tmp/nothing", str(tmp_path / "nothing"), check=False)
    assert not (tmp_path / "nothing").exists()


def test_attach_hears_and_is_heard(kubectl: Kubectl, talker: str) -> None:
    word = f"hello-{kubectl.minor}"
    with kubectl.start("attach", "-i", talker, "-c", "echo") as attached:
        attached.send(f"{word}\n")
        attached.expect(f"^{word}$")
    wait_until("the log has it too", lambda: word in kubectl("logs", talker, "-c", "echo"))
    # It was only left, not ended.
    assert container_status(kubectl.get("pod", talker), "echo")["restartCount"] == 0


def test_run_interactively_and_clean_up(kubectl: Kubectl) -> None:
    command = ("run", "asks", "--image=busybox:1.36", "--rm", "-i", "--restart=Never", "--")
    # It waits for its input, so that it cannot end before kubectl is attached.
    answer = kubectl(*command, "sh", "-c", "read name; echo hello $name", stdin="world\n")
    assert "hello world" in answer
    assert 'pod "asks" deleted' in answer
    failed = kubectl.run(*command, "sh", "-c", "read code; exit $code", stdin="6\n", check=False)
    assert failed.returncode == 6
    wait_until("it is gone", lambda: kubectl("get", "pod", "asks", "--ignore-not-found") == "")


def test_run_with_a_terminal(kubectl: Kubectl) -> None:
    command = ("run", "typed", "--image=busybox:1.36", "--rm", "-it", "--restart=Never", "--", "sh")
    with kubectl.start(*command, terminal=True) as shell:
        shell.expect("If you don't see a command prompt, try pressing enter|/ # ")
        shell.send("echo sum-$((20+3))\n")
        shell.expect("^sum-23$")
        shell.send("exit\n")
        shell.expect('pod "typed" deleted')
        shell.wait()


@pytest.mark.parametrize("target", ["pod", "service", "deployment"])
def test_port_forward(kubectl: Kubectl, server: str, target: str) -> None:
    name = kubectl.get("pods", "-l", f"app={server}")["items"][0]["metadata"]["name"] if target == "pod" else server
    port = "8080" if target == "service" else "80"
    with kubectl.start("port-forward", f"{target}/{name}", f":{port}") as forward:
        local = forward.expect(r"^Forwarding from 127\.0\.0\.1:(\d+) -> 80$")[1]

        def ask(_: int) -> str:
            with urllib.request.urlopen(f"http://127.0.0.1:{local}/", timeout=10) as answer:
                body: bytes = answer.read()
            return body.decode()

        with ThreadPoolExecutor(4) as pool:
            answers = list(pool.map(ask, range(12)))
        assert all("Welcome to nginx!" in answer for answer in answers)
        assert forward.process.poll() is None


def test_port_forward_to_a_closed_port_says_so(kubectl: Kubectl) -> None:
    kubectl.apply(sleeper("deaf"))
    kubectl("wait", "--for=condition=Ready", "pod/deaf", "--timeout=30s")
    with kubectl.start("port-forward", "pod/deaf", ":81") as forward:
        local = forward.expect(r"^Forwarding from 127\.0\.0\.1:(\d+) -> 81$")[1]
        with pytest.raises(OSError):
            urllib.request.urlopen(f"http://127.0.0.1:{local}/", timeout=10)
        forward.expect("an error occurred forwarding .* -> 81: .*(refused|failed)")
    kubectl("delete", "pod", "deaf", "--wait=false")
