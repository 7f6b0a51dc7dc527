//! The bytes of a log: file headers and frames. See `docs/log-format.md`.

use sha2::{Digest, Sha256};
use stiver_core::Timestamp;

use crate::{
    config::{BATCH_BYTES_MAX, EVENT_BYTES_MAX},
    error::Damage,
    machine::Machine,
};

/// The version of what this module writes.
pub(crate) const FORMAT: u32 = 1;
/// Bytes of a file header.
pub(crate) const FILE_HEADER_BYTES: usize = 128;
/// Bytes of a frame's header, and of the zeros that always follow the last frame.
pub(crate) const FRAME_HEADER_BYTES: usize = 64;
/// Frames begin at multiples of this.
const ALIGN: usize = 8;
/// Bytes before each record of a frame: its length.
const RECORD_HEADER_BYTES: usize = 4;
/// The longest body: a full batch, and one more event.
pub(crate) const BODY_BYTES_MAX: usize = BATCH_BYTES_MAX + RECORD_HEADER_BYTES + EVENT_BYTES_MAX;
/// The longest frame on disk.
pub(crate) const FRAME_BYTES_MAX: usize = FRAME_HEADER_BYTES + BODY_BYTES_MAX + ALIGN;
/// Longest name of a machine, in bytes.
const NAME_BYTES: usize = 32;

/// A SHA-256 hash in the chain.
pub(crate) type Hash = [u8; 32];

/// The hash of bytes.
pub(crate) fn hash(parts: &[&[u8]]) -> Hash {
    let mut hasher = Sha256::new();
    for part in parts {
        hasher.update(part);
    }
    hasher.finalize().into()
}

/// Which machine, and which version of it.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Identity {
    pub(crate) name: &'static str,
    pub(crate) version: u32,
}

impl Identity {
    pub(crate) fn of<M: Machine>() -> Self {
        const {
            assert!(!M::NAME.is_empty() && M::NAME.len() <= NAME_BYTES);
        }
        Self {
            name: M::NAME,
            version: M::VERSION,
        }
    }
}

/// How far a log has come.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Position {
    /// The last event, 0 before the first.
    pub(crate) sequence: u64,
    /// Its time.
    pub(crate) time: Timestamp,
    /// The hash of its frame.
    pub(crate) chain: Hash,
}

impl Position {
    /// The start of a new log.
    pub(crate) fn genesis(log_id: [u8; 16], time: Timestamp) -> Self {
        Self {
            sequence: 0,
            time,
            chain: hash(&[b"stiver log\0", &log_id]),
        }
    }
}

/// Which kind of file.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Segment,
    Snapshot,
}

impl Kind {
    fn magic(self) -> [u8; 8] {
        match self {
            Self::Segment => *b"STIVERLG",
            Self::Snapshot => *b"STIVERSN",
        }
    }
}

/// The header of a segment or a snapshot.
#[derive(Clone, Copy)]
pub(crate) struct FileHeader {
    pub(crate) version: u32,
    pub(crate) name: [u8; NAME_BYTES],
    pub(crate) log_id: [u8; 16],
    /// What the file continues (segment) or ends with (snapshot).
    pub(crate) position: Position,
    /// Bytes of the state (snapshot), 0 (segment).
    pub(crate) state_bytes: u64,
}

/// What a file header turned out to be.
pub(crate) enum HeaderError {
    Damaged(Damage),
    Format(u32),
}

impl FileHeader {
    pub(crate) fn new(identity: Identity, log_id: [u8; 16], position: Position) -> Self {
        let mut name = [0; NAME_BYTES];
        for (to, from) in name.iter_mut().zip(identity.name.bytes()) {
            *to = from;
        }
        Self {
            version: identity.version,
            name,
            log_id,
            position,
            state_bytes: 0,
        }
    }

    pub(crate) fn encode(&self, kind: Kind) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(FILE_HEADER_BYTES);
        bytes.extend_from_slice(&kind.magic());
        bytes.extend_from_slice(&FORMAT.to_le_bytes());
        bytes.extend_from_slice(&self.version.to_le_bytes());
        bytes.extend_from_slice(&self.name);
        bytes.extend_from_slice(&self.log_id);
        bytes.extend_from_slice(&self.position.sequence.to_le_bytes());
        bytes.extend_from_slice(&self.position.time.as_millis().to_le_bytes());
        bytes.extend_from_slice(&self.position.chain);
        bytes.extend_from_slice(&self.state_bytes.to_le_bytes());
        bytes.extend_from_slice(&[0; 4]);
        let checksum = crc32c::crc32c(&bytes);
        bytes.extend_from_slice(&checksum.to_le_bytes());
        bytes
    }

    /// The checksum at the end of the header: the salt of the file's frames.
    pub(crate) fn checksum(&self, kind: Kind) -> u32 {
        self.encode(kind)
            .last_chunk()
            .map_or(0, |bytes| u32::from_le_bytes(*bytes))
    }

    /// Reads a header, and its checksum.
    pub(crate) fn decode(kind: Kind, bytes: &[u8]) -> Result<(Self, u32), HeaderError> {
        Self::fields(kind, bytes).unwrap_or(Err(HeaderError::Damaged(Damage::NoHeader)))
    }

    fn fields(kind: Kind, bytes: &[u8]) -> Option<Result<(Self, u32), HeaderError>> {
        let covered = bytes.get(..FILE_HEADER_BYTES - 4)?;
        let mut rest = bytes;
        if take(&mut rest)? != kind.magic() {
            return None;
        }
        let format = u32::from_le_bytes(take(&mut rest)?);
        let version = u32::from_le_bytes(take(&mut rest)?);
        let name = take(&mut rest)?;
        let log_id = take(&mut rest)?;
        let position = Position {
            sequence: u64::from_le_bytes(take(&mut rest)?),
            time: Timestamp::from_millis(u64::from_le_bytes(take(&mut rest)?)),
            chain: take(&mut rest)?,
        };
        let state_bytes = u64::from_le_bytes(take(&mut rest)?);
        let _reserved: [u8; 4] = take(&mut rest)?;
        let checksum = u32::from_le_bytes(take(&mut rest)?);
        if checksum != crc32c::crc32c(covered) {
            return Some(Err(HeaderError::Damaged(Damage::HeaderChecksum)));
        }
        // Only now, so that a flipped bit is not taken for another version. Every version keeps
        // the first twelve bytes and the checksum where they are.
        if format != FORMAT {
            return Some(Err(HeaderError::Format(format)));
        }
        let header = Self {
            version,
            name,
            log_id,
            position,
            state_bytes,
        };
        Some(Ok((header, checksum)))
    }

    /// The machine's name, without the zeros that fill it up.
    pub(crate) fn name(&self) -> String {
        let end = self.name.iter().position(|byte| *byte == 0);
        let text = self.name.get(..end.unwrap_or(NAME_BYTES));
        String::from_utf8_lossy(text.unwrap_or_default()).into_owned()
    }
}

/// The header of a frame: one batch of events, written and synced together.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct FrameHeader {
    /// Bytes of the records.
    pub(crate) body_bytes: usize,
    /// Checksum of the records.
    body_checksum: u32,
    /// The first event.
    pub(crate) first: u64,
    /// When all of them were decided.
    pub(crate) time: Timestamp,
    /// How many events.
    pub(crate) count: u32,
    /// The hash of the frame before.
    pub(crate) previous: Hash,
}

impl FrameHeader {
    /// Reads a header whose checksum matches, or `None`.
    pub(crate) fn decode(salt: u32, bytes: &[u8]) -> Option<Self> {
        let covered = bytes.get(..FRAME_HEADER_BYTES - 4)?;
        let mut rest = bytes;
        let body_bytes = u32::from_le_bytes(take(&mut rest)?);
        let body_checksum = u32::from_le_bytes(take(&mut rest)?);
        let first = u64::from_le_bytes(take(&mut rest)?);
        let millis = u64::from_le_bytes(take(&mut rest)?);
        let count = u32::from_le_bytes(take(&mut rest)?);
        let previous = take(&mut rest)?;
        let checksum = u32::from_le_bytes(take(&mut rest)?);
        let body_bytes = usize::try_from(body_bytes).ok()?;
        // Cheap tests first: this also looks for frames where there should be none.
        let shaped = (1..=BODY_BYTES_MAX).contains(&body_bytes) && count > 0 && first > 0;
        if !shaped || checksum != crc32c::crc32c_append(salt, covered) {
            return None;
        }
        Some(Self {
            body_bytes,
            body_checksum,
            first,
            time: Timestamp::from_millis(millis),
            count,
            previous,
        })
    }

    /// Bytes on disk, padding included.
    pub(crate) fn frame_bytes(&self) -> usize {
        padded(FRAME_HEADER_BYTES + self.body_bytes)
    }

    /// The last event, or `None` when the numbers overflow.
    pub(crate) fn last(&self) -> Option<u64> {
        self.first.checked_add(u64::from(self.count) - 1)
    }

    pub(crate) fn body_matches(&self, salt: u32, body: &[u8]) -> bool {
        crc32c::crc32c_append(salt, body) == self.body_checksum
    }
}

/// The records of a frame's body, or `None` in place of the first that does not fit.
pub(crate) fn records(mut body: &[u8]) -> impl Iterator<Item = Option<&[u8]>> {
    std::iter::from_fn(move || {
        if body.is_empty() {
            return None;
        }
        let record = take(&mut body)
            .and_then(|length| usize::try_from(u32::from_le_bytes(length)).ok())
            .and_then(|length| body.split_at_checked(length));
        Some(match record {
            Some((record, rest)) => {
                body = rest;
                Some(record)
            }
            None => {
                body = &[];
                None
            }
        })
    })
}

/// A frame in the making.
pub(crate) struct FrameBuilder {
    bytes: Vec<u8>,
    count: u32,
}

impl FrameBuilder {
    pub(crate) fn new() -> Self {
        let mut builder = Self {
            bytes: Vec::new(),
            count: 0,
        };
        builder.clear();
        builder
    }

    pub(crate) fn clear(&mut self) {
        self.bytes.clear();
        // One huge event shall not hold memory for ever.
        self.bytes.shrink_to(2 * BATCH_BYTES_MAX);
        self.bytes.resize(FRAME_HEADER_BYTES, 0);
        self.count = 0;
    }

    pub(crate) fn count(&self) -> u32 {
        self.count
    }

    pub(crate) fn body_bytes(&self) -> usize {
        self.bytes.len() - FRAME_HEADER_BYTES
    }

    /// Adds a record, or says how long it would have been and leaves the frame as it was.
    pub(crate) fn push(&mut self, encode: impl FnOnce(&mut Vec<u8>)) -> Result<(), usize> {
        let start = self.bytes.len();
        self.bytes.extend_from_slice(&[0; RECORD_HEADER_BYTES]);
        encode(&mut self.bytes);
        let length = self.bytes.len() - start - RECORD_HEADER_BYTES;
        let prefix = u32::try_from(length).ok();
        let slot = self.bytes.get_mut(start..start + RECORD_HEADER_BYTES);
        match (prefix, slot) {
            (Some(prefix), Some(slot)) if length <= EVENT_BYTES_MAX => {
                slot.copy_from_slice(&prefix.to_le_bytes());
                self.count += 1;
                Ok(())
            }
            _ => {
                self.bytes.truncate(start);
                Err(length)
            }
        }
    }

    /// Finishes the frame after `from`: its bytes, and where the log stands with it.
    pub(crate) fn finish(
        &mut self,
        salt: u32,
        from: Position,
        time: Timestamp,
    ) -> (&[u8], Position) {
        let body = self.bytes.get(FRAME_HEADER_BYTES..).unwrap_or_default();
        let body_bytes = u32::try_from(body.len())
            .expect("a body fits, because every event and the batch are limited");
        let mut header = Vec::with_capacity(FRAME_HEADER_BYTES);
        header.extend_from_slice(&body_bytes.to_le_bytes());
        header.extend_from_slice(&crc32c::crc32c_append(salt, body).to_le_bytes());
        header.extend_from_slice(&(from.sequence + 1).to_le_bytes());
        header.extend_from_slice(&time.as_millis().to_le_bytes());
        header.extend_from_slice(&self.count.to_le_bytes());
        header.extend_from_slice(&from.chain);
        let checksum = crc32c::crc32c_append(salt, &header);
        header.extend_from_slice(&checksum.to_le_bytes());
        let chain = hash(&[&header, body]);
        for (to, from) in self.bytes.iter_mut().zip(&header) {
            *to = *from;
        }
        self.bytes.resize(padded(self.bytes.len()), 0);
        let position = Position {
            sequence: from.sequence + u64::from(self.count),
            time,
            chain,
        };
        (&self.bytes, position)
    }
}

/// The next multiple of the alignment.
pub(crate) fn padded(bytes: usize) -> usize {
    bytes.next_multiple_of(ALIGN)
}

/// Splits the first `N` bytes off.
fn take<const N: usize>(bytes: &mut &[u8]) -> Option<[u8; N]> {
    let (first, rest) = bytes.split_first_chunk()?;
    *bytes = rest;
    Some(*first)
}
