"""What `timonel image import` says of files that are no image archives: one line, naming the file."""

from __future__ import annotations

from pathlib import Path

import pytest

from timonel.cluster.errors import UserError
from timonel.cluster.images import check_archive
from timonel.cluster.oci import Image, Layer, build_tar, docker_archive, oci_archive


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"some text", "is not an image archive"),
        (b"", "is not an image archive"),
        (build_tar({"file": (b"", 0o644)}), "neither a `docker save` nor an OCI archive"),
    ],
)
def test_a_file_that_is_no_archive_is_refused_in_one_line(tmp_path: Path, content: bytes, message: str) -> None:
    file = tmp_path / "image.tar"
    file.write_bytes(content)
    with pytest.raises(UserError, match=message) as caught:
        check_archive(file)
    assert str(file) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_an_absent_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="does not exist"):
        check_archive(tmp_path / "none.tar")


def test_both_kinds_of_archives_are_taken(tmp_path: Path) -> None:
    image = Image([Layer.of(build_tar({"bin/x": (b"x", 0o755)}))])
    for make in (docker_archive, oci_archive):
        file = tmp_path / "image.tar"
        file.write_bytes(make(image, "docker.io/library/x:1"))
        check_archive(file)
