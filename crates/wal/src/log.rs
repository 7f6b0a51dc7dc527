//! Writing: frames, segments, snapshots. Knows bytes only, not the machine.

use std::{
    io,
    path::{Path, PathBuf},
    sync::Arc,
};

use stiver_core::Timestamp;
use stiver_env::disk::{Disk, File};

use crate::{
    config::{
        ALLOCATE_BYTES, Config, Retention, SEGMENT_BYTES_MAX, SEGMENT_BYTES_MIN, SNAPSHOT_BYTES_MAX,
    },
    error::OpenError,
    folder::{segment_path, snapshot_path},
    format::{
        FILE_HEADER_BYTES, FRAME_HEADER_BYTES, FileHeader, FrameBuilder, Identity, Kind, Position,
    },
    segment::size,
    snapshot,
};

/// Bytes of a new segment file before space is reserved: the header, and zeros behind it.
const FRESH_SEGMENT_BYTES: usize = 4096;

/// What was tried with which file when the disk failed.
#[derive(Debug, thiserror::Error)]
#[error("cannot {doing} {}: {source}", path.display())]
pub(crate) struct LogError {
    doing: &'static str,
    path: PathBuf,
    source: io::Error,
}

impl From<LogError> for OpenError {
    fn from(error: LogError) -> Self {
        Self::Io {
            doing: error.doing,
            path: error.path,
            source: error.source,
        }
    }
}

/// For `map_err`.
fn failed<'a>(doing: &'static str, path: &'a Path) -> impl FnOnce(io::Error) -> LogError + 'a {
    move |source| LogError {
        doing,
        path: path.to_owned(),
        source,
    }
}

/// Where a log is kept.
#[derive(Clone)]
pub(crate) struct Place {
    pub(crate) disk: Arc<dyn Disk>,
    pub(crate) folder: PathBuf,
    pub(crate) identity: Identity,
    pub(crate) log_id: [u8; 16],
}

impl Place {
    /// Writes the snapshot of a state, durably. `followed`: the segment of the next event is there.
    pub(crate) fn write_snapshot(
        &self,
        at: Position,
        followed: bool,
        state: &[u8],
    ) -> Result<(), LogError> {
        let path = snapshot_path(&self.folder, at.sequence);
        let mut header = FileHeader::new(self.identity, self.log_id, at);
        header.followed = followed;
        let bytes = snapshot::encode(header, state);
        if size(bytes.len()) > SNAPSHOT_BYTES_MAX {
            // It could not be read back.
            return Err(failed("write", &path)(io::ErrorKind::FileTooLarge.into()));
        }
        self.disk
            .write_atomic(&path, &bytes, true)
            .map_err(failed("write", &path))
    }

    /// Makes the segment that continues a position, durably and empty.
    pub(crate) fn write_segment(&self, after: Position) -> Result<(), LogError> {
        let path = segment_path(&self.folder, after.sequence.saturating_add(1));
        let mut bytes = FileHeader::new(self.identity, self.log_id, after).encode(Kind::Segment);
        bytes.resize(FRESH_SEGMENT_BYTES, 0);
        self.disk
            .write_atomic(&path, &bytes, true)
            .map_err(failed("write", &path))
    }
}

/// The open end of a log.
pub(crate) struct Log {
    place: Place,
    segment_bytes: u64,
    retention: Retention,
    position: Position,
    /// First event of each segment, ascending; the last is open.
    segments: Vec<u64>,
    /// Last event of each intact snapshot, ascending.
    snapshots: Vec<u64>,
    /// Last event of each snapshot that was found to be damaged.
    damaged: Vec<u64>,
    open: OpenSegment,
}

/// The files of a log, by the numbers in their names.
pub(crate) struct Files {
    /// First event of each segment, ascending; the last is open.
    pub(crate) segments: Vec<u64>,
    /// Last event of each intact snapshot, ascending.
    pub(crate) snapshots: Vec<u64>,
    /// Last event of each snapshot that was found to be damaged.
    pub(crate) damaged: Vec<u64>,
}

/// The segment that is written to.
pub(crate) struct OpenSegment {
    pub(crate) path: PathBuf,
    pub(crate) file: Box<dyn File>,
    pub(crate) salt: u32,
    /// Where the next frame goes.
    pub(crate) offset: u64,
    /// Bytes of the file, all reserved and durable.
    pub(crate) length: u64,
}

impl Log {
    pub(crate) fn new(
        place: Place,
        config: &Config,
        position: Position,
        files: Files,
        open: OpenSegment,
    ) -> Self {
        Self {
            place,
            segment_bytes: config
                .segment_bytes
                .clamp(SEGMENT_BYTES_MIN, SEGMENT_BYTES_MAX),
            retention: config.retention,
            position,
            segments: files.segments,
            snapshots: files.snapshots,
            damaged: files.damaged,
            open,
        }
    }

    pub(crate) fn position(&self) -> Position {
        self.position
    }

    /// Appends a frame and makes it durable.
    pub(crate) fn append(
        &mut self,
        frame: &mut FrameBuilder,
        time: Timestamp,
    ) -> Result<(), LogError> {
        let (salt, offset) = (self.open.salt, self.open.offset);
        let (bytes, position) = frame.finish(salt, offset, self.position, time);
        let end = self.open.offset + size(bytes.len());
        self.open.reserve(end, self.segment_bytes)?;
        let open = &mut self.open;
        open.file
            .write_at(bytes, open.offset)
            .map_err(failed("write", &open.path))?;
        open.file.sync().map_err(failed("sync", &open.path))?;
        open.offset = end;
        self.position = position;
        Ok(())
    }

    /// Whether the open segment has reached its size.
    pub(crate) fn is_full(&self) -> bool {
        self.open.offset >= size(FILE_HEADER_BYTES) + self.segment_bytes
    }

    /// Writes a snapshot, unless there is one of this position.
    pub(crate) fn snapshot(&mut self, state: impl FnOnce() -> Vec<u8>) -> Result<(), LogError> {
        let at = self.position;
        if self.snapshots.last() == Some(&at.sequence) {
            return Ok(());
        }
        let followed = self.segments.last() == Some(&at.sequence.saturating_add(1));
        self.place.write_snapshot(at, followed, &state())?;
        self.snapshots.push(at.sequence);
        // One of the same number was written over just now.
        self.damaged.retain(|last| *last != at.sequence);
        while let Some(last) = self.damaged.pop() {
            self.remove(&snapshot_path(&self.place.folder, last))?;
        }
        self.prune()
    }

    /// Closes the open segment, begins the next, and writes a snapshot. In this order, so that a
    /// snapshot can say that a segment follows it, and the loss of that segment be noticed.
    pub(crate) fn rotate(&mut self, state: impl FnOnce() -> Vec<u8>) -> Result<(), LogError> {
        self.place.write_segment(self.position)?;
        let first = self.position.sequence.saturating_add(1);
        let path = segment_path(&self.place.folder, first);
        let file = self
            .place
            .disk
            .open(&path, false)
            .map_err(failed("open", &path))?;
        let header = FileHeader::new(self.place.identity, self.place.log_id, self.position);
        let length = file.length().map_err(failed("read", &path))?;
        self.open = OpenSegment {
            salt: header.checksum(Kind::Segment),
            file,
            offset: size(FILE_HEADER_BYTES),
            length,
            path,
        };
        self.segments.push(first);
        self.snapshot(state)
    }

    /// Removes what retention does not keep.
    fn prune(&mut self) -> Result<(), LogError> {
        let Some(before) = self.snapshots.len().checked_sub(2) else {
            return Ok(());
        };
        let previous = self.snapshots.get(before).copied().unwrap_or(0);
        // An audit trail begins with the state before the first event.
        let keeps_first = self.retention == Retention::Keep;
        let first = self.snapshots.first().copied();
        for last in self.snapshots.clone() {
            if last < previous && !(keeps_first && Some(last) == first) {
                self.remove(&snapshot_path(&self.place.folder, last))?;
                self.snapshots.retain(|kept| *kept != last);
            }
        }
        if self.retention == Retention::Keep {
            return Ok(());
        }
        // A segment is unnecessary when the one after it holds all that follows that snapshot.
        while let [oldest, next, ..] = *self.segments.as_slice()
            && next <= previous.saturating_add(1)
        {
            self.remove(&segment_path(&self.place.folder, oldest))?;
            self.segments.remove(0);
        }
        Ok(())
    }

    /// Removes a file, durably before the next one, so that no crash leaves a gap between files.
    fn remove(&self, path: &Path) -> Result<(), LogError> {
        let disk = &self.place.disk;
        match disk.remove(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            removed => removed.map_err(failed("remove", path))?,
        }
        let folder = &self.place.folder;
        disk.sync_folder(folder).map_err(failed("sync", folder))
    }
}

impl OpenSegment {
    /// Reserves space for a frame that ends at `end`, and for the zeros that follow it. Durable
    /// before the frame is written, so that a frame that runs out of its file is never torn.
    fn reserve(&mut self, end: u64, segment_bytes: u64) -> Result<(), LogError> {
        let needed = end + size(FRAME_HEADER_BYTES);
        if needed <= self.length {
            return Ok(());
        }
        let step = segment_bytes.min(ALLOCATE_BYTES);
        let length = needed.next_multiple_of(step);
        self.file
            .allocate(length)
            .map_err(failed("reserve space in", &self.path))?;
        self.file.sync().map_err(failed("sync", &self.path))?;
        self.length = length;
        Ok(())
    }
}
