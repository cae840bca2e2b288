"""Requests that are somebody else's to answer: kubelets (logs, exec, attach, port-forward), pods, services, nodes.

Connections that are upgraded become a tunnel that knows nothing of what goes through it; everything else is forwarded
as HTTP, chunk by chunk.
"""
