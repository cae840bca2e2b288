"""Probes: `actions` asks a container once, `manager` keeps asking and counts, `http` is the little client for it."""
