//! Opening: from files to a machine and the open end of its log.

use std::path::PathBuf;

use stiver_env::{
    Env,
    disk::{Disk, File, Lock},
};

use crate::{
    config::{Config, START_JUMP_MAX_MS},
    error::{Damage, OpenError},
    folder::Contents,
    format::{Identity, Position},
    log::{Files, Log, OpenSegment, Place},
    machine::{Inconsistent, Machine},
    segment::{Next, Segment, Tail, size},
    snapshot::{self, Snapshot},
    walk::{Base, Ending, Walk},
};

/// Zeros written at once over a torn frame.
const ZEROS_BYTES: usize = 64 << 10;

/// What opening a log has found and done.
#[derive(Debug, Default)]
#[non_exhaustive]
pub struct Recovery {
    /// The last event of the snapshot that was read; 0 for the state before the first event.
    pub snapshot: u64,
    /// Snapshots that were damaged, so that an older one was read.
    pub damaged_snapshots: Vec<OpenError>,
    /// Events that were replayed on top of it.
    pub replayed: u64,
    /// What was cut from the end of the log.
    pub cut: Option<Cut>,
}

/// A frame that was being written when the power failed, and was never acknowledged.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Cut {
    /// The segment.
    pub file: PathBuf,
    /// Where the frame began, in bytes.
    pub offset: u64,
    /// How many bytes were set to zero.
    pub bytes: u64,
}

/// A machine that stands where its log ends.
pub(crate) struct Opened<M> {
    pub(crate) machine: M,
    pub(crate) log: Log,
    pub(crate) recovery: Recovery,
    pub(crate) lock: Box<dyn Lock>,
}

/// Opens a log for writing.
pub(crate) fn open<M: Machine>(
    config: &Config,
    env: &Env,
    genesis: impl FnOnce() -> M,
) -> Result<Opened<M>, OpenError> {
    let folder = &config.folder;
    let disk = env.disk.as_ref();
    disk.create_folder(folder)
        .map_err(OpenError::io("create", folder))?;
    let lock = disk.lock(folder).map_err(|source| {
        let folder = folder.clone();
        match source.kind() {
            std::io::ErrorKind::WouldBlock => OpenError::Locked { folder },
            _ => OpenError::io("lock", folder)(source),
        }
    })?;
    let mut contents = Contents::read(disk, folder)?;
    for path in &contents.leftovers {
        disk.remove(path).map_err(OpenError::io("remove", path))?;
    }
    begin(config, env, &mut contents, genesis)?;
    let replay = Replay::<M>::run(disk, config, &mut contents)?;
    let clock = env.clock.now();
    if clock.millis_since(replay.position().time) > START_JUMP_MAX_MS {
        return Err(OpenError::ClockAhead {
            clock,
            logged: replay.position().time,
        });
    }
    // What was read may have come from memory that the last process left unsynced.
    disk.sync_folder(folder)
        .map_err(OpenError::io("sync", folder))?;
    let place = Place {
        disk: env.disk.clone(),
        folder: folder.clone(),
        identity: Identity::of::<M>(),
        log_id: replay.segment.log_id,
    };
    replay.finish(place, config, contents, lock)
}

/// Makes the first files of a log: the first segment, then the state before the first event.
fn begin<M: Machine>(
    config: &Config,
    env: &Env,
    contents: &mut Contents,
    genesis: impl FnOnce() -> M,
) -> Result<(), OpenError> {
    if !is_new::<M>(env.disk.as_ref(), config, contents)? {
        return Ok(());
    }
    let place = Place {
        disk: env.disk.clone(),
        folder: config.folder.clone(),
        identity: Identity::of::<M>(),
        log_id: env.random(),
    };
    let machine = genesis();
    machine
        .check()
        .map_err(|source| inconsistent::<M>(0, source))?;
    let position = Position::genesis(place.log_id, env.clock.now());
    place.write_segment(position)?;
    place.write_snapshot(position, true, &machine.snapshot())?;
    contents.segments = vec![1];
    contents.snapshots = vec![0];
    Ok(())
}

/// Whether the folder holds no log, or one whose making was interrupted before its first event.
fn is_new<M: Machine>(
    disk: &dyn Disk,
    config: &Config,
    contents: &Contents,
) -> Result<bool, OpenError> {
    match (contents.snapshots.as_slice(), contents.segments.as_slice()) {
        ([], []) => Ok(true),
        ([], [1]) => {
            let mut first = Segment::open(disk, &config.folder, 1, Identity::of::<M>())?;
            Ok(matches!(first.next()?, Next::Zeros) && first.tail(None)? == Tail::Clean)
        }
        _ => Ok(false),
    }
}

/// A machine on its way through the log.
struct Replay<M> {
    machine: M,
    recovery: Recovery,
    /// Last event of each snapshot that is damaged.
    damaged: Vec<u64>,
    segment: Segment,
    tail: Tail,
}

impl<M: Machine> Replay<M> {
    /// Reads the newest snapshot and what follows it. Changes nothing on disk.
    fn run(disk: &dyn Disk, config: &Config, contents: &mut Contents) -> Result<Self, OpenError> {
        let mut recovery = Recovery::default();
        // Of a damaged snapshot only the name is known; the log must reach it all the same.
        let newest = contents.snapshots.last().copied().unwrap_or(0);
        let mut damaged = contents.snapshots.clone();
        let snapshot = newest_snapshot::<M>(disk, config, contents, &mut recovery)?;
        let base = snapshot.position;
        let mut machine = M::restore(snapshot.state())
            .map_err(|source| inconsistent::<M>(base.sequence, source))?;
        let mut replayed = 0;
        let walk = Walk {
            disk,
            folder: &config.folder,
            identity: Identity::of::<M>(),
            segments: &contents.segments,
            base: Some(Base::from(&snapshot)),
            ending: Ending::Judged,
        };
        let (segment, tail) = walk.run(&mut |sequence, at, record| {
            replayed += 1;
            M::decode_event(record)
                .and_then(|event| machine.evolve(at, &event))
                .map_err(|source| inconsistent::<M>(sequence, source))?;
            Ok(true)
        })?;
        if segment.position.sequence < newest {
            return Err(segment.corrupt(Damage::EndsBeforeSnapshot {
                last: segment.position.sequence,
                snapshot: newest,
            }));
        }
        machine
            .check()
            .map_err(|source| inconsistent::<M>(segment.position.sequence, source))?;
        damaged.retain(|last| *last > base.sequence);
        recovery.snapshot = base.sequence;
        recovery.replayed = replayed;
        Ok(Self {
            machine,
            recovery,
            damaged,
            tail,
            segment,
        })
    }

    fn position(&self) -> Position {
        self.segment.position
    }

    /// Cuts the torn tail and takes the segment for writing.
    fn finish(
        mut self,
        place: Place,
        config: &Config,
        contents: Contents,
        lock: Box<dyn Lock>,
    ) -> Result<Opened<M>, OpenError> {
        let position = self.position();
        let path = self.segment.path.clone();
        let (salt, offset) = (self.segment.salt, self.segment.offset);
        let last_frame = self.segment.last_frame()?.to_vec();
        let (mut file, length) = self.segment.into_file();
        // A sync that failed may have left in memory what is not on disk, and marked it as written.
        // The same bytes again harm nothing, and make the next sync a true one.
        file.write_at(&last_frame, offset - size(last_frame.len()))
            .map_err(OpenError::io("write", &path))?;
        if let Tail::Torn { end } = self.tail {
            zero(file.as_mut(), offset, end).map_err(OpenError::io("write", &path))?;
            self.recovery.cut = Some(Cut {
                file: path.clone(),
                offset,
                bytes: end - offset,
            });
        }
        file.sync().map_err(OpenError::io("sync", &path))?;
        let open = OpenSegment {
            path,
            file,
            salt,
            offset,
            length,
        };
        let files = Files {
            segments: contents.segments,
            snapshots: contents.snapshots,
            damaged: self.damaged,
        };
        let log = Log::new(place, config, position, files, open);
        Ok(Opened {
            machine: self.machine,
            log,
            recovery: self.recovery,
            lock,
        })
    }
}

/// Reads the newest snapshot that is intact, and forgets those that are not: they no longer count
/// as a snapshot to fall back to.
fn newest_snapshot<M: Machine>(
    disk: &dyn Disk,
    config: &Config,
    contents: &mut Contents,
    recovery: &mut Recovery,
) -> Result<Snapshot, OpenError> {
    while let Some(last) = contents.snapshots.last().copied() {
        match snapshot::read(disk, &config.folder, last, Identity::of::<M>()) {
            Err(error @ OpenError::Corrupt { .. }) => {
                recovery.damaged_snapshots.push(error);
                contents.snapshots.pop();
            }
            read => return read,
        }
    }
    let mut damaged = std::mem::take(&mut recovery.damaged_snapshots).into_iter();
    Err(damaged.next().unwrap_or_else(|| OpenError::NoSnapshot {
        folder: config.folder.clone(),
    }))
}

/// Sets what is left of a torn frame to zero.
fn zero(file: &mut dyn File, start: u64, end: u64) -> std::io::Result<()> {
    let zeros = vec![0; ZEROS_BYTES];
    let mut from = start;
    while from < end {
        let count = usize::try_from(end - from).unwrap_or(ZEROS_BYTES);
        let part = zeros.get(..count).unwrap_or(&zeros);
        file.write_at(part, from)?;
        from += size(part.len());
    }
    Ok(())
}

/// An error of the machine `M` at an event.
pub(crate) fn inconsistent<M: Machine>(sequence: u64, source: Inconsistent) -> OpenError {
    OpenError::Inconsistent {
        machine: M::NAME,
        sequence,
        source,
    }
}
