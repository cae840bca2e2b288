"""Hollow nodes: nodes and pods that exist as API objects only, run in memory, thousands of them in one process."""
