"""Makes charge.json: the ledger method's golden vectors, from the specification alone.

Independent of the Rust code: CBOR by cbor2, Ed25519 by PyNaCl, base58 by base58.

    pip install cbor2 pynacl base58 && python make.py > charge.json
"""

import base64
import hashlib
import hmac
import json

import base58
import cbor2
from nacl.signing import SigningKey

LEDGER = bytes([7] * 16)
SECRET = b"s" * 32
EXPIRES_MS = 1_767_225_900_000
EXPIRES = "2026-01-01T00:05:00Z"
PAID_MS = 1_767_225_601_250
PAID = "2026-01-01T00:00:01.250Z"


def b64(data):
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def jcs(value):
    return json.dumps(value, sort_keys=True, separators=(",", ":"))


def key(name):
    return SigningKey(hashlib.sha256(name.encode()).digest())


def public(name):
    return bytes(key(name).verify_key)


def did(name):
    return "did:key:z" + base58.b58encode(b"\xed\x01" + public(name)).decode()


def account(name):
    return hashlib.sha256(b"stiver-ledger/account/1" + public(name)).digest()[:16]


def acct(name):
    return "acct_" + b64(account(name))


def nonce(number):
    return number.to_bytes(16, "big")


def signed(name, members, by):
    data = cbor2.dumps(members, canonical=True)
    return {
        "name": name,
        "bytes": data.hex(),
        "sha256": hashlib.sha256(data).hexdigest(),
        "key": did(by),
        "signature": key(by).sign(data).signature.hex(),
    }


def order(name, kind, by, number, members):
    head = {
        0: "stiver-ledger/order/1",
        1: kind,
        2: LEDGER,
        3: account(by),
        4: nonce(number),
        5: EXPIRES_MS,
    }
    return signed(name, {**head, **members}, by)


def charge():
    request = {
        "amount": "10000",
        "currency": "usd",
        "description": "one reading",
        "methodDetails": {
            "decimals": 6,
            "ledger": b64(LEDGER),
            "receiptKey": did("receipts"),
        },
        "recipient": acct("shop"),
    }
    encoded = b64(jcs(request).encode())
    slots = ["api.example.com", "ledger", "charge", encoded, EXPIRES, "", ""]
    challenge_id = b64(hmac.digest(SECRET, "|".join(slots).encode(), "sha256"))
    members = {6: challenge_id, 7: "api.example.com", 8: account("shop"), 9: 10000, 10: "usd"}
    paid = order("charge", 1, "alice", 1, members)
    data = bytes.fromhex(paid["bytes"])
    credential = {
        "challenge": {
            "expires": EXPIRES,
            "id": challenge_id,
            "intent": "charge",
            "method": "ledger",
            "realm": "api.example.com",
            "request": encoded,
        },
        "payload": {
            "key": did("alice"),
            "order": b64(data),
            "signature": b64(bytes.fromhex(paid["signature"])),
        },
        "source": did("alice"),
    }
    receipt = signed(
        "charge",
        {
            0: "stiver-ledger/receipt/1",
            1: LEDGER,
            2: challenge_id,
            3: hashlib.sha256(data).digest(),
            4: account("alice"),
            5: public("alice"),
            6: account("shop"),
            7: 10000,
            8: "usd",
            9: "GET /reading",
            10: PAID_MS,
        },
        "receipts",
    )
    receipt_json = {
        "amount": "10000",
        "challengeId": challenge_id,
        "currency": "usd",
        "ledger": b64(LEDGER),
        "method": "ledger",
        "payee": acct("shop"),
        "payer": did("alice"),
        "payerAccount": acct("alice"),
        "receiptKey": did("receipts"),
        "reference": "tr_" + b64(hashlib.sha256(data).digest()),
        "resource": "GET /reading",
        "signature": b64(bytes.fromhex(receipt["signature"])),
        "status": "success",
        "timestamp": PAID,
    }
    return {
        "secret": SECRET.decode(),
        "request": request,
        "challenge": (
            f'Payment id="{challenge_id}", realm="api.example.com", method="ledger", '
            f'intent="charge", request="{encoded}", expires="{EXPIRES}"'
        ),
        "order": paid,
        "credential": "Payment " + b64(jcs(credential).encode()),
        "credentialJson": credential,
        "receiptBody": receipt,
        "receipt": b64(jcs(receipt_json).encode()),
        "receiptJson": receipt_json,
    }


def orders():
    digest = hashlib.sha256(b"order").digest()
    word = hashlib.sha256(b"word").digest()
    return [
        order("transfer", 1, "alice", 2, {8: account("shop"), 9: 2**64, 10: "usd"}),
        order(
            "mint",
            2,
            "issuer",
            3,
            {8: account("alice"), 9: 1_000_000, 10: "usd", 11: public("alice"), 20: "Alice"},
        ),
        order("burn", 3, "alice", 4, {9: 23, 10: "usd"}),
        order("refund", 4, "shop", 5, {9: 24, 13: digest, 20: "out of stock"}),
        order("open", 5, "alice", 6, {11: public("alice")}),
        order("add key", 6, "alice", 7, {11: public("till"), 12: 2}),
        order("revoke key", 7, "alice", 8, {11: public("till")}),
        order(
            "hold",
            8,
            "alice",
            9,
            {
                8: account("shop"),
                9: 255,
                10: "usd",
                15: EXPIRES_MS,
                16: hashlib.sha256(word).digest(),
            },
        ),
        order(
            "hold for a session",
            8,
            "alice",
            10,
            {8: account("shop"), 9: 256, 10: "usd", 17: word},
        ),
        order("post", 9, "shop", 11, {9: 65536, 14: digest, 18: word, 19: True}),
        order("void", 10, "shop", 12, {14: digest}),
        order("freeze", 11, "operator", 13, {8: account("alice"), 19: True}),
        order("limit", 12, "operator", 14, {8: account("alice"), 9: 2**32}),
    ]


def queries():
    def query(name, kind, members):
        head = {
            0: "stiver-ledger/query/1",
            1: kind,
            2: LEDGER,
            3: account("alice"),
            4: PAID_MS,
        }
        return signed(name, {**head, **members}, "alice")

    asked = bytes.fromhex(orders()[0]["bytes"])
    return [
        query("account", 1, {}),
        query("order", 2, {5: asked}),
        query("statement", 3, {6: 0, 7: PAID_MS, 8: 7, 9: 20}),
    ]


def main():
    names = ["alice", "shop", "issuer", "operator", "till", "receipts"]
    print(
        json.dumps(
            {
                "about": "The ledger method: docs/spec/ledger-charge.md. Made by make.py.",
                "ledger": b64(LEDGER),
                "keys": {
                    name: {
                        "seed": bytes(key(name)).hex(),
                        "did": did(name),
                        "account": acct(name),
                    }
                    for name in names
                },
                "orders": orders(),
                "queries": queries(),
                "charge": charge(),
            },
            indent=2,
        )
    )


if __name__ == "__main__":
    main()
