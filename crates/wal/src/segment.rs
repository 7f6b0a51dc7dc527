//! Reading a segment, frame by frame, and judging where it ends.
//!
//! A batch is one frame and one write, and no batch is written before the one before it is synced.
//! After a crash, then, at most one frame is torn: the last one. Of that frame any subset of the
//! sectors may be on disk, in any order; the others are still the zeros of the reserved space. So a
//! torn frame is known by three signs, and everything else is damage to something that may have
//! been acknowledged:
//!
//! 1. it is the last thing in the last segment: no frame and no other data follow it;
//! 2. it lies wholly inside the file, because space is reserved durably before it is written to;
//! 3. at least one sector of it is missing, that is, zero where something else was written. A
//!    frame's header says how many of its sectors are zero by nature, so a flipped bit is never
//!    taken for it.

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
        Position, SECTOR_BYTES, hash, zero_sectors,
    },
    snapshot::check_header,
};

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
    /// Bytes of the frame before the offset, 0 at the first.
    last_frame_bytes: usize,
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
        /// The frame's header, when that is intact.
        header: Option<FrameHeader>,
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
            last_frame_bytes: 0,
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
            return Ok(Next::Damaged { header: None });
        };
        let end = self.offset + size(header.frame_bytes());
        // The frame and the zeros after it.
        if end + size(FRAME_HEADER_BYTES) > self.window.length {
            return Err(self.corrupt(Damage::Truncated));
        }
        let salt = self.salt;
        let frame = self.bytes(self.offset, header.frame_bytes())?;
        let Some((hashed, _)) = header.split(salt, frame) else {
            let header = Some(header);
            return Ok(Next::Damaged { header });
        };
        let chain = hash(&[hashed]);
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
        self.last_frame_bytes = header.frame_bytes();
        Ok(Next::Frame(header))
    }

    /// The records of the frame that [`Self::next`] has just read.
    pub(crate) fn body(&mut self, header: &FrameHeader) -> Result<&[u8], OpenError> {
        let start = self.offset - size(header.frame_bytes()) + size(FRAME_HEADER_BYTES);
        self.bytes(start, header.body_bytes)
    }

    /// The whole frame before the offset; empty when there is none.
    pub(crate) fn last_frame(&mut self) -> Result<&[u8], OpenError> {
        self.bytes(
            self.offset - size(self.last_frame_bytes),
            self.last_frame_bytes,
        )
    }

    /// That frame's records are not what its header says.
    pub(crate) fn misfit(&self, header: &FrameHeader) -> OpenError {
        OpenError::Corrupt {
            file: self.path.clone(),
            offset: self.offset - size(header.frame_bytes()),
            what: Damage::Records,
        }
    }

    /// Judges what [`Self::next`] has found behind the last intact frame of the last segment:
    /// zeros, or a damaged frame and perhaps its header.
    pub(crate) fn tail(&mut self, damaged: Option<FrameHeader>) -> Result<Tail, OpenError> {
        let start = self.offset;
        let bytes = damaged.map_or(FRAME_BYTES_MAX, |header| header.frame_bytes());
        let reach = (start + size(bytes)).min(self.window.length);
        let missing = match damaged {
            Some(header) => {
                let frame = self.bytes(start, bytes)?;
                zero_sectors(frame, start) > header.zero_sectors
            }
            None => self.header_lacks_sector()?,
        };
        if !missing {
            return Err(self.corrupt(Damage::FrameChecksum));
        }
        // Where the header is missing, a frame is as long as frames can be, and could hide others.
        if damaged.is_none()
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

    /// Whether one of the two sectors that the next frame's header may lie in is missing: its part
    /// of the header is zero, which the length at the one end and the hash at the other never are.
    fn header_lacks_sector(&mut self) -> Result<bool, OpenError> {
        let offset = self.offset;
        let sector = size(SECTOR_BYTES);
        let here = usize::try_from(sector - offset % sector).unwrap_or(FRAME_HEADER_BYTES);
        let head = self.head()?;
        let (first, second) = head.split_at(here.min(head.len()));
        let missing = |part: &[u8]| !part.is_empty() && part.iter().all(|byte| *byte == 0);
        Ok(missing(first) || missing(second))
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
