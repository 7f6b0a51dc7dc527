//! A language model's API, as far as payments can tell: chunks with content at a pace, then what
//! was used, then the end.

use std::time::Duration;

use axum::{Json, response::Response};
use serde_json::{Value, json};

use super::feed;

/// How long a chunk takes.
const PACE: Duration = Duration::from_millis(20);
/// Tokens of the question, as the model counts them.
const PROMPT_TOKENS: usize = 9;
/// What it answers. Each word but the last of a sentence is one token, and that is two.
const ANSWER: &str = "A deposit is set aside once, and the rest is arithmetic. Each voucher says \
                      how much of it may be taken in all, so that the last one is all that counts. \
                      Whoever stops first loses a window at most. When the answer ends, what was \
                      used is taken, and what was not comes back.";

/// Answers any question, in chunks.
pub(super) async fn answer(Json(_question): Json<Value>) -> Response {
    let mut words = ANSWER.split_inclusive(' ');
    let tokens = ANSWER.split(' ').map(tokens_of).sum::<usize>();
    let mut tail = vec!["[DONE]".to_owned(), usage(tokens).to_string()];
    feed::events(PACE, move || match words.next() {
        Some(word) => Some(chunk(json!([{"index": 0, "delta": {"content": word}}])).to_string()),
        None => tail.pop(),
    })
}

fn tokens_of(word: &str) -> usize {
    if word.ends_with('.') { 2 } else { 1 }
}

fn chunk(choices: Value) -> Value {
    json!({
        "id": "chatcmpl-demo",
        "object": "chat.completion.chunk",
        "created": 0,
        "model": "demo",
        "choices": choices,
    })
}

fn usage(tokens: usize) -> Value {
    let mut last = chunk(json!([]));
    last["usage"] = json!({
        "prompt_tokens": PROMPT_TOKENS,
        "completion_tokens": tokens,
        "total_tokens": PROMPT_TOKENS + tokens,
    });
    last
}
