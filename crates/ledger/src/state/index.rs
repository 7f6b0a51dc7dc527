//! Finds rows by what is in them: a hash table of row numbers.
//!
//! The table holds four bytes of hash and four of number for each row, so that a million rows need
//! 16 MiB at most, growing touches no row, and a miss seldom does. Keys are chosen by whoever signs
//! orders; the hash has a secret, so that nobody can choose keys that collide.

use std::hash::{BuildHasher, RandomState};

use hashbrown::{HashTable, hash_table::Entry as Found};

/// The number of a row in its list.
pub(super) type Position = u32;

/// Row numbers by the hash of the rows' keys.
#[derive(Debug, Clone, Default)]
pub(super) struct Index {
    table: HashTable<Entry>,
    secret: Secret,
}

#[derive(Debug, Clone, Copy)]
struct Entry {
    hash: u32,
    position: Position,
}

/// What a hash is mixed with. It differs from process to process and shows in nothing: no order of
/// rows comes from the table.
#[derive(Clone)]
struct Secret([u64; 4]);

/// The hash of a key in one index.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Hash(u32);

impl Index {
    /// The hash of a key of 16 bytes.
    pub(super) fn hash_of(&self, key: &[u8; 16]) -> Hash {
        let [a, b, ..] = self.secret.0;
        Hash(low(mixed(words(key), a, b)))
    }

    /// The hash of a key of two halves.
    pub(super) fn hash_of_pair(&self, first: &[u8; 16], second: &[u8; 16]) -> Hash {
        let [a, b, c, d] = self.secret.0;
        let first = mixed(words(first), a, b);
        Hash(low(mixed(words(second), c ^ first, d)))
    }

    /// The row under a hash that `is` the one.
    pub(super) fn find(&self, hash: Hash, is: impl Fn(Position) -> bool) -> Option<Position> {
        let same = |entry: &Entry| entry.hash == hash.0 && is(entry.position);
        self.table
            .find(spread(hash.0), same)
            .map(|entry| entry.position)
    }

    /// Adds a row that is not there.
    pub(super) fn insert(&mut self, hash: Hash, position: Position) {
        let entry = Entry {
            hash: hash.0,
            position,
        };
        let rehash = |entry: &Entry| spread(entry.hash);
        self.table.insert_unique(spread(hash.0), entry, rehash);
    }

    /// Removes a row.
    pub(super) fn remove(&mut self, hash: Hash, position: Position) {
        let same = |entry: &Entry| entry.position == position;
        let rehash = |entry: &Entry| spread(entry.hash);
        if let Found::Occupied(entry) = self.table.entry(spread(hash.0), same, rehash) {
            entry.remove();
        }
    }

    /// How many rows it has.
    pub(super) fn len(&self) -> usize {
        self.table.len()
    }
}

impl Default for Secret {
    fn default() -> Self {
        // The one source of a secret that a plain value can have: the state is made where no
        // environment is at hand, and nothing that anybody sees depends on it.
        let state = RandomState::new();
        Self([0_u8, 1, 2, 3].map(|word| state.hash_one(word)))
    }
}

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Secret")
    }
}

fn words(key: &[u8; 16]) -> [u64; 2] {
    let word = |at: usize| {
        let mut word = [0; 8];
        word.copy_from_slice(&key[at..at + 8]);
        u64::from_le_bytes(word)
    };
    [word(0), word(8)]
}

/// Both words times each other, each hidden by a secret: the two halves of the product folded.
fn mixed([one, other]: [u64; 2], a: u64, b: u64) -> u64 {
    let product = u128::from(one ^ a) * u128::from(other ^ b);
    let [low, high] = halves(product);
    low ^ high
}

fn halves(product: u128) -> [u64; 2] {
    words(&product.to_le_bytes())
}

fn low(hash: u64) -> u32 {
    let [a, b, c, d, e, f, g, h] = hash.to_le_bytes();
    u32::from_le_bytes([a ^ e, b ^ f, c ^ g, d ^ h])
}

/// The table takes its place from the low bits and its tag from the high ones.
fn spread(hash: u32) -> u64 {
    u64::from(hash).wrapping_mul(0x9e37_79b9_7f4a_7c15)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(number: u32) -> [u8; 16] {
        let mut key = [7; 16];
        key[3..7].copy_from_slice(&number.to_be_bytes());
        key
    }

    #[test]
    fn each_row_is_found_until_it_is_removed() {
        let mut index = Index::default();
        let rows: Vec<[u8; 16]> = (0..10_000).map(key).collect();
        for (position, row) in (0..).zip(&rows) {
            let hash = index.hash_of(row);
            assert_eq!(index.find(hash, |at| at == position), None);
            index.insert(hash, position);
        }
        assert_eq!(index.len(), rows.len());
        for (position, row) in (0..).zip(&rows) {
            let hash = index.hash_of(row);
            assert_eq!(index.find(hash, |at| at == position), Some(position));
            index.remove(hash, position);
            assert_eq!(index.find(hash, |at| at == position), None);
        }
        assert_eq!(index.len(), 0);
    }

    #[test]
    fn hashes_differ_between_keys_halves_and_secrets() {
        let index = Index::default();
        let other = Index::default();
        let hashes: std::collections::BTreeSet<u32> = (0..10_000)
            .map(|number| index.hash_of(&key(number)).0)
            .collect();
        // Of 10,000 values of 32 bits, a dozen pairs would be a wonder.
        assert!(hashes.len() > 9_980, "{}", hashes.len());
        let (one, two) = (key(1), key(2));
        assert_ne!(
            index.hash_of_pair(&one, &two),
            index.hash_of_pair(&two, &one)
        );
        let same = (0..100).filter(|it| index.hash_of(&key(*it)) == other.hash_of(&key(*it)));
        assert!(same.count() < 2);
    }
}
