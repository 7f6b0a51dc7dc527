//! The accounts, and the movements of each.

use std::{
    collections::{BTreeMap, VecDeque},
    ops::Bound,
};

use minicbor::{
    Decode, Decoder, Encode, Encoder,
    decode::Error as DecodeError,
    encode::{Error as EncodeError, Write},
};

use super::index::{Index, Position};
use crate::{id::AccountId, rows::AccountRow};

/// Accounts by id. None is ever removed.
#[derive(Debug, Clone, Default)]
pub(super) struct Accounts {
    entries: Vec<Entry>,
    by_id: Index,
    /// For pages: the ids in order.
    sorted: BTreeMap<AccountId, Position>,
}

#[derive(Debug, Clone)]
struct Entry {
    id: AccountId,
    row: AccountRow,
    movements: Movements,
}

/// The remembered movements of an account, oldest first.
#[derive(Debug, Clone, Default)]
pub(super) struct Movements {
    /// Sequence numbers rise. A movement that is forgotten before an older one leaves a gap, until
    /// that one goes too.
    rows: VecDeque<(u64, Option<Position>)>,
}

impl Accounts {
    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    /// True when there is one of this id.
    pub(super) fn contains_key(&self, id: &AccountId) -> bool {
        self.entry(id).is_some()
    }

    /// The account of an id.
    pub(super) fn get(&self, id: &AccountId) -> Option<&AccountRow> {
        self.entry(id).map(|entry| &entry.row)
    }

    /// The account of an id, to be changed.
    pub(super) fn get_mut(&mut self, id: &AccountId) -> Option<&mut AccountRow> {
        self.entry_mut(id).map(|entry| &mut entry.row)
    }

    /// The account of an id, to be changed, and where it is.
    pub(super) fn find_mut(&mut self, id: &AccountId) -> Option<(Position, &mut AccountRow)> {
        let position = self.position(id)?;
        let entry = self.entries.get_mut(index(position))?;
        Some((position, &mut entry.row))
    }

    /// Keeps a movement at hand for the account in a place.
    pub(super) fn note(&mut self, account: Position, sequence: u64, order: Position) {
        if let Some(entry) = self.entries.get_mut(index(account)) {
            entry.movements.rows.push_back((sequence, Some(order)));
        }
    }

    /// Where the account of an id is.
    pub(super) fn position(&self, id: &AccountId) -> Option<Position> {
        let is = |at| {
            self.entries
                .get(index(at))
                .is_some_and(|entry| entry.id == *id)
        };
        self.by_id.find(self.by_id.hash_of(id.as_bytes()), is)
    }

    /// Adds an account, unless there is one.
    pub(super) fn open(&mut self, id: AccountId, make: impl FnOnce() -> AccountRow) {
        if self.contains_key(&id) {
            return;
        }
        let position = Position::try_from(self.entries.len())
            .expect("an account has a number, because there are far fewer");
        let hash = self.by_id.hash_of(id.as_bytes());
        self.by_id.insert(hash, position);
        self.sorted.insert(id, position);
        self.entries.push(Entry {
            id,
            row: make(),
            movements: Movements::default(),
        });
    }

    /// All of them in the order of their ids.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&AccountId, &AccountRow)> {
        self.after(None)
    }

    /// Those after an id, in order.
    pub(super) fn after(
        &self,
        after: Option<AccountId>,
    ) -> impl Iterator<Item = (&AccountId, &AccountRow)> {
        let from = after.map_or(Bound::Unbounded, Bound::Excluded);
        let entries = self.sorted.range((from, Bound::Unbounded));
        entries.filter_map(|(id, at)| Some((id, &self.entries.get(index(*at))?.row)))
    }

    /// The movements of an account.
    pub(super) fn movements(&self, id: &AccountId) -> Option<&Movements> {
        self.entry(id).map(|entry| &entry.movements)
    }

    /// The movements of an account, to be changed.
    pub(super) fn movements_mut(&mut self, id: &AccountId) -> Option<&mut Movements> {
        self.entry_mut(id).map(|entry| &mut entry.movements)
    }

    fn entry(&self, id: &AccountId) -> Option<&Entry> {
        self.entries.get(index(self.position(id)?))
    }

    fn entry_mut(&mut self, id: &AccountId) -> Option<&mut Entry> {
        let position = self.position(id)?;
        self.entries.get_mut(index(position))
    }
}

fn index(position: Position) -> usize {
    usize::try_from(position).unwrap_or(usize::MAX)
}

impl Movements {
    /// Takes one out.
    pub(super) fn remove(&mut self, sequence: u64) {
        if let Ok(at) = self.rows.binary_search_by_key(&sequence, |row| row.0)
            && let Some(row) = self.rows.get_mut(at)
        {
            row.1 = None;
        }
        while self.rows.front().is_some_and(|row| row.1.is_none()) {
            self.rows.pop_front();
        }
    }

    /// Those before a sequence number, newest first.
    pub(super) fn before(&self, sequence: u64) -> impl Iterator<Item = (u64, Position)> {
        let end = self.rows.partition_point(|row| row.0 < sequence);
        let rows = self.rows.range(..end).rev();
        rows.filter_map(|row| Some((row.0, row.1?)))
    }
}

/// Two are equal when they have the same accounts; their movements follow from the orders.
impl PartialEq for Accounts {
    fn eq(&self, other: &Self) -> bool {
        self.iter().eq(other.iter())
    }
}

impl Eq for Accounts {}

/// As a map by id, in its order.
impl<C> Encode<C> for Accounts {
    fn encode<W: Write>(
        &self,
        e: &mut Encoder<W>,
        context: &mut C,
    ) -> Result<(), EncodeError<W::Error>> {
        let rows: BTreeMap<&AccountId, &AccountRow> = self.iter().collect();
        rows.encode(e, context)
    }
}

impl<'b, C> Decode<'b, C> for Accounts {
    fn decode(d: &mut Decoder<'b>, context: &mut C) -> Result<Self, DecodeError> {
        let rows: BTreeMap<AccountId, AccountRow> = Decode::decode(d, context)?;
        let mut accounts = Self::default();
        for (id, row) in rows {
            accounts.open(id, || row);
        }
        Ok(accounts)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn movements_are_told_newest_first_whatever_was_forgotten() {
        let mut movements = Movements::default();
        for sequence in 1..=6 {
            let order = u32::try_from(sequence).unwrap() * 10;
            movements.rows.push_back((sequence, Some(order)));
        }
        movements.remove(3);
        movements.remove(4);
        let told: Vec<_> = movements.before(6).collect();
        assert_eq!(told, [(5, 50), (2, 20), (1, 10)]);
        movements.remove(1);
        movements.remove(2);
        assert_eq!(movements.rows.len(), 2, "gaps at the front are gone");
        movements.remove(9);
        assert_eq!(movements.before(u64::MAX).count(), 2);
    }
}
