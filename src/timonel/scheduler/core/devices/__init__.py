"""Devices of drivers: what ResourceSlices offer, what ResourceClaims ask for, and which device goes to whom.

Pure: no module here opens anything or reads a clock.
Source: kubernetes.io/docs/concepts/scheduling-eviction/dynamic-resource-allocation; KEP-4381
"""
