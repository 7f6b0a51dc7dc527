//! How frames are written.

use alloc::{borrow::Cow, string::String, vec::Vec};

use serde::Deserialize;
use serde_json::value::RawValue;

use super::{ErrorFrame, Frame, FrameError, Framing, NeedVoucher};
use crate::{amount::parse_base_units, json::jcs::write_string};

/// All members that any frame has. What else there is, nobody reads.
#[derive(Deserialize)]
struct Members<'a> {
    #[serde(borrow)]
    mpp: Option<&'a RawValue>,
    #[serde(borrow, rename = "type")]
    kind: Option<&'a RawValue>,
    #[serde(borrow)]
    authorization: Option<&'a RawValue>,
    #[serde(borrow)]
    credential: Option<&'a RawValue>,
    #[serde(borrow)]
    data: Option<&'a RawValue>,
    #[serde(borrow)]
    challenge: Option<&'a RawValue>,
    #[serde(borrow)]
    receipt: Option<&'a RawValue>,
    #[serde(borrow)]
    status: Option<&'a RawValue>,
    #[serde(borrow)]
    message: Option<&'a RawValue>,
    #[serde(borrow)]
    error: Option<&'a RawValue>,
    #[serde(borrow)]
    problem: Option<&'a RawValue>,
    #[serde(borrow)]
    challenges: Option<&'a RawValue>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Figures<'a> {
    #[serde(borrow)]
    channel_id: Cow<'a, str>,
    #[serde(borrow)]
    required_cumulative: Cow<'a, str>,
    #[serde(borrow)]
    accepted_cumulative: Cow<'a, str>,
    #[serde(borrow)]
    deposit: Cow<'a, str>,
}

/// One string, borrowed where it has no escapes.
#[derive(Deserialize)]
struct Text<'a>(#[serde(borrow)] Cow<'a, str>);

pub(super) fn parse(text: &str, framing: Framing) -> Result<Frame<'_>, FrameError> {
    if !may_be_named(text, framing) {
        return Ok(Frame::Plain(text));
    }
    let members: Members<'_> = match serde_json::from_str(text) {
        Ok(members) => members,
        // `type` stands in many a text that is nobody's frame.
        Err(_) if framing == Framing::Type => return Ok(Frame::Plain(text)),
        Err(_) => return Err(FrameError::Json),
    };
    match framing {
        Framing::Mpp => of_mpp(text, &members),
        Framing::Type => of_type(text, &members),
    }
}

/// False for what can have no naming member: most application data, found out without parsing.
fn may_be_named(text: &str, framing: Framing) -> bool {
    let name = match framing {
        Framing::Mpp => "\"mpp\"",
        Framing::Type => "\"type\"",
    };
    let is_object = text
        .trim_start_matches([' ', '\t', '\n', '\r'])
        .starts_with('{');
    // A key may be written with escapes.
    is_object && (text.contains(name) || text.contains("\\u00"))
}

fn of_mpp<'a>(whole: &'a str, members: &Members<'a>) -> Result<Frame<'a>, FrameError> {
    let Some(name) = members.mpp else {
        return Ok(Frame::Plain(whole));
    };
    let name = text(Some(name), "mpp")?;
    Ok(match &*name {
        "authorization" => Frame::Authorization(text(members.authorization, "authorization")?),
        "message" => Frame::Message(text(members.data, "data")?),
        "payment-close-request" => Frame::CloseRequest,
        "payment-close-ready" => Frame::CloseReady(object(members.data, "data")?),
        "payment-receipt" => Frame::Receipt(object(members.data, "data")?),
        "payment-need-voucher" => {
            let data = members.data.ok_or(FrameError::Member("data"))?;
            Frame::NeedVoucher(need(data.get())?)
        }
        "payment-error" => {
            let status = members.status.map(RawValue::get).map(str::parse);
            let Some(Ok(status)) = status else {
                return Err(FrameError::Member("status"));
            };
            Frame::Error(ErrorFrame {
                status: Some(status),
                message: text(members.message, "message")?,
                problem: Some(members.problem)
                    .filter(Option::is_some)
                    .map(|problem| object(problem, "problem"))
                    .transpose()?,
                challenges: challenges(members.challenges)?,
            })
        }
        _ => return Err(FrameError::Unknown),
    })
}

fn of_type<'a>(whole: &'a str, members: &Members<'a>) -> Result<Frame<'a>, FrameError> {
    let name = members.kind.and_then(|kind| text(Some(kind), "type").ok());
    Ok(match name.as_deref() {
        Some("credential") => Frame::Authorization(text(members.credential, "credential")?),
        Some("message") => {
            let data = members.data.ok_or(FrameError::Member("data"))?;
            // Payers may send any JSON: what is no string goes on as it was written.
            let data = text(Some(data), "data").unwrap_or(Cow::Borrowed(data.get()));
            Frame::Message(data)
        }
        Some("challenge") => Frame::Challenge(object(members.challenge, "challenge")?),
        Some("needVoucher") => Frame::NeedVoucher(need(whole)?),
        Some("receipt") => Frame::Receipt(object(members.receipt, "receipt")?),
        Some("error") => Frame::Error(ErrorFrame {
            status: None,
            message: text(members.error, "error")?,
            problem: None,
            challenges: Vec::new(),
        }),
        _ => Frame::Plain(whole),
    })
}

fn text<'a>(raw: Option<&'a RawValue>, name: &'static str) -> Result<Cow<'a, str>, FrameError> {
    let raw = raw.ok_or(FrameError::Member(name))?;
    let Text(text) = serde_json::from_str(raw.get()).map_err(|_| FrameError::Member(name))?;
    Ok(text)
}

fn object<'a>(raw: Option<&'a RawValue>, name: &'static str) -> Result<&'a str, FrameError> {
    let raw = raw.map(RawValue::get).filter(|raw| raw.starts_with('{'));
    raw.ok_or(FrameError::Member(name))
}

fn need(json: &str) -> Result<NeedVoucher<'_>, FrameError> {
    let figures: Figures<'_> =
        serde_json::from_str(json).map_err(|_| FrameError::Member("data"))?;
    let units =
        |text: &str, name| parse_base_units(text, 128).map_err(|_| FrameError::Member(name));
    Ok(NeedVoucher {
        required: units(&figures.required_cumulative, "requiredCumulative")?,
        accepted: units(&figures.accepted_cumulative, "acceptedCumulative")?,
        deposit: units(&figures.deposit, "deposit")?,
        channel: figures.channel_id,
    })
}

fn challenges(raw: Option<&RawValue>) -> Result<Vec<Cow<'_, str>>, FrameError> {
    let Some(raw) = raw else {
        return Ok(Vec::new());
    };
    let lines: Result<Vec<Text<'_>>, _> = serde_json::from_str(raw.get());
    let lines = lines.map_err(|_| FrameError::Member("challenges"))?;
    Ok(lines.into_iter().map(|Text(line)| line).collect())
}

pub(super) fn write(frame: &Frame<'_>, framing: Framing) -> Option<String> {
    if let Frame::Plain(text) = frame {
        return Some((*text).into());
    }
    let mut out = Writer(String::new());
    match framing {
        Framing::Mpp => mpp(&mut out, frame)?,
        Framing::Type => by_type(&mut out, frame)?,
    }
    out.0.push('}');
    Some(out.0)
}

/// An object under way.
struct Writer(String);

impl Writer {
    fn key(&mut self, name: &str) -> &mut Self {
        self.0.push(if self.0.is_empty() { '{' } else { ',' });
        write_string(&mut self.0, name);
        self.0.push(':');
        self
    }

    fn text(&mut self, name: &str, text: &str) -> &mut Self {
        self.key(name);
        write_string(&mut self.0, text);
        self
    }

    /// JSON that is written already.
    fn raw(&mut self, name: &str, json: &str) -> &mut Self {
        self.key(name).0.push_str(json);
        self
    }

    fn units(&mut self, name: &str, units: u128) -> &mut Self {
        self.text(name, &alloc::format!("{units}"))
    }

    fn need(&mut self, need: &NeedVoucher<'_>) {
        self.text("channelId", &need.channel)
            .units("requiredCumulative", need.required)
            .units("acceptedCumulative", need.accepted)
            .units("deposit", need.deposit);
    }
}

fn mpp(out: &mut Writer, frame: &Frame<'_>) -> Option<()> {
    match frame {
        Frame::Authorization(credential) => out
            .text("mpp", "authorization")
            .text("authorization", credential),
        Frame::Message(data) => out.text("mpp", "message").text("data", data),
        Frame::NeedVoucher(need) => {
            let mut data = Writer(String::new());
            data.need(need);
            data.0.push('}');
            out.text("mpp", "payment-need-voucher").raw("data", &data.0)
        }
        Frame::Receipt(json) => out.text("mpp", "payment-receipt").raw("data", json),
        Frame::CloseReady(json) => out.text("mpp", "payment-close-ready").raw("data", json),
        Frame::CloseRequest => out.text("mpp", "payment-close-request"),
        Frame::Error(error) => {
            let status = alloc::format!("{}", error.status.unwrap_or(500));
            out.text("mpp", "payment-error")
                .raw("status", &status)
                .text("message", &error.message);
            if let Some(problem) = error.problem {
                out.raw("problem", problem);
            }
            if !error.challenges.is_empty() {
                let mut lines = String::new();
                for line in &error.challenges {
                    lines.push(if lines.is_empty() { '[' } else { ',' });
                    write_string(&mut lines, line);
                }
                lines.push(']');
                out.raw("challenges", &lines);
            }
            out
        }
        Frame::Challenge(_) | Frame::Plain(_) => return None,
    };
    Some(())
}

fn by_type(out: &mut Writer, frame: &Frame<'_>) -> Option<()> {
    match frame {
        Frame::Authorization(credential) => out
            .text("type", "credential")
            .text("credential", credential),
        Frame::Message(data) => out.text("type", "message").text("data", data),
        Frame::NeedVoucher(need) => {
            out.text("type", "needVoucher").need(need);
            out
        }
        Frame::Receipt(json) => out.text("type", "receipt").raw("receipt", json),
        Frame::Challenge(json) => out.text("type", "challenge").raw("challenge", json),
        Frame::Error(error) => out.text("type", "error").text("error", &error.message),
        Frame::CloseRequest | Frame::CloseReady(_) | Frame::Plain(_) => return None,
    };
    Some(())
}
