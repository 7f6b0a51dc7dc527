//! Answers the questions of the field's cross-SDK conformance suite with this project's codecs.
//!
//! One JSON request on standard input, one JSON answer on standard output:
//!
//! ```text
//! {"schema":1,"op":"base64url.encode","input":{"text":"{}"}}
//! {"ok":true,"value":{"text":"e30"}}
//! ```
//!
//! The operation `batch` takes an array of requests and answers with an array, so that a thousand
//! cases cost one process. The exit code is 0 whenever an answer was printed, also when it is an
//! error: the answer says so.
#![forbid(unsafe_code)]
#![expect(
    clippy::print_stdout,
    reason = "this is a command line tool; its output is its product"
)]

mod abi;
mod codec;
mod exchange;

use std::io::Read as _;

use anyhow::Context as _;

/// Longest input, bytes.
const INPUT_BYTES_MAX: u64 = 256 * 1024 * 1024;

fn main() -> anyhow::Result<()> {
    let mut text = String::new();
    std::io::stdin()
        .take(INPUT_BYTES_MAX)
        .read_to_string(&mut text)
        .context("reading a request from standard input")?;
    println!("{}", abi::answer_text(&text));
    Ok(())
}
