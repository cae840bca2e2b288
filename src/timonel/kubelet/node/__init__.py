"""The Node object: what this machine is, whether it works, and the lease that says it is alive."""
