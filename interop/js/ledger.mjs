// The `ledger` method by its specification (docs/spec/ledger-charge.md), with nothing but node.
import { createHash, createPrivateKey, createPublicKey, randomBytes, sign } from 'node:crypto'

const DIGITS = '123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz'

export const base64url = (bytes) => Buffer.from(bytes).toString('base64url')
export const unbase64url = (text) => Buffer.from(text, 'base64url')

function base58(bytes) {
  let number = BigInt(`0x${bytes.toString('hex')}`)
  let text = ''
  for (; number > 0n; number /= 58n) text = DIGITS[Number(number % 58n)] + text
  return text
}

function head(major, value) {
  const number = BigInt(value)
  const type = major << 5
  if (number < 24n) return Buffer.from([type | Number(number)])
  for (const [extra, size] of [[24, 1], [25, 2], [26, 4], [27, 8]]) {
    if (number < 1n << BigInt(8 * size)) {
      const bytes = Buffer.from(number.toString(16).padStart(2 * size, '0'), 'hex')
      return Buffer.concat([Buffer.from([type | extra]), bytes])
    }
  }
  throw new Error('bignums are not needed here')
}

function item(value) {
  if (Buffer.isBuffer(value)) return Buffer.concat([head(2, value.length), value])
  if (typeof value !== 'string') return head(0, value)
  const bytes = Buffer.from(value)
  return Buffer.concat([head(3, bytes.length), bytes])
}

/** A deterministic CBOR map of unsigned integers to integers, texts and bytes. */
export function encode(members) {
  const keys = Object.keys(members).map(Number).sort((a, b) => a - b)
  return Buffer.concat([head(5, keys.length), ...keys.flatMap((key) => [item(key), item(members[key])])])
}

/** Reads such a map, and refuses bytes that `encode` would not have written. */
export function decode(bytes) {
  let at = 0
  const next = () => {
    const first = bytes.readUInt8(at++)
    const extra = first & 31
    const size = extra < 24 ? 0 : 1 << (extra - 24)
    const hex = bytes.subarray(at, at + size).toString('hex')
    at += size
    return [first >> 5, size === 0 ? BigInt(extra) : BigInt(`0x${hex}`)]
  }
  const value = () => {
    const [major, number] = next()
    if (major === 0) return number
    const part = bytes.subarray(at, (at += Number(number)))
    return major === 2 ? Buffer.from(part) : part.toString('utf8')
  }
  const members = {}
  for (let left = next()[1]; left > 0n; left--) members[value()] = value()
  if (!encode(members).equals(bytes)) throw new Error('not deterministic')
  return members
}

/** A key, its account, and orders that it signs. */
export class Account {
  constructor(seed) {
    const prefix = Buffer.from('302e020100300506032b657004220420', 'hex')
    this.key = createPrivateKey({ key: Buffer.concat([prefix, seed]), format: 'der', type: 'pkcs8' })
    const der = createPublicKey(this.key).export({ format: 'der', type: 'spki' })
    const raw = der.subarray(der.length - 32)
    this.did = `did:key:z${base58(Buffer.concat([Buffer.from([0xed, 0x01]), raw]))}`
    const hash = createHash('sha256').update('stiver-ledger/account/1').update(raw).digest()
    this.id = hash.subarray(0, 16)
  }

  /** The payload of a credential that answers this challenge. */
  pay(challenge) {
    const { amount, currency, recipient, methodDetails } = challenge.request
    const expires = challenge.expires ? Date.parse(challenge.expires) : Date.now() + 300_000
    const order = encode({
      0: 'stiver-ledger/order/1',
      1: 1,
      2: unbase64url(methodDetails.ledger),
      3: this.id,
      4: randomBytes(16),
      5: expires,
      6: challenge.id,
      7: challenge.realm,
      8: unbase64url(recipient.slice('acct_'.length)),
      9: BigInt(amount),
      10: currency,
    })
    return {
      order: base64url(order),
      key: this.did,
      signature: base64url(sign(null, order, this.key)),
    }
  }
}

/** Why an order does not answer a challenge; nothing when it does. Its signature is the ledger's to check. */
export function mismatch(payload, challenge) {
  let order
  try {
    order = decode(unbase64url(payload.order))
  } catch {
    return 'the order is malformed'
  }
  const { amount, currency, recipient, methodDetails } = challenge.request
  const expected = {
    0: 'stiver-ledger/order/1',
    1: 1n,
    2: unbase64url(methodDetails.ledger),
    6: challenge.id,
    7: challenge.realm,
    8: unbase64url(recipient.slice('acct_'.length)),
    9: BigInt(amount),
    10: currency,
  }
  for (const [key, value] of Object.entries(expected)) {
    const same = Buffer.isBuffer(value) ? value.equals(order[key]) : order[key] === value
    if (!same) return `member ${key} of the order is another`
  }
}

/** Sends an order to the ledger: its transfer, and the receipt that it signed. */
export async function settle(endpoint, payload) {
  const answer = await fetch(endpoint, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify(payload),
  })
  const body = await answer.json()
  if (!answer.ok) throw new Error(body.detail)
  if (body.answer.status !== 'executed') throw new Error(body.answer.detail ?? body.answer.status)
  return body
}
