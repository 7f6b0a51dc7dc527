//! Requests of a session under an Idempotency-Key: charged once, however often they come.
//!
//! | the key was used before for this request, and | then |
//! |---|---|
//! | it is being served | 409, with `Retry-After` |
//! | its answer is kept | the same answer, with the same receipt |
//! | its method is safe, and runs are left | the handler runs once more, without a charge |
//! | else | 422 `answer-not-kept`, with the channel as it stands |
//!
//! Under another request the key is refused with 422.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use stiver_channel::{Channel, Figures};
use stiver_store::{KeptAnswer, SpendAnswer, SpendKey, limits::SPEND_KEY_RETAIN_MS};

use super::{
    super::{Gate, admit::Fields, check::echoed_inputs},
    busy::Busy,
    receipt,
};
use crate::{
    error::GateError,
    grant::{ResponseHead, stored},
    hash,
    limits::SESSION_RERUNS_MAX,
    outcome::{Outcome, Replay},
    record::SpendReceipt,
    request::Request,
    route::{Route, StoreResponses},
};

/// The key of a request, and how often its handler may run again.
#[derive(Clone, Copy)]
pub(super) struct Key {
    pub(super) spend: SpendKey,
    pub(super) reruns: u32,
    /// How long its answer is kept, milliseconds, when the route lets it be kept.
    pub(super) keep_ms: Option<u64>,
}

impl Key {
    /// An Idempotency-Key belongs to a channel, and to the user that other credentials name.
    pub(super) fn of(
        request: &Request<'_>,
        fields: &Fields<'_>,
        busy: &Busy,
        route: &Route,
    ) -> Option<Self> {
        let key = fields.key?;
        let inputs = echoed_inputs(&fields.credential);
        let parts: [&[u8]; 3] = [&busy.id.0, &key.hash(), &request.others_hash()];
        Some(Self {
            spend: SpendKey {
                key: hash::of("stiver session key", &parts),
                request: request.hash(inputs.as_deref()),
            },
            reruns: match request.method_is_safe() {
                true => SESSION_RERUNS_MAX,
                false => 0,
            },
            keep_ms: match route.store_responses {
                StoreResponses::Never => None,
                _ => Some(route.response_lifetime_ms.min(SPEND_KEY_RETAIN_MS)),
            },
        })
    }
}

/// The keys under which requests of one channel are being served: the store knows those under which
/// something is reserved, and not those that were spent before.
#[derive(Default)]
pub(super) struct AtWork(Mutex<HashMap<[u8; 32], [u8; 32]>>);

/// One of them, until it is dropped.
pub(crate) struct Running {
    busy: Arc<Busy>,
    key: Key,
}

impl Running {
    /// Begins a request under a key.
    pub(super) fn begin(busy: &Arc<Busy>, key: Key) -> Result<Self, GateError> {
        let mut at_work = busy.at_work.lock();
        match at_work.get(&key.spend.key) {
            Some(request) if *request == key.spend.request => Err(GateError::InProgress),
            Some(_) => Err(GateError::IdempotencyConflict),
            None => {
                at_work.insert(key.spend.key, key.spend.request);
                drop(at_work);
                let busy = Arc::clone(busy);
                Ok(Self { busy, key })
            }
        }
    }

    pub(super) fn key(&self) -> [u8; 32] {
        self.key.spend.key
    }

    /// Whether the answer may be kept.
    pub(super) fn keeps(&self) -> bool {
        self.key.keep_ms.is_some()
    }

    /// Whether the handler may run again under the key when it has failed.
    pub(super) fn is_repeatable(&self) -> bool {
        self.key.reruns > 0
    }
}

impl Running {
    /// What is kept of an answer, when it is small enough.
    pub(super) fn answer(
        &self,
        head: ResponseHead<'_>,
        body: &[u8],
        receipt: &SpendReceipt,
    ) -> Option<Arc<SpendAnswer>> {
        let expires_at = receipt.at.plus_millis(self.key.keep_ms?);
        let response = stored(head, body, expires_at)?;
        Some(Arc::new(SpendAnswer {
            receipt: receipt.encode().into(),
            response,
        }))
    }
}

impl AtWork {
    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<[u8; 32], [u8; 32]>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.busy.at_work.lock().remove(&self.key.spend.key);
    }
}

impl Gate {
    /// The answer that was given before, with its receipt.
    pub(super) async fn answered_before(
        &self,
        busy: &Busy,
        kept: &KeptAnswer,
    ) -> Result<Outcome, GateError> {
        let told = SpendReceipt::decode(&kept.answer.receipt).map_err(GateError::Record)?;
        let (accepted, spent) = told.figures.unwrap_or((kept.accepted, kept.spent));
        let figures = Figures {
            accepted,
            spent,
            ..Figures::default()
        };
        let response = Arc::clone(&kept.answer.response);
        let receipt = match response.status {
            400.. => None,
            _ => Some(receipt::served(busy, &told, (figures, &kept.carried)).await),
        };
        tracing::debug!(channel = %busy.id, "an answer is told again");
        Ok(Outcome::Replay(Replay { response, receipt }))
    }
}

/// The figures that a receipt tells.
pub(super) fn told(channel: &Channel) -> (u128, u128) {
    let figures = channel.figures();
    (figures.accepted, figures.spent)
}
