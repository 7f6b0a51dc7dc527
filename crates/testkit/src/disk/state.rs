//! What the simulated disk holds: as read, and as it would survive.

use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    path::{Path, PathBuf},
};

use super::{Operation, SECTOR_BYTES};
use crate::entropy::Random;

/// A fault that waits for its operation.
#[derive(Clone)]
struct Fault {
    operation: Operation,
    skip: u64,
    kind: io::ErrorKind,
}

/// One file's content.
#[derive(Clone, Default)]
pub(super) struct Inode {
    /// As it is read.
    pub(super) content: Vec<u8>,
    /// As it surely survives.
    durable: Vec<u8>,
    /// Writes since the last sync, in order.
    pending: Vec<(usize, Vec<u8>)>,
}

impl Inode {
    fn sync(&mut self) {
        self.durable.resize(self.content.len(), 0);
        for (offset, bytes) in std::mem::take(&mut self.pending) {
            overwrite(&mut self.durable, offset, &bytes);
        }
    }

    /// A sync that failed: what was pending is forgotten, though it is still read.
    fn lose_pending(&mut self) {
        self.pending.clear();
    }

    /// Keeps of each sector what survives a power cut.
    fn crash(&mut self, random: &mut Random) {
        let length = match random.once_in(2) {
            true => self.content.len(),
            false => self.durable.len(),
        };
        let mut survived = std::mem::take(&mut self.durable);
        survived.resize(length, 0);
        // All of a file, nothing of it, or sector by sector: the extremes are worth more than
        // chance.
        let mood = random.below(4);
        let ends = self
            .pending
            .iter()
            .map(|(offset, bytes)| offset + bytes.len());
        for sector in 0..ends.max().unwrap_or(0).div_ceil(SECTOR_BYTES) {
            let writes = self.writes_to(sector);
            let survive = match mood {
                0 => 0,
                1 => writes.len(),
                _ => random.index(writes.len() + 1),
            };
            for (offset, bytes) in writes.into_iter().take(survive) {
                overwrite(&mut survived, offset, bytes);
            }
        }
        self.pending.clear();
        self.content.clone_from(&survived);
        self.durable = survived;
    }

    /// The parts of pending writes that fall into a sector, in order.
    fn writes_to(&self, sector: usize) -> Vec<(usize, &[u8])> {
        let (start, end) = (sector * SECTOR_BYTES, (sector + 1) * SECTOR_BYTES);
        let parts = self.pending.iter().filter_map(|(offset, bytes)| {
            let from = start.max(*offset);
            let to = end.min(offset + bytes.len());
            (from < to).then_some(())?;
            Some((from, bytes.get(from - offset..to - offset)?))
        });
        parts.collect()
    }
}

/// Writes over what is there; what lies beyond the end is lost.
fn overwrite(content: &mut [u8], offset: usize, bytes: &[u8]) {
    let there = content.get_mut(offset..).unwrap_or_default();
    for (to, from) in there.iter_mut().zip(bytes) {
        *to = *from;
    }
}

/// The whole disk.
#[derive(Clone)]
pub(super) struct State {
    random: Random,
    faults: Vec<Fault>,
    inodes: Vec<Inode>,
    /// Folder entries as they are read.
    pub(super) entries: BTreeMap<PathBuf, usize>,
    /// Folder entries that surely survive.
    durable_entries: BTreeMap<PathBuf, usize>,
    pub(super) folders: BTreeSet<PathBuf>,
    pub(super) locks: BTreeSet<PathBuf>,
    /// Counts processes: handles and locks of earlier ones are void.
    pub(super) generation: u64,
    pub(super) capacity: u64,
    pub(super) changes: u64,
    pub(super) syncs: u64,
    /// Changes until the power fails.
    pub(super) power_left: Option<u64>,
    power_is_off: bool,
}

impl State {
    pub(super) fn new(seed: u64) -> Self {
        Self {
            random: Random::new(seed),
            faults: Vec::new(),
            inodes: Vec::new(),
            entries: BTreeMap::new(),
            durable_entries: BTreeMap::new(),
            folders: BTreeSet::new(),
            locks: BTreeSet::new(),
            generation: 0,
            capacity: u64::MAX,
            changes: 0,
            syncs: 0,
            power_left: None,
            power_is_off: false,
        }
    }

    pub(super) fn plan_fault(&mut self, operation: Operation, skip: u64, kind: io::ErrorKind) {
        self.faults.push(Fault {
            operation,
            skip,
            kind,
        });
    }

    pub(super) fn heal(&mut self) {
        self.faults.clear();
        self.power_left = None;
    }

    /// Fails when the power is off or a fault waits for this operation.
    pub(super) fn allow(&mut self, operation: Operation) -> io::Result<()> {
        if self.power_is_off {
            return Err(power_cut());
        }
        let mut faults = self.faults.iter_mut();
        let Some(index) = faults.position(|fault| fault.operation == operation) else {
            return Ok(());
        };
        let fault = self.faults.remove(index);
        if fault.skip == 0 {
            return Err(fault.kind.into());
        }
        self.faults.insert(
            index,
            Fault {
                skip: fault.skip - 1,
                ..fault
            },
        );
        Ok(())
    }

    /// Does something that changes the disk, unless it is to fail. Where the power fails, writes
    /// have begun, and may survive or not; syncs have not.
    fn change(
        &mut self,
        operation: Operation,
        effect: impl FnOnce(&mut Self) -> io::Result<()>,
    ) -> io::Result<()> {
        self.allow(operation)?;
        self.changes += 1;
        if let Some(left) = &mut self.power_left {
            if *left == 0 {
                self.power_is_off = true;
                if !matches!(operation, Operation::Sync | Operation::SyncFolder) {
                    effect(self)?;
                }
                return Err(power_cut());
            }
            *left -= 1;
        }
        effect(self)
    }

    pub(super) fn inode(&self, inode: usize) -> io::Result<&Inode> {
        self.inodes.get(inode).ok_or(io::ErrorKind::NotFound.into())
    }

    fn inode_mut(&mut self, inode: usize) -> io::Result<&mut Inode> {
        self.inodes
            .get_mut(inode)
            .ok_or(io::ErrorKind::NotFound.into())
    }

    pub(super) fn content(&self, path: &Path) -> Option<&[u8]> {
        let inode = self.inodes.get(*self.entries.get(path)?)?;
        Some(&inode.content)
    }

    pub(super) fn open(&mut self, path: &Path, create: bool) -> io::Result<usize> {
        if let Some(inode) = self.entries.get(path) {
            return Ok(*inode);
        }
        let folder = path.parent().unwrap_or(Path::new("/"));
        if !create || !self.folders.contains(folder) {
            return Err(io::ErrorKind::NotFound.into());
        }
        let inode = self.inodes.len();
        self.inodes.push(Inode::default());
        self.entries.insert(path.to_owned(), inode);
        Ok(inode)
    }

    pub(super) fn write(&mut self, inode: usize, bytes: &[u8], offset: u64) -> io::Result<()> {
        let offset = usize::try_from(offset).map_err(io::Error::other)?;
        let end = offset.checked_add(bytes.len());
        let end = end.ok_or(io::ErrorKind::FileTooLarge)?;
        self.change(Operation::Write, |state| {
            state.resize(inode, |present| present.max(end))?;
            let inode = state.inode_mut(inode)?;
            overwrite(&mut inode.content, offset, bytes);
            inode.pending.push((offset, bytes.to_vec()));
            Ok(())
        })
    }

    pub(super) fn allocate(&mut self, inode: usize, length: u64) -> io::Result<()> {
        let length = usize::try_from(length).map_err(io::Error::other)?;
        self.change(Operation::Allocate, |state| {
            state.resize(inode, |present| present.max(length))
        })
    }

    pub(super) fn truncate(&mut self, inode: usize, length: u64) -> io::Result<()> {
        let length = usize::try_from(length).map_err(io::Error::other)?;
        self.change(Operation::Write, |state| state.resize(inode, |_| length))
    }

    /// Changes a file's length as it is read, if there is space.
    fn resize(&mut self, inode: usize, length: impl Fn(usize) -> usize) -> io::Result<()> {
        let used: usize = self.inodes.iter().map(|inode| inode.content.len()).sum();
        let capacity = usize::try_from(self.capacity).unwrap_or(usize::MAX);
        let inode = self.inode_mut(inode)?;
        let present = inode.content.len();
        let wanted = length(present);
        if wanted > present && used + (wanted - present) > capacity {
            return Err(io::ErrorKind::StorageFull.into());
        }
        inode.content.resize(wanted, 0);
        Ok(())
    }

    pub(super) fn sync(&mut self, inode: usize) -> io::Result<()> {
        self.syncs += 1;
        let synced = self.change(Operation::Sync, |state| {
            state.inode_mut(inode)?.sync();
            Ok(())
        });
        if synced.is_err() && !self.power_is_off {
            self.inode_mut(inode)?.lose_pending();
        }
        synced
    }

    pub(super) fn rename(&mut self, from: &Path, to: &Path) -> io::Result<()> {
        self.change(Operation::Rename, |state| {
            let inode = state.entries.remove(from).ok_or(io::ErrorKind::NotFound)?;
            state.entries.insert(to.to_owned(), inode);
            Ok(())
        })
    }

    pub(super) fn remove(&mut self, path: &Path) -> io::Result<()> {
        self.change(Operation::Remove, |state| {
            state.entries.remove(path).ok_or(io::ErrorKind::NotFound)?;
            state.free_unused();
            Ok(())
        })
    }

    pub(super) fn sync_folder(&mut self, folder: &Path) -> io::Result<()> {
        self.syncs += 1;
        self.change(Operation::SyncFolder, |state| {
            let inside = |path: &PathBuf| path.parent() == Some(folder);
            state.durable_entries.retain(|path, _| !inside(path));
            let entries = state.entries.iter().filter(|(path, _)| inside(path));
            let entries = entries.map(|(path, inode)| (path.clone(), *inode));
            state.durable_entries.extend(entries);
            state.free_unused();
            Ok(())
        })
    }

    pub(super) fn crash(&mut self) {
        let paths: BTreeSet<_> = self
            .entries
            .keys()
            .chain(self.durable_entries.keys())
            .collect();
        let mut survived = BTreeMap::new();
        for path in paths {
            let entries = match self.random.once_in(2) {
                true => &self.entries,
                false => &self.durable_entries,
            };
            if let Some(inode) = entries.get(path) {
                survived.insert(path.clone(), *inode);
            }
        }
        self.entries.clone_from(&survived);
        self.durable_entries = survived;
        for inode in &mut self.inodes {
            inode.crash(&mut self.random);
        }
        self.power_is_off = false;
        self.heal();
        self.kill();
    }

    pub(super) fn kill(&mut self) {
        self.generation += 1;
        self.locks.clear();
        self.free_unused();
    }

    pub(super) fn settled_copy(&self) -> Self {
        let mut copy = self.clone();
        copy.durable_entries.clone_from(&copy.entries);
        for inode in &mut copy.inodes {
            inode.pending.clear();
            inode.durable.clone_from(&inode.content);
        }
        copy.power_is_off = false;
        copy.heal();
        copy.kill();
        copy
    }

    pub(super) fn put(&mut self, path: &Path, content: Vec<u8>) {
        let whole = Inode {
            durable: content.clone(),
            content,
            pending: Vec::new(),
        };
        let present = self.entries.get(path).copied();
        let inode = present.unwrap_or(self.inodes.len());
        match self.inodes.get_mut(inode) {
            Some(inode) => *inode = whole,
            None => self.inodes.push(whole),
        }
        self.entries.insert(path.to_owned(), inode);
        self.durable_entries.insert(path.to_owned(), inode);
    }

    pub(super) fn flip_bit(&mut self, path: &Path, bit: u64) {
        let index = usize::try_from(bit / 8).unwrap_or(usize::MAX);
        let inode = self.entries.get(path).copied();
        let Some(inode) = inode.and_then(|inode| self.inodes.get_mut(inode)) else {
            return;
        };
        for content in [&mut inode.content, &mut inode.durable] {
            if let Some(byte) = content.get_mut(index) {
                *byte ^= 1 << (bit % 8);
            }
        }
    }

    /// Gives the space of files back that have no name any more.
    fn free_unused(&mut self) {
        let entries = self.entries.values().chain(self.durable_entries.values());
        let used: BTreeSet<usize> = entries.copied().collect();
        for (number, inode) in self.inodes.iter_mut().enumerate() {
            if !used.contains(&number) {
                *inode = Inode::default();
            }
        }
    }
}

fn power_cut() -> io::Error {
    io::Error::other("the power is off")
}

/// A size in memory as one on disk.
pub(super) fn size(bytes: usize) -> u64 {
    u64::try_from(bytes).unwrap_or(u64::MAX)
}
