"""Values that must be unique in the cluster: Service addresses and node ports, kept in the store and guarded by it."""
