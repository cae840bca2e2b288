"""Pods that the node runs by itself, from files of its own, and their images in the API."""
