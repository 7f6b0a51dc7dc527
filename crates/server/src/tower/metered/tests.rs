//! Taking event streams apart.

use super::*;

fn split(pieces: &[&str]) -> (Vec<String>, String) {
    let mut events = Events::default();
    let mut found = Vec::new();
    for piece in pieces {
        events.held.extend_from_slice(piece.as_bytes());
        while let Some(event) = events.next() {
            found.push(String::from_utf8(event.to_vec()).unwrap());
        }
    }
    (found, String::from_utf8(events.rest().to_vec()).unwrap())
}

#[test]
fn events_are_cut_where_they_end_however_they_come() {
    let text = "data: a\n\nevent: b\ndata: c\n\n: comment\n\ndata: d\r\n\r\ndata: e";
    let whole = split(&[text]);
    assert_eq!(whole.0.len(), 4);
    assert_eq!(whole.0[1], "event: b\ndata: c\n\n");
    assert_eq!(whole.1, "data: e");
    for at in 1..text.len() {
        assert_eq!(split(&[&text[..at], &text[at..]]), whole, "cut at {at}");
    }
    let bytes: Vec<String> = text.chars().map(String::from).collect();
    let bytes: Vec<&str> = bytes.iter().map(String::as_str).collect();
    assert_eq!(split(&bytes), whole);
}

#[test]
fn the_end_of_a_stream_is_told_from_other_events() {
    assert!(is_done(b"data: [DONE]\n\n") && !is_done(b"data: x\n\n"));
}
