//! The frames of paid WebSockets, between mppx's own functions and our codec, both ways.
//!
//! The sockets of mppx themselves are bound to its method `tempo`: its client opens nothing else,
//! and its reader takes no receipt of another method. So its functions are driven, not its sockets.

use std::{
    io::{BufRead as _, BufReader, Write as _},
    path::Path,
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
};

use serde_json::{Value, json};
use stiver_core::socket::{ErrorFrame, Frame, Framing, NeedVoucher};

use crate::stage::mppx_folder;

/// A process that reads and writes frames as mppx does.
struct Mppx {
    child: Child,
    to: ChildStdin,
    from: BufReader<ChildStdout>,
}

impl Mppx {
    /// Starts it. What it prints first is one frame of each kind.
    fn start() -> (Self, Vec<String>) {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../interop");
        let mut command = Command::new("node");
        command.arg(root.join("js/frames.mjs"));
        command.env("STIVER_PEER_MODULES", mppx_folder());
        let pipes = command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = pipes.spawn().unwrap();
        let (to, from) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
        let from = BufReader::new(from);
        let mut mppx = Self { child, to, from };
        let own = mppx.line();
        (mppx, serde_json::from_str(&own).unwrap())
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        self.from.read_line(&mut line).unwrap();
        line
    }

    /// What it reads in a frame.
    fn reads(&mut self, text: &str) -> Value {
        writeln!(self.to, "{}", json!(text)).unwrap();
        serde_json::from_str(&self.line()).unwrap()
    }
}

impl Drop for Mppx {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn receipt(method: &str) -> String {
    json!({
        "method": method, "intent": "session", "status": "success",
        "timestamp": "2026-01-01T00:00:00.000Z", "reference": "0xabc", "challengeId": "ch-1",
        "channelId": "0xabc", "acceptedCumulative": "40", "spent": "20",
    })
    .to_string()
}

#[test]
fn frames_of_mppx_and_ours_are_the_same_both_ways() {
    let (mut mppx, theirs) = Mppx::start();
    let need = Frame::NeedVoucher(NeedVoucher {
        channel: "0xabc".into(),
        required: 60,
        accepted: 40,
        deposit: 1_000,
    });
    let error = Frame::Error(ErrorFrame {
        status: Some(402),
        message: "too little".into(),
        problem: None,
        challenges: vec![],
    });
    let frames: Vec<Frame<'_>> = theirs
        .iter()
        .map(|text| Frame::parse(text, Framing::Mpp).unwrap())
        .collect();
    let [authorization, message, asked, told, close, ready, refused] = &frames[..] else {
        panic!("one of each kind: {theirs:?}");
    };
    assert_eq!(
        *authorization,
        Frame::Authorization("Payment eyJhIjoxfQ".into())
    );
    assert_eq!(*message, Frame::Message("a \"b\"\n\u{e9} \u{1f600}".into()));
    assert_eq!((asked, refused), (&need, &error));
    assert!(matches!(told, Frame::Receipt(json) if json.contains("\"spent\":\"20\"")));
    assert!(matches!(ready, Frame::CloseReady(json) if json.contains("\"spent\":\"20\"")));
    assert_eq!(*close, Frame::CloseRequest);
    // What we write, it reads: the same, but for members that it does not know.
    for (text, frame) in theirs.iter().zip(&frames) {
        let ours = frame.to_text(Framing::Mpp).unwrap();
        let expected: Value = serde_json::from_str(text).unwrap();
        assert_eq!(mppx.reads(&ours), expected, "{ours}");
    }
    let whole = Frame::Error(ErrorFrame {
        problem: Some(r#"{"status":402}"#),
        challenges: vec!["Payment id=\"a\"".into()],
        status: Some(402),
        message: "too little".into(),
    });
    let read = mppx.reads(&whole.to_text(Framing::Mpp).unwrap());
    assert_eq!(read, serde_json::from_str::<Value>(&theirs[6]).unwrap());
}

#[test]
fn mppx_reads_receipts_of_its_own_method_alone() {
    let (mut mppx, _) = Mppx::start();
    for (method, is_read) in [("tempo", true), ("ledger", false)] {
        let receipt = receipt(method);
        let text = Frame::Receipt(&receipt).to_text(Framing::Mpp).unwrap();
        assert_eq!(!mppx.reads(&text).is_null(), is_read, "{method}");
    }
}
