"""Admission plugins that stand for webhooks: they refuse, or fail, as an API server tells it of webhooks.

Source: kubernetes.io/docs/reference/access-authn-authz/extensible-admission-controllers (response, failurePolicy)
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from timonel.api.errors import ApiError, Forbidden, InternalError
from timonel.apiserver.admission.chain import AdmissionRequest, Plugin
from timonel.testing.server import RunningServer

DENIED = 'admission webhook "pods.example.com" denied the request: not this one'
FAILED = 'failed calling webhook "pods.example.com": failed to call webhook: context deadline exceeded'
Verdict = Callable[[int], ApiError | None]
"""Number of a request, from 1 -> what it is refused with."""


def denied(number: int) -> ApiError:
    """As of a webhook that answers with code 403."""
    return Forbidden(DENIED)


def failed(number: int) -> ApiError:
    """As of one that cannot be reached and whose failurePolicy is Fail."""
    return InternalError(f"Internal error occurred: {FAILED}")


def every_second(verdict: Verdict) -> Verdict:
    return lambda number: verdict(number) if number % 2 else None


class Webhook(Plugin):
    """Meets creations of pods; `delay_seconds` before each verdict, as of one that is not answered in time."""

    name = "ValidatingAdmissionWebhook"
    operations = frozenset({"CREATE"})
    resources = frozenset({("", "pods")})

    def __init__(self, verdict: Verdict, delay_seconds: float) -> None:
        self.verdict: Verdict | None = verdict
        self._delay_seconds = delay_seconds
        self.met = 0
        self.passed: Counter[str] = Counter()
        """By the name of the pods' owners."""

    async def validate(self, request: AdmissionRequest) -> None:
        if request.subresource:
            return
        self.met += 1
        error = self.verdict(self.met) if self.verdict else None
        if error is not None:
            await asyncio.sleep(self._delay_seconds)
            raise error
        assert request.obj is not None
        self.passed[request.obj["metadata"]["ownerReferences"][0]["kind"]] += 1


@contextmanager
def webhook(server: RunningServer, verdict: Verdict, delay_seconds: float = 0.0) -> Iterator[Webhook]:
    """In the server's chain, last, until the block ends."""
    admission, made = server.api.admission, Webhook(verdict, delay_seconds)
    before = admission.plugins
    admission.use((*before, made))
    try:
        yield made
    finally:
        admission.use(before)
