//! Whole states on disk.

use std::path::Path;

use stiver_env::disk::Disk;

use crate::{
    config::SNAPSHOT_BYTES_MAX,
    error::{Damage, OpenError},
    folder::snapshot_path,
    format::{FILE_HEADER_BYTES, FileHeader, HeaderError, Identity, Kind, Position, hash},
};

/// Bytes of the hash at the end.
const HASH_BYTES: usize = 32;

/// A snapshot that was read and is intact.
pub(crate) struct Snapshot {
    pub(crate) log_id: [u8; 16],
    pub(crate) position: Position,
    /// Whether the next event's segment must be there.
    pub(crate) followed: bool,
    bytes: Vec<u8>,
}

impl Snapshot {
    pub(crate) fn state(&self) -> &[u8] {
        let end = self.bytes.len().saturating_sub(HASH_BYTES);
        self.bytes.get(FILE_HEADER_BYTES..end).unwrap_or_default()
    }
}

/// The bytes of a snapshot file.
pub(crate) fn encode(mut header: FileHeader, state: &[u8]) -> Vec<u8> {
    header.state_bytes = u64::try_from(state.len()).unwrap_or(u64::MAX);
    let mut bytes = header.encode(Kind::Snapshot);
    bytes.reserve_exact(state.len() + HASH_BYTES);
    bytes.extend_from_slice(state);
    let hash = hash(&[&bytes]);
    bytes.extend_from_slice(&hash);
    bytes
}

/// Reads the snapshot that ends with event `last`.
pub(crate) fn read(
    disk: &dyn Disk,
    folder: &Path,
    last: u64,
    identity: Identity,
) -> Result<Snapshot, OpenError> {
    let path = snapshot_path(folder, last);
    let bytes = disk
        .read(&path, SNAPSHOT_BYTES_MAX)
        .map_err(OpenError::io("read", &path))?;
    let header = check_header(&path, Kind::Snapshot, &bytes, last, identity)?.0;
    let (content, found) = bytes
        .split_last_chunk::<HASH_BYTES>()
        .unwrap_or((&[], &[0; HASH_BYTES]));
    let state_bytes = content.len().checked_sub(FILE_HEADER_BYTES);
    let whole = state_bytes.and_then(|count| u64::try_from(count).ok()) == Some(header.state_bytes);
    if !whole || hash(&[content]) != *found {
        return Err(OpenError::Corrupt {
            file: path,
            offset: u64::try_from(FILE_HEADER_BYTES).unwrap_or(0),
            what: Damage::SnapshotHash,
        });
    }
    Ok(Snapshot {
        log_id: header.log_id,
        position: header.position,
        followed: header.followed,
        bytes,
    })
}

/// Reads a file header, and checks that it is of this machine and fits the file's name.
pub(crate) fn check_header(
    path: &Path,
    kind: Kind,
    bytes: &[u8],
    named: u64,
    identity: Identity,
) -> Result<(FileHeader, u32), OpenError> {
    let corrupt = |what| OpenError::Corrupt {
        file: path.to_owned(),
        offset: 0,
        what,
    };
    let version = |subject, found, expected| OpenError::Version {
        file: path.to_owned(),
        subject,
        found,
        expected,
    };
    let (header, salt) = FileHeader::decode(kind, bytes).map_err(|error| match error {
        HeaderError::Damaged(what) => corrupt(what),
        HeaderError::Format(found) => version("log format", found, crate::format::FORMAT),
    })?;
    let name = header.name();
    if name != identity.name {
        return Err(OpenError::Foreign {
            file: path.to_owned(),
            found: name,
            expected: identity.name,
        });
    }
    if header.version != identity.version {
        return Err(version(identity.name, header.version, identity.version));
    }
    // A segment is named by its first event, the one after the position it continues.
    let own = match kind {
        Kind::Segment => header.position.sequence.saturating_add(1),
        Kind::Snapshot => header.position.sequence,
    };
    if own != named {
        return Err(corrupt(Damage::Misnamed {
            header: own,
            name: named,
        }));
    }
    Ok((header, salt))
}
