"""pympp as a peer: a server that charges, and a client that is told by lines of JSON what to fetch."""

import asyncio
import json
import os
import sys
import threading
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import httpx
from ledger import Account, mismatch, unbase64url
from mpp import Challenge, Credential, Receipt
from mpp.client import ClientMethod, CredentialParams
from mpp.client import Mpp as Client
from mpp.client.transport import _payment_challenges
from mpp.errors import InvalidChallengeError, VerificationFailedError
from mpp.methods import Method
from mpp.server import Mpp as Server
from mpp.server import Request, Response
from mpp.server.method import ServerMethod, VerifyContext
from pydantic import BaseModel, ConfigDict

SETTING = json.loads(os.environ["STIVER_PEER"])
ACCOUNT = Account(bytes.fromhex(SETTING["seed"]))


class ChargeRequest(BaseModel):
    model_config = ConfigDict(extra="allow")
    amount: str
    currency: str
    recipient: str
    methodDetails: dict


class Payload(BaseModel):
    order: str
    key: str
    signature: str


def charge(name: str) -> Method:
    return Method(
        name=name, intent="charge", request_model=ChargeRequest, payload_model=Payload
    )


# The payer.


async def create_credential(params: CredentialParams) -> str:
    challenge = params.challenge
    payload = ACCOUNT.pay(challenge)
    return Credential(
        challenge=challenge.to_echo(), payload=payload, source=ACCOUNT.did
    ).to_authorization()


METHOD = ClientMethod(method=charge("ledger"), create_credential=create_credential)
CLIENT = Client(methods=[METHOD])


async def fetch(url, method="GET", headers=None, body=None):
    response = await CLIENT.fetch(url, method=method, headers=headers, content=body)
    header = response.headers.get("payment-receipt")
    receipt = Receipt.from_payment_receipt(header) if header else None
    return {
        "status": response.status_code,
        "headers": response.headers.multi_items(),
        "body": response.text,
        "receipt": receipt and vars_of(receipt),
    }


def vars_of(receipt):
    return {
        "status": receipt.status,
        "method": receipt.method,
        "reference": receipt.reference,
        "timestamp": receipt.timestamp.isoformat(),
        **(receipt.extensions or {}),
    }


def challenges_of(headers):
    return [
        Challenge.from_www_authenticate(field)
        for header in headers
        for field in _payment_challenges(header)
    ]


async def parse(headers):
    names = ("id", "realm", "method", "intent", "request", "expires", "digest", "description")
    found = challenges_of(headers)
    return {
        "challenges": [
            {name: getattr(challenge, name) for name in names} for challenge in found
        ]
    }


async def credential(headers):
    runtime = CLIENT.payment_transport._runtime
    challenge, method = runtime.match_challenge(challenges_of(headers))
    made = await runtime.create_credential(challenge, method)
    return {"credential": made.to_authorization()}


OPERATIONS = {"fetch": fetch, "parse": parse, "credential": credential}


# The payee.

SERVED = set()


async def settle(payload: Payload) -> dict:
    async with httpx.AsyncClient() as http:
        answer = await http.post(SETTING["endpoint"], json=payload.model_dump())
    body = answer.json()
    if answer.status_code != 200:
        raise VerificationFailedError(body["detail"])
    if body["answer"]["status"] != "executed":
        raise VerificationFailedError(body["answer"]["detail"])
    return body["receipt"]


async def verify(context: VerifyContext) -> Receipt:
    challenge, payload = context.challenge, context.credential.payload
    if wrong := mismatch(payload, challenge):
        raise VerificationFailedError(wrong)
    # The ledger executes an order once, and answers again: that it is served once is the payee's.
    order = unbase64url(payload.order)
    if order in SERVED:
        raise InvalidChallengeError(challenge.id, "already used")
    SERVED.add(order)
    try:
        receipt = await settle(payload)
    except BaseException:
        SERVED.discard(order)
        raise
    known = ("status", "timestamp", "reference", "method")
    return Receipt(
        status="success",
        timestamp=datetime.fromisoformat(receipt["timestamp"]),
        reference=receipt["reference"],
        method=receipt["method"],
        extensions={name: value for name, value in receipt.items() if name not in known},
    )


SERVER = Server(
    methods=[
        ServerMethod(method=charge("ledger"), verify=verify),
        ServerMethod(method=charge("other"), verify=verify),
    ],
    realm=SETTING["realm"],
    secret_key=SETTING["secret"],
)

PRICE = {
    "amount": SETTING["amount"],
    "currency": "usd",
    "recipient": SETTING["recipient"],
    "methodDetails": {
        "ledger": SETTING["ledger"],
        "decimals": 6,
        "receiptKey": SETTING["receiptKey"],
    },
}


def after(minutes: int) -> str:
    return (datetime.now(UTC) + timedelta(minutes=minutes)).isoformat()


LEDGER = SERVER["ledger/charge"]
LATER = after(10)
ROUTES = {
    "/paid": lambda: LEDGER(**PRICE),
    "/described": lambda: LEDGER(**PRICE, description='a "quoted" \\ reading'),
    "/expired": lambda: LEDGER(**PRICE, expires=after(-1)),
    "/fixed": lambda: LEDGER(**PRICE, expires=LATER),
    "/several": lambda: SERVER.compose(("other/charge", PRICE), ("ledger/charge", PRICE)),
    "/bound": lambda: LEDGER(**PRICE, body=lambda request: request.body or b""),
}


async def answer(request: Request, path: str) -> Response:
    if path == "/free":
        return Response(body="free\n")
    if path not in ROUTES:
        return Response(status=404, body="no such page\n")
    result = await ROUTES[path]()(request)
    if result.status != 200:
        return result.challenge
    return result.with_receipt(Response(body="paid\n"))


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def handle_any(self):
        body = self.rfile.read(int(self.headers.get("content-length", 0)))
        url = f"http://{self.headers.get('host')}{self.path}"
        request = Request(self.command, url, headers=self.headers.items(), body=body or None)
        path = self.path.split("?")[0]
        future = asyncio.run_coroutine_threadsafe(answer(request, path), LOOP)
        try:
            response = future.result()
        except Exception as error:
            response = Response(status=500, body=f"{type(error).__name__}: {error}\n")
        body = response.body or b""
        self.send_response(response.status)
        for name, value in response.headers.multi_items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    do_GET = do_HEAD = do_POST = do_PUT = handle_any

    def log_message(self, *_):
        pass


async def operate(line: str) -> None:
    request = json.loads(line)
    call, op = request.pop("call"), request.pop("op")
    try:
        answer = {"ok": True, **await OPERATIONS[op](**request)}
    except Exception as error:
        answer = {"ok": False, "error": f"{type(error).__name__}: {error}"}
    print(json.dumps({"call": call, **answer}), flush=True)


async def main() -> None:
    global LOOP
    LOOP = asyncio.get_running_loop()
    listener = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=listener.serve_forever, daemon=True).start()
    print(f"listening on http://127.0.0.1:{listener.server_port}", flush=True)
    running = set()
    while line := await asyncio.to_thread(sys.stdin.readline):
        task = asyncio.create_task(operate(line))
        running.add(task)
        task.add_done_callback(running.discard)
    os._exit(0)


asyncio.run(main())
