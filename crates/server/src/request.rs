//! What the gate must know of a request. No HTTP types: any transport can fill it in.

use stiver_core::{
    base64url,
    credential::{Presented, presented},
    digest::BodyDigest,
};

use crate::{hash, limits::SCOPE_BYTES_MAX};

/// A request, as the gate sees it. Field lines are given raw, each as one slice.
#[derive(Clone, Copy)]
pub struct Request<'a> {
    /// The HTTP method, in upper case as it stands on the wire, for example `GET`. Another
    /// transport names its operation here.
    pub method: &'a str,
    /// The normalised path with its query, for example `/v1/temperature?room=3`. Two spellings of
    /// one resource must not reach the gate: it compares bytes.
    pub target: &'a str,
    /// All `Authorization` field lines, of every scheme, and the `Payment-Authorization` ones.
    pub authorization: &'a [&'a [u8]],
    /// All `Accept-Payment` field lines.
    pub accept_payment: &'a [&'a [u8]],
    /// All `Accept-Language` field lines: they choose the language of descriptions.
    pub accept_language: &'a [&'a [u8]],
    /// All `Idempotency-Key` field lines.
    pub idempotency_key: &'a [&'a [u8]],
    /// What is known of the body.
    pub body: BodyState,
}

/// What is known of a request body when the gate decides.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BodyState {
    /// There is none, or it is empty.
    None,
    /// It was read in full; this is its digest. The challenge is bound to it.
    Digest(BodyDigest),
    /// It streams past the gate. The challenge is not bound to it, and once the handler has been
    /// started it is never started again for the same payment.
    Unbound,
    /// There is none: the connection goes on as a socket, and its messages are metered.
    Frames,
}

impl Request<'_> {
    /// The scope a credential for this request must have: HTTP method, a space, and the target. A
    /// `HEAD` request has the scope of its `GET`, so that its challenge can be answered there.
    pub(crate) fn scope(&self) -> String {
        let method = if self.method == "HEAD" {
            "GET"
        } else {
            self.method
        };
        if method.len() + 1 + self.target.len() <= SCOPE_BYTES_MAX {
            return format!("{method} {}", self.target);
        }
        let digest = hash::of("stiver target", &[self.target.as_bytes()]);
        let cut = self.target.split('?').next().unwrap_or_default();
        let cut: String = cut.chars().take(64).collect();
        format!("{method} {cut} sha-256={}", base64url::encode(&digest))
    }

    /// What makes two requests the same one: HTTP method, target, what is known of the body, and
    /// the digest of what else the price was made of, as the challenge has it.
    pub(crate) fn hash(&self, inputs: Option<&str>) -> [u8; 32] {
        let (tag, digest): (&[u8], &[u8]) = match &self.body {
            BodyState::None | BodyState::Frames => (b"none", b""),
            BodyState::Digest(digest) => (b"digest", digest.as_bytes()),
            BodyState::Unbound => (b"unbound", b""),
        };
        let mut parts = vec![self.method.as_bytes(), self.target.as_bytes(), tag, digest];
        parts.extend(inputs.map(str::as_bytes));
        hash::of("stiver request", &parts)
    }

    /// The credentials of other schemes: who the application takes the client for.
    pub(crate) fn others_hash(&self) -> [u8; 32] {
        let others = self
            .authorization
            .iter()
            .copied()
            .filter(|line| matches!(presented([*line]), Presented::None));
        let others: Vec<&[u8]> = others.collect();
        hash::of("stiver other credentials", &others)
    }

    /// True when the HTTP method asks for nothing but to be told (RFC 9110, section 9.2.1).
    pub(crate) fn method_is_safe(&self) -> bool {
        matches!(self.method, "GET" | "HEAD")
    }

    /// True when the HTTP method may be repeated without another effect (RFC 9110, section 9.2.2).
    pub(crate) fn method_is_idempotent(&self) -> bool {
        matches!(
            self.method,
            "GET" | "HEAD" | "OPTIONS" | "TRACE" | "PUT" | "DELETE"
        )
    }
}
