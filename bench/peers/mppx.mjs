// The session server of mppx, verifying vouchers in this process.
//
// What is timed is what the server does with a payload that was parsed before: the channel's id is
// computed, the channel loaded and checked, the voucher verified, accepted and stored, in the
// package's own store in memory. The chain is not asked: the state of the channel counts as fresh,
// as the package's own `channelStateTtl` allows.
//
// Takes the folder that holds `node_modules`. A line `1 VOUCHERS` on the input has it verify so
// many; the answer is the wall time that took, nanoseconds.

import { createInterface } from 'node:readline'
import { createRequire } from 'node:module'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'

const modules = join(process.argv[2], 'node_modules')
const require = createRequire(join(modules, 'x.js'))
const internal = (path) => import(pathToFileURL(join(modules, 'mppx/dist', path)))
const { privateKeyToAccount } = await import(
  pathToFileURL(require.resolve('viem/accounts')).href
)
const Store = await internal('Store.js')
const Channel = await internal('tempo/session/precompile/Channel.js')
const ChannelStore = await internal('tempo/session/server/ChannelStore.js')
const { tip20ChannelEscrow: escrow } = await internal('tempo/session/precompile/Protocol.js')
const { broadcastCredentialPayload } = await internal(
  'tempo/session/server/CredentialVerification.js',
)
const { hashTypedData } = await import(pathToFileURL(require.resolve('viem')).href)
const { getVoucherDomain, voucherTypes } = await internal('tempo/session/precompile/Voucher.js')

const vouchersMax = 64
const chainId = 42431
const account = privateKeyToAccount(`0x${'09'.repeat(32)}`)
const zero = `0x${'00'.repeat(20)}`
const descriptor = {
  payer: account.address,
  payee: `0x${'22'.repeat(20)}`,
  operator: zero,
  token: `0x${'33'.repeat(20)}`,
  salt: `0x${'07'.repeat(32)}`,
  authorizedSigner: account.address,
  expiringNonceHash: `0x${'08'.repeat(32)}`,
}
const channelId = Channel.computeId({ ...descriptor, chainId, escrow })
const request = {
  amount: '1',
  currency: descriptor.token,
  recipient: descriptor.payee,
  methodDetails: { chainId, escrowContract: escrow },
}
const challenge = { id: 'bench', realm: 'api.example.com', method: 'tempo', intent: 'session', request }

const payloads = []
for (let cumulative = 1; cumulative <= vouchersMax; cumulative += 1) {
  const hash = hashTypedData({
    domain: getVoucherDomain(escrow, chainId),
    types: voucherTypes,
    primaryType: 'Voucher',
    message: { channelId, cumulativeAmount: BigInt(cumulative) },
  })
  const signature = await account.sign({ hash })
  const cumulativeAmount = String(cumulative)
  payloads.push({ action: 'voucher', channelId, descriptor, cumulativeAmount, signature })
}

// A fresh channel, and so many of its vouchers.
async function round(count) {
  const store = ChannelStore.fromStore(Store.memory())
  const state = ChannelStore.openChannelState({
    authorizedSigner: account.address,
    chainId,
    channelId,
    cumulativeAmount: 0n,
    current: null,
    descriptor,
    escrow,
    expiringNonceHash: descriptor.expiringNonceHash,
    signature: '0x',
    state: { closeRequestedAt: 0, deposit: 1_000_000n, settled: 0n },
  })
  await store.updateChannel(channelId, () => state)
  const lastOnChainVerified = new Map([[channelId, Date.now()]])
  const start = process.hrtime.bigint()
  for (const payload of payloads.slice(0, count)) {
    await broadcastCredentialPayload({
      store,
      client: {},
      challenge,
      credentialSource: `did:pkh:eip155:${chainId}:${account.address}`,
      payload,
      chainId,
      escrow,
      minVoucherDelta: 0n,
      channelStateTtl: 3_600_000,
      lastOnChainVerified,
    })
  }
  const took = process.hrtime.bigint() - start
  const last = await store.getChannel(channelId)
  if (last.highestVoucherAmount !== BigInt(count)) throw new Error('a voucher was not accepted')
  return took
}

console.log('ready')
for await (const line of createInterface({ input: process.stdin })) {
  console.log(String(await round(Number(line.split(' ')[1]))))
}
