//! Text from the peer, safe to print.

/// Text from the peer. `Display` replaces control, line-separator and bidirectional-override characters with U+FFFD, and
/// cuts at 256 characters, so that nobody forges a log line or a terminal sequence.
#[derive(Debug, Clone, Copy)]
pub struct Untrusted<'a>(pub &'a str);

impl core::fmt::Display for Untrusted<'_> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        todo!()
    }
}
