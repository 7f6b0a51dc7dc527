//! Every limit of the ledger, by name.

/// Furthest that an order's expiry may lie ahead, milliseconds: 24 hours.
pub const ORDER_LIFETIME_MS_MAX: u64 = 24 * 3_600_000;
/// How long an executed order is remembered after its expiry, unless configured, milliseconds: 7
/// days. As long, its nonce stays used, its outcome is told at once, and it can be refunded.
pub const MEMORY_MS_DEFAULT: u64 = 7 * 24 * 3_600_000;
/// Shortest memory that may be configured, milliseconds: 24 hours.
pub const MEMORY_MS_MIN: u64 = 24 * 3_600_000;
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
