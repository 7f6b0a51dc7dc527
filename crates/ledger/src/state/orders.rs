//! The executed orders that are remembered, and how they are found.

use std::{cmp::Reverse, collections::BTreeMap, collections::BinaryHeap};

use minicbor::{
    Decode, Decoder, Encode, Encoder,
    decode::Error as DecodeError,
    encode::{Error as EncodeError, Write},
};
use stiver_core::Timestamp;

use super::{
    apply::Broken,
    index::{Hash, Index, Position},
};
use crate::{
    id::{AccountId, Nonce, OrderHash},
    rows::ExecutedRow,
};

/// Executed orders by hash, by account and nonce, and by when they are forgotten.
///
/// Rows stay where they are as long as they are remembered; places that became free are used again.
#[derive(Debug, Clone, Default)]
pub(super) struct Orders {
    places: Vec<Option<Place>>,
    free: Vec<Position>,
    by_hash: Index,
    by_nonce: Index,
    forgetting: BinaryHeap<Reverse<(Timestamp, Position)>>,
}

#[derive(Debug, Clone)]
struct Place {
    hash: OrderHash,
    row: ExecutedRow,
}

impl Orders {
    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.by_hash.len()
    }

    /// The order of a hash.
    pub(super) fn get(&self, hash: &OrderHash) -> Option<&ExecutedRow> {
        Some(&self.place(self.position(hash)?)?.row)
    }

    /// The order of a hash, to be changed; but for what it is found by.
    pub(super) fn get_mut(&mut self, hash: &OrderHash) -> Option<&mut ExecutedRow> {
        let position = self.position(hash)?;
        Some(&mut self.place_mut(position)?.row)
    }

    /// The order in a place.
    pub(super) fn at(&self, position: Position) -> Option<(&OrderHash, &ExecutedRow)> {
        self.place(position).map(|place| (&place.hash, &place.row))
    }

    /// The order that used a nonce of an account.
    pub(super) fn by_nonce(&self, account: &AccountId, nonce: &Nonce) -> Option<&OrderHash> {
        let hash = self.nonce_hash(account, nonce);
        let is = |at| {
            self.place(at)
                .is_some_and(|it| it.row.nonce == *nonce && it.row.account == *account)
        };
        let position = self.by_nonce.find(hash, is)?;
        Some(&self.place(position)?.hash)
    }

    /// All of them, in no order.
    pub(super) fn iter(&self) -> impl Iterator<Item = (Position, &OrderHash, &ExecutedRow)> {
        let places = (0..).zip(&self.places);
        places.filter_map(|(at, place)| place.as_ref().map(|it| (at, &it.hash, &it.row)))
    }

    /// Adds an order that is not there, neither by hash nor by nonce. Tells its place.
    pub(super) fn insert(&mut self, hash: OrderHash, row: ExecutedRow) -> Position {
        let position = match self.free.pop() {
            Some(position) => position,
            None => {
                self.places.push(None);
                Position::try_from(self.places.len() - 1)
                    .expect("a place has a number, because far fewer orders are remembered")
            }
        };
        let by_hash = self.hash_hash(&hash);
        self.by_hash.insert(by_hash, position);
        let by_nonce = self.nonce_hash(&row.account, &row.nonce);
        self.by_nonce.insert(by_nonce, position);
        self.forgetting.push(Reverse((row.keep_until, position)));
        if let Some(place) = self.places.get_mut(Self::index(position)) {
            *place = Some(Place { hash, row });
        }
        position
    }

    /// An order whose time to be forgotten has come, the longest due first. It must be taken out
    /// by [`Orders::forget_due`] or put off by [`Orders::put_off_due`] before the next is asked.
    pub(super) fn due(&self, now: Timestamp) -> Option<OrderHash> {
        let Reverse((due, position)) = self.forgetting.peek()?;
        if *due > now {
            return None;
        }
        Some(self.place(*position)?.hash)
    }

    /// Takes out the order that is due.
    pub(super) fn forget_due(&mut self) -> Option<ExecutedRow> {
        let Reverse((_, position)) = self.forgetting.pop()?;
        let place = self.places.get_mut(Self::index(position))?.take()?;
        self.by_hash.remove(self.hash_hash(&place.hash), position);
        let by_nonce = self.nonce_hash(&place.row.account, &place.row.nonce);
        self.by_nonce.remove(by_nonce, position);
        self.free.push(position);
        Some(place.row)
    }

    /// Keeps the order that is due until later.
    pub(super) fn put_off_due(&mut self, until: Timestamp) {
        if let Some(Reverse((_, position))) = self.forgetting.pop()
            && let Some(place) = self.place_mut(position)
        {
            place.row.keep_until = until;
            self.forgetting.push(Reverse((until, position)));
        }
    }

    /// All orders that are due, in no order.
    pub(super) fn all_due(&self, now: Timestamp) -> impl Iterator<Item = &OrderHash> {
        // In a heap, nothing below what is not due is due.
        let heap = self.forgetting.as_slice();
        let mut below = vec![0_usize];
        std::iter::from_fn(move || {
            loop {
                let at = below.pop()?;
                if let Some(Reverse((due, position))) = heap.get(at)
                    && *due <= now
                {
                    below.extend([2 * at + 1, 2 * at + 2]);
                    if let Some(place) = self.place(*position) {
                        return Some(&place.hash);
                    }
                }
            }
        })
    }

    /// Whether everything is found by everything it is found by.
    pub(super) fn check(&self) -> Result<(), Broken> {
        let broken = |what: &str| Err(Broken(format!("orders are not found by {what}")));
        let count = self.iter().count();
        if self.by_hash.len() != count || self.places.len() != count + self.free.len() {
            return broken("their hash");
        }
        if self.by_nonce.len() != count {
            return broken("their nonce");
        }
        for (position, hash, row) in self.iter() {
            if self.position(hash) != Some(position) {
                return broken("their hash");
            }
            if self.by_nonce(&row.account, &row.nonce) != Some(hash) {
                return broken("their nonce");
            }
        }
        let agrees = |(due, position): &(Timestamp, Position)| {
            self.place(*position)
                .is_some_and(|place| place.row.keep_until == *due)
        };
        if self.forgetting.len() != count || !self.forgetting.iter().all(|it| agrees(&it.0)) {
            return broken("their time");
        }
        Ok(())
    }

    fn position(&self, hash: &OrderHash) -> Option<Position> {
        let is = |at| self.place(at).is_some_and(|place| place.hash == *hash);
        self.by_hash.find(self.hash_hash(hash), is)
    }

    /// An order's hash is uniform, but whoever makes the order can try many.
    fn hash_hash(&self, hash: &OrderHash) -> Hash {
        let bytes = hash.as_bytes();
        let mut halves = [[0; 16]; 2];
        halves[0].copy_from_slice(&bytes[..16]);
        halves[1].copy_from_slice(&bytes[16..]);
        self.by_hash.hash_of_pair(&halves[0], &halves[1])
    }

    fn nonce_hash(&self, account: &AccountId, nonce: &Nonce) -> Hash {
        self.by_nonce
            .hash_of_pair(account.as_bytes(), nonce.as_bytes())
    }

    fn place(&self, position: Position) -> Option<&Place> {
        self.places.get(Self::index(position))?.as_ref()
    }

    fn place_mut(&mut self, position: Position) -> Option<&mut Place> {
        self.places.get_mut(Self::index(position))?.as_mut()
    }

    fn index(position: Position) -> usize {
        usize::try_from(position).unwrap_or(usize::MAX)
    }
}

/// Two are equal when they remember the same orders.
impl PartialEq for Orders {
    fn eq(&self, other: &Self) -> bool {
        let same = |(_, hash, row): (Position, &OrderHash, &ExecutedRow)| {
            other.get(hash).is_some_and(|it| it == row)
        };
        self.len() == other.len() && self.iter().all(same)
    }
}

impl Eq for Orders {}

/// As a map by hash, in its order.
impl<C> Encode<C> for Orders {
    fn encode<W: Write>(
        &self,
        e: &mut Encoder<W>,
        context: &mut C,
    ) -> Result<(), EncodeError<W::Error>> {
        let rows: BTreeMap<&OrderHash, &ExecutedRow> =
            self.iter().map(|(_, hash, row)| (hash, row)).collect();
        rows.encode(e, context)
    }
}

impl<'b, C> Decode<'b, C> for Orders {
    fn decode(d: &mut Decoder<'b>, context: &mut C) -> Result<Self, DecodeError> {
        let rows: BTreeMap<OrderHash, ExecutedRow> = Decode::decode(d, context)?;
        let mut orders = Self::default();
        for (hash, row) in rows {
            if orders.by_nonce(&row.account, &row.nonce).is_some() {
                return Err(DecodeError::message("two orders with one nonce"));
            }
            orders.insert(hash, row);
        }
        Ok(orders)
    }
}
