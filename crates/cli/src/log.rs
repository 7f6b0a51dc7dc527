//! The log of `stiver serve`: lines to standard error, written by a thread of their own.
//!
//! A reader of standard error that stands still, such as a pipe that nobody empties, holds no
//! request up: lines beyond [`LINES_MAX`] are dropped, and how many is told in a line of its own.

use std::{
    io::{self, Write},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
        mpsc::{self, Receiver, SyncSender},
    },
    thread::JoinHandle,
};

use tracing_subscriber::fmt::MakeWriter;

/// Most lines that wait to be written.
const LINES_MAX: usize = 8192;
/// Bytes that are gathered before they are written at once.
const GATHERED_BYTES: usize = 64 * 1024;

enum Message {
    Line(Vec<u8>),
    End,
}

/// Takes lines. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Lines {
    sender: SyncSender<Message>,
    lost: Arc<AtomicU64>,
}

/// Ends the log: what waits is written first.
pub(crate) struct Ending {
    sender: SyncSender<Message>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl Lines {
    /// Starts the thread that writes.
    #[expect(
        clippy::disallowed_methods,
        reason = "what is logged by the runtime's tasks is not written by one"
    )]
    pub(crate) fn to(out: impl Write + Send + 'static) -> (Self, Ending) {
        let (sender, receiver) = mpsc::sync_channel(LINES_MAX);
        let lost = Arc::new(AtomicU64::new(0));
        let lines = Self {
            sender: sender.clone(),
            lost: Arc::clone(&lost),
        };
        let thread = std::thread::spawn(move || write(&receiver, &lost, out));
        let ending = Ending {
            sender,
            thread: Mutex::new(Some(thread)),
        };
        (lines, ending)
    }
}

impl Ending {
    /// Writes what waits and ends. Nothing is logged afterwards.
    pub(crate) fn flush(&self) {
        let mut thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(thread) = thread.take() {
            // A thread that is gone has nothing to write.
            let _ = self.sender.send(Message::End);
            let _ = thread.join();
        }
    }
}

impl Drop for Ending {
    fn drop(&mut self) {
        self.flush();
    }
}

fn write(receiver: &Receiver<Message>, lost: &AtomicU64, mut out: impl Write) {
    let mut gathered = Vec::with_capacity(GATHERED_BYTES);
    let mut told = 0;
    let mut open = true;
    while open {
        let Ok(first) = receiver.recv() else { return };
        let mut next = Some(first);
        while let Some(message) = next {
            match message {
                Message::Line(line) => gathered.extend_from_slice(&line),
                Message::End => {
                    open = false;
                    break;
                }
            }
            next = match gathered.len() < GATHERED_BYTES {
                true => receiver.try_recv().ok(),
                false => None,
            };
        }
        let all = lost.load(Ordering::Relaxed);
        if all > told {
            let lines = all - told;
            told = all;
            gathered.extend_from_slice(format!("{lines} log lines were lost\n").as_bytes());
        }
        // Nobody reads the log: the gateway goes on.
        let _ = out.write_all(&gathered).and_then(|()| out.flush());
        gathered.clear();
    }
}

/// One line in the making.
pub(crate) struct Line<'l> {
    lines: &'l Lines,
    bytes: Vec<u8>,
}

impl Write for Line<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.bytes.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Drop for Line<'_> {
    fn drop(&mut self) {
        let line = std::mem::take(&mut self.bytes);
        if self.lines.sender.try_send(Message::Line(line)).is_err() {
            self.lines.lost.fetch_add(1, Ordering::Relaxed);
        }
    }
}

impl<'l> MakeWriter<'l> for Lines {
    type Writer = Line<'l>;

    fn make_writer(&'l self) -> Line<'l> {
        Line {
            lines: self,
            bytes: Vec::with_capacity(256),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Written bytes, and a gate that holds the writer up while it is locked.
    #[derive(Clone, Default)]
    struct Out(Arc<Mutex<Vec<u8>>>);

    impl Write for Out {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn say(lines: &Lines, text: &str) {
        lines.make_writer().write_all(text.as_bytes()).unwrap();
    }

    #[test]
    fn lines_are_written_whole_and_in_order_before_the_end() {
        let out = Out::default();
        let (lines, ending) = Lines::to(out.clone());
        let mut expected = String::new();
        for number in 0..100 {
            let line = format!("line {number}\n");
            say(&lines, &line);
            expected.push_str(&line);
        }
        ending.flush();
        assert_eq!(
            String::from_utf8(out.0.lock().unwrap().clone()).unwrap(),
            expected
        );
    }

    #[test]
    fn a_log_that_nobody_reads_holds_nobody_up_and_tells_what_was_lost() {
        let out = Out::default();
        let (lines, ending) = Lines::to(out.clone());
        let stuck = out.0.lock().unwrap();
        // Twice as many as wait and as are gathered: some are lost, and none waits.
        let count = 2 * (LINES_MAX + GATHERED_BYTES);
        for _ in 0..count {
            say(&lines, "x\n");
        }
        drop(stuck);
        ending.flush();
        let text = String::from_utf8(out.0.lock().unwrap().clone()).unwrap();
        let written = text.lines().filter(|line| *line == "x").count();
        let lost: usize = text
            .lines()
            .filter_map(|line| line.strip_suffix(" log lines were lost"))
            .map(|number| number.parse::<usize>().unwrap())
            .sum();
        assert!(lost > 0);
        assert_eq!(written + lost, count);
    }
}
