//! `stiver get --session` as a process that may be killed.

use std::{
    io::{BufRead, BufReader, Read},
    path::{Path, PathBuf},
    process::{ChildStdout, Stdio},
    sync::{
        atomic::{AtomicUsize, Ordering},
        mpsc::{Receiver, RecvTimeoutError, channel},
    },
    thread,
    time::Duration,
};

use stiver_env::Env;
use stiver_testkit::entropy::Random;

use crate::{
    EVENTS, STALL,
    stage::{Running, Stage, dollars, program, text},
    wires::MARK,
};

/// A buyer is killed after so long at most, when it is not killed at an event.
const LIFE_MS_MAX: u64 = 600;

/// How one program went.
pub(crate) struct Run {
    /// Events that it printed.
    pub(crate) events: u64,
    /// It was killed before it had ended.
    pub(crate) killed: bool,
    /// It ended by itself, with all events.
    pub(crate) whole: bool,
}

/// A wallet, and what its programs are told.
pub(crate) struct Buyer {
    home: PathBuf,
    ahead: String,
    env: Env,
}

/// When a program is killed.
enum Kill {
    At(u64),
    After(Duration),
    Never,
}

impl Kill {
    fn draw(random: &mut Random) -> Self {
        match random.below(8) {
            0 => Self::Never,
            1 | 2 => Self::After(Duration::from_millis(random.below(LIFE_MS_MAX))),
            _ => Self::At(1 + random.below(EVENTS)),
        }
    }
}

impl Buyer {
    /// A funded wallet that has joined the gateway's ledger.
    pub(crate) fn new(stage: &Stage, url: &str, n: usize, (funds, ahead): (u128, u128)) -> Self {
        let home = stage.home(&format!("buyer-{n}"));
        stage.stiver(&["wallet", "new"], &home);
        let key = text(&stage.stiver(&["wallet", "join", url], &home), "/key");
        stage.ledger(&["issue", &key, &format!("{} USD", dollars(funds))]);
        Self {
            home,
            ahead: format!("{} USD", dollars(ahead)),
            env: stiver_env::native::env(),
        }
    }

    pub(crate) fn home(&self) -> &Path {
        &self.home
    }

    /// Buys one stream, and dies at some point or none.
    pub(crate) fn run(&mut self, url: &str, random: &mut Random, streaming: &AtomicUsize) -> Run {
        let kill = Kill::draw(random);
        let url = format!("{url}/live");
        let begun = self.env.clock.monotonic();
        let mut child = program(&self.home)
            .args(["get", "--session", "--max-session", "90 USD"])
            .args(["--deposit", "0.5 USD", "--sign-ahead", &self.ahead, &url])
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let printed = events(child.stdout.take().unwrap());
        let mut child = Running(child);
        let mut run = Run {
            events: 0,
            killed: false,
            whole: false,
        };
        loop {
            let wait = match kill {
                Kill::After(life) => (begun + life).saturating_sub(self.env.clock.monotonic()),
                _ => STALL,
            };
            match printed.recv_timeout(wait) {
                Ok(()) => {
                    run.events += 1;
                    if run.events == 1 {
                        streaming.fetch_add(1, Ordering::SeqCst);
                    }
                }
                Err(RecvTimeoutError::Disconnected) => break,
                Err(RecvTimeoutError::Timeout) => {
                    assert!(matches!(kill, Kill::After(_)), "a stream stalls");
                    run.killed = child.0.try_wait().unwrap().is_none();
                    break;
                }
            }
            if matches!(kill, Kill::At(event) if event == run.events) {
                run.killed = child.0.try_wait().unwrap().is_none();
                break;
            }
        }
        if run.killed {
            child.0.kill().unwrap();
        }
        let status = child.0.wait().unwrap();
        if run.events > 0 {
            streaming.fetch_sub(1, Ordering::SeqCst);
        }
        // What it had printed and nobody had read yet.
        run.events += u64::try_from(printed.iter().count()).unwrap();
        run.whole = status.success();
        if run.whole {
            let mut said = String::new();
            let mut err = child.0.stderr.take().unwrap();
            err.read_to_string(&mut said).unwrap();
            assert_eq!(run.events, EVENTS, "ended well, and is not whole: {said}");
        }
        run
    }
}

/// Tells of each event that a program prints.
#[expect(clippy::disallowed_methods, reason = "a test starts its own threads")]
fn events(out: ChildStdout) -> Receiver<()> {
    let (tell, told) = channel();
    thread::spawn(move || {
        for line in BufReader::new(out).lines().map_while(Result::ok) {
            if line.contains(MARK) && tell.send(()).is_err() {
                break;
            }
        }
    });
    told
}
