//! SHA-256 over labelled, length-prefixed parts: no two lists of parts share a hash.

use sha2::{Digest, Sha256};
use stiver_core::Amount;

/// The hash of these parts under this label.
pub(crate) fn of(label: &str, parts: &[&[u8]]) -> [u8; 32] {
    let mut hasher = Sha256::new();
    for part in std::iter::once(label.as_bytes()).chain(parts.iter().copied()) {
        let length = u64::try_from(part.len()).unwrap_or(u64::MAX);
        hasher.update(length.to_be_bytes());
        hasher.update(part);
    }
    hasher.finalize().into()
}

/// The key of a refund of a part: the same payment, amount and reason are the same refund.
pub(crate) fn part_refund_key(attempt: &[u8; 16], part: &Amount, reason: &str) -> [u8; 16] {
    let units = part.to_wire();
    let code = part.currency().code();
    let parts: [&[u8]; 4] = [
        attempt,
        units.as_bytes(),
        code.as_bytes(),
        reason.as_bytes(),
    ];
    let hash = of("stiver refund of a part", &parts);
    let mut key = [0; 16];
    key.copy_from_slice(&hash[..16]);
    key
}

/// The key of a refund of a part that the payee has named: the same name is the same refund.
pub(crate) fn named_refund_key(attempt: &[u8; 16], name: &str) -> [u8; 16] {
    let hash = of("stiver refund by name", &[attempt, name.as_bytes()]);
    let mut key = [0; 16];
    key.copy_from_slice(&hash[..16]);
    key
}

#[cfg(test)]
mod tests {
    use super::of;

    #[test]
    fn moving_a_byte_between_parts_changes_the_hash() {
        assert_ne!(of("l", &[b"ab", b"c"]), of("l", &[b"a", b"bc"]));
        assert_ne!(of("l", &[b"a"]), of("l", &[b"a", b""]));
        assert_ne!(of("k", &[b"a"]), of("l", &[b"a"]));
        assert_eq!(of("l", &[b"a"]), of("l", &[b"a"]));
    }
}
