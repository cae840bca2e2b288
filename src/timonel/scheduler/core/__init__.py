"""The pure part of the scheduler: the cluster as arrays in, decisions with reasons out.

Nothing here opens a socket, reads a clock or draws its own random numbers; simulation uses it as the scheduler does.
"""
