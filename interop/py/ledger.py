"""The `ledger` method by its specification (docs/spec/ledger-charge.md)."""

import base64
import hashlib
import os
from datetime import datetime

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

DIGITS = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"


def base64url(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).decode().rstrip("=")


def unbase64url(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


def base58(data: bytes) -> str:
    number, text = int.from_bytes(data, "big"), ""
    while number:
        number, digit = divmod(number, 58)
        text = DIGITS[digit] + text
    return text


def head(major: int, value: int) -> bytes:
    if value < 24:
        return bytes([major << 5 | value])
    for extra, size in ((24, 1), (25, 2), (26, 4), (27, 8)):
        if value < 1 << 8 * size:
            return bytes([major << 5 | extra]) + value.to_bytes(size, "big")
    raise ValueError("bignums are not needed here")


def item(value: int | str | bytes) -> bytes:
    if isinstance(value, int):
        return head(0, value)
    data, major = (value, 2) if isinstance(value, bytes) else (value.encode(), 3)
    return head(major, len(data)) + data


def encode(members: dict) -> bytes:
    """A deterministic CBOR map of unsigned integers to integers, texts and bytes."""
    return head(5, len(members)) + b"".join(
        item(key) + item(members[key]) for key in sorted(members)
    )


def decode(data: bytes) -> dict:
    """Reads such a map, and refuses bytes that `encode` would not have written."""
    at = 0

    def next_head() -> tuple[int, int]:
        nonlocal at
        first = data[at]
        size = 0 if first & 31 < 24 else 1 << (first & 31) - 24
        number = int.from_bytes(data[at + 1 : at + 1 + size], "big") if size else first & 31
        at += 1 + size
        return first >> 5, number

    def value() -> int | str | bytes:
        nonlocal at
        major, number = next_head()
        if major == 0:
            return number
        part = data[at : at + number]
        at += number
        return part if major == 2 else part.decode()

    members = {}
    for _ in range(next_head()[1]):
        key = value()
        members[key] = value()
    if encode(members) != data:
        raise ValueError("not deterministic")
    return members


def expected(challenge) -> dict:
    """What an order must say to answer this challenge."""
    request = challenge.request
    return {
        0: "stiver-ledger/order/1",
        1: 1,
        2: unbase64url(request["methodDetails"]["ledger"]),
        6: challenge.id,
        7: challenge.realm,
        8: unbase64url(request["recipient"].removeprefix("acct_")),
        9: int(request["amount"]),
        10: request["currency"],
    }


def mismatch(payload, challenge) -> str | None:
    """Why an order does not answer a challenge. Its signature is the ledger's to check."""
    try:
        order = decode(unbase64url(payload.order))
    except (ValueError, IndexError):
        return "the order is malformed"
    for key, value in expected(challenge).items():
        if order.get(key) != value:
            return f"member {key} of the order is another"
    return None


class Account:
    """A key, its account, and orders that it signs."""

    def __init__(self, seed: bytes):
        self.key = Ed25519PrivateKey.from_private_bytes(seed)
        raw = self.key.public_key().public_bytes_raw()
        self.did = "did:key:z" + base58(b"\xed\x01" + raw)
        self.id = hashlib.sha256(b"stiver-ledger/account/1" + raw).digest()[:16]

    def pay(self, challenge) -> dict:
        """The payload of a credential that answers this challenge."""
        expires = datetime.fromisoformat(challenge.expires)
        order = encode(
            expected(challenge)
            | {3: self.id, 4: os.urandom(16), 5: round(expires.timestamp() * 1000)}
        )
        return {
            "order": base64url(order),
            "key": self.did,
            "signature": base64url(self.key.sign(order)),
        }
