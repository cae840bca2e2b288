"""Devices that plugins of the node offer, over the device plugin protocol v1beta1."""
