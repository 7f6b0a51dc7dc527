//! Sockets: a channel pays for messages, as they come.

use std::sync::Arc;

use stiver_channel::{ChannelId, Voucher, VoucherError};
use stiver_core::{Credential, base64url, name::IntentName};
use stiver_method::{payee::Presented, session::SessionAction};
use stiver_store::{ChannelReply, Take};

use super::{super::Gate, SessionRefused, busy::Busy, grant::Bought, paid};
use crate::{
    error::GateError,
    outcome::Outcome,
    request::Request,
    session::{Charging, SessionGrant, SessionOffer},
};

/// What a credential in a socket is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Brings {
    Voucher,
    /// An opening or a top-up.
    Funds,
    Close,
}

impl Gate {
    /// What the credential of a request is for, and of which channel it is. Changes nothing.
    ///
    /// # Errors
    /// [`GateError`]: it is none of this gate, or none of a session.
    pub(crate) fn look_at(&self, request: &Request<'_>) -> Result<(Brings, ChannelId), GateError> {
        let now = self.now();
        let fields = self.read_fields(request, now)?;
        let fields = fields.ok_or(GateError::NoCredential)?;
        let credential = &fields.credential;
        let params = &credential.challenge.params;
        if params.intent != IntentName::session() {
            return Err(GateError::IntentNotOffered);
        }
        if !fields.bound {
            return Err(GateError::NotBound);
        }
        let action = self.offered(&params.method)?.decode(Presented {
            challenge: &credential.challenge,
            payload: &credential.payload,
            source: credential.source.as_deref(),
            now,
        });
        Ok(match action.map_err(GateError::Refused)? {
            SessionAction::Spend(voucher) => (Brings::Voucher, voucher.channel),
            SessionAction::Open(opening) => (Brings::Funds, opening.channel),
            SessionAction::TopUp(top_up) => (Brings::Funds, top_up.channel),
            SessionAction::Close { channel, .. } => (Brings::Close, channel),
        })
    }

    /// The refusal of what is for another channel than the socket's.
    pub(crate) fn other_channel(busy: &Busy) -> GateError {
        SessionRefused::voucher(busy, VoucherError::WrongChannel)
    }

    /// Takes the voucher that a socket begins with. Nothing is reserved yet: what the channel has
    /// left is asked for before anything is delivered, and a voucher when that is too little.
    pub(super) async fn attach(
        &self,
        busy: &Arc<Busy>,
        credential: &Credential,
        offer: &SessionOffer,
        voucher: Voucher,
    ) -> Result<Outcome, GateError> {
        let Charging::Metered(metered) = &offer.charging else {
            return Err(GateError::IntentNotOffered);
        };
        let cumulative = voucher.cumulative;
        let presented = self.present(busy, voucher, Take::Nothing, None).await?;
        let ChannelReply::Presented(it) = presented else {
            return Err(GateError::JournalOutOfStep);
        };
        let paid = paid(busy, credential, (metered.window, cumulative, None));
        let bought = Bought::nothing(it.channel);
        let grant = SessionGrant::new(self.clone(), Arc::clone(busy), paid, bought);
        let grant = grant.by_meters(metered.clone());
        Ok(Outcome::Session(Box::new(grant)))
    }
}

/// The JSON of a `Payment-Receipt` value.
pub(crate) fn receipt_json(field: &str) -> Option<String> {
    let json = base64url::decode(field.as_bytes()).ok()?;
    String::from_utf8(json).ok()
}
