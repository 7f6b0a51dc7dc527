//! A network in memory: every machine on one address, streams of bytes that come late, break off
//! after any byte, fall silent, and are sent again by somebody else.

mod pipe;

use std::{
    collections::{BTreeMap, VecDeque},
    io,
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Poll, Waker},
    time::Duration,
};

use stiver_env::{
    BoxFuture, Clock as _,
    net::{Accepted, Listener, Net, Stream},
};
use stiver_testkit::{entropy::Random, time::SimulatedClock};

use self::pipe::{End, Link};
use crate::plan::Cut;

/// How the network is. What it does is drawn anew for each connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Weather {
    /// The longest that a piece is on its way, milliseconds.
    pub delay_ms_max: u64,
    /// One connection in so many breaks off after some bytes; 0: none.
    pub cut_one_in: u64,
    /// One connection in so many falls silent after some bytes; 0: none.
    pub silent_one_in: u64,
    /// One attempt to connect in so many is refused; 0: none.
    pub refused_one_in: u64,
    /// One connection in so many is recorded, and what its client said is said again by a
    /// stranger; 0: none.
    pub repeated_one_in: u64,
}

impl Weather {
    /// Nothing is lost, and everything comes at once.
    pub const FAIR: Self = Self {
        delay_ms_max: 0,
        cut_one_in: 0,
        silent_one_in: 0,
        refused_one_in: 0,
        repeated_one_in: 0,
    };
}

/// How far into a connection it breaks off or falls silent at most, bytes.
const FATE_BYTES_MAX: u64 = 3_000;

/// The network. Cheap to clone; clones are the same network.
#[derive(Clone)]
pub struct Network {
    state: Arc<Mutex<State>>,
    clock: SimulatedClock,
}

struct State {
    random: Random,
    weather: Weather,
    listening: BTreeMap<Place, Arc<Mutex<Backlog>>>,
    links: Vec<(usize, usize, std::sync::Weak<Link>)>,
    recorded: Vec<(u16, Vec<u8>)>,
    public: u16,
    cuts: Vec<Cut>,
    /// Bytes that have passed over each connection to the public port: asked and answered.
    lengths: Vec<[u64; 2]>,
}

/// Where something listens.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Place {
    Port(u16),
    Path(usize, PathBuf),
}

/// Connections that nobody has accepted yet.
#[derive(Default)]
struct Backlog {
    machine: usize,
    waiting: VecDeque<Accepted>,
    waker: Option<Waker>,
}

impl Network {
    /// A network in fair weather. Strangers reach the `public` port only, and hear what is said
    /// to it.
    pub fn new(seed: u64, public: u16, clock: &SimulatedClock) -> Self {
        Self {
            state: Arc::new(Mutex::new(State {
                random: Random::new(seed),
                weather: Weather::FAIR,
                listening: BTreeMap::new(),
                links: Vec::new(),
                recorded: Vec::new(),
                public,
                cuts: Vec::new(),
                lengths: Vec::new(),
            })),
            clock: clock.clone(),
        }
    }

    /// Changes the weather, for connections that are made from now on.
    pub fn set_weather(&self, weather: Weather) {
        lock(&self.state).weather = weather;
    }

    /// One connection to the public port will meet this.
    pub fn cut(&self, cut: Cut) {
        lock(&self.state).cuts.push(cut);
    }

    /// Bytes that have passed over each connection to the public port: asked and answered.
    pub fn lengths(&self) -> Vec<[u64; 2]> {
        lock(&self.state).lengths.clone()
    }

    /// The network as a machine sees it.
    pub fn of(&self, machine: usize) -> Arc<dyn Net> {
        Arc::new(Seen {
            network: self.clone(),
            machine,
        })
    }

    /// The power of a machine fails: nobody at the other ends is told.
    pub fn black_out(&self, machine: usize) {
        let mut state = lock(&self.state);
        state.links.retain(|(_, _, link)| link.strong_count() > 0);
        for (from, to, link) in &state.links {
            if (*from == machine || *to == machine)
                && let Some(link) = link.upgrade()
            {
                link.fall_silent();
            }
        }
    }

    /// What was recorded of connections, with their ports: each is given once.
    pub fn take_recorded(&self) -> Vec<(u16, Vec<u8>)> {
        std::mem::take(&mut lock(&self.state).recorded)
    }

    fn connect(
        &self,
        from: usize,
        place: Place,
    ) -> BoxFuture<'static, io::Result<Box<dyn Stream>>> {
        let network = self.clone();
        let (delay, hangs) = {
            let mut state = lock(&self.state);
            let (most, silent) = (state.weather.delay_ms_max, state.weather.silent_one_in);
            let delay = Duration::from_millis(state.random.below(most + 1));
            (delay, silent > 0 && state.random.once_in(silent * 4))
        };
        Box::pin(async move {
            network.clock.sleep(delay).await;
            if hangs {
                std::future::pending::<()>().await;
            }
            network.join(from, &place)
        })
    }

    /// Makes a connection with what listens there.
    fn join(&self, from: usize, place: &Place) -> io::Result<Box<dyn Stream>> {
        let mut state = lock(&self.state);
        let weather = state.weather;
        let refused = io::Error::from(io::ErrorKind::ConnectionRefused);
        let one_in = |state: &mut State, times: u64| times > 0 && state.random.once_in(times);
        if one_in(&mut state, weather.refused_one_in) {
            return Err(refused);
        }
        let Some(backlog) = state.listening.get(place).cloned() else {
            return Err(refused);
        };
        let cut = one_in(&mut state, weather.cut_one_in);
        let silent = one_in(&mut state, weather.silent_one_in);
        let fate = (cut || silent).then(|| pipe::Fate {
            after: state.random.below(FATE_BYTES_MAX),
            silent,
            of_answers: state.random.once_in(2),
        });
        let number = (*place == Place::Port(state.public)).then(|| {
            state.lengths.push([0; 2]);
            state.lengths.len() - 1
        });
        let planned = state.cuts.iter().find(|it| Some(it.connection) == number);
        let planned = planned.map(|it| pipe::Fate {
            after: it.after,
            silent: it.silent,
            of_answers: it.of_answers,
        });
        let fate = planned.or(fate);
        let recorded =
            *place == Place::Port(state.public) && one_in(&mut state, weather.repeated_one_in);
        let delays = (state.random.fork(), weather.delay_ms_max);
        let counted = number.map(|number| (self.clone(), number));
        let link = Arc::new(Link::new((fate, recorded), delays, counted, &self.clock));
        let to = lock(&backlog).machine;
        state.links.push((from, to, Arc::downgrade(&link)));
        drop(state);
        let told = match (recorded, place) {
            (true, Place::Port(port)) => Some((self.clone(), *port)),
            _ => None,
        };
        let address = SocketAddr::from(([127, 0, 0, 1], 40_000));
        let mut backlog = lock(&backlog);
        let served: Box<dyn Stream> = Box::new(End::server(&link));
        backlog.waiting.push_back((served, Some(address)));
        if let Some(waker) = backlog.waker.take() {
            waker.wake();
        }
        Ok(Box::new(End::client(&link, told)))
    }

    fn count(&self, connection: usize, passed: [u64; 2]) {
        if let Some(place) = lock(&self.state).lengths.get_mut(connection) {
            *place = passed;
        }
    }

    fn record(&self, port: u16, said: Vec<u8>) {
        lock(&self.state).recorded.push((port, said));
    }

    fn listen(&self, machine: usize, place: Place) -> io::Result<Box<dyn Listener>> {
        let mut state = lock(&self.state);
        if state.listening.contains_key(&place) {
            return Err(io::ErrorKind::AddrInUse.into());
        }
        let backlog = Arc::new(Mutex::new(Backlog {
            machine,
            ..Backlog::default()
        }));
        state.listening.insert(place.clone(), Arc::clone(&backlog));
        Ok(Box::new(Listening {
            network: self.clone(),
            place,
            backlog,
        }))
    }
}

/// The network of one machine.
struct Seen {
    network: Network,
    machine: usize,
}

impl Net for Seen {
    fn listen(&self, address: SocketAddr) -> BoxFuture<'static, io::Result<Box<dyn Listener>>> {
        let listening = self
            .network
            .listen(self.machine, Place::Port(address.port()));
        Box::pin(std::future::ready(listening))
    }

    fn listen_local(&self, path: &Path) -> BoxFuture<'static, io::Result<Box<dyn Listener>>> {
        let place = Place::Path(self.machine, path.to_owned());
        let listening = self.network.listen(self.machine, place);
        Box::pin(std::future::ready(listening))
    }

    fn connect(&self, _: &str, port: u16) -> BoxFuture<'static, io::Result<Box<dyn Stream>>> {
        self.network.connect(self.machine, Place::Port(port))
    }

    fn connect_local(&self, path: &Path) -> BoxFuture<'static, io::Result<Box<dyn Stream>>> {
        let place = Place::Path(self.machine, path.to_owned());
        self.network.connect(self.machine, place)
    }
}

/// A socket that listens, until it is dropped.
struct Listening {
    network: Network,
    place: Place,
    backlog: Arc<Mutex<Backlog>>,
}

impl Listener for Listening {
    fn accept(&mut self) -> BoxFuture<'_, io::Result<Accepted>> {
        Box::pin(std::future::poll_fn(|context| {
            let mut backlog = lock(&self.backlog);
            match backlog.waiting.pop_front() {
                Some(accepted) => Poll::Ready(Ok(accepted)),
                None => {
                    backlog.waker = Some(context.waker().clone());
                    Poll::Pending
                }
            }
        }))
    }

    fn local_address(&self) -> Option<SocketAddr> {
        match self.place {
            Place::Port(port) => Some(SocketAddr::from(([127, 0, 0, 1], port))),
            Place::Path(..) => None,
        }
    }
}

impl Drop for Listening {
    fn drop(&mut self) {
        lock(&self.network.state).listening.remove(&self.place);
        // What nobody accepted is closed, outside of the lock.
        let waiting = std::mem::take(&mut lock(&self.backlog).waiting);
        drop(waiting);
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
