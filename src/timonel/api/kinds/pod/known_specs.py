"""Specs of pods that were found good before: replicas come by the thousand, and checking one takes 100 µs.

Only that nothing was found is remembered. Replicas differ in one word, the generated name of the volume that their
token is in, so this name counts as always the same. Specs whose findings depend on more than themselves, as names of
claims made for ephemeral volumes do on the pod's, are always checked.
"""

from __future__ import annotations

import re
from functools import lru_cache

import orjson

from timonel.api.objects import Object
from timonel.api.remembered import Remembered, digest

TOKEN_VOLUME_PREFIX = "kube-api-access-"
_generated_name = re.compile(TOKEN_VOLUME_PREFIX + "[a-z0-9]{5}").fullmatch
_NO_NAME = b"<token>"
"""What JSON cannot have where a name is."""


class KnownSpecs:
    def __init__(self) -> None:
        self._good: Remembered[bool] = Remembered()

    def key(self, spec: Object, *others: bytes) -> bytes | None:
        """By which a spec is known, with what else the findings depend on; None when they may depend on more."""
        if spec.get("resourceClaims"):
            return None
        token = ""
        for volume in spec.get("volumes") or ():
            if volume.get("ephemeral") is not None:
                return None
            name = volume.get("name") or ""
            if name.startswith(TOKEN_VOLUME_PREFIX) and _generated_name(name):
                token = name
        text = orjson.dumps(spec)
        if token:
            text = text.replace(b'"%b"' % token.encode(), _NO_NAME)
        return digest(b"\n".join((text, *others)))

    def is_good(self, key: bytes | None) -> bool:
        return key is not None and self._good.get(key) is not None

    def learn(self, key: bytes | None) -> None:
        if key is not None:
            self._good.learn(key, True)


@lru_cache(maxsize=1)
def known_specs() -> KnownSpecs:
    """Those of this process. The rules are the same for everybody in it."""
    return KnownSpecs()
