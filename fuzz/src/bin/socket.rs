//! Text frames of paid WebSockets: what is read is written and read back as the same.
#![no_main]

use libfuzzer_sys::fuzz_target;
use stiver_core::socket::{Frame, Framing};

fuzz_target!(|data: &[u8]| {
    let Some(text) = stiver_fuzz::text(data) else {
        return;
    };
    for framing in [Framing::Mpp, Framing::Type] {
        let wrapped = Frame::Message(text.into());
        let written = wrapped.to_text(framing).expect("both have messages");
        if let Ok(read) = Frame::parse(&written, framing) {
            assert_eq!(read, wrapped);
        }
        let Ok(frame) = Frame::parse(text, framing) else {
            continue;
        };
        if let Some(written) = frame.to_text(framing) {
            let again = Frame::parse(&written, framing);
            // Escapes may make it longer than what is read.
            assert!(again.as_ref() == Ok(&frame) || written.len() > text.len());
        }
    }
});
