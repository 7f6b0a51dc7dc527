//! `stiver get --session ws://…`: a WebSocket behind a gateway, paid for by the message.

use std::io::Write as _;

use serde_json::Value;
use tokio_tungstenite::tungstenite::{
    Message, WebSocket, handshake::derive_accept_key, protocol::Role,
};

use crate::common::{Stage, run_with, site::Site};

const ROUTES: &str = r#"
[[route]]
path = "/talk"
methods = ["GET"]
price = "0.001 USD per event"
upgrade = true
session = { window = "0.002 USD", pause_s = 1 }
"#;

/// Says five readings, then three times whatever it hears, then goodbye.
fn site() -> Site {
    Site::plain(|asked, mut stream| {
        let Some(key) = asked.field("sec-websocket-key") else {
            return;
        };
        let accept = derive_accept_key(key.as_bytes());
        let head = format!(
            "HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: websocket\r\n\
             sec-websocket-accept: {accept}\r\n\r\n"
        );
        stream.write_all(head.as_bytes()).unwrap();
        let mut socket = WebSocket::from_raw_socket(stream, Role::Server, None);
        for reading in 0..5 {
            let said = socket.send(Message::text(format!("reading {reading}")));
            if said.is_err() {
                return;
            }
        }
        if let Ok(heard @ Message::Text(_)) = socket.read() {
            for _ in 0..3 {
                let _ = socket.send(heard.clone());
            }
        }
        let _ = socket.close(None);
        while socket.read().is_ok() {}
    })
}

fn url(stage: &Stage) -> String {
    stage.at("/talk").replacen("http", "ws", 1)
}

#[test]
fn what_comes_is_printed_and_lines_are_sent_and_the_books_match() {
    let site = site();
    let stage = Stage::before(&site.url, ROUTES);
    let url = url(&stage);
    let get = ["get", "--session", "--max-session", "0.2 USD", &url];
    let done = run_with(&stage.home(), &get, b"hello\n").ends_with(0);
    let expected: String = (0..5).map(|n| format!("reading {n}\n")).collect();
    assert_eq!(done.out, expected + &"hello\n".repeat(3));
    let paid = done.told("payment");
    assert_eq!(paid["display"], "0.008 USD");
    let closed = stage.json(&["sessions", "close"]);
    assert_eq!(closed["sessions"][0]["captured"], "8000");
    assert_eq!(stage.left(), 9_992_000);
}

#[test]
fn json_is_one_object_for_each_message_and_the_answer_at_last() {
    let site = site();
    let stage = Stage::before(&site.url, ROUTES);
    let url = url(&stage);
    let done = stage.run(&[
        "--json",
        "get",
        "--session",
        "--max-session",
        "0.2 USD",
        "--close",
        "-d",
        "hi",
        &url,
    ]);
    let done = done.ends_with(0);
    let lines = done
        .out
        .lines()
        .map(|line| serde_json::from_str(line).unwrap());
    let lines: Vec<Value> = lines.collect();
    assert_eq!(lines.len(), 9, "{}", done.out);
    assert_eq!(lines[0]["message"], "reading 0");
    assert_eq!(lines[7]["message"], "hi");
    assert_eq!(lines[8]["ok"], true);
    assert_eq!(lines[8]["payment"]["amount"], "8000");
    assert_eq!(stage.left(), 9_992_000, "closed");
}

#[test]
fn a_socket_needs_a_session_and_pays_nothing_without_one() {
    let site = site();
    let stage = Stage::before(&site.url, ROUTES);
    let url = url(&stage);
    let done = stage.run(&["get", "--max-amount", "1 USD", &url]);
    done.fails(2, "give --session");
    assert_eq!(stage.left(), 10_000_000);
}
