"""Cluster DNS on every node.

zone.py        the cluster's own names, answered from informers (pure)
forwarding.py  other names: upstream resolvers and a cache by TTL
message.py     packets to questions and back
server.py      UDP and TCP sockets at the cluster DNS address
"""
