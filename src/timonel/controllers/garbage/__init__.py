"""Garbage collection by owner references."""

from timonel.controllers.garbage.collector import GarbageCollector

__all__ = ["GarbageCollector"]
