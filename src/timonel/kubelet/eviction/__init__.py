"""Pods end before the node runs out of memory, disk, inodes or process ids. Decisions are pure; `manager` acts."""
