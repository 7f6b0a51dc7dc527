//! SHA-256 over labelled, length-prefixed parts: no two lists of parts share a hash.

use sha2::{Digest, Sha256};

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
