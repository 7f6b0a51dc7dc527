//! A disk in memory that fails, fills up, rots and loses what was not synced.
//!
//! The model is that of an ordinary file system over a disk with a volatile cache:
//!
//! - Reads see every write at once. [`File::sync`] makes the file's content durable,
//!   [`Disk::sync_folder`] its folder's entries.
//! - [`SimulatedDisk::crash`] cuts the power. Of each sector (512 bytes) that was written since the
//!   last sync, some prefix of the writes to it survives, sectors independently of each other; of
//!   each folder entry and each file length, the old or the new state.
//! - [`SimulatedDisk::kill`] ends the process only: what was written stays, handles and locks end.
//! - A sync that fails has lost what was to be synced, although reads still show it and the next
//!   sync succeeds: that is what Linux does.

mod state;
#[cfg(test)]
mod tests;

use std::{
    io,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use stiver_env::disk::{Disk, File, Lock};

use self::state::State;

/// What a disk writes whole or not at all, in bytes.
pub const SECTOR_BYTES: usize = 512;

/// What can be made to fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Operation {
    /// Opening a file.
    Open,
    /// Reading from a file, or a whole one.
    Read,
    /// Writing to a file.
    Write,
    /// Syncing a file.
    Sync,
    /// Reserving space.
    Allocate,
    /// Renaming a file (the last step but one of an atomic write).
    Rename,
    /// Removing a file.
    Remove,
    /// Syncing a folder.
    SyncFolder,
}

/// A simulated disk. Cheap to clone; clones are the same disk.
///
/// # Examples
///
/// ```
/// use std::path::Path;
/// use stiver_env::disk::Disk;
/// use stiver_testkit::disk::SimulatedDisk;
///
/// let disk = SimulatedDisk::new(7);
/// disk.create_folder(Path::new("/data")).unwrap();
/// disk.write_atomic(Path::new("/data/key"), b"durable", true).unwrap();
/// disk.crash();
/// assert_eq!(disk.read(Path::new("/data/key"), 100).unwrap(), b"durable");
/// ```
#[derive(Clone)]
pub struct SimulatedDisk {
    state: Arc<Mutex<State>>,
}

impl SimulatedDisk {
    /// An empty disk; the seed decides what crashes leave behind.
    pub fn new(seed: u64) -> Self {
        Self {
            state: Arc::new(Mutex::new(State::new(seed))),
        }
    }

    /// Lets one operation fail: the next of its kind, or the one after `skip` others.
    pub fn fail(&self, operation: Operation, skip: u64, kind: io::ErrorKind) {
        self.lock_state().plan_fault(operation, skip, kind);
    }

    /// Cuts the power in the middle of the operation after `skip` others that change the disk: that
    /// one and all that follow fail until [`SimulatedDisk::crash`].
    pub fn cut_power_after(&self, skip: u64) {
        self.lock_state().power_left = Some(skip);
    }

    /// Calls off the faults that have not happened yet.
    pub fn heal(&self) {
        self.lock_state().heal();
    }

    /// How many operations have changed the disk so far: bounds for
    /// [`SimulatedDisk::cut_power_after`].
    pub fn changes(&self) -> u64 {
        self.lock_state().changes
    }

    /// How many syncs of files and folders there were.
    pub fn syncs(&self) -> u64 {
        self.lock_state().syncs
    }

    /// Limits the sum of all file lengths, in bytes.
    pub fn set_capacity(&self, bytes: u64) {
        self.lock_state().capacity = bytes;
    }

    /// The power fails and comes back: see the [module](self).
    pub fn crash(&self) {
        self.lock_state().crash();
    }

    /// The process ends: its handles and locks with it; what was written stays.
    pub fn kill(&self) {
        self.lock_state().kill();
    }

    /// A copy of the disk as it is, with everything written taken for durable.
    #[must_use]
    pub fn copy(&self) -> Self {
        Self {
            state: Arc::new(Mutex::new(self.lock_state().settled_copy())),
        }
    }

    /// All files, sorted.
    pub fn files(&self) -> Vec<PathBuf> {
        self.lock_state().entries.keys().cloned().collect()
    }

    /// What a file holds, or `None` when there is none.
    pub fn bytes(&self, path: &Path) -> Option<Vec<u8>> {
        self.lock_state().content(path).map(<[u8]>::to_vec)
    }

    /// Puts a file there durably, by magic.
    pub fn put(&self, path: &Path, bytes: &[u8]) {
        self.lock_state().put(path, bytes.to_vec());
    }

    /// Flips one bit of a file, durably: bit rot. Nothing happens beyond its end.
    pub fn flip_bit(&self, path: &Path, bit: u64) {
        self.lock_state().flip_bit(path, bit);
    }

    fn lock_state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Disk for SimulatedDisk {
    fn open(&self, path: &Path, create: bool) -> io::Result<Box<dyn File>> {
        let mut state = self.lock_state();
        state.allow(Operation::Open)?;
        let inode = state.open(path, create)?;
        Ok(Box::new(Handle {
            disk: self.clone(),
            inode,
            generation: state.generation,
        }))
    }

    fn read(&self, path: &Path, limit: u64) -> io::Result<Vec<u8>> {
        let mut state = self.lock_state();
        state.allow(Operation::Read)?;
        let bytes = state.content(path).ok_or(io::ErrorKind::NotFound)?;
        if u64::try_from(bytes.len()).is_ok_and(|length| length <= limit) {
            Ok(bytes.to_vec())
        } else {
            Err(io::ErrorKind::FileTooLarge.into())
        }
    }

    fn write_atomic(&self, path: &Path, bytes: &[u8], _private: bool) -> io::Result<()> {
        let folder = path.parent().unwrap_or(Path::new("/"));
        let name = path.file_name().ok_or(io::ErrorKind::InvalidInput)?;
        let temporary = folder.join(format!(".{}.0.tmp", name.to_string_lossy()));
        let mut file = self.open(&temporary, true)?;
        file.write_at(bytes, 0)?;
        file.sync()?;
        self.lock_state().rename(&temporary, path)?;
        self.sync_folder(folder)
    }

    fn list(&self, folder: &Path) -> io::Result<Vec<PathBuf>> {
        let state = self.lock_state();
        if !state.folders.contains(folder) {
            return Err(io::ErrorKind::NotFound.into());
        }
        let inside = state.entries.keys();
        let inside = inside.filter(|path| path.parent() == Some(folder));
        Ok(inside
            .filter_map(|path| path.file_name())
            .map(PathBuf::from)
            .collect())
    }

    fn create_folder(&self, folder: &Path) -> io::Result<()> {
        // Folders are durable at once: what is tested here is files.
        let mut state = self.lock_state();
        state.folders.extend(folder.ancestors().map(Path::to_owned));
        Ok(())
    }

    fn is_private(&self, path: &Path) -> io::Result<bool> {
        // One owner, and nobody else: the simulated machine has no other users.
        let state = self.lock_state();
        state.content(path).ok_or(io::ErrorKind::NotFound)?;
        Ok(true)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.lock_state().remove(path)
    }

    fn sync_folder(&self, folder: &Path) -> io::Result<()> {
        self.lock_state().sync_folder(folder)
    }

    fn lock(&self, folder: &Path) -> io::Result<Box<dyn Lock>> {
        let mut state = self.lock_state();
        if !state.locks.insert(folder.to_owned()) {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        Ok(Box::new(Held {
            disk: self.clone(),
            folder: folder.to_owned(),
            generation: state.generation,
        }))
    }
}

/// An open file, until the process ends.
struct Handle {
    disk: SimulatedDisk,
    inode: usize,
    generation: u64,
}

impl Handle {
    /// The disk's state, and the right to use this file in it.
    fn enter(&self) -> io::Result<MutexGuard<'_, State>> {
        let state = self.disk.lock_state();
        if state.generation != self.generation {
            return Err(io::Error::other(
                "this handle is of a process that has ended",
            ));
        }
        Ok(state)
    }
}

impl File for Handle {
    fn length(&self) -> io::Result<u64> {
        let state = self.enter()?;
        Ok(state::size(state.inode(self.inode)?.content.len()))
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        let mut state = self.enter()?;
        state.allow(Operation::Read)?;
        let content = &state.inode(self.inode)?.content;
        let start = usize::try_from(offset).unwrap_or(usize::MAX);
        let there = content.get(start..).unwrap_or_default();
        let count = there.len().min(buffer.len());
        for (to, from) in buffer.iter_mut().zip(there) {
            *to = *from;
        }
        Ok(count)
    }

    fn write_at(&mut self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.enter()?.write(self.inode, bytes, offset)
    }

    fn sync(&mut self) -> io::Result<()> {
        self.enter()?.sync(self.inode)
    }

    fn allocate(&mut self, length: u64) -> io::Result<()> {
        self.enter()?.allocate(self.inode, length)
    }

    fn truncate(&mut self, length: u64) -> io::Result<()> {
        self.enter()?.truncate(self.inode, length)
    }
}

/// A lock, until dropped or until the process ends.
struct Held {
    disk: SimulatedDisk,
    folder: PathBuf,
    generation: u64,
}

impl Lock for Held {}

impl Drop for Held {
    fn drop(&mut self) {
        let mut state = self.disk.lock_state();
        if state.generation == self.generation {
            state.locks.remove(&self.folder);
        }
    }
}
