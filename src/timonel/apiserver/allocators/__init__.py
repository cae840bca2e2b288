"""Values that must be unique in the cluster: Service addresses and node ports, kept from the objects themselves."""
