//! Every limit of the ledger, by name.

/// Furthest that an order's expiry may lie ahead, milliseconds: 24 hours.
pub const ORDER_LIFETIME_MS_MAX: u64 = 24 * 3_600_000;
/// How long an executed order is remembered after its expiry, unless configured, milliseconds: 7
/// days. As long, its nonce stays used, its outcome is told at once, and it can be refunded.
pub const MEMORY_MS_DEFAULT: u64 = 7 * 24 * 3_600_000;
/// Shortest memory that may be configured, milliseconds: 24 hours.
pub const MEMORY_MS_MIN: u64 = 24 * 3_600_000;
/// Most executed orders remembered at one time, 2 Mi: a little over 3 a second for 7 days. All of
/// them are in memory, some 500 bytes each, and in each snapshot, at most
/// [`REMEMBERED_ORDER_BYTES_MAX`] each: far below what one snapshot may have.
pub const REMEMBERED_ORDERS_MAX: usize = 2 << 20;
/// Of them, kept free for refunds, posts and voids, 128 Ki: when there are too many payments, money
/// can still be given back.
pub const REMEMBERED_FOR_SETTLING: usize = 128 << 10;
/// Of them, kept free for the operator's orders, 16 Ki.
pub const REMEMBERED_FOR_OPERATOR: usize = 16 << 10;
/// Most bytes of a snapshot that one remembered order takes, its hold with it.
pub const REMEMBERED_ORDER_BYTES_MAX: usize = 640;
/// Most accounts.
pub const ACCOUNTS_MAX: usize = 1 << 20;
/// Most keys of one account at a time.
pub const KEYS_PER_ACCOUNT_MAX: usize = 16;
/// Most open holds of one account.
pub const OPEN_HOLDS_PER_ACCOUNT_MAX: u32 = 1024;
/// Most currencies.
pub const CURRENCIES_MAX: usize = 256;
/// Most rows of one page.
pub const PAGE_MAX: usize = 1000;
/// A segment of the log is closed after this many bytes, unless configured: 64 MiB.
pub const SEGMENT_BYTES_DEFAULT: u64 = 64 << 20;
/// Most readings of the whole log at one time. Each takes a thread and all the disk it gets.
pub const SCANS_MAX: usize = 2;
/// Shortest grace between a payer's forced close of a channel and its withdrawal, milliseconds: a
/// minute. A payee asks for as much as it needs to notice and to capture.
pub const GRACE_MS_MIN: u64 = 60_000;
/// Longest grace, milliseconds: 30 days.
pub const GRACE_MS_MAX: u64 = 30 * 24 * 3_600_000;
/// Most words of a channel's hash chain, 64 Ki: a capture by any word is verified in so many
/// hashes at most, a few milliseconds.
pub const CHAIN_WORDS_MAX: u32 = 64 << 10;
