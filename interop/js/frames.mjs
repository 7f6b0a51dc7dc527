// The frames of mppx's paid WebSockets: reads lines of JSON, each a text frame of somebody else's,
// and answers with what mppx reads in it; before that it prints one of each kind of its own.
import { createRequire } from 'node:module'
import { createInterface } from 'node:readline'
import { pathToFileURL } from 'node:url'

const require = createRequire(`${process.env.STIVER_PEER_MODULES}/`)
const { tempo } = await import(pathToFileURL(require.resolve('mppx/server')).href)
const { Ws } = tempo

const receipt = {
  method: 'tempo',
  intent: 'session',
  status: 'success',
  timestamp: '2026-01-01T00:00:00.000Z',
  reference: '0xabc',
  challengeId: 'ch-1',
  channelId: '0xabc',
  acceptedCumulative: '40',
  spent: '20',
  units: 2,
}
const need = {
  channelId: '0xabc',
  requiredCumulative: '60',
  acceptedCumulative: '40',
  deposit: '1000',
}

const own = [
  Ws.formatAuthorizationMessage('Payment eyJhIjoxfQ'),
  Ws.formatApplicationMessage('a "b"\n\u00e9 \u{1f600}'),
  Ws.formatNeedVoucherMessage(need),
  Ws.formatReceiptMessage(receipt),
  Ws.formatCloseRequestMessage(),
  Ws.formatCloseReadyMessage(receipt),
  Ws.formatErrorMessage({ status: 402, message: 'too little' }),
]
console.log(JSON.stringify(own))

for await (const line of createInterface({ input: process.stdin })) {
  console.log(JSON.stringify(Ws.parseMessage(JSON.parse(line))))
}
