//! Reading a log without running it.

use std::path::Path;

use stiver_core::Timestamp;
use stiver_env::{
    Env,
    disk::{Disk, Lock},
};

use crate::{
    error::OpenError,
    folder::Contents,
    format::Identity,
    machine::Machine,
    recover::inconsistent,
    segment::Tail,
    snapshot,
    walk::{Base, Ending, Walk},
};

/// Reads every event of a closed or running log from disk, oldest first, calling
/// `visit(sequence, at, event)` until it returns false.
///
/// A closed log is locked meanwhile, and its end is judged as at opening. Of a log that is running
/// elsewhere, everything that was durable when this began is read, and perhaps a batch or two that
/// came later; [`crate::Engine::history`] reads exactly what was durable.
///
/// # Errors
///
/// [`OpenError`], after the events before the damage have been visited.
pub fn history<M: Machine>(
    folder: &Path,
    env: &Env,
    visit: &mut dyn FnMut(u64, Timestamp, M::Event) -> bool,
) -> Result<(), OpenError> {
    let disk = env.disk.as_ref();
    let reading = Reading::begin(disk, folder)?;
    reading.events::<M>(disk, folder, visit).map(drop)
}

/// What [`verify`] has found.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Verified {
    /// The oldest event on disk, 1 when nothing was removed.
    pub first: u64,
    /// The last event; `first - 1` when there is none.
    pub last: u64,
    /// The time of the last event.
    pub time: Timestamp,
    /// The hash of the last frame: who keeps it elsewhere can prove later that nothing before it
    /// was changed.
    pub chain: [u8; 32],
    /// Segments read.
    pub segments: usize,
    /// Snapshots read.
    pub snapshots: usize,
    /// Whether the log ends with a frame that is not whole (opening will cut it).
    pub torn: bool,
}

/// Checks a whole log: every checksum, the chain of hashes through all segments and snapshots, and
/// that the machine can follow every event from the oldest snapshot on and is sound at the end.
/// Changes nothing. Works on a running log too, up to its newest frame.
///
/// # Errors
///
/// The first thing that is wrong, with file and offset.
pub fn verify<M: Machine>(folder: &Path, env: &Env) -> Result<Verified, OpenError> {
    let disk = env.disk.as_ref();
    let identity = Identity::of::<M>();
    let reading = Reading::begin(disk, folder)?;
    let oldest = reading.contents.snapshots.first();
    let oldest = oldest.ok_or_else(|| OpenError::NoSnapshot {
        folder: folder.to_owned(),
    })?;
    let base = snapshot::read(disk, folder, *oldest, identity)?;
    let mut machine = M::restore(base.state()).map_err(|e| inconsistent::<M>(*oldest, e))?;
    // The hash chain ties each later snapshot to the frame it was taken after.
    for last in reading.contents.snapshots.iter().skip(1) {
        let snapshot = snapshot::read(disk, folder, *last, identity)?;
        let base = Some(Base::from(&snapshot));
        reading
            .walk(disk, folder, identity, base)
            .run(&mut |_, _, _| Ok(false))?;
        M::restore(snapshot.state()).map_err(|e| inconsistent::<M>(*last, e))?;
    }
    let everything = reading.walk(disk, folder, identity, None);
    let (segment, tail) = everything.run(&mut |sequence, at, record| {
        let event = M::decode_event(record);
        let followed = event.and_then(|event| match sequence > *oldest {
            true => machine.evolve(at, &event),
            false => Ok(()),
        });
        followed.map_err(|e| inconsistent::<M>(sequence, e))?;
        Ok(true)
    })?;
    let last = segment.position;
    machine
        .check()
        .map_err(|e| inconsistent::<M>(last.sequence, e))?;
    Ok(Verified {
        first: reading.contents.segments.first().copied().unwrap_or(1),
        last: last.sequence,
        time: last.time,
        chain: last.chain,
        segments: reading.contents.segments.len(),
        snapshots: reading.contents.snapshots.len(),
        torn: tail != Tail::Clean,
    })
}

/// The files of a log that is being read.
pub(crate) struct Reading {
    contents: Contents,
    ending: Ending,
    /// Held while a closed log is read, so that nobody begins to write.
    _lock: Option<Box<dyn Lock>>,
}

impl Reading {
    fn begin(disk: &dyn Disk, folder: &Path) -> Result<Self, OpenError> {
        let lock = match disk.lock(folder) {
            Ok(lock) => Some(lock),
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => None,
            Err(error) => return Err(OpenError::io("lock", folder)(error)),
        };
        let ending = match lock {
            Some(_) => Ending::Judged,
            None => Ending::Unjudged,
        };
        Ok(Self {
            contents: Contents::read(disk, folder)?,
            ending,
            _lock: lock,
        })
    }

    /// Reads a log whose lock this process holds already.
    pub(crate) fn running(disk: &dyn Disk, folder: &Path) -> Result<Self, OpenError> {
        Ok(Self {
            contents: Contents::read(disk, folder)?,
            ending: Ending::Unjudged,
            _lock: None,
        })
    }

    fn walk<'a>(
        &'a self,
        disk: &'a dyn Disk,
        folder: &'a Path,
        identity: Identity,
        base: Option<Base>,
    ) -> Walk<'a> {
        Walk {
            disk,
            folder,
            identity,
            segments: &self.contents.segments,
            base,
            ending: self.ending,
        }
    }

    /// Visits all events; the last one that is on disk.
    pub(crate) fn events<M: Machine>(
        &self,
        disk: &dyn Disk,
        folder: &Path,
        visit: &mut dyn FnMut(u64, Timestamp, M::Event) -> bool,
    ) -> Result<u64, OpenError> {
        if self.contents.segments.is_empty() {
            return Ok(0);
        }
        let walk = self.walk(disk, folder, Identity::of::<M>(), None);
        let (segment, _) = walk.run(&mut |sequence, at, record| {
            let event = M::decode_event(record).map_err(|e| inconsistent::<M>(sequence, e))?;
            Ok(visit(sequence, at, event))
        })?;
        Ok(segment.position.sequence)
    }
}
