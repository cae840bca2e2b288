"""A server that tells clients their address, and how many bytes they sent: `python who.py ADDRESS PORT`, TCP and UDP.

Run in a namespace that stands for the world outside a cluster. Prints "ready" when it listens.
"""

from __future__ import annotations

import selectors
import socket
import sys


def main(address: str, port: int) -> None:
    streams = socket.create_server((address, port))
    datagrams = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    datagrams.bind((address, port))
    selector = selectors.DefaultSelector()
    selector.register(streams, selectors.EVENT_READ)
    selector.register(datagrams, selectors.EVENT_READ)
    print("ready", flush=True)
    while True:
        for key, _ in selector.select():
            if key.fileobj is streams:
                connection, client = streams.accept()
                with connection:
                    connection.settimeout(5)
                    # Clients end what they send, or send nothing and are answered at once.
                    size = 0
                    while data := connection.recv(65536):
                        size += len(data)
                    connection.sendall(f"{client[0]} {size}\n".encode())
            else:
                data, client = datagrams.recvfrom(65536)
                datagrams.sendto(f"{client[0]} {len(data)}\n".encode(), client)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
