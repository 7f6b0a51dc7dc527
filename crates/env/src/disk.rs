//! Disk: the few calls a log and small files need. Synchronous; used from tasks that may block.

use std::{
    io,
    path::{Path, PathBuf},
};

/// A file system.
pub trait Disk: Send + Sync {
    /// Opens a file for reading and writing; with `create`, makes it (mode 0600) when absent.
    fn open(&self, path: &Path, create: bool) -> io::Result<Box<dyn File>>;
    /// Reads a whole file, at most `limit` bytes (an error beyond).
    fn read(&self, path: &Path, limit: u64) -> io::Result<Vec<u8>>;
    /// Writes a whole file so that after a crash either the old or the new content is there, with
    /// mode 0600 when `private`.
    fn write_atomic(&self, path: &Path, bytes: &[u8], private: bool) -> io::Result<()>;
    /// Names of the files in a folder, without the folder, sorted.
    fn list(&self, folder: &Path) -> io::Result<Vec<PathBuf>>;
    /// Makes a folder and its parents, mode 0700 for the last one. One that is there stays as it
    /// is.
    fn create_folder(&self, folder: &Path) -> io::Result<()>;
    /// True when nobody but its owner may read or write a file.
    fn is_private(&self, path: &Path) -> io::Result<bool>;
    /// Removes a file.
    fn remove(&self, path: &Path) -> io::Result<()>;
    /// Makes a folder's entries durable.
    fn sync_folder(&self, folder: &Path) -> io::Result<()>;
    /// Takes the exclusive lock of a folder, or fails with `WouldBlock` when another process holds
    /// it. Freed on drop.
    fn lock(&self, folder: &Path) -> io::Result<Box<dyn Lock>>;
}

/// An open file.
pub trait File: Send {
    /// Its length, preallocated space included.
    fn length(&self) -> io::Result<u64>;
    /// Reads up to `buffer.len()` bytes at an offset; fewer only at the end.
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize>;
    /// Writes all bytes at an offset.
    fn write_at(&mut self, bytes: &[u8], offset: u64) -> io::Result<()>;
    /// Makes what was written durable.
    fn sync(&mut self) -> io::Result<()>;
    /// Reserves space, zero-filled, up to `length`; a file that is longer stays as it is. Durable
    /// after the next [`File::sync`].
    fn allocate(&mut self, length: u64) -> io::Result<()>;
    /// Cuts to `length`.
    fn truncate(&mut self, length: u64) -> io::Result<()>;
}

/// A held lock.
pub trait Lock: Send + Sync {}
