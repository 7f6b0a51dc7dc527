"""Makes session.json: golden vectors of the ledger method's sessions, from the specification alone.

Independent of the Rust code, as make.py is.

    pip install cbor2 pynacl base58 && python make_session.py > session.json
"""

import hashlib
import hmac
import json

import cbor2

from make import (
    EXPIRES,
    EXPIRES_MS,
    LEDGER,
    PAID,
    PAID_MS,
    SECRET,
    account,
    acct,
    b64,
    did,
    jcs,
    key,
    nonce,
    order,
    public,
    signed,
)

GRACE_MS = 900_000
DEPOSIT = 10_000
STEP = 20
WORDS = 2_000
WORD_TAG = b"stiver/hash-chain/word/1".ljust(32, b"\0")
SALT = LEDGER.ljust(32, b"\0")
CHAIN_SEED = hashlib.sha256(b"chain").digest()
ACK = hashlib.sha256(b"what was delivered").digest()


def before(word, steps):
    for _ in range(steps):
        word = hashlib.sha256(WORD_TAG + SALT + word).digest()
    return word


def word(index):
    return before(CHAIN_SEED, WORDS - index)


def hold(data):
    return "hold_" + b64(hashlib.sha256(data).digest())


def transaction(vector, by):
    data = bytes.fromhex(vector["bytes"])
    return b64(cbor2.dumps([data, public(by), bytes.fromhex(vector["signature"])], canonical=True))


def challenge(request):
    encoded = b64(jcs(request).encode())
    slots = ["api.example.com", "ledger", "session", encoded, EXPIRES, "", ""]
    challenge_id = b64(hmac.digest(SECRET, "|".join(slots).encode(), "sha256"))
    return (
        challenge_id,
        f'Payment id="{challenge_id}", realm="api.example.com", method="ledger", '
        f'intent="session", request="{encoded}", expires="{EXPIRES}"',
    )


def voucher(name, channel, cumulative, ack=None):
    members = {0: "stiver-ledger/voucher/1", 1: LEDGER, 2: channel, 3: cumulative}
    if ack is not None:
        members[4] = ack
    return signed(name, members, "session")


def main():
    request = {
        "amount": "20",
        "currency": "usd",
        "methodDetails": {
            "decimals": 6,
            "graceSeconds": 900,
            "ledger": b64(LEDGER),
            "minVoucherDelta": "5",
            "receiptKey": did("receipts"),
            "voucher": ["ed25519", "hash-chain"],
        },
        "recipient": acct("shop"),
        "suggestedDeposit": "10000",
        "unitType": "token",
    }
    challenge_id, header = challenge(request)
    answers = {6: challenge_id, 7: "api.example.com"}
    opens = {**answers, 8: account("shop"), 9: DEPOSIT, 10: "usd"}
    by_voucher = order("open", 8, "alice", 1, {**opens, 21: public("session"), 25: GRACE_MS})
    by_word = order(
        "open on words",
        8,
        "alice",
        2,
        {**opens, 22: word(0), 23: STEP, 24: WORDS, 25: GRACE_MS},
    )
    channel = bytes.fromhex(by_voucher["sha256"])
    chain = bytes.fromhex(by_word["sha256"])
    vouchers = [
        voucher("first", channel, 20),
        voucher("with an ack", channel, 400, ACK),
        voucher("wide", channel, 2**64),
    ]
    captured = {9: 380, 14: channel, 19: True, 21: public("session"), 26: 400, 28: ACK}
    captured[27] = bytes.fromhex(vouchers[1]["signature"])
    top_up = order("top-up", 14, "alice", 5, {**answers, 9: 500, 14: channel})
    orders = [
        by_voucher,
        by_word,
        order("capture", 13, "shop", 3, captured),
        order(
            "capture by word",
            13,
            "shop",
            4,
            {9: 390, 14: chain, 19: False, 22: word(0), 24: 20, 29: word(20)},
        ),
        top_up,
        order("forced close", 15, "alice", 6, {14: channel}),
        order("withdrawal", 16, "alice", 7, {14: channel}),
    ]
    signature = [b64(bytes.fromhex(it["signature"])) for it in vouchers]
    channel_id = "hold_" + b64(channel)
    payloads = {
        "open": {
            "action": "open",
            "type": "transaction",
            "channelId": channel_id,
            "transaction": transaction(by_voucher, "alice"),
            "cumulativeAmount": "20",
            "signature": signature[0],
        },
        "topUp": {
            "action": "topUp",
            "type": "transaction",
            "channelId": channel_id,
            "transaction": transaction(top_up, "alice"),
            "additionalDeposit": "500",
        },
        "voucher": {
            "action": "voucher",
            "channelId": channel_id,
            "cumulativeAmount": "400",
            "signature": signature[1],
            "ack": b64(ACK),
        },
        "word": {
            "action": "voucher",
            "channelId": "hold_" + b64(chain),
            "cumulativeAmount": "400",
            "index": 20,
            "word": b64(word(20)),
        },
        "close": {
            "action": "close",
            "channelId": channel_id,
            "cumulativeAmount": "400",
            "signature": signature[1],
            "ack": b64(ACK),
        },
    }
    receipt = signed(
        "session",
        {
            0: "stiver-ledger/session-receipt/1",
            1: LEDGER,
            2: challenge_id,
            3: channel,
            4: account("alice"),
            5: public("alice"),
            6: account("shop"),
            7: 400,
            8: "usd",
            9: "GET /tokens",
            10: PAID_MS,
            11: 380,
            12: jcs("19"),
        },
        "receipts",
    )
    receipt_json = {
        "acceptedCumulative": "400",
        "challengeId": challenge_id,
        "channelId": channel_id,
        "currency": "usd",
        "intent": "session",
        "ledger": b64(LEDGER),
        "method": "ledger",
        "payee": acct("shop"),
        "payer": did("alice"),
        "payerAccount": acct("alice"),
        "receiptKey": did("receipts"),
        "reference": channel_id,
        "resource": "GET /tokens",
        "signature": b64(bytes.fromhex(receipt["signature"])),
        "spent": "380",
        "status": "success",
        "timestamp": PAID,
        "units": "19",
    }
    asks = {0: "stiver-ledger/query/1", 2: LEDGER, 3: account("alice"), 4: PAID_MS}
    queries = [
        signed("channel", {**asks, 1: 4, 10: channel}, "alice"),
        signed("channels", {**asks, 1: 5, 9: 20}, "alice"),
        signed("channels after one", {**asks, 1: 5, 9: 20, 10: channel}, "alice"),
    ]
    print(
        json.dumps(
            {
                "about": "Sessions on a ledger: docs/spec/ledger-session.md. "
                "Made by make_session.py.",
                "secret": SECRET.decode(),
                "sessionSeed": bytes(key("session")).hex(),
                "request": request,
                "challenge": header,
                "orders": orders,
                "vouchers": vouchers,
                "chain": {
                    "salt": SALT.hex(),
                    "seed": CHAIN_SEED.hex(),
                    "words": WORDS,
                    "step": STEP,
                    "root": word(0).hex(),
                    "word1": word(1).hex(),
                    "word20": word(20).hex(),
                },
                "payloads": payloads,
                "queries": queries,
                "receiptBody": receipt,
                "receipt": b64(jcs(receipt_json).encode()),
                "receiptJson": receipt_json,
            },
            indent=2,
        )
    )


if __name__ == "__main__":
    main()
