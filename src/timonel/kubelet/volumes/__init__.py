"""Pods' volumes: made before the first container starts, kept up to date while it runs, removed after the last."""
