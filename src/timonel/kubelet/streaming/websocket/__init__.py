"""The WebSocket subprotocols of Kubernetes without I/O; the frames of RFC 6455 themselves are aiohttp's."""
