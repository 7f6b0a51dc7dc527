//! The one task that decides, evolves and writes.

use std::{sync::Arc, vec::Drain};

use stiver_env::disk::Lock;
use tokio::sync::{mpsc, oneshot, watch};

use crate::{
    config::{BATCH_BYTES_MAX, BATCH_COMMANDS_MAX, EVENT_BYTES_MAX},
    engine::Status,
    error::EngineError,
    format::FrameBuilder,
    log::{Log, LogError},
    machine::{Inconsistent, Machine},
    time::LogClock,
};

/// Where one command's answer goes.
type Answer<M> = oneshot::Sender<Result<<M as Machine>::Reply, EngineError>>;

/// What the writer is sent.
pub(crate) enum Message<M: Machine> {
    Command(M::Command, Answer<M>),
    /// Commands that came together, so that one sync does for all of them where they fit.
    Several(Vec<(M::Command, Answer<M>)>),
    Close,
}

/// Owns the machine and its log.
pub(crate) struct Writer<M: Machine> {
    pub(crate) machine: M,
    pub(crate) log: Log,
    pub(crate) clock: LogClock,
    pub(crate) inbox: mpsc::Receiver<Message<M>>,
    pub(crate) status: Arc<Status>,
    pub(crate) lock: Box<dyn Lock>,
    /// Dropped last, after a panic too: who waits for the end finds the lock free.
    pub(crate) outcome: watch::Sender<Option<Result<(), EngineError>>>,
}

/// Why the writer stops for good.
#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error(transparent)]
    Log(#[from] LogError),
    #[error("the machine cannot follow what it decided: {0}")]
    Machine(Inconsistent),
}

/// A batch in the making. Kept from batch to batch for its memory.
struct Batch<M: Machine> {
    frame: FrameBuilder,
    /// Answers that wait for the batch to be durable, in order.
    answers: Vec<(Answer<M>, M::Reply)>,
}

/// What a batch has seen.
#[derive(PartialEq, Eq)]
enum Seen {
    Commands,
    Close,
}

impl<M: Machine> Writer<M> {
    /// Runs until closed, failed, or dropped by all users.
    pub(crate) async fn run(mut self) {
        let mut waiting = Vec::with_capacity(BATCH_COMMANDS_MAX);
        let mut queue = Vec::with_capacity(BATCH_COMMANDS_MAX);
        let mut batch = Batch {
            frame: FrameBuilder::new(),
            answers: Vec::with_capacity(BATCH_COMMANDS_MAX),
        };
        let mut closing = false;
        // After `close` the inbox still gives what was accepted, then 0.
        while self.inbox.recv_many(&mut waiting, BATCH_COMMANDS_MAX).await > 0 {
            for message in waiting.drain(..) {
                match message {
                    Message::Several(several) => {
                        let several = several.into_iter();
                        queue.extend(several.map(|(one, answer)| Message::Command(one, answer)));
                    }
                    message => queue.push(message),
                }
            }
            let mut commands = queue.drain(..);
            while commands.len() > 0 {
                match self.serve(&mut commands, &mut batch) {
                    Ok(Seen::Commands) => {}
                    Ok(Seen::Close) => {
                        closing = true;
                        self.inbox.close();
                    }
                    Err(failure) => {
                        let error = self.status.fail(&failure.to_string());
                        batch.refuse(&error);
                        refuse(commands, &error);
                        return self.end_failed(&error);
                    }
                }
            }
        }
        let snapshot = match closing {
            true => self.log.snapshot(|| self.machine.snapshot()),
            false => Ok(()),
        };
        let outcome = snapshot.map_err(|error| self.status.fail(&error.to_string()));
        drop(self.lock);
        self.outcome.send_replace(Some(outcome));
    }

    /// Takes commands until a batch is full, makes it durable and answers.
    fn serve(
        &mut self,
        commands: &mut Drain<'_, Message<M>>,
        batch: &mut Batch<M>,
    ) -> Result<Seen, Failure> {
        let now = self.clock.now();
        let mut seen = Seen::Commands;
        while batch.frame.body_bytes() < BATCH_BYTES_MAX {
            let (command, answer) = match commands.next() {
                Some(Message::Command(command, answer)) => (command, answer),
                Some(Message::Close) => {
                    seen = Seen::Close;
                    continue;
                }
                // Taken apart before they come here.
                Some(Message::Several(_)) | None => break,
            };
            let (reply, event) = self.machine.decide(now, command);
            if let Some(event) = event {
                let pushed = batch.frame.push(|into| M::encode_event(&event, into));
                if let Err(bytes) = pushed {
                    let max = EVENT_BYTES_MAX;
                    // The caller may have gone; that is no matter here or below.
                    let _ = answer.send(Err(EngineError::EventTooLarge { bytes, max }));
                    continue;
                }
                batch.answers.push((answer, reply));
                self.machine.evolve(now, &event).map_err(Failure::Machine)?;
            } else {
                batch.answers.push((answer, reply));
            }
        }
        if batch.frame.count() > 0 {
            let begun = self.clock.monotonic();
            self.log.append(&mut batch.frame, now)?;
            let took = self.clock.monotonic().saturating_sub(begun);
            self.status.writes.add(took);
            self.status.set_durable(self.log.position().sequence);
            batch.frame.clear();
        }
        for (answer, reply) in batch.answers.drain(..) {
            let _ = answer.send(Ok(reply));
        }
        if self.log.is_full() {
            self.log.rotate(|| self.machine.snapshot())?;
        }
        Ok(seen)
    }

    /// Tells everybody that nothing more will be answered.
    fn end_failed(mut self, error: &EngineError) {
        self.inbox.close();
        while let Ok(message) = self.inbox.try_recv() {
            let answers = match message {
                Message::Command(_, answer) => vec![answer],
                Message::Several(several) => several.into_iter().map(|(_, it)| it).collect(),
                Message::Close => Vec::new(),
            };
            for answer in answers {
                let _ = answer.send(Err(error.clone()));
            }
        }
        drop(self.lock);
        self.outcome.send_replace(Some(Err(error.clone())));
    }
}

impl<M: Machine> Batch<M> {
    fn refuse(&mut self, error: &EngineError) {
        for (answer, _) in self.answers.drain(..) {
            let _ = answer.send(Err(error.clone()));
        }
    }
}

fn refuse<M: Machine>(commands: Drain<'_, Message<M>>, error: &EngineError) {
    for message in commands {
        if let Message::Command(_, answer) = message {
            let _ = answer.send(Err(error.clone()));
        }
    }
}
