//! The bytes of a log: file headers and frames. See `docs/log-format.md`.

use sha2::{Digest, Sha256};
use stiver_core::Timestamp;

use crate::{
    config::{BATCH_BYTES_MAX, BATCH_COMMANDS_MAX, EVENT_BYTES_MAX},
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
/// The last bytes of a frame. None is zero, so that the last sector of a frame never is.
const TRAILER: [u8; ALIGN] = *b"\xf5end\xd3log";
/// What a disk writes whole or not at all, in bytes. Larger sectors are multiples of it.
pub(crate) const SECTOR_BYTES: usize = 512;
/// Bytes before each record of a frame: its length.
const RECORD_HEADER_BYTES: usize = 4;
/// The longest body: a full batch, and one more event.
pub(crate) const BODY_BYTES_MAX: usize = BATCH_BYTES_MAX + RECORD_HEADER_BYTES + EVENT_BYTES_MAX;
/// The longest frame on disk.
pub(crate) const FRAME_BYTES_MAX: usize =
    FRAME_HEADER_BYTES + BODY_BYTES_MAX.next_multiple_of(ALIGN) + TRAILER.len();
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
    /// Whether the next event's segment was there before this snapshot was (0 in a segment).
    pub(crate) followed: bool,
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
            followed: false,
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
        bytes.extend_from_slice(&u32::from(self.followed).to_le_bytes());
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
        let followed = u32::from_le_bytes(take(&mut rest)?) == 1;
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
            followed,
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
    pub(crate) count: u16,
    /// How many of its sectors are zero by nature: see [`zero_sectors`].
    pub(crate) zero_sectors: u16,
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
        let count = u16::from_le_bytes(take(&mut rest)?);
        let zero_sectors = u16::from_le_bytes(take(&mut rest)?);
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
            zero_sectors,
            previous,
        })
    }

    /// Bytes on disk, padding and trailer included.
    pub(crate) fn frame_bytes(&self) -> usize {
        (FRAME_HEADER_BYTES + self.body_bytes).next_multiple_of(ALIGN) + TRAILER.len()
    }

    /// The last event, or `None` when the numbers overflow.
    pub(crate) fn last(&self) -> Option<u64> {
        self.first.checked_add(u64::from(self.count) - 1)
    }

    /// Splits a whole frame of this header: what its hash covers, and its body. `None` when its
    /// checksum, its padding or its trailer do not match.
    pub(crate) fn split<'a>(&self, salt: u32, frame: &'a [u8]) -> Option<(&'a [u8], &'a [u8])> {
        let (hashed, end) = frame.split_at_checked(FRAME_HEADER_BYTES + self.body_bytes)?;
        let padding = end.strip_suffix(&TRAILER)?;
        let body = hashed.get(FRAME_HEADER_BYTES..)?;
        let matches = crc32c::crc32c_append(salt, body) == self.body_checksum
            && padding.iter().all(|byte| *byte == 0);
        matches.then_some((hashed, body))
    }
}

/// How many sectors are all zero, among those that a frame touches behind the sectors of its
/// header. `frame` begins at `offset` of the file.
///
/// A sector that a crash has kept from the disk is zero. A frame says how many of its sectors are
/// so by nature; more than that, and some are missing.
pub(crate) fn zero_sectors(frame: &[u8], offset: u64) -> u16 {
    let sector = u64::try_from(SECTOR_BYTES).unwrap_or(u64::MAX);
    let inside = usize::try_from(offset % sector).unwrap_or(0);
    // From the first sector that does not hold a part of the header.
    let begin = (inside + FRAME_HEADER_BYTES).next_multiple_of(SECTOR_BYTES) - inside;
    let sectors = frame.get(begin..).unwrap_or_default().chunks(SECTOR_BYTES);
    let zero = sectors.filter(|sector| sector.iter().all(|byte| *byte == 0));
    u16::try_from(zero.count()).expect("few enough sectors, because a frame's size is limited")
}

const _: () = assert!(FRAME_BYTES_MAX / SECTOR_BYTES < 65_535);
const _: () = assert!(BATCH_COMMANDS_MAX < 65_535);

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
    count: u16,
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

    pub(crate) fn count(&self) -> u16 {
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

    /// Finishes the frame that goes to `offset` of its file and follows `from`: its bytes, and
    /// where the log stands with it.
    pub(crate) fn finish(
        &mut self,
        salt: u32,
        offset: u64,
        from: Position,
        time: Timestamp,
    ) -> (&[u8], Position) {
        let end = self.bytes.len();
        self.bytes.resize(end.next_multiple_of(ALIGN), 0);
        self.bytes.extend_from_slice(&TRAILER);
        let zero_sectors = zero_sectors(&self.bytes, offset);
        let body = self.bytes.get(FRAME_HEADER_BYTES..end).unwrap_or_default();
        let body_bytes = u32::try_from(body.len())
            .expect("a body fits, because every event and the batch are limited");
        let mut header = Vec::with_capacity(FRAME_HEADER_BYTES);
        header.extend_from_slice(&body_bytes.to_le_bytes());
        header.extend_from_slice(&crc32c::crc32c_append(salt, body).to_le_bytes());
        header.extend_from_slice(&from.sequence.saturating_add(1).to_le_bytes());
        header.extend_from_slice(&time.as_millis().to_le_bytes());
        header.extend_from_slice(&self.count.to_le_bytes());
        header.extend_from_slice(&zero_sectors.to_le_bytes());
        header.extend_from_slice(&from.chain);
        let checksum = crc32c::crc32c_append(salt, &header);
        header.extend_from_slice(&checksum.to_le_bytes());
        let chain = hash(&[&header, body]);
        for (to, from) in self.bytes.iter_mut().zip(&header) {
            *to = *from;
        }
        let position = Position {
            sequence: from.sequence.saturating_add(u64::from(self.count)),
            time,
            chain,
        };
        (&self.bytes, position)
    }
}

/// Splits the first `N` bytes off.
fn take<const N: usize>(bytes: &mut &[u8]) -> Option<[u8; N]> {
    let (first, rest) = bytes.split_first_chunk()?;
    *bytes = rest;
    Some(*first)
}
