"""Volumes of CSI drivers: how drivers make themselves known to the node, and how their volumes get into pods."""
