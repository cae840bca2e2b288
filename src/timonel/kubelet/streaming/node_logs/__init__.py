"""Logs of the node itself: files below one folder, and what its services say."""
