//! A session method whose vouchers are signed by EIP-712, with the channel verifier that methods of
//! such chains share, and no chain behind it: an opening is taken at its word.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use stiver_channel::{
    Caps, ChannelId, Voucher,
    voucher::eip712::{Address, Domain, Eip712, SigningKey, Variant},
};
use stiver_core::{Currency, Timestamp, json::Object, name::MethodName};
use stiver_method::{
    BoxFuture,
    artefact::{Artefact, ExecuteError, RailUnavailable, Refusal, RefusalKind},
    payee::{Presented, QuoteError},
    session::{
        ChannelLookup, ChannelMoved, ChannelState, Opening, PayeeChannel, PayeeSession,
        SessionAction, SessionQuote, SessionTerms, SettleError, SettleRequest, UnitPrice,
    },
};

/// Its name on the wire.
const NAME: &str = "evm";
/// Its chain.
const CHAIN: u64 = 4217;
/// Its escrow contract, and the payee.
const CONTRACT: Address = Address([2; 20]);

/// The domain of its vouchers.
pub fn domain() -> Domain {
    Domain::new(Variant::TEMPO_V2, CHAIN, CONTRACT)
}

/// The payee's side.
pub struct SignedPayee {
    name: MethodName,
    currency: Currency,
    payee: String,
    domain: Domain,
}

/// `request`, of the size that Tempo's has.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Request {
    amount: String,
    currency: String,
    recipient: String,
    unit_type: Option<String>,
    method_details: MethodDetails,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct MethodDetails {
    escrow_contract: String,
    chain_id: u64,
    min_voucher_delta: String,
}

/// `payload`, as Tempo's sessions have it.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Payload {
    action: String,
    channel_id: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    deposit: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    signer: Option<String>,
    cumulative_amount: String,
    signature: String,
}

/// The payload that presents a voucher; with a deposit and a signer it opens the channel.
pub fn payload(voucher: &Voucher, opening: Option<(u128, Address)>) -> anyhow::Result<Object> {
    let payload = Payload {
        action: opening.map_or("voucher", |_| "open").to_owned(),
        channel_id: hex(&voucher.channel.0),
        deposit: opening.map(|(deposit, _)| deposit.to_string()),
        signer: opening.map(|(_, signer)| hex(&signer.0)),
        cumulative_amount: voucher.cumulative.to_string(),
        signature: hex(&voucher.proof),
    };
    Ok(Object::serialize(&payload)?)
}

/// The voucher of a key.
pub fn voucher(key: &SigningKey, channel: ChannelId, cumulative: u128) -> anyhow::Result<Voucher> {
    Ok(key.voucher(&domain(), channel, cumulative)?)
}

fn hex(bytes: &[u8]) -> String {
    let digits = bytes.iter().flat_map(|byte| [byte >> 4, byte & 15]);
    let digits = digits.filter_map(|digit| char::from_digit(digit.into(), 16));
    "0x".chars().chain(digits).collect()
}

fn unhex(text: &str) -> Result<Vec<u8>, Refusal> {
    let wrong = || invalid("the hexadecimal digits");
    let digits = text.strip_prefix("0x").ok_or_else(wrong)?.as_bytes();
    let digit = |byte: u8| {
        char::from(byte)
            .to_digit(16)
            .and_then(|it| u8::try_from(it).ok())
    };
    let (pairs, []) = digits.as_chunks::<2>() else {
        return Err(wrong());
    };
    let byte = |pair: &[u8; 2]| Some(digit(pair[0])? << 4 | digit(pair[1])?);
    let bytes: Option<Vec<u8>> = pairs.iter().map(byte).collect();
    bytes.ok_or_else(wrong)
}

fn sized<const N: usize>(text: &str) -> Result<[u8; N], Refusal> {
    unhex(text)?.try_into().map_err(|_| invalid("the length"))
}

fn units(text: &str) -> Result<u128, Refusal> {
    text.parse().map_err(|_| invalid("an amount"))
}

fn invalid(what: &str) -> Refusal {
    Refusal {
        kind: RefusalKind::Invalid,
        detail: format!("{what} is wrong"),
    }
}

impl SignedPayee {
    /// Paid in a currency.
    pub fn new(currency: Currency) -> anyhow::Result<Self> {
        Ok(Self {
            name: MethodName::new(NAME)?,
            currency,
            payee: hex(&CONTRACT.0),
            domain: domain(),
        })
    }

    fn terms_for(&self, price: UnitPrice) -> SessionTerms {
        SessionTerms {
            prices: vec![price],
            payee: self.payee.clone(),
            rest: NAME.to_owned(),
        }
    }

    fn read(&self, presented: &Presented<'_>) -> Result<SessionAction, Refusal> {
        let payload: Payload = presented
            .payload
            .deserialize()
            .map_err(|_| invalid("the payload"))?;
        let channel = ChannelId(sized(&payload.channel_id)?);
        let voucher = Voucher {
            channel,
            cumulative: units(&payload.cumulative_amount)?,
            proof: unhex(&payload.signature)?.into(),
        };
        match (payload.action.as_str(), payload.deposit, payload.signer) {
            ("voucher", None, None) => Ok(SessionAction::Spend(voucher)),
            ("open", Some(deposit), Some(signer)) => {
                let deposit = units(&deposit)?;
                let bytes = [&channel.0[..], &deposit.to_be_bytes()].concat();
                Ok(SessionAction::Open(Box::new(Opening {
                    channel,
                    artefact: Artefact {
                        rail_key: channel.0.to_vec(),
                        bytes: bytes.into(),
                    },
                    replay_keys: vec![channel.0.to_vec()],
                    replayable_until: presented.now.plus_millis(60_000),
                    deposit: self.currency.units(deposit),
                    voucher: Some(voucher),
                    payer: None,
                    terms: sized::<20>(&signer)?.to_vec(),
                })))
            }
            _ => Err(invalid("the action")),
        }
    }

    fn opened(artefact: &Artefact) -> Result<ChannelMoved, Refusal> {
        let (id, deposit) = artefact
            .bytes
            .split_first_chunk::<32>()
            .ok_or_else(|| invalid("the artefact"))?;
        let deposit = deposit.try_into().map_err(|_| invalid("the artefact"))?;
        Ok(ChannelMoved {
            channel: ChannelId(*id),
            reference: hex(id),
            at: Timestamp::from_millis(1),
            state: ChannelState {
                deposit: u128::from_be_bytes(deposit),
                settled: 0,
                withdrawable_at: None,
                ended: None,
            },
            receipt: Vec::new(),
        })
    }
}

fn ready<'a, T: Send + 'a>(value: T) -> BoxFuture<'a, T> {
    Box::pin(std::future::ready(value))
}

impl PayeeSession for SignedPayee {
    fn name(&self) -> &MethodName {
        &self.name
    }

    fn caps(&self) -> &Caps {
        &Caps::TEMPO_V2
    }

    fn quote<'a>(&'a self, quote: SessionQuote<'a>) -> BoxFuture<'a, Result<Object, QuoteError>> {
        let request = quote.prices.first().map(|price| Request {
            amount: price.amount.to_wire(),
            currency: price.amount.currency().code().to_owned(),
            recipient: self.payee.clone(),
            unit_type: price.unit.clone(),
            method_details: MethodDetails {
                escrow_contract: hex(&CONTRACT.0),
                chain_id: CHAIN,
                min_voucher_delta: "0".to_owned(),
            },
        });
        let object = request.and_then(|request| Object::serialize(&request).ok());
        ready(object.ok_or(QuoteError::Amount))
    }

    fn quotes_the_same(&self) -> bool {
        true
    }

    fn expected_terms(&self, prices: &[UnitPrice]) -> Result<SessionTerms, QuoteError> {
        let price = prices.first().ok_or(QuoteError::Amount)?;
        Ok(self.terms_for(price.clone()))
    }

    fn terms(&self, request: &Object) -> Result<SessionTerms, Refusal> {
        let request: Request = request.deserialize().map_err(|_| invalid("the request"))?;
        Ok(self.terms_for(UnitPrice {
            amount: self.currency.units(units(&request.amount)?),
            per: 1,
            unit: request.unit_type,
        }))
    }

    fn decode(&self, presented: Presented<'_>) -> Result<SessionAction, Refusal> {
        self.read(&presented)
    }

    fn channel(&self, channel: ChannelId, terms: &[u8]) -> Result<PayeeChannel, Refusal> {
        let signer = terms.try_into().map_err(|_| invalid("the signer"))?;
        Ok(PayeeChannel {
            verifier: Arc::new(Eip712::new(self.domain, channel, Address(signer))),
            currency: self.currency.clone(),
            payee: self.payee.clone(),
            payer: None,
            rest: NAME.to_owned(),
            receipt: Vec::new(),
        })
    }

    fn channel_text(&self, channel: &ChannelId) -> String {
        hex(&channel.0)
    }

    fn parse_channel(&self, text: &str) -> Result<ChannelId, Refusal> {
        Ok(ChannelId(sized(text)?))
    }

    fn prepare_settle<'a>(
        &'a self,
        _: SettleRequest<'a>,
    ) -> BoxFuture<'a, Result<Artefact, SettleError>> {
        ready(Err(SettleError::Refused(invalid("the settlement"))))
    }

    fn execute<'a>(
        &'a self,
        artefact: &'a Artefact,
    ) -> BoxFuture<'a, Result<ChannelMoved, ExecuteError>> {
        ready(Self::opened(artefact).map_err(ExecuteError::Refused))
    }

    fn lookup<'a>(
        &'a self,
        artefact: &'a Artefact,
    ) -> BoxFuture<'a, Result<ChannelLookup, RailUnavailable>> {
        ready(Ok(match Self::opened(artefact) {
            Ok(moved) => ChannelLookup::Done(Box::new(moved)),
            Err(refusal) => ChannelLookup::Never(refusal),
        }))
    }

    fn state<'a>(
        &'a self,
        _: &'a ChannelId,
    ) -> BoxFuture<'a, Result<Option<ChannelState>, RailUnavailable>> {
        ready(Ok(None))
    }
}
