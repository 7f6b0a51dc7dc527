//! Every limit of the codec, by name. Each is enforced before the work it bounds.

/// Longest `WWW-Authenticate` field line, and longest sum of all of them in one response, bytes.
pub const CHALLENGE_HEADER_BYTES_MAX: usize = 32 * 1024;
/// Most Payment challenges read from one response.
pub const CHALLENGES_MAX: usize = 32;
/// Most auth-params in one challenge.
pub const AUTH_PARAMS_MAX: usize = 64;
/// Longest credential header value, bytes.
pub const CREDENTIAL_BYTES_MAX: usize = 32 * 1024;
/// Longest `Payment-Receipt` value, bytes.
pub const RECEIPT_BYTES_MAX: usize = 32 * 1024;
/// Longest `Accept-Payment`, all lines together, bytes.
pub const ACCEPT_PAYMENT_BYTES_MAX: usize = 4 * 1024;
/// Most ranges in one `Accept-Payment`.
pub const ACCEPT_PAYMENT_RANGES_MAX: usize = 64;
/// Deepest JSON nesting.
pub const JSON_DEPTH_MAX: usize = 32;
/// Longest JSON text accepted from a peer, bytes.
pub const JSON_BYTES_MAX: usize = 64 * 1024;
/// Longest text frame of a paid WebSocket, bytes: application data with what wraps it.
pub const SOCKET_TEXT_BYTES_MAX: usize = 1024 * 1024;
/// Longest `opaque` object, JSON bytes before base64url.
pub const OPAQUE_BYTES_MAX: usize = 1024;
/// Longest realm, bytes.
pub const REALM_BYTES_MAX: usize = 255;
/// Longest method or intent name, bytes.
pub const NAME_BYTES_MAX: usize = 64;
/// Longest currency code or token id, bytes.
pub const CURRENCY_BYTES_MAX: usize = 128;
/// Most decimals a currency may have: `10^38` is the largest power of ten in a `u128`.
pub const CURRENCY_DECIMALS_MAX: u8 = 38;
/// Longest `Idempotency-Key`, bytes.
pub const IDEMPOTENCY_KEY_BYTES_MAX: usize = 255;
/// Longest payer identifier (`source`), bytes.
pub const SOURCE_BYTES_MAX: usize = 512;
/// Shortest challenge-binding secret, bytes, wherever secrets are configured.
pub const SECRET_BYTES_MIN: usize = 32;
/// Longest challenge id, bytes. Ours have 43.
pub const CHALLENGE_ID_BYTES_MAX: usize = 256;
/// Longest body digest field, bytes: room for `sha-512` and more beside `sha-256`.
pub const DIGEST_BYTES_MAX: usize = 1024;
/// Longest human amount (`0.01 USD`), bytes: 39 digits, a point, a space and a currency code.
pub const HUMAN_AMOUNT_BYTES_MAX: usize = 256;
/// Longest `digest` parameter of a challenge, bytes.
pub const DIGEST_PARAM_BYTES_MAX: usize = 128;
/// Longest language tag, bytes: RFC 5646 asks for room for 35.
pub const LANGUAGE_TAG_BYTES_MAX: usize = 35;
/// Longest `Accept-Language`, all lines together, bytes. A longer one is passed over.
pub const ACCEPT_LANGUAGE_BYTES_MAX: usize = 1024;
/// Most ranges of an `Accept-Language` that are read.
pub const ACCEPT_LANGUAGE_RANGES_MAX: usize = 32;
