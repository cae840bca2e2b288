"""Addresses as the kernel's tools read them, from the texts that the API takes."""

from __future__ import annotations

from ipaddress import IPv4Address


def ipv4_of(text: str) -> str:
    """Takes "010.0.0.1" -> "10.0.0.1"; "" for what is no IPv4 address: IPv6, a name, nothing.

    Older fields of the API allow leading zeros and mean decimal numbers; nft and ip would read octal ones, and one
    text that they refuse costs the whole transaction.
    """
    parts = text.split(".")
    if len(parts) != 4 or not all(part.isascii() and part.isdigit() for part in parts):
        return ""
    try:
        return str(IPv4Address(".".join(str(int(part)) for part in parts)))
    except ValueError:
        return ""
