//! Going through the segments of a log, event by event.

use std::path::Path;

use stiver_core::Timestamp;
use stiver_env::disk::Disk;

use crate::{
    error::{Damage, OpenError},
    format::{FrameHeader, Identity, Position, records},
    segment::{Next, Segment, Tail},
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

/// A walk through a log.
pub(crate) struct Walk<'a> {
    pub(crate) disk: &'a dyn Disk,
    pub(crate) folder: &'a Path,
    pub(crate) identity: Identity,
    /// First event of each segment, ascending.
    pub(crate) segments: &'a [u64],
    /// Where to begin, and in which log: a snapshot. Without, at the oldest segment.
    pub(crate) base: Option<(Position, [u8; 16])>,
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
            let end = match segment.next() {
                Ok(Next::Frame(header)) => {
                    if !self.frame(&mut segment, &header, visit)? {
                        return Ok((segment, Tail::Clean));
                    }
                    continue;
                }
                Ok(Next::Zeros) => None,
                Ok(Next::Damaged { end }) => end,
                Err(OpenError::Corrupt {
                    what: Damage::Truncated,
                    ..
                }) if last && self.ending == Ending::Unjudged => None,
                Err(error) => return Err(error),
            };
            let Some(first) = following.next() else {
                return self.end(segment, end);
            };
            let next = self.open(*first)?;
            self.check_link(&mut segment, end, &next)?;
            segment = next;
        }
    }

    /// The segments from the one that holds the first event after the base.
    fn needed(&self) -> Result<&[u64], OpenError> {
        let Some((base, _)) = self.base else {
            return Ok(self.segments);
        };
        let wanted = base.sequence.saturating_add(1);
        let covering = self.segments.iter().rposition(|first| *first <= wanted);
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
            Some((_, log_id)) if log_id != segment.log_id => Err(segment.corrupt(Damage::OtherLog)),
            _ => Ok(segment),
        }
    }

    /// Where the base is reached, the chain must be the base's.
    fn check_base(&self, segment: &Segment) -> Result<(), OpenError> {
        match self.base {
            Some((base, _))
                if segment.position.sequence == base.sequence
                    && segment.position.chain != base.chain =>
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
        if let Some((base, _)) = self.base
            && header.first <= base.sequence
        {
            if last > base.sequence {
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
    fn end(&self, mut segment: Segment, end: Option<u64>) -> Result<(Segment, Tail), OpenError> {
        if self.ending == Ending::Unjudged {
            return Ok((segment, Tail::Clean));
        }
        let tail = segment.tail(end)?;
        let last = segment.position.sequence;
        match self.base {
            Some((base, _)) if last < base.sequence => {
                Err(segment.corrupt(Damage::EndsBeforeSnapshot {
                    last,
                    snapshot: base.sequence,
                }))
            }
            _ => Ok((segment, tail)),
        }
    }

    /// A segment that is followed by another ends cleanly, and the other goes on where it ends.
    fn check_link(
        &self,
        segment: &mut Segment,
        end: Option<u64>,
        next: &Segment,
    ) -> Result<(), OpenError> {
        if segment.log_id != next.log_id {
            return Err(next.corrupt(Damage::OtherLog));
        }
        if segment.tail(end)? != Tail::Clean {
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
