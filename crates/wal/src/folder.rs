//! The files of a log: their names, and which there are.

use std::path::{Path, PathBuf};

use stiver_env::disk::Disk;

use crate::error::OpenError;

/// The name of the segment whose first event is `first`.
pub(crate) fn segment_path(folder: &Path, first: u64) -> PathBuf {
    folder.join(format!("segment-{first:020}.log"))
}

/// The name of the snapshot whose last event is `last`.
pub(crate) fn snapshot_path(folder: &Path, last: u64) -> PathBuf {
    folder.join(format!("snapshot-{last:020}.snap"))
}

/// The sequence numbers in the names of the files of a log, ascending.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Contents {
    /// First event of each segment.
    pub(crate) segments: Vec<u64>,
    /// Last event of each snapshot.
    pub(crate) snapshots: Vec<u64>,
    /// What an atomic write left behind when it was interrupted.
    pub(crate) leftovers: Vec<PathBuf>,
}

impl Contents {
    pub(crate) fn read(disk: &dyn Disk, folder: &Path) -> Result<Self, OpenError> {
        let mut contents = Self::default();
        let names = disk.list(folder).map_err(OpenError::io("list", folder))?;
        for name in names {
            let Some(text) = name.to_str() else { continue };
            if let Some(first) = number(text, "segment-", ".log") {
                contents.segments.push(first);
            } else if let Some(last) = number(text, "snapshot-", ".snap") {
                contents.snapshots.push(last);
            } else if is_leftover(text) {
                contents.leftovers.push(folder.join(&name));
            }
        }
        contents.segments.sort_unstable();
        contents.snapshots.sort_unstable();
        Ok(contents)
    }
}

/// The twenty digits between a prefix and a suffix.
fn number(name: &str, prefix: &str, suffix: &str) -> Option<u64> {
    let digits = name.strip_prefix(prefix)?.strip_suffix(suffix)?;
    let plain = digits.len() == 20 && digits.bytes().all(|byte| byte.is_ascii_digit());
    plain.then(|| digits.parse().ok())?
}

fn is_leftover(name: &str) -> bool {
    let ours = name.starts_with(".segment-") || name.starts_with(".snapshot-");
    ours && Path::new(name).extension().is_some_and(|end| end == "tmp")
}
