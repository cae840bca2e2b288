"""The revisioned store in etcd, which several API servers share: `open_etcd` and what it returns."""

from timonel.storage.etcd.config import EtcdConfig
from timonel.storage.etcd.store import EtcdStore, open_etcd

__all__ = ["EtcdConfig", "EtcdStore", "open_etcd"]
