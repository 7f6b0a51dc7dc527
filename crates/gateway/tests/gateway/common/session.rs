//! A payer's side of a session, by the ledger method and nothing else.

use bytes::Bytes;
use http::{Request, header};
use stiver_core::{Challenge, Credential, Receipt, json::Value};
use stiver_method::{
    payer::{CallKey, Proof},
    session::{OpenRequest, PayerSession, TopUpRequest, VoucherScheme, VoucherSigner},
};
use stiver_method_ledger::session::{LedgerSessionPayer, LedgerSessionPayerConfig};
use zeroize::Zeroizing;

use super::{Reply, World, paid};

/// A channel that was opened, or is about to be.
pub(crate) struct Session {
    payer: LedgerSessionPayer,
    challenge: Challenge,
    record: Zeroizing<Vec<u8>>,
    signer: Box<dyn VoucherSigner>,
    opening: Option<stiver_method::artefact::Artefact>,
}

impl Session {
    /// Answers the session's challenge of a request: nothing is sent yet.
    pub(crate) async fn prepare(
        world: &World,
        request: Request<Bytes>,
        deposit: u128,
        scheme: Option<VoucherScheme>,
    ) -> Self {
        let challenge = world.ask(request).await.challenge_for("session");
        let config = LedgerSessionPayerConfig::new(
            std::sync::Arc::<stiver_method::key::Ed25519Key>::clone(&world.key),
            world.ledger,
            world.config.currencies.clone(),
            None,
        );
        let payer = LedgerSessionPayer::new(config);
        let usd = world.config.currencies[0].units(deposit);
        let open = OpenRequest {
            challenge: &challenge,
            deposit: &usd,
            scheme,
            call: CallKey::from_bytes(world.env.random()),
            entropy: Zeroizing::new(world.env.random()),
            now: world.env.clock.now(),
        };
        let prepared = payer.prepare_open(open).await.unwrap();
        let signer = payer.signer(&prepared.record).unwrap();
        Self {
            payer,
            challenge,
            record: prepared.record,
            signer,
            opening: Some(prepared.artefact),
        }
    }

    /// The credential that pays this much in all: the first one opens the channel.
    pub(crate) async fn pay(&mut self, cumulative: u128) -> String {
        let voucher = self.signer.sign(cumulative, None).await.unwrap();
        let proof = match self.opening.take() {
            Some(opening) => self.payer.fund(&opening, Some(&voucher)).await.unwrap(),
            None => self.payer.spend(&voucher).unwrap(),
        };
        self.credential(proof)
    }

    /// The credential that closes the channel.
    pub(crate) async fn close(&mut self, cumulative: u128) -> String {
        let voucher = self.signer.sign(cumulative, None).await.unwrap();
        self.credential(self.payer.close(&voucher).unwrap())
    }

    /// The credential that adds to the deposit, by a challenge of now.
    pub(crate) async fn top_up(
        &mut self,
        world: &World,
        request: Request<Bytes>,
        add: u128,
    ) -> String {
        self.challenge = world.ask(request).await.challenge_for("session");
        let add = world.config.currencies[0].units(add);
        let top_up = TopUpRequest {
            challenge: &self.challenge,
            record: &self.record,
            add: &add,
            call: CallKey::from_bytes(world.env.random()),
            now: world.env.clock.now(),
        };
        let artefact = self.payer.prepare_top_up(top_up).await.unwrap();
        let proof = self.payer.fund(&artefact, None).await.unwrap();
        self.credential(proof)
    }

    fn credential(&self, proof: Proof) -> String {
        let credential = Credential {
            challenge: self.challenge.clone(),
            payload: proof.payload,
            source: proof.source,
        };
        credential.to_header()
    }

    /// Goes on with the same channel by a challenge of now.
    pub(crate) async fn renew(&mut self, world: &World, request: Request<Bytes>) {
        self.challenge = world.ask(request).await.challenge_for("session");
    }

    /// A member of what its challenge asks.
    pub(crate) fn asked(&self, name: &str) -> Option<String> {
        let asked = self.challenge.params.request.object().to_value();
        let details = asked.get("methodDetails").and_then(|it| it.get(name));
        let member = asked.get(name).or(details)?;
        member.as_str().map(str::to_owned)
    }

    /// Sends a request that pays this much in all.
    pub(crate) async fn ask(
        &mut self,
        world: &World,
        request: Request<Bytes>,
        cumulative: u128,
    ) -> Reply {
        let credential = self.pay(cumulative).await;
        world.ask(paid(request, &credential)).await
    }
}

impl Reply {
    /// Its challenge for an intent.
    pub(crate) fn challenge_for(&self, intent: &str) -> Challenge {
        let lines = self.headers.get_all(header::WWW_AUTHENTICATE).iter();
        let all = Challenge::parse_all(lines.map(header::HeaderValue::as_bytes));
        let mut all = all.into_iter().map(Result::unwrap);
        let found = all.find(|challenge| challenge.params.intent.as_str() == intent);
        found.expect("it has a challenge for the intent")
    }
}

/// A figure of a session's receipt.
#[track_caller]
pub(crate) fn figure(receipt: &Receipt, name: &str) -> u128 {
    let figure = receipt.extra.get(name).and_then(Value::as_str);
    figure.expect(name).parse().unwrap()
}
