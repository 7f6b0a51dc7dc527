//! Proof that the core and the channels need no operating system.
//!
//! This static library has no `std`: it brings its own allocator, over a fixed arena, and its own
//! panic handler. If anything that they depend on pulled `std` in, there would be two panic
//! handlers and this would not compile. The C program beside it links the library, has it verify
//! vouchers, and prints the challenge id that [`stiver_bind_challenge`] computes.
#![no_std]

extern crate alloc;

mod arena;

use stiver_channel::{
    Authority, Caps, Channel, ChannelId, Op, Rules, VerifyVoucher as _, Voucher, VoucherError,
    voucher::{
        chain::{Chain, Terms, Tick, Words},
        ed25519::{Ed25519, Key, Signed},
    },
};
use stiver_core::{
    Challenge, Timestamp,
    binding::{KeyRing, Secret},
    challenge::{DigestText, Expires, Params},
    digest::BodyDigest,
    json::{EncodedObject, Object},
    name::{IntentName, MethodName, Realm},
};

#[global_allocator]
static ARENA: arena::Arena = arena::Arena::new();

/// There is nowhere to report to: stop here, where a debugger finds it.
#[panic_handler]
fn halt(_: &core::panic::PanicInfo<'_>) -> ! {
    loop {
        core::hint::spin_loop();
    }
}

/// The precompiled `core` names this symbol, though nothing unwinds.
#[unsafe(no_mangle)]
extern "C" fn rust_eh_personality() {}

/// Binds a fixed challenge ("all slots" of `crates/core/vectors/binding.json`) under a fixed
/// secret, prints its header, reads it back, verifies it, and writes its id to `id`.
///
/// Returns the number of bytes written: 43, or 0 when anything failed or `capacity` is too small.
///
/// # Safety
/// `id` points to at least `capacity` bytes that nothing else uses during the call.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn stiver_bind_challenge(id: *mut u8, capacity: usize) -> usize {
    let Some(challenge) = bind_challenge() else {
        return 0;
    };
    let text = challenge.id.as_str().as_bytes();
    if id.is_null() || text.len() > capacity {
        return 0;
    }
    // SAFETY: the caller promises `capacity` writable bytes at `id`, `text` is not longer, and it
    // lies in our arena, so the two do not overlap.
    unsafe { core::ptr::copy_nonoverlapping(text.as_ptr(), id, text.len()) };
    text.len()
}

/// The challenge, once it has come back from the wire and been verified.
fn bind_challenge() -> Option<Challenge> {
    let secret: [u8; 32] = core::array::from_fn(|index| index.to_le_bytes()[0]);
    let ring = KeyRing::new(Secret::configured(&secret).ok()?);
    let challenge = ring.bind(params()?);
    let header = challenge.to_header();
    let read = Challenge::parse_all([header.as_bytes()]).pop()?.ok()?;
    ring.verify(&read, Timestamp::EPOCH).ok()?;
    Some(read)
}

fn params() -> Option<Params> {
    let request = br#"{"amount":"1000","currency":"usd","recipient":"acct_123"}"#;
    let opaque = br#"{"n":"AAAAAAAAAAAAAAAAAAAAAA","s":"GET /data"}"#;
    let body = BodyDigest::of(br#"{"hello": "world"}"#);
    let mut params = Params::new(
        Realm::new("api.example.com").ok()?,
        MethodName::new("ledger").ok()?,
        IntentName::charge(),
        encode(request)?,
    );
    params.expires = Some(Expires::parse("2025-01-15T12:05:00Z").ok()?);
    params.digest = Some(DigestText::new(&body.to_header()).ok()?);
    params.opaque = Some(encode(opaque)?);
    Some(params)
}

fn encode(json: &[u8]) -> Option<EncodedObject> {
    Some(EncodedObject::encode(&Object::parse(json).ok()?))
}

/// A device's day: three ticks of a hash chain, as bytes, are verified and charged for, then a
/// batch with a forged signature is told from its neighbour.
///
/// Returns how much the channel has taken, 6, or 0 when anything failed.
#[unsafe(no_mangle)]
pub extern "C" fn stiver_verify_vouchers() -> u32 {
    let taken = take_ticks().and_then(|taken| u32::try_from(taken).ok());
    match refuse_forged() {
        Some(true) => taken.unwrap_or(0),
        _ => 0,
    }
}

const CHANNEL: ChannelId = ChannelId([7; 32]);

fn take_ticks() -> Option<u128> {
    let mut words = Words::new(&[3; 32], &CHANNEL.0, 10).ok()?;
    let terms = Terms {
        salt: CHANNEL.0,
        root: words.root(),
        words: 10,
        step: 2,
    };
    let chain = Chain::new(CHANNEL, terms).ok()?;
    let rules = Rules {
        caps: Caps::LEDGER,
        voucher_delta_min: 1,
    };
    let mut channel = Channel::opening(Timestamp::EPOCH);
    let open = Op::ConfirmOpen {
        deposit: 20,
        settled: 0,
        voucher: None,
    };
    let mut run = |op: Op| -> Option<u128> {
        let event = channel.decide(&rules, &op, Timestamp::EPOCH).ok()??;
        channel.apply(&event).ok()?;
        Some(channel.figures().spent)
    };
    run(open)?;
    let mut last: Option<Voucher> = None;
    let mut taken = 0;
    for index in 1..=3 {
        let bytes = Tick::new(&CHANNEL, words.show(index).ok()?).to_bytes();
        let voucher = chain.voucher_of_tick(&Tick::parse(&bytes).ok()?).ok()?;
        chain.verify(last.as_ref(), &voucher).ok()?;
        let cumulative = voucher.cumulative;
        run(Op::Accept { cumulative })?;
        taken = run(Op::Spend {
            amount: 2,
            from_reserved: 0,
            authority: Authority::Voucher { cumulative },
        })?;
        last = Some(voucher);
    }
    Some(taken)
}

/// The message is empty, as in test 1 of RFC 8032, section 7.1.
struct Empty;

impl Signed for Empty {
    fn signed(&self, voucher: &Voucher) -> Result<(alloc::vec::Vec<u8>, [u8; 64]), VoucherError> {
        let signature = voucher.proof[..].try_into();
        let signature = signature.map_err(|_| VoucherError::MalformedProof)?;
        Ok((alloc::vec::Vec::new(), signature))
    }
}

fn refuse_forged() -> Option<bool> {
    let scheme = Ed25519::new(CHANNEL, Key::from_bytes(&KEY).ok()?, Empty);
    let voucher = |signature: [u8; 64]| Voucher {
        channel: CHANNEL,
        cumulative: 1,
        proof: alloc::boxed::Box::new(signature),
    };
    let mut forged = SIGNATURE;
    forged[40] ^= 1;
    let results = scheme.verify_batch(None, &[voucher(SIGNATURE), voucher(forged)]);
    Some(results == [Ok(()), Err(VoucherError::InvalidSignature)])
}

const KEY: [u8; 32] = [
    0xd7, 0x5a, 0x98, 0x01, 0x82, 0xb1, 0x0a, 0xb7, 0xd5, 0x4b, 0xfe, 0xd3, 0xc9, 0x64, 0x07, 0x3a,
    0x0e, 0xe1, 0x72, 0xf3, 0xda, 0xa6, 0x23, 0x25, 0xaf, 0x02, 0x1a, 0x68, 0xf7, 0x07, 0x51, 0x1a,
];

const SIGNATURE: [u8; 64] = [
    0xe5, 0x56, 0x43, 0x00, 0xc3, 0x60, 0xac, 0x72, 0x90, 0x86, 0xe2, 0xcc, 0x80, 0x6e, 0x82, 0x8a,
    0x84, 0x87, 0x7f, 0x1e, 0xb8, 0xe5, 0xd9, 0x74, 0xd8, 0x73, 0xe0, 0x65, 0x22, 0x49, 0x01, 0x55,
    0x5f, 0xb8, 0x82, 0x15, 0x90, 0xa3, 0x3b, 0xac, 0xc6, 0x1e, 0x39, 0x70, 0x1c, 0xf9, 0xb4, 0x6b,
    0xd2, 0x5b, 0xf5, 0xf0, 0x59, 0x5b, 0xbe, 0x24, 0x65, 0x51, 0x41, 0x43, 0x8e, 0x7a, 0x10, 0x0b,
];
