//! Sessions of the ledger method between two strangers: a request as a hostile server sends it, a
//! payload as a hostile client does, bytes as a broken store gives them back. What its payer did
//! not sign opens no channel and is no voucher.
#![no_main]

use std::{
    path::Path,
    sync::{Arc, LazyLock},
};

use libfuzzer_sys::fuzz_target;
use stiver_channel::{ChannelId, VerifyVoucher, Voucher};
use stiver_core::{
    Challenge, Currency, Timestamp,
    challenge::{Expires, Params},
    json::{EncodedObject, Object},
    name::{ChallengeId, IntentName, MethodName, Realm},
};
use stiver_ledger::{
    LedgerConfig, id::AccountId, receipt::SessionReceiptBody, voucher::VoucherBody,
};
use stiver_method::{
    key::Ed25519Key,
    payee::Presented,
    payer::CallKey,
    session::{
        OpenRequest, PayeeSession, PayerSession, SessionAction, SessionQuote, UnitPrice,
        VoucherScheme,
    },
};
use stiver_method_ledger::{
    EmbeddedLedger, LedgerSessionPayee, LedgerSessionPayeeConfig, LedgerSessionPayer,
    LedgerSessionPayerConfig,
};
use stiver_testkit::simulation::Simulation;

struct Honest {
    payee: LedgerSessionPayee,
    payer: LedgerSessionPayer,
    now: Timestamp,
    challenge: Challenge,
    channels: Vec<Channel>,
}

/// One channel, on signatures or on words.
struct Channel {
    open: Object,
    spend: Object,
    id: ChannelId,
    voucher: Voucher,
    verifier: Arc<dyn VerifyVoucher>,
    terms: Vec<u8>,
    record: Vec<u8>,
}

static HONEST: LazyLock<Honest> = LazyLock::new(|| {
    let simulation = Simulation::new(1);
    let key = |seed| Arc::new(Ed25519Key::from_seed(&[seed; 32]));
    let (operator, seller, buyer) = (key(1), key(2), key(3));
    let config = LedgerConfig::new(Path::new("/ledger"), operator.did(), operator.did());
    let env = simulation.env();
    let opened = simulation.block_on(EmbeddedLedger::open(config, &env));
    let ledger = Arc::new(opened.expect("a new ledger opens"));
    let usd = Currency::new("usd", 6).expect("usd is a currency");
    let now = env.clock.now();
    let payer = LedgerSessionPayer::new(LedgerSessionPayerConfig::new(
        buyer,
        ledger.ledger().id(),
        vec![usd.clone()],
        None,
    ));
    let payee = LedgerSessionPayee::new(LedgerSessionPayeeConfig::new(
        ledger,
        AccountId::of_first_key(&seller.did()),
        seller,
        vec![usd.clone()],
    ))
    .expect("the configuration is the usual one");
    let price = UnitPrice {
        amount: usd.units(20),
        per: 1,
        unit: Some("token".to_owned()),
    };
    let quote = SessionQuote {
        prices: &[price],
        suggested_deposit: None,
        min_voucher_delta: 0,
        window: 0,
        snapshot: None,
        description: None,
        external_id: None,
        now,
        expires: now.plus_millis(60_000),
    };
    let request = simulation
        .block_on(payee.quote(quote))
        .expect("the price can be asked");
    let challenge = challenge(&request, now);
    let schemes = [VoucherScheme::Signed, VoucherScheme::HashChain { step: 20 }];
    let mut channels = Vec::new();
    for (number, scheme) in (1..).zip(schemes) {
        let deposit = usd.units(2_000);
        let open = OpenRequest {
            challenge: &challenge,
            deposit: &deposit,
            scheme: Some(scheme),
            call: CallKey::from_bytes([number; 16]),
            entropy: [number; 32].into(),
            now,
        };
        channels.push(simulation.block_on(channel(&payer, &payee, open)));
    }
    Honest {
        payee,
        payer,
        now,
        challenge,
        channels,
    }
});

async fn channel(
    payer: &LedgerSessionPayer,
    payee: &LedgerSessionPayee,
    open: OpenRequest<'_>,
) -> Channel {
    let (challenge, now) = (open.challenge, open.now);
    let prepared = payer.prepare_open(open).await.expect("it can be opened");
    let mut signer = payer.signer(&prepared.record).expect("the record is ours");
    let voucher = signer.sign(400, None).await.expect("it can be signed");
    let proof = payer.fund(&prepared.artefact, Some(&voucher)).await;
    let open = proof.expect("the proof is made").payload;
    let presented = Presented {
        challenge,
        payload: &open,
        source: None,
        now,
    };
    let Ok(SessionAction::Open(opening)) = payee.decode(presented) else {
        panic!("an honest opening opens");
    };
    let known = payee.channel(opening.channel, &opening.terms);
    let verifier = known.expect("the terms are ours").verifier;
    Channel {
        spend: payer.spend(&voucher).expect("the voucher is ours").payload,
        open,
        id: prepared.channel,
        voucher,
        verifier,
        terms: opening.terms,
        record: prepared.record.to_vec(),
    }
}

fn challenge(request: &Object, now: Timestamp) -> Challenge {
    Challenge {
        id: ChallengeId::new("x7Tg2pLqR9mKvNwY3hBcZa").expect("letters are an id"),
        params: Params {
            realm: Realm::new("api.example.com").expect("a host is a realm"),
            method: MethodName::new("ledger").expect("a word is a method"),
            intent: IntentName::session(),
            request: EncodedObject::encode(request),
            expires: Some(Expires::at(now.plus_millis(60_000))),
            digest: None,
            description: None,
            opaque: None,
        },
    }
}

/// The honest bytes with some changed: three input bytes for each change.
fn changed(honest: &[u8], edits: &[u8]) -> Vec<u8> {
    let mut bytes = honest.to_vec();
    for edit in edits.chunks_exact(3) {
        let offset = usize::from(u16::from_le_bytes([edit[0], edit[1]])) % bytes.len();
        bytes[offset] ^= edit[2];
    }
    bytes
}

fn text<'a>(object: &'a Object, member: &str) -> Option<&'a str> {
    object.get(member).and_then(|value| value.as_str())
}

fn payload(honest: &Honest, channel: &Channel, bytes: &[u8]) {
    let Ok(payload) = Object::parse(bytes) else {
        return;
    };
    let presented = Presented {
        challenge: &honest.challenge,
        payload: &payload,
        source: None,
        now: honest.now,
    };
    match honest.payee.decode(presented) {
        Ok(SessionAction::Open(opening)) => {
            for other in ["transaction", "channelId"] {
                let theirs = text(&payload, other);
                let known = honest.channels.iter();
                let honest = known.map(|it| text(&it.open, other)).any(|it| it == theirs);
                assert!(honest, "a forged opening: {other}");
            }
            if let Some(voucher) = opening.voucher {
                let known = honest.channels.iter().any(|it| it.voucher == voucher);
                assert!(known, "a forged first voucher");
            }
        }
        Ok(SessionAction::TopUp(_)) => panic!("nobody signed a top-up"),
        Ok(
            SessionAction::Spend(voucher)
            | SessionAction::Close {
                voucher: Some(voucher),
                ..
            },
        ) => {
            // Words below the one that was shown follow from it; nothing else does.
            if channel
                .verifier
                .verify(Some(&channel.voucher), &voucher)
                .is_ok()
            {
                assert_eq!(voucher.channel, channel.id);
                assert!(voucher.cumulative <= channel.voucher.cumulative, "forged");
            }
            let again = honest
                .payer
                .spend(&voucher)
                .expect("it was read, so it prints");
            assert_eq!(
                text(&again.payload, "channelId"),
                text(&payload, "channelId")
            );
        }
        Ok(SessionAction::Close { voucher: None, .. }) | Err(_) => {}
    }
}

fuzz_target!(|data: &[u8]| {
    let honest = &*HONEST;
    let Some((&how, rest)) = data.split_first() else {
        return;
    };
    let channel = &honest.channels[usize::from(how & 1)];
    match (how >> 1) % 8 {
        0 => payload(
            honest,
            channel,
            &changed(channel.open.as_str().as_bytes(), rest),
        ),
        1 => payload(
            honest,
            channel,
            &changed(channel.spend.as_str().as_bytes(), rest),
        ),
        2 => payload(honest, channel, rest),
        3 | 4 => {
            let request = honest.challenge.params.request.object().as_str();
            let request = match how >> 1 & 1 {
                1 => changed(request.as_bytes(), rest),
                _ => rest.to_vec(),
            };
            let Ok(request) = Object::parse(&request) else {
                return;
            };
            if let Ok(view) = honest.payer.view(&challenge(&request, honest.now)) {
                let amount = view.prices[0].amount.to_wire();
                assert_eq!(text(&request, "amount"), Some(amount.as_str()));
                assert_eq!(text(&request, "recipient"), Some(view.payee.as_str()));
                let terms = honest.payee.terms(&request).expect("both sides read it");
                assert_eq!(terms.prices, view.prices);
            }
        }
        5 => drop(
            honest
                .payee
                .channel(channel.id, &changed(&channel.terms, rest)),
        ),
        6 => drop(honest.payer.signer(&changed(&channel.record, rest))),
        _ => {
            if let Ok(body) = VoucherBody::decode(rest) {
                assert_eq!(body.encode(), rest, "two forms of one voucher");
            }
            if let Ok(body) = SessionReceiptBody::decode(rest) {
                assert_eq!(body.encode(), rest, "two forms of one receipt");
            }
        }
    }
});
