//! A ledger with money on it, a shop that sells by the token, and alice.

use std::{future::Future, sync::Arc};

use stiver_channel::{ChannelId, Voucher};
use stiver_core::{
    Challenge, Timestamp,
    binding::{KeyRing, Secret},
    challenge::{Expires, Params},
    json::{EncodedObject, Object, Value},
    name::{IntentName, MethodName, Realm},
};
use stiver_ledger::id::HoldId;
use stiver_method::{
    artefact::{Artefact, Refusal},
    payee::Presented,
    payer::{CallKey, Proof},
    session::{
        ChannelMoved, ChannelState, OpenRequest, Opening, PayeeSession, PayerSession, PreparedOpen,
        SessionAction, SessionQuote, SettleRequest, TopUpRequest, UnitPrice, VoucherScheme,
        VoucherSigner,
    },
};
use zeroize::Zeroizing;

use crate::{
    LedgerSessionPayee, LedgerSessionPayeeConfig, LedgerSessionPayer, LedgerSessionPayerConfig,
    tests::setup::{self as charge, ALICE, SHOP, account, key, usd},
};

/// 20 micro-dollars a token.
pub(super) const PRICE: u128 = 20;
/// What alice sets aside.
pub(super) const DEPOSIT: u128 = 10_000;

pub(super) struct Setup {
    pub(super) base: charge::Setup,
    pub(super) payee: LedgerSessionPayee,
    pub(super) payer: LedgerSessionPayer,
}

/// A channel of alice's, as both sides know it.
pub(super) struct Opened {
    pub(super) channel: ChannelId,
    pub(super) record: Zeroizing<Vec<u8>>,
    pub(super) terms: Vec<u8>,
}

impl Setup {
    pub(super) fn new() -> Self {
        let base = charge::Setup::new();
        let ledger = Arc::new(base.embedded.clone());
        let payee = LedgerSessionPayee::new(LedgerSessionPayeeConfig::new(
            ledger.clone(),
            account(SHOP),
            Arc::new(key(SHOP)),
            vec![usd()],
        ))
        .unwrap();
        let id = base.embedded.ledger().id();
        let payer = LedgerSessionPayer::new(LedgerSessionPayerConfig::new(
            Arc::new(key(ALICE)),
            id,
            vec![usd()],
            Some(ledger),
        ))
        .with_receipt_key(id, base.embedded.ledger().receipt_key());
        Self { base, payee, payer }
    }

    pub(super) fn run<T>(&self, future: impl Future<Output = T>) -> T {
        self.base.run(future)
    }

    pub(super) fn now(&self) -> Timestamp {
        self.base.now()
    }

    pub(super) fn wait(&self, ms: u64) {
        self.base
            .simulation
            .run_for(std::time::Duration::from_millis(ms));
    }

    pub(super) fn request(&self) -> Object {
        let expires = self.now().plus_millis(300_000);
        let deposit = usd().units(DEPOSIT);
        let quote = SessionQuote {
            prices: &[price()],
            suggested_deposit: Some(&deposit),
            min_voucher_delta: 5,
            window: 0,
            snapshot: None,
            description: None,
            external_id: None,
            now: self.now(),
            expires,
        };
        self.run(self.payee.quote(quote)).unwrap()
    }

    /// A challenge, good for 5 minutes. `nonce` makes its id another.
    pub(super) fn challenge(&self, nonce: u8) -> Challenge {
        self.challenge_of(&self.request(), nonce)
    }

    pub(super) fn challenge_of(&self, request: &Object, nonce: u8) -> Challenge {
        let opaque = Object::parse(format!(r#"{{"n":"{nonce}"}}"#).as_bytes()).unwrap();
        let ring = KeyRing::new(Secret::from_bytes(&[b's'; 32]));
        ring.bind(Params {
            realm: Realm::new("api.example.com").unwrap(),
            method: MethodName::new("ledger").unwrap(),
            intent: IntentName::session(),
            request: EncodedObject::encode(request),
            expires: Some(Expires::at(self.now().plus_millis(300_000))),
            digest: None,
            description: None,
            opaque: Some(EncodedObject::encode(&opaque)),
        })
    }

    pub(super) fn prepare(
        &self,
        challenge: &Challenge,
        scheme: Option<VoucherScheme>,
        call: u8,
    ) -> PreparedOpen {
        let deposit = usd().units(DEPOSIT);
        let open = OpenRequest {
            challenge,
            deposit: &deposit,
            scheme,
            call: CallKey::from_bytes([call; 16]),
            entropy: Zeroizing::new([call; 32]),
            now: self.now(),
        };
        self.run(self.payer.prepare_open(open)).unwrap()
    }

    pub(super) fn fund(&self, artefact: &Artefact, voucher: Option<&Voucher>) -> Proof {
        self.run(self.payer.fund(artefact, voucher)).unwrap()
    }

    pub(super) fn decode(
        &self,
        challenge: &Challenge,
        payload: &Object,
    ) -> Result<SessionAction, Refusal> {
        self.payee.decode(Presented {
            challenge,
            payload,
            source: None,
            now: self.now(),
        })
    }

    pub(super) fn decode_open(&self, challenge: &Challenge, payload: &Object) -> Opening {
        match self.decode(challenge, payload).unwrap() {
            SessionAction::Open(opening) => *opening,
            other => panic!("not an opening: {other:?}"),
        }
    }

    pub(super) fn execute(&self, artefact: &Artefact) -> ChannelMoved {
        self.run(self.payee.execute(artefact)).unwrap()
    }

    /// Opens a channel, both sides in turn.
    pub(super) fn open(&self, scheme: Option<VoucherScheme>, call: u8) -> Opened {
        let challenge = self.challenge(call);
        let prepared = self.prepare(&challenge, scheme, call);
        let proof = self.fund(&prepared.artefact, None);
        let opening = self.decode_open(&challenge, &proof.payload);
        assert_eq!(opening.channel, prepared.channel);
        self.execute(&opening.artefact);
        Opened {
            channel: prepared.channel,
            record: prepared.record,
            terms: opening.terms,
        }
    }

    pub(super) fn signer(&self, opened: &Opened) -> Box<dyn VoucherSigner> {
        self.payer.signer(&opened.record).unwrap()
    }

    pub(super) fn sign(&self, signer: &mut dyn VoucherSigner, cumulative: u128) -> Voucher {
        self.run(signer.sign(cumulative, None)).unwrap()
    }

    pub(super) fn settle(
        &self,
        opened: &Opened,
        voucher: Option<&Voucher>,
        capture: u128,
        last: bool,
        key: u8,
    ) -> Artefact {
        let settle = SettleRequest {
            channel: opened.channel,
            terms: &opened.terms,
            voucher,
            capture,
            last,
            key: [key; 16],
            now: self.now(),
        };
        self.run(self.payee.prepare_settle(settle)).unwrap()
    }

    pub(super) fn top_up(&self, challenge: &Challenge, opened: &Opened, add: u128) -> Artefact {
        let add = usd().units(add);
        let top_up = TopUpRequest {
            challenge,
            record: &opened.record,
            add: &add,
            call: CallKey::from_bytes([99; 16]),
            now: self.now(),
        };
        self.run(self.payer.prepare_top_up(top_up)).unwrap()
    }

    pub(super) fn state(&self, opened: &Opened) -> ChannelState {
        let payees = self.run(self.payee.state(&opened.channel)).unwrap();
        let payers = self.run(self.payer.state(&opened.record)).unwrap();
        assert_eq!(payees, payers);
        payees.unwrap()
    }

    pub(super) fn hold(&self, opened: &Opened) -> stiver_ledger::view::Hold {
        let id = HoldId::from_bytes(opened.channel.0);
        let hold = self.run(self.base.embedded.ledger().hold(id));
        hold.unwrap().unwrap()
    }
}

pub(super) fn price() -> UnitPrice {
    UnitPrice {
        amount: usd().units(PRICE),
        per: 1,
        unit: Some("token".to_owned()),
    }
}

/// A payload with one member put, or taken away.
pub(super) fn with(payload: &Object, member: &str, value: Option<Value>) -> Object {
    let mut members = payload.members().clone();
    match value {
        Some(value) => members.insert(member.to_owned(), value),
        None => members.remove(member),
    };
    Object::from_members(members)
}

/// A text, as a member.
pub(super) fn text(text: &str) -> Option<Value> {
    Some(Value::String(text.to_owned()))
}
