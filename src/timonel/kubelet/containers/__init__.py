"""From a pod's spec to CRI's configuration of its sandbox and containers."""
