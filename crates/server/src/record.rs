//! What the gate writes into the journal: deterministic CBOR, each record an array that begins with
//! its version. The store keeps these bytes and does not read them.

use std::{convert::Infallible, sync::Arc};

use minicbor::{Decoder, Encoder, data::Type, decode, encode};
use stiver_core::{Amount, Currency, Timestamp, digest::BodyDigest, json::Value};
use stiver_method::artefact::{Artefact, Refusal, RefusalKind, Settled};
use stiver_store::{
    SecretBytes,
    limits::{ARTEFACT_BYTES_MAX, RECORD_BYTES_MAX},
};
use zeroize::Zeroizing;

use crate::{limits::REFUSAL_CHARS_MAX, route::OnFailure};

/// The version that begins every record.
const VERSION: u8 = 1;
/// The version that begins the details of a claim that funds a channel.
const FUNDING_VERSION: u8 = 2;
/// In the place of a refusal's kind: nothing was ever executed.
const VOIDED: u8 = 5;

/// The terms, the parties and the policy that a claim keeps for its whole life: a change of the
/// route does not change what was promised for money that was taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Details {
    /// The payment method's name.
    pub(crate) method: String,
    /// What was asked.
    pub(crate) amount: Amount,
    /// Who is paid, in the method's form.
    pub(crate) payee: String,
    /// Who pays, proven by signature, when the method can tell before settling.
    pub(crate) payer: Option<String>,
    /// Who says they pay: claimed, not proven.
    pub(crate) source: Option<String>,
    /// The scope of the request: HTTP method and target.
    pub(crate) resource: String,
    /// The digest of the request's body.
    pub(crate) request_digest: Option<BodyDigest>,
    /// The price revision.
    pub(crate) price_revision: Option<String>,
    /// See [`OnFailure`].
    pub(crate) on_failure: OnFailure,
    /// True when a run that may have had an effect may be repeated.
    pub(crate) repeatable: bool,
    /// How often the handler is started at most.
    pub(crate) attempts_max: u32,
    /// After this the handler is not started again.
    pub(crate) resume_until: Timestamp,
    /// After this the rail accepts the proof no more.
    pub(crate) replayable_until: Timestamp,
    /// How long the response is kept, milliseconds; `None` when it is not.
    pub(crate) store_response_ms: Option<u64>,
    /// The hash of the `Idempotency-Key` alone.
    pub(crate) key_hash: Option<[u8; 32]>,
    /// The agreement's hash: reserved, always `None` today.
    pub(crate) agreement: Option<[u8; 32]>,
}

/// Why a journal record was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RecordError {
    /// The bytes are no record of this kind.
    #[error("the {0} record does not decode")]
    Malformed(&'static str),
    /// A later version wrote it.
    #[error("the {what} record has version {version}, which this version does not read")]
    Version {
        /// Which kind of record.
        what: &'static str,
        /// Its version.
        version: u8,
    },
    /// The payment method that wrote it is not registered with this gate.
    #[error("the payment method {0} of a journal record is not registered with this gate")]
    UnknownMethod(String),
}

type Written = Result<(), encode::Error<Infallible>>;
type Writer = Encoder<Vec<u8>>;

fn write(fields: u64, body: impl FnOnce(&mut Writer) -> Written) -> Vec<u8> {
    write_as(VERSION, fields, body)
}

fn write_as(version: u8, fields: u64, body: impl FnOnce(&mut Writer) -> Written) -> Vec<u8> {
    let mut writer = Encoder::new(Vec::with_capacity(256));
    writer
        .array(fields + 1)
        .and_then(|writer| writer.u8(version).map(drop))
        .and_then(|()| body(&mut writer))
        .expect("writing to memory cannot fail, because a vector grows");
    writer.into_writer()
}

fn read<T>(
    what: &'static str,
    fields: u64,
    bytes: &[u8],
    body: impl FnOnce(&mut Decoder<'_>) -> Result<T, decode::Error>,
) -> Result<T, RecordError> {
    read_as(VERSION, (what, fields), bytes, body)
}

fn read_as<T>(
    expected: u8,
    (what, fields): (&'static str, u64),
    bytes: &[u8],
    body: impl FnOnce(&mut Decoder<'_>) -> Result<T, decode::Error>,
) -> Result<T, RecordError> {
    let malformed = |_| RecordError::Malformed(what);
    let mut reader = Decoder::new(bytes);
    let length = reader.array().map_err(malformed)?;
    let version = reader.u8().map_err(malformed)?;
    if version != expected {
        return Err(RecordError::Version { what, version });
    }
    let value = body(&mut reader).map_err(malformed)?;
    if length == Some(fields + 1) && reader.position() == bytes.len() {
        Ok(value)
    } else {
        Err(RecordError::Malformed(what))
    }
}

fn option<'b, T>(
    reader: &mut Decoder<'b>,
    some: impl FnOnce(&mut Decoder<'b>) -> Result<T, decode::Error>,
) -> Result<Option<T>, decode::Error> {
    if reader.datatype()? == Type::Null {
        reader.null()?;
        return Ok(None);
    }
    some(reader).map(Some)
}

fn text(reader: &mut Decoder<'_>) -> Result<String, decode::Error> {
    reader.str().map(str::to_owned)
}

fn write_option_text(writer: &mut Writer, value: Option<&str>) -> Written {
    match value {
        Some(value) => writer.str(value)?.ok(),
        None => writer.null()?.ok(),
    }
}

fn write_option_hash(writer: &mut Writer, value: Option<&[u8; 32]>) -> Written {
    match value {
        Some(hash) => writer.bytes(hash)?.ok(),
        None => writer.null()?.ok(),
    }
}

fn write_amount(writer: &mut Writer, amount: &Amount) -> Written {
    writer.array(3)?.bytes(&amount.units().to_be_bytes())?;
    writer
        .str(amount.currency().code())?
        .u8(amount.currency().decimals())?
        .ok()
}

fn read_amount(reader: &mut Decoder<'_>) -> Result<Amount, decode::Error> {
    if reader.array()? != Some(3) {
        return Err(decode::Error::message("an amount has three fields"));
    }
    let units: [u8; 16] = fixed(reader.bytes()?)?;
    let code = reader.str()?;
    let decimals = reader.u8()?;
    let currency = Currency::new(code, decimals)
        .map_err(|_| decode::Error::message("the currency is not one"))?;
    Ok(currency.units(u128::from_be_bytes(units)))
}

fn fixed<const N: usize>(bytes: &[u8]) -> Result<[u8; N], decode::Error> {
    bytes
        .try_into()
        .map_err(|_| decode::Error::message("wrong length"))
}

fn instant(reader: &mut Decoder<'_>) -> Result<Timestamp, decode::Error> {
    reader.u64().map(Timestamp::from_millis)
}

impl Details {
    const FIELDS: u64 = 16;
    const WHAT: &'static str = "claim details";

    /// The journal's bytes.
    pub(crate) fn encode(&self) -> Vec<u8> {
        write(Self::FIELDS, |writer| {
            writer.str(&self.method)?;
            write_amount(writer, &self.amount)?;
            writer.str(&self.payee)?;
            write_option_text(writer, self.payer.as_deref())?;
            write_option_text(writer, self.source.as_deref())?;
            writer.str(&self.resource)?;
            match &self.request_digest {
                Some(digest) => writer.bytes(digest.as_bytes())?.ok()?,
                None => writer.null()?.ok()?,
            }
            write_option_text(writer, self.price_revision.as_deref())?;
            writer.u8(match self.on_failure {
                OnFailure::Retry => 0,
                OnFailure::Refund => 1,
                OnFailure::Keep => 2,
            })?;
            writer.bool(self.repeatable)?.u32(self.attempts_max)?;
            writer.u64(self.resume_until.as_millis())?;
            writer.u64(self.replayable_until.as_millis())?;
            match self.store_response_ms {
                Some(millis) => writer.u64(millis)?.ok()?,
                None => writer.null()?.ok()?,
            }
            write_option_hash(writer, self.key_hash.as_ref())?;
            write_option_hash(writer, self.agreement.as_ref())
        })
    }

    /// Reads the journal's bytes.
    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, RecordError> {
        read(Self::WHAT, Self::FIELDS, bytes, |reader| {
            Ok(Self {
                method: text(reader)?,
                amount: read_amount(reader)?,
                payee: text(reader)?,
                payer: option(reader, text)?,
                source: option(reader, text)?,
                resource: text(reader)?,
                request_digest: option(reader, |reader| {
                    Ok(BodyDigest::from_bytes(fixed(reader.bytes()?)?))
                })?,
                price_revision: option(reader, text)?,
                on_failure: match reader.u8()? {
                    0 => OnFailure::Retry,
                    1 => OnFailure::Refund,
                    2 => OnFailure::Keep,
                    _ => return Err(decode::Error::message("no such policy")),
                },
                repeatable: reader.bool()?,
                attempts_max: reader.u32()?,
                resume_until: instant(reader)?,
                replayable_until: instant(reader)?,
                store_response_ms: option(reader, |reader| reader.u64())?,
                key_hash: option(reader, |reader| fixed(reader.bytes()?))?,
                agreement: option(reader, |reader| fixed(reader.bytes()?))?,
            })
        })
    }
}

mod session;

pub(crate) use session::{ChannelDetails, Funding, FundingKind, SpendReceipt};

/// An artefact as the journal keeps it.
pub(crate) fn encode_artefact(artefact: &Artefact) -> Vec<u8> {
    write(2, |writer| {
        writer
            .bytes(&artefact.rail_key)?
            .bytes(&artefact.bytes)?
            .ok()
    })
}

/// Reads an artefact.
pub(crate) fn decode_artefact(bytes: &[u8]) -> Result<Artefact, RecordError> {
    read("artefact", 2, bytes, |reader| {
        Ok(Artefact {
            rail_key: reader.bytes()?.to_vec(),
            bytes: Zeroizing::new(reader.bytes()?.to_vec()),
        })
    })
}

/// A refund as the journal keeps it while it is made.
pub(crate) struct Refund {
    /// What is executed.
    pub(crate) artefact: Artefact,
    /// The receipt of what was delivered before; `None` when nothing was.
    pub(crate) delivered: Option<Arc<str>>,
}

impl Refund {
    const WHAT: &'static str = "refund";

    /// The journal's bytes. A receipt that does not fit any more is left out: it is not repeated.
    pub(crate) fn encode(&self) -> SecretBytes {
        let record = self.write(self.delivered.as_deref());
        if record.len() <= ARTEFACT_BYTES_MAX || self.delivered.is_none() {
            return record.into();
        }
        self.write(Some("")).into()
    }

    fn write(&self, delivered: Option<&str>) -> Vec<u8> {
        write(3, |writer| {
            writer
                .bytes(&self.artefact.rail_key)?
                .bytes(&self.artefact.bytes)?;
            write_option_text(writer, delivered)
        })
    }

    /// Reads the journal's bytes.
    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, RecordError> {
        read(Self::WHAT, 3, bytes, |reader| {
            Ok(Self {
                artefact: Artefact {
                    rail_key: reader.bytes()?.to_vec(),
                    bytes: Zeroizing::new(reader.bytes()?.to_vec()),
                },
                delivered: option(reader, text)?.map(Into::into),
            })
        })
    }
}

/// A settlement as the journal keeps it. Money has moved: members that would make the record too
/// large are left out, so that it can be kept.
pub(crate) fn encode_settled(settled: &Settled) -> Vec<u8> {
    let record = write_settled(settled);
    if record.len() <= RECORD_BYTES_MAX || settled.receipt.is_empty() {
        return record;
    }
    tracing::error!(
        bytes = record.len(),
        "receipt members of the method were left out"
    );
    write_settled(&Settled {
        receipt: Vec::new(),
        ..settled.clone()
    })
}

fn write_settled(settled: &Settled) -> Vec<u8> {
    write(6, |writer| {
        writer
            .str(&settled.reference)?
            .u64(settled.at.as_millis())?;
        write_amount(writer, &settled.amount)?;
        write_option_text(writer, settled.payer.as_deref())?;
        writer.str(&settled.payee)?;
        writer.array(u64::try_from(settled.receipt.len()).unwrap_or(u64::MAX))?;
        for (name, value) in &settled.receipt {
            writer.array(2)?.str(name)?.str(&value.to_jcs())?;
        }
        Ok(())
    })
}

/// Reads a settlement.
pub(crate) fn decode_settled(bytes: &[u8]) -> Result<Settled, RecordError> {
    read("settlement", 6, bytes, |reader| {
        Ok(Settled {
            reference: text(reader)?,
            at: instant(reader)?,
            amount: read_amount(reader)?,
            payer: option(reader, text)?,
            payee: text(reader)?,
            receipt: read_members(reader)?,
        })
    })
}

fn read_members(reader: &mut Decoder<'_>) -> Result<Vec<(String, Value)>, decode::Error> {
    let count = reader.array()?.unwrap_or_default();
    let mut members = Vec::new();
    for _ in 0..count {
        if reader.array()? != Some(2) {
            return Err(decode::Error::message("a member has a name and a value"));
        }
        let name = text(reader)?;
        let value = Value::parse(reader.str()?.as_bytes())
            .map_err(|_| decode::Error::message("the value is not JSON"))?;
        members.push((name, value));
    }
    Ok(members)
}

/// A refusal as the journal keeps it: the first [`REFUSAL_CHARS_MAX`] characters of its text.
pub(crate) fn encode_refusal(refusal: &Refusal) -> Vec<u8> {
    let detail: String = refusal.detail.chars().take(REFUSAL_CHARS_MAX).collect();
    let kind = match refusal.kind {
        RefusalKind::Insufficient => 1,
        RefusalKind::Expired => 2,
        RefusalKind::Denied => 3,
        RefusalKind::AlreadyUsed => 4,
        RefusalKind::Invalid | _ => 0,
    };
    write(2, |writer| writer.u8(kind)?.str(&detail)?.ok())
}

/// The end of a claim whose handler failed before settlement, as the journal keeps it.
pub(crate) fn encode_voided() -> Vec<u8> {
    write(2, |writer| writer.u8(VOIDED)?.str("")?.ok())
}

/// True for [`encode_voided`]'s record.
pub(crate) fn is_voided(record: &[u8]) -> bool {
    record == encode_voided()
}

/// Reads a refusal.
pub(crate) fn decode_refusal(bytes: &[u8]) -> Result<Refusal, RecordError> {
    read("refusal", 2, bytes, |reader| {
        let kind = match reader.u8()? {
            0 => RefusalKind::Invalid,
            1 => RefusalKind::Insufficient,
            2 => RefusalKind::Expired,
            3 => RefusalKind::Denied,
            4 => RefusalKind::AlreadyUsed,
            _ => return Err(decode::Error::message("no such kind")),
        };
        Ok(Refusal {
            kind,
            detail: text(reader)?,
        })
    })
}

#[cfg(test)]
mod tests;
