//! Closing what nobody uses.

use std::{
    sync::{Arc, Weak},
    time::Duration,
};

use super::{super::Inside, Work};
use crate::{
    PaymentClient, Side,
    session::{SessionId, SessionState, lease::Sessions},
};

/// Watches one channel until it is closed or its client is gone.
struct Watch {
    inside: Weak<Inside>,
    sessions: Weak<Sessions>,
    side: Arc<dyn Side>,
    id: SessionId,
    idle: Duration,
}

impl Work {
    /// Sees to it that the channel is closed once nothing has used it for as long as is allowed.
    pub(super) fn watch_idle(&self) {
        let Some(idle) = self.sessions.parts.limits.idle_close else {
            return;
        };
        let Some(id) = self.lease.session.as_ref().map(|session| session.id) else {
            return;
        };
        if !self.sessions.begin_watch(id) {
            return;
        }
        let watch = Watch {
            inside: Arc::downgrade(&self.client.inside),
            sessions: Arc::downgrade(&self.sessions),
            side: Arc::clone(&self.side),
            id,
            idle,
        };
        let env = self.client.env().clone();
        let clock = Arc::clone(&env.clock);
        env.spawner.spawn(Box::pin(async move {
            let mut wait = Some(watch.idle);
            while let Some(pause) = wait {
                clock.sleep(pause).await;
                wait = watch.look().await;
            }
            if let Some(sessions) = watch.sessions.upgrade() {
                sessions.end_watch(watch.id);
            }
        }));
    }
}

impl Watch {
    /// Closes the channel if nothing has used it for long enough. Gives how long to wait before
    /// the next look; `None` when there is none.
    async fn look(&self) -> Option<Duration> {
        let client = PaymentClient {
            inside: self.inside.upgrade()?,
            sessions: Some(self.sessions.upgrade()?),
        };
        let sessions = client.sessions().await.ok()?;
        let session = sessions.into_iter().find(|session| session.id == self.id)?;
        if session.state != SessionState::Open {
            return None;
        }
        let since = client.now().as_millis();
        let since = since.saturating_sub(session.changed_at.as_millis());
        let quiet = Duration::from_millis(since);
        if quiet < self.idle {
            return Some(self.idle.saturating_sub(quiet));
        }
        // A request that is under way has it: a stream may be quiet for long.
        let Some(mut lease) = client.sessions.as_ref()?.free_lease_of(self.id) else {
            return Some(self.idle);
        };
        lease.session = None;
        lease.signer = None;
        // When the payee does not answer, it stays closing, and `stiver sessions recover` goes on.
        let _ = client.close_held(self.id, &self.side).await;
        None
    }
}
