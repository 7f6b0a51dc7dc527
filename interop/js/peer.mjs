// mppx as a peer: a server that charges, and a client that is told by lines of JSON what to fetch.
import { createServer } from 'node:http'
import { createRequire } from 'node:module'
import { createInterface } from 'node:readline'
import { pathToFileURL } from 'node:url'
import { Account, mismatch, settle, unbase64url } from './ledger.mjs'

const require = createRequire(`${process.env.STIVER_PEER_MODULES}/`)
const load = (name) => import(pathToFileURL(require.resolve(name)).href)
const { Challenge, Credential, Errors, Method, Receipt, z } = await load('mppx')
const { Mppx: Client } = await load('mppx/client')
const { Mppx: Server, Request } = await load('mppx/server')

const setting = JSON.parse(process.env.STIVER_PEER)
const account = new Account(Buffer.from(setting.seed, 'hex'))

const charge = (name) =>
  Method.from({
    name,
    intent: 'charge',
    schema: {
      credential: {
        payload: z.object({ order: z.string(), key: z.string(), signature: z.string() }),
      },
      request: z.looseObject({
        amount: z.string(),
        currency: z.string(),
        recipient: z.string(),
        methodDetails: z.looseObject({ ledger: z.string(), decimals: z.number() }),
      }),
    },
  })

// The payer.

const client = Client.create({
  polyfill: false,
  methods: [
    Method.toClient(charge('ledger'), {
      async createCredential({ challenge }) {
        const payload = account.pay(challenge)
        return Credential.serialize(Credential.from({ challenge, payload, source: account.did }))
      },
    }),
  ],
})

async function plain(response) {
  const header = response.headers.get('payment-receipt')
  return {
    status: response.status,
    headers: [...response.headers],
    body: await response.text(),
    receipt: header ? Receipt.deserialize(header) : null,
  }
}

const challenged = (values) =>
  new Response(null, { status: 402, headers: values.map((value) => ['www-authenticate', value]) })

const operations = {
  async fetch({ url, method = 'GET', headers = {}, body }) {
    return plain(await client.fetch(url, { method, headers, body }))
  },
  async parse({ headers }) {
    return { challenges: Challenge.fromResponseList(challenged(headers)) }
  },
  async credential({ headers }) {
    return { credential: await client.createCredential(challenged(headers)) }
  },
}

// The payee.

const served = new Set()

const method = Method.toServer(charge('ledger'), {
  async verify({ credential }) {
    const { challenge, payload } = credential
    const wrong = mismatch(payload, challenge)
    if (wrong) throw new Errors.VerificationFailedError({ reason: wrong })
    // The ledger executes an order once, and answers again: that it is served once is the payee's.
    // Orders are counted and not ids, since two payers may have been given one id.
    const order = unbase64url(payload.order).toString('hex')
    if (served.has(order)) throw new Errors.InvalidChallengeError({ reason: 'already used' })
    served.add(order)
    let settled
    try {
      settled = await settle(setting.endpoint, payload)
    } catch (error) {
      served.delete(order)
      throw new Errors.VerificationFailedError({ reason: error.message })
    }
    return Receipt.from(settled.receipt)
  },
})

const server = Server.create({
  methods: [method, Method.toServer(charge('other'), { verify: async () => undefined })],
  realm: setting.realm,
  secretKey: setting.secret,
})

const price = {
  amount: setting.amount,
  currency: 'usd',
  recipient: setting.recipient,
  methodDetails: { ledger: setting.ledger, decimals: 6, receiptKey: setting.receiptKey },
}

const later = new Date(Date.now() + 600_000).toISOString()

const routes = {
  '/paid': () => server['ledger/charge'](price),
  '/described': () => server['ledger/charge']({ ...price, description: 'a "quoted" \\ reading' }),
  '/expired': () =>
    server['ledger/charge']({ ...price, expires: new Date(Date.now() - 60_000).toISOString() }),
  '/fixed': () => server['ledger/charge']({ ...price, expires: later }),
  '/several': () => server.compose(['other/charge', price], ['ledger/charge', price]),
}

async function answer(request) {
  const { pathname } = new URL(request.url)
  if (pathname === '/free') return new Response('free\n')
  const route = routes[pathname]
  if (!route) return new Response('no such page\n', { status: 404 })
  const result = await route()(request)
  if (result.status === 402) return result.challenge
  return result.withReceipt(new Response('paid\n'))
}

createServer(Request.toNodeListener(answer)).listen(0, '127.0.0.1', function listening() {
  process.stdout.write(`listening on http://127.0.0.1:${this.address().port}\n`)
})

for await (const line of createInterface({ input: process.stdin })) {
  const request = JSON.parse(line)
  operations[request.op](request)
    .then((value) => ({ ok: true, ...value }))
    .catch((error) => ({ ok: false, error: `${error.name}: ${error.message}` }))
    .then((value) => process.stdout.write(`${JSON.stringify({ call: request.call, ...value })}\n`))
}
process.exit(0)
