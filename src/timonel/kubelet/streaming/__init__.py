"""The kubelet's HTTPS server: logs, exec, attach, port-forward, stats and metrics (port 10250).

Map: `server` listens and routes, `access` says who may, `logs/` reads CRI log files, `spdy/` and `websocket/` are
engines without I/O, `bridge/` connects them to the streaming server of containerd. All it knows about pods and
containers comes through `backend.StreamingBackend`.
"""
