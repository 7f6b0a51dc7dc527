//! Every limit of the client, by name.

use std::time::Duration;

/// Most signatures for one logical call: the first, and one after a definite refusal.
pub const SIGNATURES_MAX: u32 = 2;
/// Most times one credential is sent, the first included, before the call is given up as unknown.
pub const SENDS_MAX: u32 = 5;
/// Wait before a credential is sent again; doubles from time to time.
pub const BACKOFF_FIRST: Duration = Duration::from_millis(500);
/// Longest wait that doubling leads to.
pub const BACKOFF_MAX: Duration = Duration::from_secs(8);
/// Longest `Retry-After` that is waited for; a server that asks for more is asked again by hand.
pub const RETRY_AFTER_MAX: Duration = Duration::from_secs(60);
/// Longest wait for a response head.
pub const REPLY_TIMEOUT: Duration = Duration::from_secs(120);
/// Longest wait for the rest of a 402 that is about to be paid.
pub const DRAIN_TIMEOUT: Duration = Duration::from_secs(1);
/// Longest wait for a connection.
pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(20);
/// Longest wait for a rail to tell what became of a payment.
pub const LOOKUP_TIMEOUT: Duration = Duration::from_secs(10);
/// Most redirects followed before payment, all to the same origin.
pub const REDIRECTS_MAX: u32 = 5;
/// Most bytes read of a refusal's body.
pub const PROBLEM_BYTES_MAX: usize = 64 * 1024;
/// Longest request body that is held in memory for sending again, bytes.
pub const REQUEST_BYTES_MAX: usize = 16 << 20;
/// Longest request body the outbox keeps, so that a call can be resumed after a crash, bytes.
pub const STORED_BODY_BYTES_MAX: usize = 256 * 1024;
/// Longest free text kept of a server's words, characters.
pub const NOTE_CHARS_MAX: usize = 256;
/// A challenge that expires within this span by our clock is taken as expired: it would not arrive
/// in time.
pub const EXPIRY_MARGIN: Duration = Duration::from_secs(1);
/// Most processes that can use one outbox at once.
pub const LANES_MAX: u32 = 64;
/// Bytes of outbox log after which a segment is closed.
pub const SEGMENT_BYTES: u64 = 4 << 20;
/// Things sealed under one key before the outbox takes a fresh one.
pub const SEALS_PER_KEY_MAX: u64 = 4096;
/// Most origins remembered.
pub const PINNED_ORIGINS_MAX: usize = 10_000;
/// Most realms and most payees remembered for one origin.
pub const PINS_PER_ORIGIN_MAX: usize = 256;
/// Requests that a session's deposit is for, when nobody says how much to set aside.
pub const DEPOSIT_REQUESTS: u128 = 100;
/// The part of a deposit that may be signed ahead of what was delivered, when nobody says: one in
/// so many.
pub const AHEAD_PART: u128 = 10;
/// Most channels to one payee at once.
pub const CHANNELS_PER_PAYEE: usize = 4;
/// Words that a hash chain is to have at most. What a word is worth follows from it.
pub const CHAIN_WORDS_MAX: u128 = 65_536;
/// A hash chain is to last for so many times the first deposit, so that the deposit can grow.
pub const CHAIN_ROOM: u128 = 4;
/// Times that a refused voucher is put right within one call, before the call is given up.
pub const SESSION_REFUSALS_MAX: u32 = 3;
/// Longest event of a stream that is looked at for the payment's sake, bytes.
pub const SSE_EVENT_BYTES_MAX: usize = 64 * 1024;
/// Vouchers that an event stream may ask for without an event in between.
pub const VOUCHERS_IN_VAIN_MAX: u32 = 8;
/// How far ahead is looked for the next voucher of a body that is paid for by time, milliseconds.
pub const SIGN_ON_LOOK_MS_MAX: u64 = 3_600_000;
/// Most challenges remembered, so that a session's next request needs no 402 first.
pub const SCOPES_MAX: usize = 1024;
