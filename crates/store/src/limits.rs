//! Every limit of the store, by name.

/// Most claims kept by default: a million.
pub const CLAIMS_MAX: usize = 1_000_000;
/// Most memory that claims may take together by default, bytes: 1 GiB. Stored responses are apart.
pub const CLAIMS_BYTES_MAX: u64 = 1 << 30;
/// Largest response that is stored by default, bytes: 1 MiB.
pub const RESPONSE_BYTES_MAX: u64 = 1 << 20;
/// Most memory that stored responses may take together by default, bytes: 256 MiB.
pub const RESPONSES_BYTES_MAX: u64 = 256 << 20;

/// The most that [`Limits::claims_bytes_max`] may be set to, bytes: 2 GiB.
pub const CLAIMS_BYTES_CEILING: u64 = 2 << 30;
/// The most that [`Limits::response_bytes_max`] may be set to, bytes: 8 MiB.
pub const RESPONSE_BYTES_CEILING: u64 = 8 << 20;
/// The most that [`Limits::responses_bytes_max`] may be set to, bytes: 1 GiB.
pub const RESPONSES_BYTES_CEILING: u64 = 1 << 30;

/// Longest challenge id, bytes.
pub const CHALLENGE_ID_BYTES_MAX: usize = 256;
/// Most replay keys of one claim.
pub const REPLAY_KEYS_MAX: usize = 16;
/// Largest `details` of one claim, bytes.
pub const DETAILS_BYTES_MAX: usize = 16 * 1024;
/// Largest artefact, bytes: a credential of 32 KiB and what a method makes of it.
pub const ARTEFACT_BYTES_MAX: usize = 64 * 1024;
/// Largest settlement, refusal or refund record, bytes.
pub const RECORD_BYTES_MAX: usize = 64 * 1024;
/// Longest receipt value, bytes.
pub const RECEIPT_BYTES_MAX: usize = stiver_core::limits::RECEIPT_BYTES_MAX;
/// Longest lease, milliseconds: one hour. A longer one is cut to this.
pub const LEASE_MS_MAX: u64 = 3_600_000;
/// How long a claim is kept at least after it has become terminal, milliseconds: ten minutes. A
/// payer whose payment was resolved late can still learn of it.
pub const TERMINAL_RETAIN_MS: u64 = 600_000;
/// Most claims in one [`Reply::Claims`](crate::Reply::Claims).
pub const UNFINISHED_MAX: usize = 1024;
/// Most claims, and most responses, whose memory is freed with one event: what is gone is not seen
/// any more from that instant on, but freeing a million of them at once would stall the log.
pub const FREED_PER_EVENT_MAX: usize = 64;

/// Most channels that have not ended, unless a gate is told otherwise: a million. Asked before a
/// channel is funded, so it is passed by at most those that are being funded.
pub const CHANNELS_MAX: u64 = 1_000_000;
/// Largest `details` of a channel, bytes.
pub const CHANNEL_DETAILS_BYTES_MAX: usize = 8 * 1024;
/// Most meters of a channel whose fractions are kept.
pub const CARRIED_METERS_MAX: usize = 16;
/// Longest name of such a meter, bytes.
pub const METER_NAME_BYTES_MAX: usize = 32;
/// Largest proof of a voucher, bytes.
pub const PROOF_BYTES_MAX: usize = 1024;
/// How long a channel that has ended is remembered after its end, milliseconds: thirty days. After
/// that it is one that was never here; its funding cannot be replayed by then.
pub const ENDED_CHANNEL_RETAIN_MS: u64 = 30 * 24 * 60 * 60 * 1000;
/// How long the Idempotency-Key of a spend is remembered, milliseconds: one hour.
pub const SPEND_KEY_RETAIN_MS: u64 = 60 * 60 * 1000;
/// How long the Idempotency-Key of a spend is remembered whatever happens, milliseconds: a minute.
/// Where there is no room for another key, a channel's own oldest goes once it is older than this;
/// until then what would be taken under another one is refused.
pub const SPEND_KEY_SURE_MS: u64 = 60 * 1000;
/// Most Idempotency-Keys of spends that one channel holds: 65,536.
pub const CHANNEL_KEYS_MAX: usize = 65_536;
/// Most Idempotency-Keys of spends in all: 1,048,576.
pub const SPEND_KEYS_MAX: usize = 1_048_576;
/// Of [`SPEND_KEYS_MAX`], one part in so many is for channels that hold fewer than
/// [`SPEND_KEYS_FEW`]: busy ones cannot take it.
pub const SPEND_KEYS_RESERVED_DIVISOR: usize = 4;
/// A channel that holds fewer Idempotency-Keys than this holds few.
pub const SPEND_KEYS_FEW: usize = 16;
/// Largest answer that is kept under an Idempotency-Key of a spend, bytes: body, header fields and
/// what prints its receipt. A larger one is not kept.
pub const SPEND_ANSWER_BYTES_MAX: u64 = 96 * 1024;
/// Most memory that the kept answers of one channel take, bytes: 1 MiB. Beyond it the oldest goes.
pub const CHANNEL_ANSWERS_BYTES_MAX: u64 = 1 << 20;
/// Most memory that the kept answers of all channels take, bytes: 128 MiB. Beyond it the channel
/// that holds most loses its oldest.
pub const SPEND_ANSWERS_BYTES_MAX: u64 = 128 << 20;
/// Most bytes by which the server prints a receipt again.
pub const SPEND_RECEIPT_BYTES_MAX: usize = 1024;

/// The limits that an operator may set. The rest are constants. A value above its ceiling is
/// lowered to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Most claims kept. At the limit a new claim is answered [`Reply::Full`](crate::Reply::Full).
    pub claims_max: usize,
    /// Most memory that claims may take together, bytes. Compared before a claim is made, so it is
    /// passed by at most what one claim takes, and by what those in flight record later.
    pub claims_bytes_max: u64,
    /// Largest response that is stored, bytes. A larger one is not kept; its delivery is.
    pub response_bytes_max: u64,
    /// Most memory that stored responses may take together, bytes. Beyond it the response that was
    /// delivered longest ago is dropped first: a repetition comes soon or not at all.
    pub responses_bytes_max: u64,
}

impl Limits {
    /// These limits, lowered to the ceilings above, so that a response always fits one event of
    /// the log and all claims one snapshot.
    #[must_use]
    pub fn bounded(self) -> Self {
        Self {
            claims_max: self.claims_max,
            claims_bytes_max: self.claims_bytes_max.min(CLAIMS_BYTES_CEILING),
            response_bytes_max: self.response_bytes_max.min(RESPONSE_BYTES_CEILING),
            responses_bytes_max: self.responses_bytes_max.min(RESPONSES_BYTES_CEILING),
        }
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            claims_max: CLAIMS_MAX,
            claims_bytes_max: CLAIMS_BYTES_MAX,
            response_bytes_max: RESPONSE_BYTES_MAX,
            responses_bytes_max: RESPONSES_BYTES_MAX,
        }
    }
}
