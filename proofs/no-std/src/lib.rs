//! Proof that the core needs no operating system.
//!
//! This static library has no `std`: it brings its own allocator, over a fixed arena, and its own
//! panic handler. If anything that the core depends on pulled `std` in, there would be two panic
//! handlers and this would not compile. The C program beside it links the library and prints
//! the challenge id that [`stiver_bind_challenge`] computes.
#![no_std]

extern crate alloc;

mod arena;

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
