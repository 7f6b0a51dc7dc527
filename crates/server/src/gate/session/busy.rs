//! Channels that are in use: their keys are set up once, and vouchers that come together are
//! verified together.
//!
//! No lock is held while a voucher is verified. Whoever finds a channel's queue at rest works it
//! off; others leave their vouchers in it meanwhile. What lies there together is verified as one
//! batch, each voucher by itself in the batch's verdicts, and submitted by amount, lowest first:
//! clients send a channel's vouchers in order, and the network reorders them.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, Waker},
    time::Duration,
};

use stiver_channel::{ChannelId, Rules, Voucher, VoucherError};
use stiver_env::BoxFuture;
use stiver_method::session::{PayeeChannel, PayeeSession};
use stiver_store::{
    ChannelCommand, ChannelReply, ChannelStore, Conclude, Present, Presented, StoreError, Take,
    Taken,
};
use tokio::sync::{Notify, oneshot};

use super::{
    super::Gate,
    keyed::{AtWork as KeysAtWork, Key},
};
use crate::limits::{VERIFY_BATCH_MAX, VERIFY_ROUNDS_MAX};

/// Shards, so that two channels seldom meet.
const SHARDS: usize = 32;

/// The channels in use, by id: at most so many, or as many as are in use at once.
pub(crate) struct BusyChannels {
    shards: Vec<Mutex<HashMap<ChannelId, Arc<Busy>>>>,
    shard_max: usize,
}

impl BusyChannels {
    pub(crate) fn new(max: usize) -> Self {
        Self {
            shards: (0..SHARDS).map(|_| Mutex::default()).collect(),
            shard_max: (max / SHARDS).max(1),
        }
    }

    fn shard(&self, id: &ChannelId) -> MutexGuard<'_, HashMap<ChannelId, Arc<Busy>>> {
        let [first, .., last] = id.0;
        let index = usize::from(first ^ last) % SHARDS;
        lock(&self.shards[index])
    }

    pub(crate) fn get(&self, id: &ChannelId) -> Option<Arc<Busy>> {
        self.shard(id).get(id).cloned()
    }

    /// Keeps a channel that was set up; the one that was kept meanwhile wins. Makes room by
    /// forgetting one that nobody uses.
    pub(crate) fn keep(&self, busy: Arc<Busy>) -> Arc<Busy> {
        let mut shard = self.shard(&busy.id);
        if shard.len() >= self.shard_max && !shard.contains_key(&busy.id) {
            let idle = |(_, it): &(&ChannelId, &Arc<Busy>)| Arc::strong_count(it) == 1;
            let idle = shard.iter().find(idle).map(|(id, _)| *id);
            if let Some(idle) = idle {
                shard.remove(&idle);
            }
        }
        Arc::clone(shard.entry(busy.id).or_insert(busy))
    }

    pub(crate) fn forget(&self, id: &ChannelId) {
        self.shard(id).remove(id);
    }

    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.shards.iter().map(|shard| lock(shard).len()).sum()
    }
}

/// A channel in use.
pub(crate) struct Busy {
    pub(crate) id: ChannelId,
    /// The id as the wire has it.
    pub(crate) text: String,
    pub(crate) method: Arc<dyn PayeeSession>,
    pub(crate) channel: PayeeChannel,
    pub(crate) rules: Rules,
    /// Told whenever a voucher, a top-up or a close has changed the channel.
    pub(crate) changed: Notify,
    /// The Idempotency-Keys under which requests are being served.
    pub(super) at_work: KeysAtWork,
    queue: Mutex<Queue>,
    rate: Mutex<Rate>,
}

#[derive(Default)]
struct Queue {
    waiting: Vec<Waiting>,
    /// Somebody works it off.
    worked: bool,
}

/// One voucher that waits to be verified.
struct Waiting {
    voucher: Voucher,
    take: Take,
    key: Option<Key>,
    answer: oneshot::Sender<Result<Submitted, NotPresented>>,
}

/// Why a voucher did not come before the store.
#[derive(Debug)]
pub(crate) enum NotPresented {
    /// Its proof is wrong.
    Proof(VoucherError),
    /// The channel's vouchers come too fast.
    Rate,
}

/// What is left of a channel's vouchers for this second.
struct Rate {
    left: u32,
    at: Duration,
}

impl Busy {
    pub(crate) fn new(
        id: ChannelId,
        method: Arc<dyn PayeeSession>,
        channel: PayeeChannel,
        rules: Rules,
    ) -> Self {
        Self {
            id,
            text: method.channel_text(&id),
            method,
            channel,
            rules,
            changed: Notify::new(),
            at_work: KeysAtWork::default(),
            queue: Mutex::default(),
            rate: Mutex::new(Rate {
                left: u32::MAX,
                at: Duration::ZERO,
            }),
        }
    }

    /// True while the channel keeps to its rate of vouchers. Asked for those that were verified
    /// only: a stranger who knows the channel's id takes nothing of it.
    pub(crate) fn within_rate(&self, per_second: u32, now: Duration) -> bool {
        let mut rate = lock(&self.rate);
        let passed = now.saturating_sub(rate.at).as_millis();
        let earned = passed.saturating_mul(u128::from(per_second)) / 1000;
        if earned > 0 {
            let earned = u32::try_from(earned).unwrap_or(u32::MAX);
            rate.left = rate.left.saturating_add(earned);
            rate.at = now;
        }
        rate.left = rate.left.min(per_second);
        let within = rate.left > 0;
        rate.left = rate.left.saturating_sub(1);
        within
    }

    /// Verifies a voucher, and has it accepted durably with what it pays for.
    pub(super) async fn present(
        self: &Arc<Self>,
        gate: &Gate,
        store: &Arc<dyn ChannelStore>,
        (voucher, take, key): (Voucher, Take, Option<Key>),
    ) -> Result<Result<ChannelReply, StoreError>, NotPresented> {
        let (answer, verified) = oneshot::channel();
        let starts = {
            let mut queue = lock(&self.queue);
            queue.waiting.push(Waiting {
                voucher,
                take,
                key,
                answer,
            });
            !std::mem::replace(&mut queue.worked, true)
        };
        if starts && !self.work(gate, store, VERIFY_ROUNDS_MAX) {
            let (busy, gate_too, store) = (Arc::clone(self), gate.clone(), Arc::clone(store));
            gate.inner.env.spawner.spawn(Box::pin(async move {
                busy.work(&gate_too, &store, usize::MAX);
            }));
        }
        match verified.await {
            Ok(submitted) => Ok(submitted?.answer().await),
            // Only a verifier that panicked drops a voucher without a verdict.
            Err(_) => Err(NotPresented::Proof(VoucherError::MalformedProof)),
        }
    }

    /// Works the queue off, for so many rounds. True when it is empty. Waits for nobody.
    fn work(self: &Arc<Self>, gate: &Gate, store: &Arc<dyn ChannelStore>, rounds: usize) -> bool {
        let mut at_work = AtWork(Some(&self.queue));
        let limits = gate.sessions().map(|it| it.limits);
        let per_second = limits.unwrap_or_default().vouchers_per_second;
        for _ in 0..rounds {
            let mut batch = {
                let mut queue = lock(&self.queue);
                let most = queue.waiting.len().min(VERIFY_BATCH_MAX);
                if most == 0 {
                    queue.worked = false;
                    at_work.0 = None;
                    return true;
                }
                queue.waiting.drain(..most).collect::<Vec<_>>()
            };
            batch.sort_by_key(|it| it.voucher.cumulative);
            let verdicts = self.verify(store, &batch);
            let now = gate.inner.env.clock.monotonic();
            for (it, verdict) in batch.into_iter().zip(verdicts) {
                let in_time = |()| match self.within_rate(per_second, now) {
                    true => Ok(()),
                    false => Err(NotPresented::Rate),
                };
                let verdict = verdict.map_err(NotPresented::Proof).and_then(in_time);
                let submitted = verdict.map(|()| {
                    let present = Present {
                        id: self.id,
                        rules: self.rules,
                        voucher: Some(it.voucher),
                        take: it.take,
                        key: it.key.map(|it| it.spend),
                        reruns: it.key.map_or(0, |it| it.reruns),
                    };
                    Submitted::new(gate, self, store, present)
                });
                // One that nobody waits for any more gives back what it reserved.
                drop(it.answer.send(submitted));
            }
        }
        at_work.0 = None;
        false
    }

    /// Verifies a batch. A voucher that is, byte for byte, the one that was accepted last was
    /// verified then.
    fn verify(
        &self,
        store: &Arc<dyn ChannelStore>,
        batch: &[Waiting],
    ) -> Vec<Result<(), VoucherError>> {
        let seen = store.channels().read(&self.id);
        let last = seen.and_then(|it| it.voucher);
        let known = |it: &Waiting| last.as_ref() == Some(&it.voucher);
        let verifier = &self.channel.verifier;
        if let [one] = batch {
            if known(one) {
                return vec![Ok(())];
            }
            return vec![verifier.verify(last.as_ref(), &one.voucher)];
        }
        let fresh = batch.iter().filter(|it| !known(it));
        let fresh: Vec<Voucher> = fresh.map(|it| it.voucher.clone()).collect();
        let mut verdicts = verifier.verify_batch(last.as_ref(), &fresh).into_iter();
        let verdict = |it: &Waiting| match known(it) {
            true => Ok(()),
            // A scheme that gives too few verdicts vouches for nothing.
            false => verdicts.next().unwrap_or(Err(VoucherError::MalformedProof)),
        };
        batch.iter().map(verdict).collect()
    }
}

/// Frees the queue when its worker panics: what lay in it is refused.
struct AtWork<'q>(Option<&'q Mutex<Queue>>);

impl Drop for AtWork<'_> {
    fn drop(&mut self) {
        if let Some(queue) = self.0 {
            let mut queue = lock(queue);
            queue.worked = false;
            queue.waiting.clear();
        }
    }
}

type Answer = BoxFuture<'static, Result<ChannelReply, StoreError>>;

/// A command that is on its way. One that nobody waits for gives back what it reserved.
struct Submitted {
    answer: Option<Answer>,
    busy: Arc<Busy>,
    undo: Option<Undo>,
}

/// What it takes to give a reservation back.
struct Undo {
    gate: Gate,
    store: Arc<dyn ChannelStore>,
    conclude: Conclude,
}

impl Submitted {
    /// Submits. The command is in the store's queue when this returns.
    fn new(gate: &Gate, busy: &Arc<Busy>, store: &Arc<dyn ChannelStore>, present: Present) -> Self {
        let undo = match present.take {
            Take::Reserve(amount) => Some(Undo {
                gate: gate.clone(),
                store: Arc::clone(store),
                conclude: Conclude {
                    id: busy.id,
                    rules: busy.rules,
                    spend: 0,
                    from_reserved: amount,
                    key: present.key.map(|it| it.key),
                    answer: None,
                    left: Vec::new(),
                },
            }),
            Take::Nothing | Take::Spend(_) => None,
        };
        let submitting = Arc::clone(store);
        let command = ChannelCommand::Present(Box::new(present));
        let mut answer: Answer = Box::pin(async move { submitting.channel(command).await });
        // The first poll hands it to the store's writer, in the order of the batch.
        let mut context = Context::from_waker(Waker::noop());
        if let Poll::Ready(reply) = answer.as_mut().poll(&mut context) {
            answer = Box::pin(std::future::ready(reply));
        }
        Self {
            answer: Some(answer),
            busy: Arc::clone(busy),
            undo,
        }
    }

    async fn answer(mut self) -> Result<ChannelReply, StoreError> {
        let Some(answer) = self.answer.as_mut() else {
            return Err(StoreError("the command was taken back".to_owned()));
        };
        let reply = answer.await;
        self.answer = None;
        if let Ok(ChannelReply::Presented(it)) = &reply
            && it.raised
        {
            self.busy.changed.notify_waiters();
        }
        reply
    }
}

impl Drop for Submitted {
    fn drop(&mut self) {
        let (Some(answer), Some(undo)) = (self.answer.take(), self.undo.take()) else {
            return;
        };
        let spawner = Arc::clone(&undo.gate.inner.env.spawner);
        spawner.spawn(Box::pin(async move {
            let reply = answer.await;
            if let Ok(ChannelReply::Presented(Presented {
                taken: Taken::Done, ..
            })) = reply
            {
                let command = ChannelCommand::Conclude(undo.conclude);
                if let Err(error) = undo.store.channel(command).await {
                    tracing::warn!(%error, "a reservation was not given back");
                }
            }
        }));
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
