//! Server-sent events, as far as payments are in them. The payment's own events are taken out; the
//! rest passes byte for byte.
//!
//! ```
//! use stiver_client::session::sse::Events;
//!
//! let mut events = Events::default();
//! let fed = events.feed(b"data: 1\n\nevent: payment-receipt\ndata: {}\n\n", false);
//! assert_eq!(fed.pass, b"data: 1\n\n");
//! assert_eq!((fed.others, fed.said.len()), (1, 1));
//! ```

use stiver_core::{amount::parse_base_units, json::Value};

use crate::limits;

/// The event by which a payee asks for more.
const NEED_VOUCHER: &[u8] = b"payment-need-voucher";
/// The event that ends a paid stream.
const RECEIPT: &[u8] = b"payment-receipt";

/// Something that a stream said about its payment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PaymentEvent {
    /// `payment-need-voucher`.
    NeedVoucher(NeedVoucher),
    /// `payment-receipt`: the JSON of a receipt, untouched.
    Receipt(Vec<u8>),
}

/// The figures of `payment-need-voucher`. All of them are the payee's word.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NeedVoucher {
    /// `channelId`
    pub channel: String,
    /// `requiredCumulative`
    pub required: u128,
}

/// Splits a stream into events.
#[derive(Debug, Default)]
pub struct Events {
    /// The event under way.
    block: Vec<u8>,
    /// Bytes of the line under way.
    line: usize,
    /// The event is longer than what is held: it is no payment's, and passes as it comes.
    long: bool,
    /// The last byte was CR: an LF now belongs to it.
    after_cr: bool,
}

/// What came of some bytes.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Fed {
    /// What goes on to the reader.
    pub pass: Vec<u8>,
    /// What was said about the payment.
    pub said: Vec<PaymentEvent>,
    /// Events that are no payment's.
    pub others: u128,
}

impl Events {
    /// Takes some bytes of the stream.
    pub fn feed(&mut self, bytes: &[u8], keep: bool) -> Fed {
        let mut fed = Fed::default();
        for byte in bytes {
            let follows_cr = std::mem::take(&mut self.after_cr);
            if follows_cr && *byte == b'\n' {
                // The other half of an end of line that was counted already.
                if self.block.is_empty() {
                    fed.pass.push(*byte);
                } else {
                    self.block.push(*byte);
                }
                continue;
            }
            self.block.push(*byte);
            if !matches!(byte, b'\n' | b'\r') {
                self.line = self.line.saturating_add(1);
                self.long |= self.block.len() > limits::SSE_EVENT_BYTES_MAX;
                if self.long {
                    fed.pass.append(&mut self.block);
                }
                continue;
            }
            self.after_cr = *byte == b'\r';
            if std::mem::take(&mut self.line) == 0 {
                self.end(keep, &mut fed);
            }
        }
        fed
    }

    /// The stream has ended: an event that was not finished is none, and passes.
    pub fn finish(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.block)
    }

    fn end(&mut self, keep: bool, fed: &mut Fed) {
        let block = std::mem::take(&mut self.block);
        let long = std::mem::take(&mut self.long);
        let said = if long { None } else { read(&block) };
        match said {
            Some(said) => {
                fed.said.push(said);
                if keep {
                    fed.pass.extend_from_slice(&block);
                }
            }
            None => {
                let data = block.split(|byte| matches!(byte, b'\n' | b'\r'));
                let has_data = data.into_iter().any(|line| line.starts_with(b"data"));
                fed.others = fed.others.saturating_add(u128::from(long || has_data));
                fed.pass.extend_from_slice(&block);
            }
        }
    }
}

/// Reads a whole event, when it is a payment's.
fn read(block: &[u8]) -> Option<PaymentEvent> {
    let mut name: &[u8] = b"";
    let mut data = Vec::new();
    for line in block.split(|byte| matches!(byte, b'\n' | b'\r')) {
        let (field, value) = match line.iter().position(|byte| *byte == b':') {
            Some(at) => {
                let (field, rest) = line.split_at(at);
                let rest = rest.strip_prefix(b":").unwrap_or(rest);
                (field, rest.strip_prefix(b" ").unwrap_or(rest))
            }
            None => (line, &b""[..]),
        };
        match field {
            b"event" => name = value,
            b"data" => {
                if !data.is_empty() {
                    data.push(b'\n');
                }
                data.extend_from_slice(value);
            }
            _ => {}
        }
    }
    if name == RECEIPT {
        return Some(PaymentEvent::Receipt(data));
    }
    if name != NEED_VOUCHER {
        return None;
    }
    let value = Value::parse(&data).ok()?;
    let text = |name: &str| value.get(name).and_then(Value::as_str);
    let required = parse_base_units(text("requiredCumulative")?, 128).ok()?;
    Some(PaymentEvent::NeedVoucher(NeedVoucher {
        channel: text("channelId")?.to_owned(),
        required,
    }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const NEED: &str = "event: payment-need-voucher\ndata: {\"channelId\":\"c1\",\
                        \"acceptedCumulative\":\"5\",\"requiredCumulative\":\"9\",\
                        \"deposit\":\"100\"}\n\n";

    fn need() -> PaymentEvent {
        PaymentEvent::NeedVoucher(NeedVoucher {
            channel: "c1".into(),
            required: 9,
        })
    }

    fn all(text: &[u8], step: usize, keep: bool) -> Fed {
        let mut events = Events::default();
        let mut sum = Fed::default();
        for part in text.chunks(step.max(1)) {
            let fed = events.feed(part, keep);
            sum.pass.extend(fed.pass);
            sum.said.extend(fed.said);
            sum.others += fed.others;
        }
        sum.pass.extend(events.finish());
        sum
    }

    #[test]
    fn the_payments_events_are_taken_out_and_the_rest_passes() {
        let text =
            format!("data: a\n\n{NEED}: comment\n\nevent: payment-receipt\ndata: {{}}\n\ndata: b");
        for step in [1, 3, 1_000] {
            let fed = all(text.as_bytes(), step, false);
            assert_eq!(fed.pass, b"data: a\n\n: comment\n\ndata: b");
            assert_eq!(fed.said, [need(), PaymentEvent::Receipt(b"{}".to_vec())]);
            assert_eq!(fed.others, 1);
        }
        assert_eq!(all(text.as_bytes(), 7, true).pass, text.as_bytes());
    }

    #[test]
    fn every_end_of_line_will_do() {
        for end in ["\n", "\r", "\r\n"] {
            let text = NEED.replace('\n', end);
            let fed = all(text.as_bytes(), 1, false);
            assert_eq!(fed.said, [need()], "{end:?}");
            // Half an end of line may be left, which is an empty line to a reader.
            assert!(fed.pass.iter().all(|byte| *byte == b'\n'), "{end:?}");
        }
    }

    #[test]
    fn malformed_figures_are_nobodys_request() {
        for data in [
            "",
            "[]",
            "{\"channelId\":\"c1\",\"requiredCumulative\":9}",
            "{\"channelId\":\"c1\",\"requiredCumulative\":\"-9\"}",
            "{\"requiredCumulative\":\"9\"}",
        ] {
            let text = format!("event: payment-need-voucher\ndata: {data}\n\n");
            assert_eq!(all(text.as_bytes(), 64, false).said, [], "{data}");
        }
    }

    #[test]
    fn an_endless_event_is_not_held() {
        let mut events = Events::default();
        let part = vec![b'x'; 1 << 16];
        let mut passed = 0;
        for _ in 0..64 {
            passed += events.feed(&part, false).pass.len();
            assert!(events.block.len() <= limits::SSE_EVENT_BYTES_MAX);
        }
        assert!(passed > 63 << 16);
        // After its end the next event is read again.
        let mut rest = b"\n\n".to_vec();
        rest.extend_from_slice(NEED.as_bytes());
        assert_eq!(events.feed(&rest, false).said, [need()]);
    }

    proptest! {
        #[test]
        fn whatever_comes_nothing_is_lost_and_nothing_is_invented(
            parts in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..40), 0..20),
        ) {
            let mut events = Events::default();
            let mut passed = Vec::new();
            for part in &parts {
                passed.extend(events.feed(part, true).pass);
            }
            passed.extend(events.finish());
            prop_assert_eq!(passed, parts.concat());
        }
    }
}
