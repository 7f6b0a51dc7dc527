//! Reading a segment, frame by frame, and judging where it ends.
//!
//! A batch is one frame and one write, and no batch is written before the one before it is synced.
//! After a crash, then, at most one frame is torn: the last one. Of that frame any subset of the
//! sectors may be on disk, in any order; the others are still the zeros of the reserved space. So a
//! torn frame is known by three signs, and everything else is damage to something that may have been
//! acknowledged:
//!
//! 1. it is the last thing in the last segment: no frame and no other data follow it;
//! 2. it lies wholly inside the file, because space is reserved durably before it is written to;
//! 3. at least one sector of it is missing, that is, zero. A flipped bit leaves no sector zero.

use std::{
    io,
    path::{Path, PathBuf},
};

use stiver_env::disk::{Disk, File};

use crate::{
    config::SEGMENT_BYTES_MAX,
    error::{Damage, OpenError},
    folder::segment_path,
    format::{
        FILE_HEADER_BYTES, FRAME_BYTES_MAX, FRAME_HEADER_BYTES, FrameHeader, Identity, Kind,
        Position, hash,
    },
    snapshot::check_header,
};

/// What a disk writes whole or not at all, in bytes. Larger sectors are multiples of it.
const SECTOR_BYTES: u64 = 512;
/// Read at once, in bytes.
const WINDOW_BYTES: usize = 256 << 10;
/// Where a frame can begin.
const FRAME_STEP: u64 = 8;

/// An open segment, read from its first frame on.
pub(crate) struct Segment {
    pub(crate) path: PathBuf,
    pub(crate) log_id: [u8; 16],
    /// Checksums of frames begin with it.
    pub(crate) salt: u32,
    /// Where the next frame begins.
    pub(crate) offset: u64,
    /// What the frames so far, and those of the segments before, add up to.
    pub(crate) position: Position,
    window: Window,
}

/// What stands at the place of the next frame.
pub(crate) enum Next {
    /// An intact frame that continues the log.
    Frame(FrameHeader),
    /// Zeros where a header would be: the end, or a frame whose first sector is missing.
    Zeros,
    /// Something else.
    Damaged {
        /// Where the frame ends, when its header is intact.
        end: Option<u64>,
    },
}

/// How the last segment ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Tail {
    /// With its last frame.
    Clean,
    /// With a frame that was never acknowledged and is not whole.
    Torn {
        /// Behind its last byte that is not zero.
        end: u64,
    },
}

impl Segment {
    /// Opens the segment whose first event is `first`.
    pub(crate) fn open(
        disk: &dyn Disk,
        folder: &Path,
        first: u64,
        identity: Identity,
    ) -> Result<Self, OpenError> {
        let path = segment_path(folder, first);
        let file = disk
            .open(&path, false)
            .map_err(OpenError::io("open", &path))?;
        let mut window = Window::new(file).map_err(OpenError::io("read", &path))?;
        let head = window
            .bytes(0, FILE_HEADER_BYTES)
            .map_err(OpenError::io("read", &path))?;
        let (header, salt) = check_header(&path, Kind::Segment, head, first, identity)?;
        let limit = SEGMENT_BYTES_MAX + size(FRAME_BYTES_MAX);
        if window.length > limit {
            return Err(OpenError::Corrupt {
                file: path,
                offset: limit,
                what: Damage::TooLong { limit },
            });
        }
        Ok(Self {
            path,
            log_id: header.log_id,
            salt,
            offset: size(FILE_HEADER_BYTES),
            position: header.position,
            window,
        })
    }

    /// Reads the next frame, and moves behind it when it is intact and continues the log.
    pub(crate) fn next(&mut self) -> Result<Next, OpenError> {
        let head = self.bytes(self.offset, FRAME_HEADER_BYTES)?;
        if head.iter().all(|byte| *byte == 0) {
            // Zeros always follow the last frame, if only enough to see that there is no more.
            if head.len() < FRAME_HEADER_BYTES {
                return Err(self.corrupt(Damage::Truncated));
            }
            return Ok(Next::Zeros);
        }
        let whole = head.len() == FRAME_HEADER_BYTES;
        let Some(header) = FrameHeader::decode(self.salt, self.head()?) else {
            if !whole {
                return Err(self.corrupt(Damage::Truncated));
            }
            return Ok(Next::Damaged { end: None });
        };
        let end = self.offset + size(header.frame_bytes());
        // The frame and the zeros after it.
        if end + size(FRAME_HEADER_BYTES) > self.window.length {
            return Err(self.corrupt(Damage::Truncated));
        }
        let salt = self.salt;
        let frame = self.bytes(self.offset, header.frame_bytes())?;
        let (frame, padding) = frame
            .split_at_checked(FRAME_HEADER_BYTES + header.body_bytes)
            .unwrap_or((frame, &[]));
        let body = frame.get(FRAME_HEADER_BYTES..).unwrap_or_default();
        let padded = padding.iter().all(|byte| *byte == 0);
        if !padded || !header.body_matches(salt, body) {
            return Ok(Next::Damaged { end: Some(end) });
        }
        let chain = hash(&[frame]);
        let expected = self.position.sequence.saturating_add(1);
        let last = header.last();
        let (Some(last), true) = (last, header.first == expected) else {
            return Err(self.corrupt(Damage::Sequence {
                expected,
                found: header.first,
            }));
        };
        if header.previous != self.position.chain {
            return Err(self.corrupt(Damage::Chain));
        }
        if header.time < self.position.time {
            return Err(self.corrupt(Damage::Time));
        }
        self.position = Position {
            sequence: last,
            time: header.time,
            chain,
        };
        self.offset = end;
        Ok(Next::Frame(header))
    }

    /// The records of the frame that [`Self::next`] has just read.
    pub(crate) fn body(&mut self, header: &FrameHeader) -> Result<&[u8], OpenError> {
        let start = self.offset - size(header.frame_bytes()) + size(FRAME_HEADER_BYTES);
        self.bytes(start, header.body_bytes)
    }

    /// That frame's records are not what its header says.
    pub(crate) fn misfit(&self, header: &FrameHeader) -> OpenError {
        OpenError::Corrupt {
            file: self.path.clone(),
            offset: self.offset - size(header.frame_bytes()),
            what: Damage::Records,
        }
    }

    /// Judges what [`Self::next`] has found behind the last intact frame of the last segment.
    pub(crate) fn tail(&mut self, end: Option<u64>) -> Result<Tail, OpenError> {
        let start = self.offset;
        let reach = end.unwrap_or(start + size(FRAME_BYTES_MAX));
        let reach = reach.min(self.window.length);
        let missing = match end {
            // The header is intact, so a sector of the records must be missing.
            Some(end) => self.lacks_sector(start + size(FRAME_HEADER_BYTES), end)?,
            // The header is not, so one of the sectors that it lies in must be.
            None => self.lacks_sector(start, start + size(FRAME_HEADER_BYTES))?,
        };
        if !missing {
            return Err(self.corrupt(Damage::FrameChecksum));
        }
        if end.is_none()
            && let Some(next) = self.find_frame(start + FRAME_STEP, reach)?
        {
            return Err(self.corrupt(Damage::DamagedBefore { next }));
        }
        if let Some(next) = self.find_data(reach, self.window.length)? {
            return Err(self.corrupt(Damage::DamagedBefore { next }));
        }
        Ok(match self.last_data(start, reach)? {
            None => Tail::Clean,
            Some(last) => Tail::Torn { end: last + 1 },
        })
    }

    /// Damage at the place of the next frame.
    pub(crate) fn corrupt(&self, what: Damage) -> OpenError {
        OpenError::Corrupt {
            file: self.path.clone(),
            offset: self.offset,
            what,
        }
    }

    /// Gives the file up for writing, with its length.
    pub(crate) fn into_file(self) -> (Box<dyn File>, u64) {
        (self.window.file, self.window.length)
    }

    fn head(&mut self) -> Result<&[u8], OpenError> {
        self.bytes(self.offset, FRAME_HEADER_BYTES)
    }

    /// Up to `count` bytes at an offset; fewer only at the end of the file.
    fn bytes(&mut self, offset: u64, count: usize) -> Result<&[u8], OpenError> {
        let path = &self.path;
        self.window
            .bytes(offset, count)
            .map_err(|source| OpenError::Io {
                doing: "read",
                path: path.clone(),
                source,
            })
    }

    /// Whether the part of some sector that lies between two offsets is all zero.
    fn lacks_sector(&mut self, start: u64, end: u64) -> Result<bool, OpenError> {
        let mut from = start;
        while from < end {
            let to = (from + 1).next_multiple_of(SECTOR_BYTES).min(end);
            let count = usize::try_from(to - from).unwrap_or(0);
            if self.bytes(from, count)?.iter().all(|byte| *byte == 0) {
                return Ok(true);
            }
            from = to;
        }
        Ok(false)
    }

    /// The first place between two offsets with an intact frame header.
    fn find_frame(&mut self, start: u64, end: u64) -> Result<Option<u64>, OpenError> {
        let salt = self.salt;
        let mut from = start;
        while from < end {
            let bytes = self.bytes(from, FRAME_HEADER_BYTES)?;
            if FrameHeader::decode(salt, bytes).is_some() {
                return Ok(Some(from));
            }
            from += FRAME_STEP;
        }
        Ok(None)
    }

    /// The first byte between two offsets that is not zero.
    fn find_data(&mut self, start: u64, end: u64) -> Result<Option<u64>, OpenError> {
        self.search(
            start,
            end,
            |bytes| bytes.iter().position(|byte| *byte != 0),
            Search::First,
        )
    }

    /// The last byte between two offsets that is not zero.
    fn last_data(&mut self, start: u64, end: u64) -> Result<Option<u64>, OpenError> {
        self.search(
            start,
            end,
            |bytes| bytes.iter().rposition(|byte| *byte != 0),
            Search::Last,
        )
    }

    fn search(
        &mut self,
        start: u64,
        end: u64,
        find: impl Fn(&[u8]) -> Option<usize>,
        which: Search,
    ) -> Result<Option<u64>, OpenError> {
        let mut found = None;
        let mut from = start;
        while from < end {
            let count = usize::try_from(end - from).unwrap_or(WINDOW_BYTES);
            let bytes = self.bytes(from, count.min(WINDOW_BYTES))?;
            if bytes.is_empty() {
                break;
            }
            if let Some(index) = find(bytes) {
                found = Some(from + size(index));
                if which == Search::First {
                    break;
                }
            }
            from += size(bytes.len());
        }
        Ok(found)
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Search {
    First,
    Last,
}

/// A file, and the part of it that was read last.
struct Window {
    file: Box<dyn File>,
    length: u64,
    start: u64,
    buffer: Vec<u8>,
}

impl Window {
    fn new(file: Box<dyn File>) -> io::Result<Self> {
        Ok(Self {
            length: file.length()?,
            file,
            start: 0,
            buffer: Vec::new(),
        })
    }

    /// Up to `count` bytes at an offset; fewer only at the end of the file.
    fn bytes(&mut self, offset: u64, count: usize) -> io::Result<&[u8]> {
        let there = usize::try_from(self.length.saturating_sub(offset)).unwrap_or(usize::MAX);
        let count = count.min(there);
        let inside = |start: u64, held: usize| {
            let skip = usize::try_from(offset.checked_sub(start)?).ok()?;
            (skip.checked_add(count)? <= held).then_some(skip)
        };
        let skip = match inside(self.start, self.buffer.len()) {
            Some(skip) => skip,
            None => {
                self.buffer.resize(count.max(WINDOW_BYTES).min(there), 0);
                let held = self.file.read_at(&mut self.buffer, offset)?;
                self.buffer.truncate(held);
                self.start = offset;
                0
            }
        };
        let end = (skip + count).min(self.buffer.len());
        Ok(self.buffer.get(skip..end).unwrap_or_default())
    }
}

/// A size in memory as one on disk.
pub(crate) fn size(bytes: usize) -> u64 {
    u64::try_from(bytes).expect("a size fits in 64 bits, because no machine has more memory")
}
