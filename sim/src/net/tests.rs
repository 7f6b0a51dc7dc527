use std::time::Duration;

use stiver_core::Timestamp;
use stiver_testkit::{entropy::Random, time::SimulatedClock};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::*;
use crate::machine::Machine;

/// Two machines; one listens, the other says so many bytes, and this is what is heard.
fn heard(weather: Weather, cut: Option<Cut>, said: usize) -> (io::Result<usize>, Duration) {
    let clock = SimulatedClock::new(Timestamp::from_millis(0));
    let network = Network::new(3, 80, &clock);
    network.set_weather(weather);
    if let Some(cut) = cut {
        network.cut(cut);
    }
    let mut random = Random::new(1);
    let machine = |number, random: &mut Random| Machine::new(number, random, &clock, &network);
    let (one, other) = (machine(0, &mut random), machine(1, &mut random));
    let result = Arc::new(Mutex::new(None));
    let (env, slot) = (one.env().clone(), Arc::clone(&result));
    one.env().spawner.spawn(Box::pin(async move {
        let address = SocketAddr::from(([127, 0, 0, 1], 80));
        let mut listener = env.net.listen(address).await.unwrap();
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut bytes = Vec::new();
        let read = stream.read_to_end(&mut bytes).await;
        *lock(&slot) = Some(read);
    }));
    one.executor.run_until_idle();
    let env = other.env().clone();
    other.env().spawner.spawn(Box::pin(async move {
        let mut stream = env.net.connect("one", 80).await.unwrap();
        let _ = stream.write_all(&vec![7; said]).await;
    }));
    loop {
        one.executor.run_until_idle();
        other.executor.run_until_idle();
        let ready = one.executor.is_ready() || other.executor.is_ready();
        if !ready && !clock.advance_to_next_timer() {
            break;
        }
    }
    let read = lock(&result).take();
    let nothing = || Err(io::ErrorKind::TimedOut.into());
    (read.unwrap_or_else(nothing), clock.monotonic())
}

const CUT: Cut = Cut {
    connection: 0,
    after: 1_000,
    of_answers: false,
    silent: false,
};

#[test]
fn in_fair_weather_everything_comes_at_once() {
    let (read, took) = heard(Weather::FAIR, None, 200_000);
    assert_eq!((read.unwrap(), took), (200_000, Duration::ZERO));
}

#[test]
fn what_is_late_comes_all_the_same() {
    let weather = Weather {
        delay_ms_max: 500,
        ..Weather::FAIR
    };
    let (read, took) = heard(weather, None, 200_000);
    assert_eq!(read.unwrap(), 200_000);
    assert!(
        took > Duration::ZERO && took < Duration::from_secs(4),
        "{took:?}"
    );
}

#[test]
fn a_connection_breaks_off_and_its_reader_learns() {
    let (read, _) = heard(Weather::FAIR, Some(CUT), 200_000);
    assert_eq!(read.unwrap_err().kind(), io::ErrorKind::ConnectionReset);
}

#[test]
fn a_silent_connection_tells_nobody() {
    let silent = Cut {
        silent: true,
        ..CUT
    };
    let (read, _) = heard(Weather::FAIR, Some(silent), 200_000);
    assert_eq!(read.unwrap_err().kind(), io::ErrorKind::TimedOut);
}
