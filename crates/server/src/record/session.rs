//! Records of sessions: the details of a claim that funds a channel, and those of the channel.

use stiver_channel::{ChannelId, Voucher};
use stiver_core::{Amount, Currency, Timestamp};

use super::{
    FUNDING_VERSION, RecordError, fixed, instant, option, read, read_amount, read_as, text, write,
    write_amount, write_as, write_option_text,
};

/// What a claim does to a channel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum FundingKind {
    /// Opens it.
    Open,
    /// Raises its deposit.
    TopUp,
}

/// The details of a claim that opens a channel or tops it up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Funding {
    /// Which of both.
    pub(crate) kind: FundingKind,
    /// The payment method's name.
    pub(crate) method: String,
    /// The channel.
    pub(crate) channel: ChannelId,
    /// What is put in, or added.
    pub(crate) amount: Amount,
    /// Who pays, proven.
    pub(crate) payer: Option<String>,
    /// After this the rail accepts the proof no more.
    pub(crate) replayable_until: Timestamp,
    /// What the channel is to be kept with, when it is opened.
    pub(crate) details: Vec<u8>,
    /// The first voucher, verified.
    pub(crate) voucher: Option<Voucher>,
}

impl Funding {
    const FIELDS: u64 = 9;
    const WHAT: &'static str = "funding details";

    /// True for the details of a claim that funds a channel.
    pub(crate) fn is(bytes: &[u8]) -> bool {
        // An array of ten items, and then the version.
        matches!(bytes, [0x8a, version, ..] if *version == FUNDING_VERSION)
    }

    pub(crate) fn encode(&self) -> Vec<u8> {
        write_as(FUNDING_VERSION, Self::FIELDS, |writer| {
            writer.u8(match self.kind {
                FundingKind::Open => 0,
                FundingKind::TopUp => 1,
            })?;
            writer.str(&self.method)?.bytes(&self.channel.0)?;
            write_amount(writer, &self.amount)?;
            write_option_text(writer, self.payer.as_deref())?;
            writer.u64(self.replayable_until.as_millis())?;
            writer.bytes(&self.details)?;
            match &self.voucher {
                None => writer.null()?.null()?.ok(),
                Some(it) => {
                    writer.bytes(&it.cumulative.to_be_bytes())?;
                    writer.bytes(&it.proof)?.ok()
                }
            }
        })
    }

    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, RecordError> {
        read_as(
            FUNDING_VERSION,
            (Self::WHAT, Self::FIELDS),
            bytes,
            |reader| {
                let kind = match reader.u8()? {
                    0 => FundingKind::Open,
                    1 => FundingKind::TopUp,
                    _ => return Err(minicbor::decode::Error::message("no such kind")),
                };
                let method = text(reader)?;
                let channel = ChannelId(fixed(reader.bytes()?)?);
                let amount = read_amount(reader)?;
                let payer = option(reader, text)?;
                let replayable_until = instant(reader)?;
                let details = reader.bytes()?.to_vec();
                let cumulative = option(reader, |reader| fixed(reader.bytes()?))?;
                let proof = option(reader, |reader| Ok(reader.bytes()?.into()))?;
                let voucher = cumulative.zip(proof).map(|(cumulative, proof)| Voucher {
                    channel,
                    cumulative: u128::from_be_bytes(cumulative),
                    proof,
                });
                Ok(Self {
                    kind,
                    method,
                    channel,
                    amount,
                    payer,
                    replayable_until,
                    details,
                    voucher,
                })
            },
        )
    }
}

/// What the store keeps of a channel for the gate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ChannelDetails {
    /// The payment method's name.
    pub(crate) method: String,
    /// The currency of all figures.
    pub(crate) currency: Currency,
    /// The least by which a voucher must exceed the one before it.
    pub(crate) voucher_delta_min: u128,
    /// The method's own terms of the channel.
    pub(crate) terms: Vec<u8>,
}

impl ChannelDetails {
    const FIELDS: u64 = 3;
    const WHAT: &'static str = "channel details";

    pub(crate) fn encode(&self) -> Vec<u8> {
        write(Self::FIELDS, |writer| {
            writer.str(&self.method)?;
            write_amount(writer, &self.currency.units(self.voucher_delta_min))?;
            writer.bytes(&self.terms)?.ok()
        })
    }

    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, RecordError> {
        read(Self::WHAT, Self::FIELDS, bytes, |reader| {
            let method = text(reader)?;
            let least = read_amount(reader)?;
            Ok(Self {
                method,
                currency: least.currency().clone(),
                voucher_delta_min: least.units(),
                terms: reader.bytes()?.to_vec(),
            })
        })
    }
}

/// What prints the receipt of a request again, with the channel's figures.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct SpendReceipt {
    /// The challenge that was answered.
    pub(crate) challenge_id: String,
    /// When it was served.
    pub(crate) at: Timestamp,
    /// What was authorised and spent, when that is not as it was in the store's own write.
    pub(crate) figures: Option<(u128, u128)>,
}

impl SpendReceipt {
    const FIELDS: u64 = 4;
    const WHAT: &'static str = "receipt";

    pub(crate) fn encode(&self) -> Vec<u8> {
        write(Self::FIELDS, |writer| {
            writer.str(&self.challenge_id)?;
            writer.u64(self.at.as_millis())?;
            match self.figures {
                None => writer.null()?.null()?.ok(),
                Some((accepted, spent)) => {
                    writer.bytes(&accepted.to_be_bytes())?;
                    writer.bytes(&spent.to_be_bytes())?.ok()
                }
            }
        })
    }

    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, RecordError> {
        read(Self::WHAT, Self::FIELDS, bytes, |reader| {
            let challenge_id = text(reader)?;
            let at = instant(reader)?;
            let units = |reader: &mut minicbor::Decoder<'_>| {
                option(reader, |reader| {
                    Ok(u128::from_be_bytes(fixed(reader.bytes()?)?))
                })
            };
            let accepted = units(reader)?;
            let figures = accepted.zip(units(reader)?);
            Ok(Self {
                challenge_id,
                at,
                figures,
            })
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn usd() -> Currency {
        Currency::new("usd", 6).unwrap()
    }

    fn funding(kind: FundingKind, voucher: bool) -> Funding {
        let channel = ChannelId([7; 32]);
        Funding {
            kind,
            method: "ledger".to_owned(),
            channel,
            amount: usd().units(1 << 100),
            payer: voucher.then(|| "alice".to_owned()),
            replayable_until: Timestamp::from_millis(9),
            details: vec![1, 2, 3],
            voucher: voucher.then(|| Voucher {
                channel,
                cumulative: 30,
                proof: [4; 64].into(),
            }),
        }
    }

    #[test]
    fn funding_goes_through_and_is_told_from_a_payment() {
        for kind in [FundingKind::Open, FundingKind::TopUp] {
            for voucher in [true, false] {
                let funding = funding(kind, voucher);
                let bytes = funding.encode();
                assert!(Funding::is(&bytes));
                assert_eq!(Funding::decode(&bytes), Ok(funding));
                for cut in 0..bytes.len() {
                    assert!(Funding::decode(&bytes[..cut]).is_err());
                }
            }
        }
        assert!(!Funding::is(&[0x91, 1]));
        assert!(!Funding::is(&[]));
    }

    #[test]
    fn details_of_a_channel_go_through() {
        let details = ChannelDetails {
            method: "ledger".to_owned(),
            currency: usd(),
            voucher_delta_min: 5,
            terms: vec![9; 90],
        };
        let bytes = details.encode();
        assert_eq!(ChannelDetails::decode(&bytes), Ok(details));
        assert!(bytes.len() < 140, "{} bytes", bytes.len());
    }

    #[test]
    fn what_prints_a_receipt_goes_through() {
        for figures in [None, Some((u128::MAX, 7))] {
            let told = SpendReceipt {
                challenge_id: "x".repeat(43),
                at: Timestamp::from_millis(9),
                figures,
            };
            let bytes = told.encode();
            for cut in 0..bytes.len() {
                assert!(SpendReceipt::decode(&bytes[..cut]).is_err());
            }
            assert_eq!(SpendReceipt::decode(&bytes), Ok(told));
        }
    }

    /// What a damaged disk hands back is refused, or is a record like any other.
    #[test]
    fn damaged_records_never_panic_and_what_is_read_is_written_again() {
        let told = SpendReceipt {
            challenge_id: "challenge".to_owned(),
            at: Timestamp::from_millis(1 << 40),
            figures: Some((9, 7)),
        };
        let details = ChannelDetails {
            method: "ledger".to_owned(),
            currency: usd(),
            voucher_delta_min: 5,
            terms: vec![9; 20],
        };
        let funded = funding(FundingKind::Open, true).encode();
        let mut read = 0;
        for good in [told.encode(), details.encode(), funded] {
            for at in 0..good.len() {
                for byte in 0..=u8::MAX {
                    let mut bytes = good.clone();
                    bytes[at] = byte;
                    if let Ok(it) = SpendReceipt::decode(&bytes) {
                        assert_eq!(SpendReceipt::decode(&it.encode()), Ok(it));
                        read += 1;
                    }
                    if let Ok(it) = ChannelDetails::decode(&bytes) {
                        assert_eq!(ChannelDetails::decode(&it.encode()), Ok(it));
                        read += 1;
                    }
                    if let Ok(it) = Funding::decode(&bytes) {
                        assert_eq!(Funding::decode(&it.encode()), Ok(it));
                        read += 1;
                    }
                }
            }
        }
        assert!(read > 1_000, "{read}");
    }
}
