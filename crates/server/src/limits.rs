//! Every limit of the gate, by name and with its unit. Limits of the codec are in
//! [`stiver_core::limits`].

/// How long a claim belongs to the instance that works on it, milliseconds. After a crash, the
/// same credential waits at most this long.
pub const LEASE_MS: u64 = 15_000;
/// How often the leases of running handlers are renewed, milliseconds: a third of [`LEASE_MS`].
pub const LEASE_RENEW_MS: u64 = 5_000;
/// How long a request waits for another one with the same credential, milliseconds.
pub const WAIT_MS_MAX: u64 = 2_000;
/// The first pause of a waiting request, milliseconds. Each further pause is twice as long.
pub const WAIT_STEP_MS: u64 = 10;
/// The longest pause of a waiting request, milliseconds.
pub const WAIT_STEP_MS_MAX: u64 = 320;
/// Most requests that wait for another one with the same credential, per gate. One more is answered
/// at once.
pub const WAITING_MAX: usize = 1_024;
/// Most credentials between their claim and their settlement, per gate. One more is told to come
/// back later; nothing is taken from it.
pub const SETTLING_MAX: usize = 4_096;
/// Most handlers at work at once before their payments are settled, per gate
/// ([`Settle::After`](crate::route::Settle::After)). One more is told to come back later; nothing
/// is taken from it.
pub const UNSETTLED_MAX: usize = 1_024;
/// How long one call to a rail may take before its outcome counts as unknown, milliseconds.
pub const RAIL_MS_MAX: u64 = 10_000;
/// Longest request target (path and query) that the gate takes, bytes.
pub const TARGET_BYTES_MAX: usize = 16 * 1024;
/// Longest scope that rides in `opaque` and in receipts as it stands, bytes. A longer one is
/// replaced by its digest.
pub const SCOPE_BYTES_MAX: usize = 512;
/// How long a challenge may be answered when the route does not say, milliseconds.
pub const CHALLENGE_LIFETIME_MS: u64 = 5 * 60 * 1_000;
/// Longest challenge lifetime a route may have, milliseconds.
pub const CHALLENGE_LIFETIME_MS_MAX: u64 = 24 * 60 * 60 * 1_000;
/// How long after its claim a credential may start the handler again, when the route does not say,
/// milliseconds.
pub const RESUME_WINDOW_MS: u64 = 60 * 60 * 1_000;
/// Longest resume window a route may have, milliseconds.
pub const RESUME_WINDOW_MS_MAX: u64 = 30 * 24 * 60 * 60 * 1_000;
/// How much longer than a proof could be replayed its claim is kept, milliseconds: what the clocks
/// of this machine and of the rail may differ by.
pub const CLOCK_MARGIN_MS: u64 = 60_000;
/// How often a handler is started for one payment, when the route does not say.
pub const ATTEMPTS_MAX: u32 = 3;
/// How long a stored response is repeated, when the route does not say, milliseconds.
pub const RESPONSE_LIFETIME_MS: u64 = 60 * 60 * 1_000;
/// Longest body of a response that is stored for repetition, bytes. A longer one is streamed and
/// not stored.
pub const STORED_BODY_BYTES_MAX: usize = 256 * 1024;
/// Longest header section of a response that is stored for repetition, bytes.
pub const STORED_HEADER_BYTES_MAX: usize = 32 * 1024;
/// Longest request body that the tower layer reads before it charges, when the layer is not told,
/// bytes.
pub const SPOOLED_BODY_BYTES_MAX: usize = 1024 * 1024;
/// Most bytes of request bodies that one tower layer holds at once, when it is not told.
pub const SPOOLED_TOTAL_BYTES_MAX: usize = 256 * 1024 * 1024;
/// Of the bytes of request bodies, one part in so many is kept for requests whose credential is
/// bound to a challenge of the gate: requests that do not pay cannot take it.
pub const SPOOLED_RESERVED_DIVISOR: usize = 4;
/// How long the tower layer waits for a whole request body, milliseconds.
pub const SPOOL_MS_MAX: u64 = 30_000;
/// The `Retry-After` of an answer that asks for the same credential again, seconds.
pub const RETRY_AFTER_SECONDS: u32 = 1;
/// The `Retry-After` of an answer that waits for a rail or for an upstream, seconds.
pub const RETRY_AFTER_SLOW_SECONDS: u32 = 5;
/// Most unfinished claims that a recovery pass lists at once, oldest first.
pub const RECOVERY_BATCH_MAX: usize = stiver_store::UNFINISHED_MAX;
/// Most claims that one count of what was paid for and not delivered looks at.
pub const EXPOSURE_CLAIMS_MAX: usize = 100 * RECOVERY_BATCH_MAX;
/// Most payments in one page of [`Gate::payments`](crate::Gate::payments).
pub const PAYMENTS_PAGE_MAX: usize = 1_000;
/// How long the same refund of a part is the same artefact, milliseconds: one hour. Asked for again
/// later, the artefacts of earlier hours are looked up.
pub const PART_REFUND_HOUR_MS: u64 = 60 * 60 * 1_000;
/// How many earlier hours are looked up, at most.
pub const PART_REFUND_HOURS_MAX: u64 = 48;
/// Most offers of one route.
pub const OFFERS_MAX: usize = 16;
/// Longest text of a method's refusal that the journal keeps, characters.
pub const REFUSAL_CHARS_MAX: usize = 1_024;
/// Most vouchers that one channel presents in a second, when the gate is not told, as a lasting
/// rate and as a burst.
pub const VOUCHERS_PER_SECOND: u32 = 10_000;
/// Longest body of a session's answer that is kept under its Idempotency-Key, bytes. A longer one
/// is streamed and not kept.
pub const SESSION_ANSWER_BYTES_MAX: usize = 64 * 1024;
/// How long an answer of a declared length is waited for, so that it can be kept, milliseconds.
/// After that what has come leaves, the rest follows as it comes, and nothing is kept.
pub const SESSION_ANSWER_WAIT_MS: u64 = 1_000;
/// How long an answer without a declared length is waited for, milliseconds: it may be one that is
/// read while it is written.
pub const SESSION_ANSWER_STREAM_WAIT_MS: u64 = 20;
/// How often the handler of a request with a safe method runs again under its Idempotency-Key,
/// without a charge, when its answer is not kept.
pub const SESSION_RERUNS_MAX: u32 = 3;
/// Most channels whose keys are kept set up, when the gate is not told.
pub const BUSY_CHANNELS_MAX: usize = 65_536;
/// Most vouchers of one channel that are verified as one batch.
pub const VERIFY_BATCH_MAX: usize = 64;
/// Most batches that one request works off for others before a task goes on with them.
pub const VERIFY_ROUNDS_MAX: usize = 4;
/// How long a close waits for what is being served to end, milliseconds. After that it goes on in
/// the background, and the client is told to ask again.
pub const CLOSE_DRAIN_MS: u64 = 5_000;
/// The pauses of a close that waits, milliseconds.
pub const CLOSE_DRAIN_STEP_MS: u64 = 20;
/// Most channels that are recovered, closed, settled or asked for at once, in a pass over all.
pub const CLOSES_AT_ONCE_MAX: usize = 32;
/// Most channels for which the rail is asked in one pass.
pub const WATCHED_PER_PASS_MAX: usize = 65_536;
/// How long a metered response waits for a voucher, milliseconds, unless its offer says otherwise.
/// After that an event stream ends with its receipt, and another body breaks off.
pub const PAUSE_MS_MAX: u64 = 60_000;
/// How long a metered response waits for a client that does not read, milliseconds, unless its
/// offer says otherwise. After that it breaks off: all but the one piece that waits for the client
/// is not charged.
pub const STALL_MS_MAX: u64 = 60_000;
/// How often a response that is charged by time is charged when nothing is delivered, milliseconds.
pub const TIME_STEP_MS: u64 = 1_000;
/// How long a socket may be open before it brings a credential that is good, milliseconds.
pub const SOCKET_UNPAID_MS_MAX: u64 = 10_000;
/// Most sockets of one [`PaidSocket`](crate::socket::PaidSocket) that have brought no credential
/// yet. One more is told to come back later.
pub const SOCKETS_UNPAID_MAX: usize = 1_024;
/// Longest message of a socket, bytes, with what wraps it.
pub const SOCKET_MESSAGE_BYTES_MAX: usize = stiver_core::limits::SOCKET_TEXT_BYTES_MAX;
/// Most messages from a client that wait for the handler. When the handler takes none for
/// [`STALL_MS_MAX`], the socket ends.
pub const SOCKET_MESSAGES_HELD_MAX: usize = 16;
/// How long a socket may be without a message in either direction, milliseconds.
pub const SOCKET_IDLE_MS_MAX: u64 = 600_000;
/// How often a socket's client is asked whether it is there, milliseconds. One that gave no sign of
/// life for twice as long is gone.
pub const SOCKET_PING_MS: u64 = 30_000;
/// How long a socket whose last message has left waits for its client to close the channel,
/// milliseconds.
pub const SOCKET_CLOSE_MS_MAX: u64 = 10_000;
/// Longest event of a metered event stream, bytes. A longer one ends the stream.
pub const EVENT_BYTES_MAX: usize = 1024 * 1024;
