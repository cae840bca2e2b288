"""Kubeconfig files: relative paths, embedded data, contexts, and clear refusals."""

import base64

import pytest
import yaml

from timonel.client.config import ClientConfig, InvalidKubeconfig


def write(folder, **changes):
    document = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "one",
        "contexts": [
            {"name": "one", "context": {"cluster": "a", "user": "u"}},
            {"name": "two", "context": {"cluster": "b"}},
        ],
        "clusters": [
            {"name": "a", "cluster": {"server": "https://a:6443/", "certificate-authority": "pki/ca.crt"}},
            {"name": "b", "cluster": {"server": "http://b:8080"}},
        ],
        "users": [
            {
                "name": "u",
                "user": {
                    "client-certificate-data": base64.b64encode(b"CERT").decode(),
                    "client-key": "/abs/key.pem",
                    "token": "t",
                },
            }
        ],
        **changes,
    }
    path = folder / "config"
    path.write_text(yaml.safe_dump(document))
    return path


def test_current_context_with_files_and_data(tmp_path):
    config = ClientConfig.from_kubeconfig(write(tmp_path))
    assert config.server == "https://a:6443"
    assert config.ca_file == str(tmp_path / "pki/ca.crt")
    assert (config.cert_data, config.key_file, config.token) == ("CERT", "/abs/key.pem", "t")


def test_named_context_without_a_user(tmp_path):
    config = ClientConfig.from_kubeconfig(write(tmp_path), "two")
    assert (config.server, config.token) == ("http://b:8080", "")
    assert config.ssl_context() is None


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"current-context": "none"}, "no context 'none'"),
        ({"clusters": []}, "no cluster 'a'"),
        ({"users": []}, "no user 'u'"),
        ({"users": [{"name": "u", "user": {"exec": {}}}]}, "credential plugins are not built"),
        ({"users": [{"name": "u", "user": {"client-key-data": "%%%"}}]}, "client-key-data is not base64"),
    ],
)
def test_what_is_wrong_is_named(tmp_path, changes, message):
    with pytest.raises(InvalidKubeconfig, match=message):
        ClientConfig.from_kubeconfig(write(tmp_path, **changes))


def test_secrets_are_not_printed(tmp_path):
    assert "CERT" not in repr(ClientConfig.from_kubeconfig(write(tmp_path)))
