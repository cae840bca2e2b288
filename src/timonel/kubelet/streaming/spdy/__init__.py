"""SPDY/3.1 without I/O, as exec, attach and port-forward speak it: `frames` is the encoding, `connection` the rules.

Source: the SPDY Protocol draft 3.1 (www.chromium.org/spdy/spdy-protocol/spdy-protocol-draft3-1).
"""
