//! A gate that a test opens.

use std::sync::Arc;

use tokio::sync::watch;

/// Holds callers until a test opens it. Clones are the same gate. Needs no runtime.
#[derive(Clone)]
pub struct Gate {
    state: Arc<watch::Sender<State>>,
}

#[derive(Clone, Copy)]
struct State {
    open: bool,
    arrived: usize,
}

impl Gate {
    /// A closed gate.
    pub fn closed() -> Self {
        let (state, _) = watch::channel(State {
            open: false,
            arrived: 0,
        });
        Self {
            state: Arc::new(state),
        }
    }

    /// Lets everybody through, those to come too.
    pub fn open(&self) {
        self.state.send_modify(|state| state.open = true);
    }

    /// How many callers have come to it so far, gone through or not.
    pub fn arrived(&self) -> usize {
        self.state.borrow().arrived
    }

    /// Waits until `count` callers have come to it.
    pub async fn reached(&self, count: usize) {
        self.until(|state| state.arrived >= count).await;
    }

    /// Comes to the gate and waits until it is open.
    pub async fn pass(&self) {
        self.state.send_modify(|state| state.arrived += 1);
        self.until(|state| state.open).await;
    }

    async fn until(&self, ready: impl FnMut(&State) -> bool) {
        let mut seen = self.state.subscribe();
        seen.wait_for(ready)
            .await
            .expect("the gate is there, because self holds its sender");
    }
}
