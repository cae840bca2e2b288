"""Asked in a network namespace by the network tests; prints JSON. Own sockets, since what matters is not in curl.

python net.py dns SERVER NAME TYPE [tcp]      → {"rcode": "NOERROR", "answers": [["A", "10.96.0.1"], …], "ms": 1.2}
python net.py udp ADDRESS PORT SOURCE_PORT SIZE → what came back, or null: one datagram that must not be fragmented
python net.py connect ADDRESS:PORT …          → [true, false, …]: which take a TCP connection within half a second
"""

from __future__ import annotations

import json
import selectors
import socket
import sys
import time

from dnslib import QTYPE, RCODE, DNSRecord

IP_MTU_DISCOVER, IP_PMTUDISC_DO = 10, 2


def ask_dns(server: str, name: str, kind: str, over: str = "udp") -> object:
    packet = DNSRecord.question(name, kind).pack()
    started = time.monotonic()
    if over == "tcp":
        with socket.create_connection((server, 53), timeout=3) as stream:
            stream.sendall(len(packet).to_bytes(2, "big") + packet)
            file = stream.makefile("rb")
            reply = file.read(int.from_bytes(file.read(2), "big"))
    else:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as datagrams:
            datagrams.settimeout(3)
            datagrams.sendto(packet, (server, 53))
            reply = datagrams.recv(4096)
    took = (time.monotonic() - started) * 1000
    record = DNSRecord.parse(reply)
    answers = [[QTYPE[item.rtype], str(item.rdata)] for item in record.rr]
    return {"rcode": RCODE[record.header.rcode], "answers": sorted(answers), "ms": took, "aa": record.header.aa}


def ask_udp(address: str, port: str, source_port: str, size: str) -> object:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as datagrams:
        datagrams.setsockopt(socket.IPPROTO_IP, IP_MTU_DISCOVER, IP_PMTUDISC_DO)
        datagrams.bind(("", int(source_port)))
        datagrams.settimeout(1)
        try:
            datagrams.sendto(b"x" * int(size), (address, int(port)))
            return datagrams.recv(4096).decode().strip()
        except OSError:
            return None


def connect(*targets: str) -> object:
    """All at once."""
    made = [socket.socket(socket.AF_INET, socket.SOCK_STREAM) for _ in targets]
    with selectors.DefaultSelector() as selector:
        for stream, target in zip(made, targets, strict=True):
            address, _, port = target.rpartition(":")
            stream.setblocking(False)
            stream.connect_ex((address, int(port)))
            selector.register(stream, selectors.EVENT_WRITE)
        connected: set[object] = set()
        waiting, deadline = len(made), time.monotonic() + 0.5
        while waiting and (left := deadline - time.monotonic()) > 0:
            for key, _ in selector.select(left):
                stream = key.fileobj  # type: ignore[assignment]
                if stream.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) == 0:
                    connected.add(stream)
                selector.unregister(stream)
                waiting -= 1
    for stream in made:
        stream.close()
    return [stream in connected for stream in made]


if __name__ == "__main__":
    print(json.dumps({"dns": ask_dns, "udp": ask_udp, "connect": connect}[sys.argv[1]](*sys.argv[2:])))
