from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from timonel.storage.transform import IDENTITY, AesGcm, EncryptionKey, TransformError

OLD = EncryptionKey("old", b"o" * 32)
NEW = EncryptionKey("new", b"n" * 32)


@given(plain=st.binary(max_size=300), key=st.text(max_size=40))
def test_what_is_sealed_opens_again_and_does_not_show(plain: bytes, key: str) -> None:
    aes = AesGcm([OLD])
    stored = aes.seal(plain, key)
    assert stored.startswith(b"k8s:enc:aesgcm:v1:old:")
    assert aes.unseal(stored, key) == plain
    assert len(plain) < 8 or plain not in stored.removeprefix(b"k8s:enc:aesgcm:v1:old:")


def test_sealing_twice_gives_different_bytes() -> None:
    aes = AesGcm([OLD])
    assert aes.seal(b"same", "k") != aes.seal(b"same", "k")


def test_a_value_moved_to_another_key_does_not_open() -> None:
    aes = AesGcm([OLD])
    with pytest.raises(TransformError, match=r"^/registry/secrets/b does not decrypt"):
        aes.unseal(aes.seal(b"secret", "/registry/secrets/a"), "/registry/secrets/b")


def test_a_changed_byte_does_not_open() -> None:
    aes = AesGcm([OLD])
    stored = bytearray(aes.seal(b"secret", "k"))
    stored[-1] ^= 1
    with pytest.raises(TransformError):
        aes.unseal(bytes(stored), "k")


@pytest.mark.parametrize("cut", [0, 3, 11, 12, 20])
def test_a_truncated_value_does_not_open(cut: int) -> None:
    with pytest.raises(TransformError):
        AesGcm([OLD]).unseal(b"k8s:enc:aesgcm:v1:old:" + b"x" * cut, "k")


def test_rotation_reads_old_keys_and_writes_the_first() -> None:
    before, both, after = AesGcm([OLD]), AesGcm([NEW, OLD]), AesGcm([NEW])
    stored = before.seal(b"secret", "k")
    assert both.unseal(stored, "k") == b"secret"
    assert both.is_stale(stored)
    rewritten = both.seal(b"secret", "k")
    assert not both.is_stale(rewritten)
    assert after.unseal(rewritten, "k") == b"secret"
    with pytest.raises(TransformError, match="no encryption key for k, which was written with k8s:enc:aesgcm:v1:old"):
        after.unseal(stored, "k")


def test_plain_values_are_read_while_encryption_is_being_introduced_and_only_then() -> None:
    assert AesGcm([OLD]).unseal(b'{"kind":"Secret"}', "k") == b'{"kind":"Secret"}'
    assert AesGcm([OLD]).is_stale(b'{"kind":"Secret"}')
    with pytest.raises(TransformError, match="stored without encryption"):
        AesGcm([OLD], read_plain=False).unseal(b'{"kind":"Secret"}', "k")


def test_an_encrypted_value_is_never_served_as_it_is() -> None:
    with pytest.raises(TransformError, match="no encryption key is configured"):
        IDENTITY.unseal(AesGcm([OLD]).seal(b"secret", "k"), "k")


@pytest.mark.parametrize("keys", [[], [EncryptionKey("a:b", b"x" * 32)], [EncryptionKey("a", b"short")]])
def test_unusable_keys_are_refused(keys: list[EncryptionKey]) -> None:
    with pytest.raises(ValueError):
        AesGcm(keys)
