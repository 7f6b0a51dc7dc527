//! What a channel is called.

use alloc::string::String;
use core::fmt;

/// The id of a channel: 32 bytes that its method derives from the channel's terms, so that nobody
/// can choose it. Not a secret.
///
/// Every record of a channel is keyed by this id alone: a new challenge never resets what was
/// spent. Each method has its own text form; `Display` prints lower-case hexadecimal digits.
///
/// ```
/// use stiver_channel::ChannelId;
/// let id = ChannelId([0xab; 32]);
/// assert_eq!(id.to_string(), "ab".repeat(32));
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ChannelId(
    /// The bytes, as the method computes them.
    pub [u8; 32],
);

impl ChannelId {
    /// The 64 lower-case hexadecimal digits.
    #[must_use]
    pub fn to_hex(&self) -> String {
        alloc::format!("{self}")
    }
}

impl fmt::Display for ChannelId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for ChannelId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ChannelId({self})")
    }
}
