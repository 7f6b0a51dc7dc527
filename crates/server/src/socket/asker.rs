//! A socket's questions to the gate.

use std::{future::ready, sync::Arc};

use http::request::Parts;
use stiver_channel::ChannelId;
use stiver_core::{
    Problem,
    problem::ProblemKind,
    socket::{ErrorFrame, Frame, Framing},
};

use crate::{
    BodyState, Gate, Outcome, Pricing, Refused, Request,
    gate::session::{
        metered::Metering,
        socket::{Brings, receipt_json},
    },
    tower::{Fields, Price, ReadBody},
};

/// What a first credential led to.
pub(super) enum First {
    /// An account, and the receipt as JSON and as a field value.
    Account(Box<Metering>, String, Arc<str>),
    /// A top-up: more has to come.
    Told(String),
    /// The channel is closed.
    Closed(String),
    Refused(Box<Refused>),
}

/// What a later credential led to.
pub(super) enum Later {
    Told(String),
    Refused(Box<Refused>),
}

/// One socket's way to the gate.
pub(super) struct Asker {
    pub(super) gate: Gate,
    pub(super) price: Arc<dyn Price>,
    /// The head of the handshake, without credentials.
    pub(super) parts: Parts,
    pub(super) target: String,
}

/// How a credential is shown.
#[derive(Clone, Copy, PartialEq, Eq)]
enum As {
    /// By the socket that it is to pay for.
    Socket,
    /// As an update.
    Update,
}

impl Asker {
    /// What a credential is for, and of which channel.
    fn look(&self, credential: &[u8]) -> Result<(Brings, ChannelId), Box<Refused>> {
        let fields = Fields::of(&self.parts.headers);
        let lines = [credential];
        let request = self.request(&fields, &lines, As::Socket);
        let looked = self.gate.look_at(&request);
        looked.map_err(|error| {
            let refused = error.refused();
            self.gate.tell_refused(&refused);
            Box::new(refused)
        })
    }

    fn request<'a>(
        &'a self,
        fields: &'a Fields<'a>,
        authorization: &'a [&'a [u8]],
        how: As,
    ) -> Request<'a> {
        let body = match how {
            As::Socket => BodyState::Frames,
            As::Update => BodyState::None,
        };
        let mut request = fields.request(&self.parts, &self.target, body);
        request.authorization = authorization;
        request.idempotency_key = &[];
        if how == As::Update {
            request.method = "HEAD";
        }
        request
    }

    async fn admit(&self, lines: &[&[u8]], how: As) -> Outcome {
        let fields = Fields::of(&self.parts.headers);
        let request = self.request(&fields, lines, how);
        let none = ReadBody::none();
        let price = || self.price.price(&self.parts, &none);
        let honour = || self.price.honour(&self.parts, &none);
        self.gate.admit_with(&request, price, honour).await
    }

    /// The answer to who brings no credential.
    pub(super) async fn unpaid(&self) -> Box<Refused> {
        match self.admit(&[], As::Socket).await {
            Outcome::Refuse(refused) => Box::new(refused),
            _ => internal(),
        }
    }

    /// Begins with a credential.
    pub(super) async fn first(&self, credential: &[u8]) -> First {
        let brings = match self.look(credential) {
            Ok((brings, _)) => brings,
            // Told what can be paid, as anywhere.
            Err(refused) => return First::Refused(self.renewed(*refused).await),
        };
        match self.admit(&[credential], As::Socket).await {
            Outcome::Session(grant) => match grant.into_metering() {
                Some(account) => {
                    let (field, json) = account.receipt(false).await;
                    First::Account(Box::new(account), json, field)
                }
                None => First::Refused(internal()),
            },
            Outcome::Acknowledge(done) => match (receipt_json(&done.receipt), brings) {
                (Some(json), Brings::Close) => First::Closed(json),
                (Some(json), _) => First::Told(json),
                (None, _) => First::Refused(internal()),
            },
            Outcome::Refuse(refused) => First::Refused(Box::new(refused)),
            Outcome::Free | Outcome::Serve(_) | Outcome::Replay(_) => First::Refused(internal()),
        }
    }

    async fn renewed(&self, refused: Refused) -> Box<Refused> {
        let fields = Fields::of(&self.parts.headers);
        let request = self.request(&fields, &[], As::Socket);
        let none = ReadBody::none();
        let price = || self.price.price(&self.parts, &none);
        Box::new(self.gate.renew(refused, &request, price).await)
    }

    /// What a later credential is for. One of another channel than the account's is refused.
    pub(super) fn later_is_for(
        &self,
        credential: &[u8],
        account: &crate::gate::session::busy::Busy,
    ) -> Result<Brings, Box<Refused>> {
        let (brings, channel) = self.look(credential)?;
        if channel != account.id {
            let refused = Gate::other_channel(account).refused();
            self.gate.tell_refused(&refused);
            return Err(Box::new(refused));
        }
        Ok(brings)
    }

    /// Goes on with a credential.
    pub(super) async fn later(&self, credential: &[u8]) -> Later {
        match self.admit(&[credential], As::Update).await {
            Outcome::Acknowledge(done) => match receipt_json(&done.receipt) {
                Some(json) => Later::Told(json),
                None => Later::Refused(internal()),
            },
            Outcome::Refuse(refused) => Later::Refused(Box::new(refused)),
            _ => Later::Refused(internal()),
        }
    }
}

fn internal() -> Box<Refused> {
    refused(ProblemKind::Internal, "the socket cannot be paid for")
}

/// A refusal that is no matter of the channel.
pub(super) fn refused(kind: ProblemKind, detail: &str) -> Box<Refused> {
    Box::new(Refused::plain(Problem::new(kind, detail)))
}

/// A refusal as the frame that ends a socket.
pub(super) fn error_text(refused: &Refused, framing: Framing) -> String {
    let problem = refused.body();
    let lines = refused.challenges.iter();
    let detail = refused.problem.detail.as_str();
    let error = ErrorFrame {
        status: Some(refused.status()),
        message: detail.into(),
        problem: Some(&problem),
        challenges: lines.map(|it| it.to_header().into()).collect(),
    };
    Frame::Error(error).to_text(framing).unwrap_or_default()
}

/// A price that does not change.
pub(super) fn fixed(pricing: Pricing) -> impl Price {
    Fixed(pricing)
}

struct Fixed(Pricing);

impl Price for Fixed {
    fn is_never_free(&self, _: &Parts) -> bool {
        true
    }

    fn reads_body(&self, _: &Parts) -> bool {
        false
    }

    fn price<'a>(&'a self, _: &'a Parts, _: &'a ReadBody) -> stiver_env::BoxFuture<'a, Pricing> {
        Box::pin(ready(self.0.clone()))
    }
}
