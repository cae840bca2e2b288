"""Requests that schemathesis makes of our own OpenAPI documents, sent to the suite's server.

With some 750 operations and definitions as large as a pod's, everything takes a quarter of an hour. So each group
version gives one operation of each method, picked by seed, with one example. Rotate them with TIMONEL_FUZZ_SEED;
run all of them with TIMONEL_FUZZ_EXAMPLES (examples per operation and way of asking), as `make fuzz` does. Equal seeds
make equal requests.
"""

from __future__ import annotations

import os
import random
import re
import zlib
from collections.abc import Callable
from typing import Any

import hypothesis
import requests
import schemathesis
from hypothesis import HealthCheck, Phase, given
from kubernetes import client
from schemathesis import Case, GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.core.failures import Failure, FailureGroup

from tests.api.clients.official_samples import SAMPLES
from timonel.api.kinds import BUILTIN
from timonel.testing.server import RunningServer

SEED = int(os.environ.get("TIMONEL_FUZZ_SEED", "1"))
EXAMPLES = int(os.environ.get("TIMONEL_FUZZ_EXAMPLES", "0"))
NAME = "fuzz"
_SETTINGS = {
    "max_examples": EXAMPLES or 1,
    "deadline": None,
    "database": None,
    "suppress_health_check": list(HealthCheck),
    "phases": [Phase.generate],
}
# They need what is behind the server: a kubelet, or a Service's pods. The old watch paths stream without end.
_LEFT_OUT = re.compile(r"/proxy|/exec$|/attach$|/portforward$|/log$|/watch/|^/logs")

# Lists that are required and empty, and times that nobody set, are shown as null, upstream and here, though the
# published schema says array and string.
_NULL = re.compile(r'null is not of type "array"|null is not of type "string".*\.meta\.v1\.(Micro)?Time:', re.DOTALL)


def group_paths() -> list[str]:
    return sorted({f"apis/{row.ref.api_version}" if row.ref.group else "api/v1" for row in BUILTIN.rows})


def operations_of(schema: Any, group: str) -> list[Any]:
    """All of them for a long run, else one of each method, picked by seed."""
    found = sorted(
        (each.ok() for each in schema.get_all_operations() if not _LEFT_OUT.search(each.ok().path)),
        key=lambda operation: operation.label,
    )
    if EXAMPLES:
        return found
    rng = random.Random(f"{SEED} {group}")
    methods = sorted({operation.method for operation in found})
    return [rng.choice([operation for operation in found if operation.method == method]) for method in methods]


class Fuzzer:
    """Lives in a thread; the server it talks to, in another."""

    def __init__(self, server: RunningServer, namespace: str) -> None:
        self.url, self.namespace = server.url, namespace
        self.session = requests.Session()
        self.session.trust_env = False
        self.session.headers["Authorization"] = f"Bearer {server.token}"
        self.verify = str(server.ca)

    def close(self) -> None:
        self.session.close()

    def seed_objects(self) -> None:
        """One object named `fuzz` of each kind that the official client's samples have, to be met by its name."""
        plain = client.ApiClient(client.Configuration())
        for sample in SAMPLES:
            body = plain.sanitize_for_serialization(sample.body)
            kind = type(sample.body).__name__[2:]
            row = next(row for row in BUILTIN.rows if row.ref.kind == kind and row.verbs)
            body["metadata"]["name"] = NAME
            path = row.ref.path(self.namespace if row.ref.namespaced else "")
            answer = self.session.post(self.url + path, json=body, verify=self.verify)
            assert answer.status_code in (201, 409), answer.text
        plain.close()

    def tame(self, case: Case) -> None:
        """Sends it where objects are; keeps it from streaming, and from deleting everybody's namespace."""
        place = case.path_parameters or {}
        if "namespace" in place:
            place["namespace"] = self.namespace
        if "name" in place and zlib.crc32(repr(place["name"]).encode()) % 4:
            place["name"] = self.namespace if "/namespaces/{name}" in case.path else NAME
        # The documents say "*/*", as upstream's do, which makes most bodies images and the like.
        if case.method != "PATCH" and case.media_type and zlib.crc32(case.media_type.encode()) % 8:
            case.media_type = "application/json"
        query = case.query or {}
        for name in ("watch", "follow"):
            query.pop(name, None)
        if "/namespaces/{name}" in case.path or case.path.endswith("/namespaces"):
            query["dryRun"] = "All"

    def send(self, case: Case) -> Any:
        self.tame(case)
        return case.call(base_url=self.url, session=self.session, verify=self.verify, timeout=10)

    def run(self, operation: Any, mode: GenerationMode, failures: list[str], statuses: list[int]) -> None:
        """A few examples of one operation. Adds what is wrong to `failures`."""

        @hypothesis.seed(SEED)
        @hypothesis.settings(**_SETTINGS)
        @given(operation.as_strategy(generation_mode=mode))
        def examples(case: Case) -> None:
            try:
                answer = self.send(case)
            except requests.Timeout as slow:
                failures.append(f"{operation.label} ({mode.value}): {slow!r}")
                return
            statuses.append(answer.status_code)
            found = find_failures(lambda: case.validate_response(answer, checks=[not_a_server_error]))
            if answer.headers["content-type"][0].startswith("application/json"):
                found += find_failures(lambda: promised_by(operation, answer).validate_response(answer))
            failures.extend(f"{operation.label} ({mode.value}): {each}" for each in found)

        try:
            examples()
        except hypothesis.errors.Unsatisfiable:
            pass  # nothing can be wrong with an operation without parameters


def promised_by(operation: Any, answer: Any) -> Any:
    """The operation whose document says how the answer looks.

    What is deleted comes back as itself when it waits for finalizers, or as some kinds always do, where the documents
    say Status, here and upstream: then as GET would show it.
    """
    if operation.method.upper() == "DELETE" and answer.status_code < 300 and answer.json().get("kind") != "Status":
        return operation.schema[operation.path]["GET"]
    return operation


def find_failures(check: Callable[[], object]) -> list[str]:
    """What a check of schemathesis finds wrong."""
    try:
        check()
    except FailureGroup as group:
        found = [str(each) for each in group.exceptions]
    except Failure as one:
        found = [str(one)]
    else:
        found = []
    return [each for each in found if not _NULL.search(each)]


def load(document: dict[str, Any]) -> Any:
    return schemathesis.openapi.from_dict(document)
