//! An event stream as a hostile payee sends it, in pieces as the network cuts it. How it is cut
//! changes nothing, and no byte that is the reader's gets lost.
#![no_main]

use libfuzzer_sys::fuzz_target;
use stiver_client::session::sse::{Events, Fed};

fuzz_target!(|data: &[u8]| {
    let Some((&size, stream)) = data.split_first() else {
        return;
    };
    let whole = read(stream, stream.len().max(1), false);
    let pieces = read(stream, usize::from(size).max(1), false);
    assert_eq!(whole, pieces, "how it is cut does not matter");
    let kept = read(stream, usize::from(size).max(1), true);
    assert_eq!(kept.pass, stream, "nothing is taken out where all is kept");
    assert_eq!((kept.others, kept.said), (whole.others, whole.said));
});

/// Reads a stream in pieces of one size.
fn read(stream: &[u8], size: usize, keep: bool) -> Fed {
    let mut events = Events::default();
    let mut all = Fed::default();
    for piece in stream.chunks(size) {
        let fed = events.feed(piece, keep);
        all.pass.extend(fed.pass);
        all.said.extend(fed.said);
        all.others += fed.others;
    }
    all.pass.extend(events.finish());
    all
}
