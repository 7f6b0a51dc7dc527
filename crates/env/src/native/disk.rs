//! Files through the operating system.

use std::{
    ffi::OsString,
    fs,
    io::{self, Read, Write},
    os::unix::fs::{DirBuilderExt, FileExt, OpenOptionsExt, PermissionsExt},
    path::{Path, PathBuf},
};

use rustix::fs::FallocateFlags;

use crate::disk::{Disk, File, Lock};

/// Owner may read and write, nobody else anything.
const MODE_PRIVATE: u32 = 0o600;
/// What the group and others may do.
const MODE_OTHERS: u32 = 0o077;
/// Owner may read and write, all may read; the process's mask still applies.
const MODE_PUBLIC: u32 = 0o644;
/// Owner may enter, nobody else.
const MODE_FOLDER: u32 = 0o700;
/// The file whose lock is the folder's lock.
const LOCK_FILE: &str = "lock";
/// Zeros written at once.
const ZEROS_BYTES: usize = 64 << 10;

/// The operating system's files.
pub(super) struct SystemDisk;

impl Disk for SystemDisk {
    fn open(&self, path: &Path, create: bool) -> io::Result<Box<dyn File>> {
        let file = fs::OpenOptions::new()
            .read(true)
            .write(true)
            .create(create)
            .truncate(false)
            .mode(MODE_PRIVATE)
            .open(path)?;
        Ok(Box::new(SystemFile { file }))
    }

    fn read(&self, path: &Path, limit: u64) -> io::Result<Vec<u8>> {
        let file = fs::File::open(path)?;
        let mut bytes = Vec::new();
        // One byte more than allowed tells a file that is too long from one that just fits.
        file.take(limit.saturating_add(1)).read_to_end(&mut bytes)?;
        if u64::try_from(bytes.len()).is_ok_and(|length| length <= limit) {
            return Ok(bytes);
        }
        Err(io::Error::new(
            io::ErrorKind::FileTooLarge,
            format!("longer than {limit} bytes"),
        ))
    }

    fn write_atomic(&self, path: &Path, bytes: &[u8], private: bool) -> io::Result<()> {
        let folder = folder_of(path);
        let temporary = temporary_beside(path)?;
        let mode = if private { MODE_PRIVATE } else { MODE_PUBLIC };
        let written = write_new(&temporary, bytes, mode).and_then(|()| {
            fs::rename(&temporary, path)?;
            self.sync_folder(folder)
        });
        if written.is_err() {
            // Best effort: after a rename there is nothing left to remove.
            let _ = fs::remove_file(&temporary);
        }
        written
    }

    fn list(&self, folder: &Path) -> io::Result<Vec<PathBuf>> {
        let mut names = Vec::new();
        for entry in fs::read_dir(folder)? {
            let entry = entry?;
            if entry.file_type()?.is_file() {
                names.push(PathBuf::from(entry.file_name()));
            }
        }
        names.sort();
        Ok(names)
    }

    fn create_folder(&self, folder: &Path) -> io::Result<()> {
        if folder.is_dir() {
            return Ok(());
        }
        let parent = folder_of(folder);
        fs::create_dir_all(parent)?;
        match fs::DirBuilder::new().mode(MODE_FOLDER).create(folder) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists && folder.is_dir() => Ok(()),
            Err(error) => Err(error),
            Ok(()) => self.sync_folder(parent),
        }
    }

    fn is_private(&self, path: &Path) -> io::Result<bool> {
        Ok(fs::metadata(path)?.permissions().mode() & MODE_OTHERS == 0)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        fs::remove_file(path)
    }

    fn sync_folder(&self, folder: &Path) -> io::Result<()> {
        fs::File::open(folder)?.sync_all()
    }

    fn lock(&self, folder: &Path) -> io::Result<Box<dyn Lock>> {
        let file = fs::OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(MODE_PRIVATE)
            .open(folder.join(LOCK_FILE))?;
        // The kernel frees it with the process, so that a killed one leaves nothing behind.
        match file.try_lock() {
            Ok(()) => Ok(Box::new(SystemLock { file })),
            Err(fs::TryLockError::WouldBlock) => Err(io::ErrorKind::WouldBlock.into()),
            Err(fs::TryLockError::Error(error)) => Err(error),
        }
    }
}

/// The folder a path lies in: `.` for a bare name.
fn folder_of(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    }
}

/// A fresh name in the same folder: `.NAME.RANDOM.tmp`.
fn temporary_beside(path: &Path) -> io::Result<PathBuf> {
    let name = path
        .file_name()
        .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, "the path names no file"))?;
    let mut random = [0; 8];
    getrandom::fill(&mut random).map_err(io::Error::other)?;
    let mut temporary = OsString::from(".");
    temporary.push(name);
    temporary.push(format!(".{:016x}.tmp", u64::from_be_bytes(random)));
    Ok(folder_of(path).join(temporary))
}

/// Writes a file that does not exist yet, durably.
fn write_new(path: &Path, bytes: &[u8], mode: u32) -> io::Result<()> {
    let mut file = fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(mode)
        .open(path)?;
    file.write_all(bytes)?;
    file.sync_all()
}

/// An open file of the operating system.
struct SystemFile {
    file: fs::File,
}

impl File for SystemFile {
    fn length(&self) -> io::Result<u64> {
        Ok(self.file.metadata()?.len())
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        let mut filled = 0;
        let mut position = offset;
        while let Some(rest) = buffer.get_mut(filled..).filter(|rest| !rest.is_empty()) {
            match self.file.read_at(rest, position) {
                Ok(0) => break,
                Ok(count) => {
                    filled += count;
                    position = position.saturating_add(u64::try_from(count).unwrap_or(u64::MAX));
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(filled)
    }

    fn write_at(&mut self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.file.write_all_at(bytes, offset)
    }

    fn sync(&mut self) -> io::Result<()> {
        self.file.sync_data()
    }

    fn allocate(&mut self, length: u64) -> io::Result<()> {
        let present = self.length()?;
        if length <= present {
            return Ok(());
        }
        let missing = length - present;
        match rustix::fs::fallocate(&self.file, FallocateFlags::empty(), present, missing) {
            Ok(()) | Err(rustix::io::Errno::OPNOTSUPP | rustix::io::Errno::NOSYS) => {}
            Err(error) => return Err(error.into()),
        }
        // Space that is only reserved is marked as never written: the first sync of each block then
        // waits for the file system's own journal. Over zeros, a sync waits for the data alone.
        self.write_zeros(present, missing)
    }

    fn truncate(&mut self, length: u64) -> io::Result<()> {
        self.file.set_len(length)
    }
}

impl SystemFile {
    /// Fills space with zeros.
    fn write_zeros(&mut self, from: u64, count: u64) -> io::Result<()> {
        let zeros = [0; ZEROS_BYTES];
        let end = from.saturating_add(count);
        let mut offset = from;
        while offset < end {
            let part = usize::try_from(end - offset)
                .unwrap_or(ZEROS_BYTES)
                .min(ZEROS_BYTES);
            self.file
                .write_all_at(zeros.get(..part).unwrap_or(&zeros), offset)?;
            offset = offset.saturating_add(u64::try_from(part).unwrap_or(u64::MAX));
        }
        Ok(())
    }
}

/// A lock file, locked while open.
struct SystemLock {
    file: fs::File,
}

impl Drop for SystemLock {
    fn drop(&mut self) {
        // Closing alone would not do while a child that is just being started has a copy of it.
        // If it fails, closing it and the end of the child free the lock all the same.
        let _ = self.file.unlock();
    }
}

impl Lock for SystemLock {}
