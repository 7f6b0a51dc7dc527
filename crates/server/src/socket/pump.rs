//! What a handler sends, paid for before it leaves.
//!
//! The same account as that of a metered body: a window is reserved durably before anything of it
//! leaves, and what leaves is charged against it.

use std::{
    future::{Future, poll_fn},
    pin::pin,
    sync::Arc,
    task::Poll,
    time::Duration,
};

use futures_util::future::{Either, select};
use stiver_core::socket::{Frame, Framing, NeedVoucher};
use stiver_env::BoxFuture;
use tokio::sync::{mpsc, watch};

use super::{
    FromApp, Message,
    asker::refused,
    control::{Stage, Wish},
    line::{Gone, Line, Outgoing, in_time},
};
use crate::{
    Refused,
    gate::session::metered::{Counts, Metering, Need, Refill},
    limits::{SOCKET_CLOSE_MS_MAX, SOCKET_IDLE_MS_MAX, TIME_STEP_MS},
    tower::tokens_of,
};
use stiver_core::problem::ProblemKind;

/// Whether a socket goes on.
enum Flow {
    On,
    /// It ends with its receipt.
    End,
    /// The client has gone, or is not told any more.
    Stop,
    /// It fails.
    Fail(Box<Refused>),
}

pub(super) struct Pump {
    pub(super) account: Metering,
    pub(super) line: Line,
    pub(super) wish: watch::Receiver<Wish>,
    pub(super) stage: watch::Sender<Stage>,
    /// Ready when the server stops.
    pub(super) stop: BoxFuture<'static, ()>,
    pub(super) requests: u64,
    /// Tokens that were charged for.
    pub(super) tokens: u64,
}

enum Woke {
    App(Option<FromApp>),
    Step,
    /// The handler has reported something.
    Reported,
    Changed,
    Wish,
    Gone,
    Idle,
}

impl Pump {
    /// Waits until the first message can be paid for: nothing runs for a channel that is used up.
    /// False when it is not, and the socket has ended.
    pub(super) async fn begin(&mut self) -> bool {
        let first = Counts {
            requests: self.requests,
            events: 1,
            ..Counts::default()
        };
        match self.pay(first).await {
            Flow::On => true,
            flow => {
                self.finish(flow).await;
                false
            }
        }
    }

    /// Delivers what the handler sends, until one side has done.
    pub(super) async fn run(mut self, mut from: mpsc::Receiver<FromApp>) {
        let clock = Arc::clone(&self.line.clock);
        let mut last = clock.monotonic();
        loop {
            let idle = Duration::from_millis(SOCKET_IDLE_MS_MAX);
            let left = idle.saturating_sub(clock.monotonic().saturating_sub(last));
            let flow = match self.next(&mut from, left).await {
                Woke::App(Some(FromApp::Message(message, tokens))) => {
                    last = clock.monotonic();
                    self.message(message, tokens).await
                }
                Woke::App(Some(FromApp::Taken)) => {
                    last = clock.monotonic();
                    Flow::On
                }
                Woke::App(Some(FromApp::Fail(refused))) => Flow::Fail(refused),
                Woke::App(None) | Woke::Idle => Flow::End,
                Woke::Step | Woke::Reported => {
                    let reported = self.account.with_tokens(0);
                    let counts = Counts {
                        reported,
                        ..Counts::default()
                    };
                    self.deliver(None, (counts, 0)).await
                }
                Woke::Changed if self.account.is_fenced() => Flow::End,
                Woke::Changed => Flow::On,
                Woke::Wish => self.wished(),
                Woke::Gone => Flow::Stop,
            };
            if !matches!(flow, Flow::On) {
                drop(from);
                return self.finish(flow).await;
            }
        }
    }

    fn wished(&self) -> Flow {
        match *self.wish.borrow() {
            Wish::On => Flow::On,
            Wish::Close => Flow::End,
            Wish::Stop => Flow::Stop,
        }
    }

    async fn next(&mut self, from: &mut mpsc::Receiver<FromApp>, idle: Duration) -> Woke {
        let busy = Arc::clone(&self.account.busy);
        let mut changed = pin!(busy.changed.notified());
        // Listens before it looks, so that no close is missed in between.
        changed.as_mut().enable();
        if self.account.is_fenced() {
            return Woke::Changed;
        }
        if *self.wish.borrow() != Wish::On {
            return Woke::Wish;
        }
        let clock = &self.line.clock;
        let mut step = clock.sleep(Duration::from_millis(TIME_STEP_MS));
        let mut idle = clock.sleep(idle);
        let by_time = self.account.counts_time();
        let mut reported = pin!(self.account.reported.changed());
        let (mut gone, mut wish) = (pin!(self.line.to.closed()), pin!(self.wish.changed()));
        let stop = &mut self.stop;
        poll_fn(|context| {
            if gone.as_mut().poll(context).is_ready() {
                return Poll::Ready(Woke::Gone);
            }
            if wish.as_mut().poll(context).is_ready() {
                return Poll::Ready(Woke::Wish);
            }
            if changed.as_mut().poll(context).is_ready() {
                return Poll::Ready(Woke::Changed);
            }
            if let Poll::Ready(message) = from.poll_recv(context) {
                return Poll::Ready(Woke::App(message));
            }
            if reported.as_mut().poll(context).is_ready() {
                return Poll::Ready(Woke::Reported);
            }
            if by_time && step.as_mut().poll(context).is_ready() {
                return Poll::Ready(Woke::Step);
            }
            if idle.as_mut().poll(context).is_ready() || stop.as_mut().poll(context).is_ready() {
                return Poll::Ready(Woke::Idle);
            }
            Poll::Pending
        })
        .await
    }

    /// Lets a message leave.
    async fn message(&mut self, message: Message, tokens: Option<u64>) -> Flow {
        let bytes = message.len();
        let mut counts = Counts {
            bytes: u64::try_from(bytes).unwrap_or(u64::MAX),
            events: 1,
            ..Counts::default()
        };
        let mut more = 0;
        if self.account.counts_tokens() {
            more = match (tokens, &message) {
                (Some(tokens), _) => tokens,
                (None, Message::Text(text)) => match tokens_of(text.as_bytes()) {
                    Some(total) => total.saturating_sub(self.tokens),
                    None => 1,
                },
                (None, Message::Binary(_)) => 1,
            };
        }
        counts.reported = self.account.with_tokens(more);
        let out = match message {
            Message::Text(text) => {
                let frame = Frame::Message(text.into());
                Outgoing::Text(frame.to_text(self.line.framing).unwrap_or_default())
            }
            Message::Binary(data) => Outgoing::Binary(data),
        };
        self.deliver(Some(out), (counts, more)).await
    }

    async fn deliver(
        &mut self,
        out: Option<Outgoing>,
        (mut counts, tokens): (Counts, u64),
    ) -> Flow {
        counts.requests = self.requests;
        match self.pay(counts).await {
            Flow::On => {}
            flow => return flow,
        }
        let stall = self.account.patience.stall;
        let reserving = self.line.to.reserve();
        let Some(Ok(place)) = in_time(&*self.line.clock, stall, reserving).await else {
            return Flow::Stop;
        };
        // Only now, that it leaves, is it charged for: with the time that has passed till now.
        let cost = match self.account.cost(counts) {
            Ok(cost) if self.account.covers(&cost) => cost,
            // It took so long that time has used up what was reserved.
            _ => return Flow::End,
        };
        if let Some(out) = out {
            place.send(out);
        }
        self.account.charge(&cost);
        self.requests = 0;
        self.tokens = self.tokens.saturating_add(tokens);
        Flow::On
    }

    /// Waits until what is reserved covers these.
    async fn pay(&mut self, counts: Counts) -> Flow {
        let mut asked = None;
        let clock = Arc::clone(&self.line.clock);
        loop {
            let busy = Arc::clone(&self.account.busy);
            // Listens before it looks, so that no voucher is missed in between.
            let mut changed = pin!(busy.changed.notified());
            changed.as_mut().enable();
            let Ok(cost) = self.account.cost(counts) else {
                return Flow::End;
            };
            if self.account.covers(&cost) {
                return Flow::On;
            }
            match self.account.refill(&cost).await {
                Ok(Refill::Done) => continue,
                Ok(Refill::Need(need)) => {
                    if asked != Some(need.required) && self.ask(need).await.is_err() {
                        return Flow::Stop;
                    }
                    asked = Some(need.required);
                }
                Err(_) => return Flow::End,
            }
            if *self.wish.borrow_and_update() != Wish::On {
                return self.wished();
            }
            let pause = self.account.patience.pause;
            let woken = {
                let (wish, gone) = (pin!(self.wish.changed()), pin!(self.line.to.closed()));
                let woken = select(changed, select(wish, gone));
                in_time(&*clock, pause, woken).await.map(|it| match it {
                    Either::Left(_) => Woke::Changed,
                    Either::Right((Either::Left(_), _)) => Woke::Wish,
                    Either::Right((Either::Right(_), _)) => Woke::Gone,
                })
            };
            match woken {
                Some(Woke::Wish) => return self.wished(),
                Some(Woke::Gone) => return Flow::Stop,
                Some(_) => {}
                None => return Flow::End,
            }
        }
    }

    async fn ask(&mut self, need: Need) -> Result<(), Gone> {
        let frame = Frame::NeedVoucher(NeedVoucher {
            channel: self.account.busy.text.as_str().into(),
            required: need.required,
            accepted: need.accepted,
            deposit: need.deposit,
        });
        self.line.frame(&frame).await
    }

    /// Ends the account, tells the last receipt, and waits a little for the client to close its
    /// channel here.
    async fn finish(&mut self, flow: Flow) {
        let receipt = self.account.end().await;
        match (flow, receipt) {
            (Flow::On | Flow::End, Some((_, json))) => {
                let last = match self.line.framing {
                    Framing::Mpp => Frame::CloseReady(&json),
                    Framing::Type => Frame::Receipt(&json),
                };
                if self.line.frame(&last).await.is_err() {
                    return;
                }
                self.stage.send_replace(Stage::Ended);
                if self.line.framing == Framing::Mpp {
                    let over = self.wish.wait_for(|it| *it == Wish::Stop);
                    let most = Duration::from_millis(SOCKET_CLOSE_MS_MAX);
                    if in_time(&*self.line.clock, most, over).await.is_some() {
                        return;
                    }
                }
                self.line.close("no more is delivered").await;
            }
            (Flow::On | Flow::End, None) => {
                let why = "what was delivered could not be written down";
                self.line
                    .refuse(&refused(ProblemKind::Unavailable, why))
                    .await;
            }
            (Flow::Fail(refused), _) => self.line.refuse(&refused).await,
            (Flow::Stop, _) => {}
        }
        self.stage.send_replace(Stage::Ended);
    }
}
