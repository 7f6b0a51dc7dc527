//! Nonces of challenges: no two are the same, and none tells how many there were.

use std::sync::atomic::{AtomicU64, Ordering};

use sha2::{Digest, Sha256};
use stiver_env::Entropy;

/// Makes nonces. The system's randomness is drawn once: a call for each challenge would cost more
/// than the challenge's HMAC.
pub(super) struct Nonces {
    secret: [u8; 32],
    drawn: AtomicU64,
}

impl Nonces {
    /// With a secret of its own.
    pub(super) fn new(entropy: &dyn Entropy) -> Self {
        let mut secret = [0; 32];
        entropy.fill(&mut secret);
        Self {
            secret,
            drawn: AtomicU64::new(0),
        }
    }

    /// The next one: half of a hash over the secret and a count. Two gates, or two runs of one,
    /// share no secret; so nonces meet as seldom as random ones do.
    pub(super) fn next(&self) -> [u8; 16] {
        let count = self.drawn.fetch_add(1, Ordering::Relaxed);
        let hash: [u8; 32] = Sha256::new()
            .chain_update(self.secret)
            .chain_update(count.to_be_bytes())
            .finalize()
            .into();
        let mut nonce = [0; 16];
        for (to, from) in nonce.iter_mut().zip(hash) {
            *to = from;
        }
        nonce
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    struct Fixed(u8);

    impl Entropy for Fixed {
        fn fill(&self, buffer: &mut [u8]) {
            buffer.fill(self.0);
        }
    }

    #[test]
    fn nonces_of_one_gate_and_of_two_are_all_different() {
        let gates = [Nonces::new(&Fixed(1)), Nonces::new(&Fixed(2))];
        let nonces: BTreeSet<[u8; 16]> = gates
            .iter()
            .flat_map(|gate| std::iter::repeat_with(|| gate.next()).take(1000))
            .collect();
        assert_eq!(nonces.len(), 2000);
    }
}
