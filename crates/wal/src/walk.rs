//! Going through the segments of a log, event by event.

use std::path::Path;

use stiver_core::Timestamp;
use stiver_env::disk::Disk;

use crate::{
    error::{Damage, OpenError},
    format::{FrameHeader, Identity, Position, records},
    segment::{Next, Segment, Tail},
    snapshot::Snapshot,
};

/// What to do where the last segment's intact frames end.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ending {
    /// Nobody writes: tell a torn frame from damage.
    Judged,
    /// Somebody may be writing there: stop.
    Unjudged,
}

/// Is given an event's number, time and bytes; says whether to go on.
pub(crate) type Visit<'a> = &'a mut dyn FnMut(u64, Timestamp, &[u8]) -> Result<bool, OpenError>;

/// What a walk needs to know of a snapshot.
#[derive(Clone, Copy)]
pub(crate) struct Base {
    position: Position,
    log_id: [u8; 16],
    followed: bool,
}

impl From<&Snapshot> for Base {
    fn from(snapshot: &Snapshot) -> Self {
        Self {
            position: snapshot.position,
            log_id: snapshot.log_id,
            followed: snapshot.followed,
        }
    }
}

/// A walk through a log.
pub(crate) struct Walk<'a> {
    pub(crate) disk: &'a dyn Disk,
    pub(crate) folder: &'a Path,
    pub(crate) identity: Identity,
    /// First event of each segment, ascending.
    pub(crate) segments: &'a [u64],
    /// The snapshot to begin with. Without, the walk begins at the oldest segment.
    pub(crate) base: Option<Base>,
    pub(crate) ending: Ending,
}

impl Walk<'_> {
    /// Visits the events after the base. Returns the last segment that was read and how it ends
    /// (`Clean` when the visitor has stopped).
    pub(crate) fn run(&self, visit: Visit<'_>) -> Result<(Segment, Tail), OpenError> {
        let segments = self.needed()?;
        let mut segment = self.open(segments.first().copied().unwrap_or(1))?;
        self.check_base(&segment)?;
        let mut following = segments.get(1..).unwrap_or_default().iter();
        loop {
            let last = following.len() == 0;
            let damaged = match segment.next() {
                Ok(Next::Frame(header)) => {
                    if !self.frame(&mut segment, &header, visit)? {
                        return Ok((segment, Tail::Clean));
                    }
                    continue;
                }
                Ok(Next::Zeros) => None,
                Ok(Next::Damaged { header }) => header,
                Err(OpenError::Corrupt {
                    what: Damage::Truncated,
                    ..
                }) if last && self.ending == Ending::Unjudged => None,
                Err(error) => return Err(error),
            };
            let Some(first) = following.next() else {
                return self.end(segment, damaged);
            };
            let next = self.open(*first)?;
            self.check_link(&mut segment, damaged, &next)?;
            segment = next;
        }
    }

    /// The segments from the one that holds the first event after the base.
    fn needed(&self) -> Result<&[u64], OpenError> {
        let Some(base) = self.base else {
            return Ok(self.segments);
        };
        let wanted = base.position.sequence.saturating_add(1);
        let fits = |first: &u64| *first == wanted || (*first < wanted && !base.followed);
        let covering = self.segments.iter().rposition(fits);
        covering
            .and_then(|index| self.segments.get(index..))
            .ok_or_else(|| OpenError::NoSegment {
                folder: self.folder.to_owned(),
                sequence: wanted,
            })
    }

    fn open(&self, first: u64) -> Result<Segment, OpenError> {
        let segment = Segment::open(self.disk, self.folder, first, self.identity)?;
        match self.base {
            Some(base) if base.log_id != segment.log_id => Err(segment.corrupt(Damage::OtherLog)),
            _ => Ok(segment),
        }
    }

    /// Where the base is reached, the chain must be the base's.
    fn check_base(&self, segment: &Segment) -> Result<(), OpenError> {
        match self.base {
            Some(Base { position, .. })
                if segment.position.sequence == position.sequence
                    && segment.position.chain != position.chain =>
            {
                Err(segment.corrupt(Damage::Chain))
            }
            _ => Ok(()),
        }
    }

    /// Visits the events of a frame that lie after the base.
    fn frame(
        &self,
        segment: &mut Segment,
        header: &FrameHeader,
        visit: Visit<'_>,
    ) -> Result<bool, OpenError> {
        let last = segment.position.sequence;
        if let Some(Base { position, .. }) = self.base
            && header.first <= position.sequence
        {
            if last > position.sequence {
                // A snapshot lies between two frames, never inside one.
                return Err(segment.misfit(header));
            }
            self.check_base(segment)?;
            return Ok(true);
        }
        let mut count = 0;
        let mut records = records(segment.body(header)?);
        let fits = loop {
            match records.next() {
                None => break count == header.count,
                Some(Some(record)) if count < header.count => {
                    let sequence = header.first + u64::from(count);
                    if !visit(sequence, header.time, record)? {
                        return Ok(false);
                    }
                    count += 1;
                }
                Some(_) => break false,
            }
        };
        drop(records);
        if fits {
            Ok(true)
        } else {
            Err(segment.misfit(header))
        }
    }

    /// The end of the last segment.
    fn end(
        &self,
        mut segment: Segment,
        damaged: Option<FrameHeader>,
    ) -> Result<(Segment, Tail), OpenError> {
        if self.ending == Ending::Unjudged {
            return Ok((segment, Tail::Clean));
        }
        let tail = segment.tail(damaged)?;
        let last = segment.position.sequence;
        match self.base {
            Some(Base { position, .. }) if last < position.sequence => {
                Err(segment.corrupt(Damage::EndsBeforeSnapshot {
                    last,
                    snapshot: position.sequence,
                }))
            }
            _ => Ok((segment, tail)),
        }
    }

    /// A segment that is followed by another ends cleanly, and the other goes on where it ends.
    fn check_link(
        &self,
        segment: &mut Segment,
        damaged: Option<FrameHeader>,
        next: &Segment,
    ) -> Result<(), OpenError> {
        if segment.log_id != next.log_id {
            return Err(next.corrupt(Damage::OtherLog));
        }
        if segment.tail(damaged)? != Tail::Clean {
            return Err(segment.corrupt(Damage::DamagedInside));
        }
        let (expected, found) = (segment.position.sequence, next.position.sequence);
        if expected != found {
            return Err(segment.corrupt(Damage::Sequence {
                expected: expected.saturating_add(1),
                found: found.saturating_add(1),
            }));
        }
        if segment.position.chain != next.position.chain {
            return Err(next.corrupt(Damage::Chain));
        }
        Ok(())
    }
}
