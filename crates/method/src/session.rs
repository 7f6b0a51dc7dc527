//! The seams of the `session` intent: a deposit, then a voucher for each use.
//!
//! A payer sets a deposit aside in a *channel*, then signs *vouchers*: each says how much of the
//! deposit, counted from the channel's opening, the payee may take. The engine (server or client)
//! keeps what is accepted, spent and signed; a method only knows the rail. What a method's channels
//! can and cannot do is data: [`Caps`].
//!
//! All figures of a channel are **cumulative base units of its currency**, counted from its
//! opening. All instants are milliseconds since 1970.
//!
//! # Who calls what, when
//!
//! | the server ([`PayeeSession`]) | when | I/O |
//! |---|---|---|
//! | `quote` | a challenge is made; once a route if `quotes_the_same` | as the rail needs |
//! | `terms`, `expected_terms` | a credential's challenge against its route | none |
//! | `decode` | binding and terms hold; before any lock or claim | none |
//! | `channel` | a channel becomes busy: key set-up, kept while it is | none |
//! | [`VerifyVoucher`] | each voucher, under no lock, before it is accepted durably | none |
//! | `execute` | open and top-up are claimed, settle journaled; repeatable | yes |
//! | `lookup` | `execute` had no answer, or a start finds it unfinished | yes |
//! | `prepare_settle` | a settlement is due, or a close whose streams are fenced | signs |
//! | `state` | a start, a bound of staleness; never for each voucher | yes |
//! | `seal_receipt` | a receipt leaves | signs |
//!
//! | the client ([`PayerSession`]) | when | I/O |
//! |---|---|---|
//! | `view` | a challenge arrives; before policy | none |
//! | `prepare_open`, `prepare_top_up` | policy agreed; journal it before it is sent | signs |
//! | `signer` | a channel is used: kept while it is | none |
//! | [`VoucherSigner::sign`] | each use; journal its figure before it is sent | signs |
//! | `fund` | open and top-up are journaled; repeatable | where the payer pays the rail |
//! | `spend`, `close` | a voucher is signed | none |
//! | `lookup` | an answer was lost | yes |
//! | `state` | recovery, and before a server's hint is followed | yes |
//! | `prepare_forced_close`, `prepare_withdraw` | the payee does not answer | signs |
//! | `execute` | a forced close or a withdrawal is journaled; repeatable | yes |
//!
//! # Losing state
//!
//! - An **opening** is claimed once by [`Opening::replay_keys`]; executing its artefact again gives
//!   the same channel. A lost answer is resolved by `lookup`.
//! - The server stores [`Opening::terms`] and gives them back to [`PayeeSession::channel`]: bytes
//!   that only the method reads. Nothing of a later credential changes them.
//! - A **snapshot** in a challenge is a server's hint. It never raises what a payer signs: the
//!   payer compares it with its own journal, and asks the rail.

use std::sync::Arc;

use stiver_channel::{Caps, ChannelId, VerifyVoucher, Voucher};
use stiver_core::{
    Amount, Currency, Timestamp,
    challenge::Challenge,
    json::{Object, Value},
    name::MethodName,
};
use zeroize::Zeroizing;

use crate::{
    BoxFuture,
    artefact::{Artefact, ExecuteError, RailUnavailable, Refusal},
    payee::{Presented, QuoteError},
    payer::{CallKey, PayError, Proof, Unpayable},
    signer::SignError,
};

/// Most prices in one request: one for each meter.
pub const PRICES_MAX: usize = 8;
/// Longest name of a unit, bytes.
pub const UNIT_BYTES_MAX: usize = 32;

/// The `session` intent, for a payee.
pub trait PayeeSession: Send + Sync {
    /// The method's name on the wire.
    fn name(&self) -> &MethodName;
    /// What this method's channels can do.
    fn caps(&self) -> &Caps;
    /// Makes the `request` of a challenge. Creates no outside state unless the rail needs it.
    ///
    /// # Errors
    ///
    /// [`QuoteError`]: the method cannot ask this price.
    fn quote<'a>(&'a self, quote: SessionQuote<'a>) -> BoxFuture<'a, Result<Object, QuoteError>>;
    /// Whether [`PayeeSession::quote`] gives the same for the same quote without a snapshot. Then
    /// it is asked once for each route.
    fn quotes_the_same(&self) -> bool {
        false
    }
    /// What [`PayeeSession::terms`] must give for a request quoted for these prices. Pure.
    ///
    /// # Errors
    ///
    /// [`QuoteError`]: the method cannot ask these prices.
    fn expected_terms(&self, prices: &[UnitPrice]) -> Result<SessionTerms, QuoteError>;
    /// The terms of a request: what stays the same from challenge to challenge. Pure.
    ///
    /// # Errors
    ///
    /// [`Refusal`]: the request is not this method's.
    fn terms(&self, request: &Object) -> Result<SessionTerms, Refusal>;
    /// Reads what a credential wants. Pure, never under a lock.
    ///
    /// Open and top-up are checked whole: format, then every field against the challenge, then
    /// expiry, then the signatures, that of the first voucher included. Of spend and close only
    /// the format is: their vouchers go through [`PayeeChannel::verifier`].
    ///
    /// # Errors
    ///
    /// [`Refusal`], which says what is wrong. Nothing has changed.
    fn decode(&self, presented: Presented<'_>) -> Result<SessionAction, Refusal>;
    /// A channel by the terms that its opening gave: the keys are set up once, here. Pure.
    ///
    /// # Errors
    ///
    /// [`Refusal`] when the bytes are not terms that [`PayeeSession::decode`] gave.
    fn channel(&self, channel: ChannelId, terms: &[u8]) -> Result<PayeeChannel, Refusal>;
    /// A channel's id as the wire has it: `channelId` and `reference` of receipts and events.
    fn channel_text(&self, channel: &ChannelId) -> String;
    /// Reads a channel's id.
    ///
    /// # Errors
    ///
    /// [`Refusal`] when the text is no channel id of this method.
    fn parse_channel(&self, text: &str) -> Result<ChannelId, Refusal>;
    /// Prepares taking money by a voucher. Signs, moves nothing.
    fn prepare_settle<'a>(
        &'a self,
        settle: SettleRequest<'a>,
    ) -> BoxFuture<'a, Result<Artefact, SettleError>>;
    /// Executes an open, top-up, settle or close. Repeatable: executing again what was executed
    /// gives the same movement.
    fn execute<'a>(
        &'a self,
        artefact: &'a Artefact,
    ) -> BoxFuture<'a, Result<ChannelMoved, ExecuteError>>;
    /// What became of an open, top-up, settle or close.
    fn lookup<'a>(
        &'a self,
        artefact: &'a Artefact,
    ) -> BoxFuture<'a, Result<ChannelLookup, RailUnavailable>>;
    /// The channel as the rail has it now; `None` when the rail does not know it. Asked seldom.
    fn state<'a>(
        &'a self,
        channel: &'a ChannelId,
    ) -> BoxFuture<'a, Result<Option<ChannelState>, RailUnavailable>>;
    /// Adds the method's signature to a session's receipt, when it signs receipts. Costs a
    /// signature: a server may seal the receipts of open, top-up, close and of a stream's end only.
    /// The default adds nothing.
    fn seal_receipt<'a>(
        &'a self,
        receipt: &'a mut stiver_core::Receipt,
    ) -> BoxFuture<'a, Result<(), SignError>> {
        let _ = receipt;
        Box::pin(std::future::ready(Ok(())))
    }
}

/// A price: `amount` for every `per` of `unit`. Not reduced: 2 for every 1000 differs from 1 for
/// every 500 on the wire, though it costs the same.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnitPrice {
    /// Base units for `per` units. May be below one base unit a unit, by a large `per`.
    pub amount: Amount,
    /// How many units `amount` buys; above zero.
    pub per: u64,
    /// `request`, `token`, `second`, `byte`, ...; at most [`UNIT_BYTES_MAX`] bytes. `None`: the
    /// wire does not tell.
    pub unit: Option<String>,
}

/// What to quote for.
#[derive(Debug, Clone, Copy)]
pub struct SessionQuote<'a> {
    /// The prices, one for each meter; the first is the request's `amount` and `unitType`. One to
    /// [`PRICES_MAX`], all of one currency.
    pub prices: &'a [UnitPrice],
    /// The deposit to suggest.
    pub suggested_deposit: Option<&'a Amount>,
    /// The smallest step between two vouchers, base units; zero for none.
    pub min_voucher_delta: u128,
    /// What is served before it is paid for good, base units, of all meters together: what either
    /// side can lose. Zero where each request is paid before it is served.
    pub window: u128,
    /// A channel of this payer that the server knows, to go on with.
    pub snapshot: Option<&'a Snapshot>,
    /// Shown to the payer; never relied upon.
    pub description: Option<&'a str>,
    /// The merchant's reference.
    pub external_id: Option<&'a str>,
    /// Now.
    pub now: Timestamp,
    /// When the challenge will expire.
    pub expires: Timestamp,
}

/// What two challenges for one route have in common.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SessionTerms {
    /// The prices, as quoted.
    pub prices: Vec<UnitPrice>,
    /// To whom, in the method's form.
    pub payee: String,
    /// Everything else that must agree (network, ledger, contract), canonical text. Equal to
    /// [`PayeeChannel::rest`] of a channel that may be used.
    pub rest: String,
}

/// A server's word on a channel. A hint: never trusted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Snapshot {
    /// The channel.
    pub channel: ChannelId,
    /// What was set aside.
    pub deposit: u128,
    /// Highest voucher accepted.
    pub accepted: u128,
    /// What was used.
    pub spent: u128,
}

/// What a credential wants.
#[derive(Debug, Clone)]
pub enum SessionAction {
    /// Open a channel.
    Open(Box<Opening>),
    /// Add to a channel's deposit.
    TopUp(Box<TopUp>),
    /// Pay: the voucher is not verified yet.
    Spend(Voucher),
    /// Close: the voucher, where there is one, is not verified yet, and proves who asks.
    Close {
        /// Which.
        channel: ChannelId,
        /// The last voucher.
        voucher: Option<Voucher>,
    },
}

/// A checked opening, ready to claim and execute.
#[derive(Debug, Clone)]
pub struct Opening {
    /// The channel's id, computed, not claimed.
    pub channel: ChannelId,
    /// Executing it opens the channel.
    pub artefact: Artefact,
    /// Every key under which this proof could be presented again, the method's name not included.
    /// At least one.
    pub replay_keys: Vec<Vec<u8>>,
    /// Until when the rail could accept this proof again: claims are kept at least as long.
    pub replayable_until: Timestamp,
    /// What is set aside.
    pub deposit: Amount,
    /// The first voucher, verified. [`Caps::initial_voucher`] says whether there must be one.
    pub voucher: Option<Voucher>,
    /// The payer, proven by signature.
    pub payer: Option<String>,
    /// What the server stores, and gives back to [`PayeeSession::channel`]. Not secret.
    pub terms: Vec<u8>,
}

/// A checked top-up, ready to claim and execute.
#[derive(Debug, Clone)]
pub struct TopUp {
    /// Of which channel.
    pub channel: ChannelId,
    /// Executing it adds to the deposit.
    pub artefact: Artefact,
    /// As of an opening: a top-up is claimed once.
    pub replay_keys: Vec<Vec<u8>>,
    /// As of an opening.
    pub replayable_until: Timestamp,
    /// How much is added.
    pub added: Amount,
}

/// A channel, with its keys set up. Cheap to clone, kept while the channel is busy.
#[derive(Clone)]
pub struct PayeeChannel {
    /// Verifies vouchers: pure, outside every lock.
    pub verifier: Arc<dyn VerifyVoucher>,
    /// The channel's currency: prices of another do not fit it.
    pub currency: Currency,
    /// Who is paid by it; equal to [`SessionTerms::payee`] of a route where it may be used.
    pub payee: String,
    /// Who pays, proven, when the method tells.
    pub payer: Option<String>,
    /// Equal to [`SessionTerms::rest`] of a route where it may be used.
    pub rest: String,
    /// Members the method adds to each receipt of the channel.
    pub receipt: Vec<(String, Value)>,
}

/// What to take.
#[derive(Debug, Clone, Copy)]
pub struct SettleRequest<'a> {
    /// From which channel.
    pub channel: ChannelId,
    /// Its terms.
    pub terms: &'a [u8],
    /// The highest voucher accepted, verified singly; `None` when there is none: then nothing is
    /// captured.
    pub voucher: Option<&'a Voucher>,
    /// Cumulative base units to have taken afterwards: at most the voucher's, at least what was
    /// settled. Equal to the voucher's where [`Caps`] knows no partial capture.
    pub capture: u128,
    /// Whether the channel ends with it, and what remains goes back to the payer.
    pub last: bool,
    /// A stable key: two settlements of one key are one settlement.
    pub key: [u8; 16],
    /// Now.
    pub now: Timestamp,
}

/// Why nothing was prepared to settle.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SettleError {
    /// The rail could never accept it.
    #[error("refused")]
    Refused(#[source] Refusal),
    /// Signing failed.
    #[error("not signed")]
    Sign(#[source] SignError),
    /// The rail could not be asked.
    #[error("not prepared")]
    Rail(#[source] RailUnavailable),
}

/// What the rail says of a channel. Never read from a credential.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChannelState {
    /// All that was ever set aside, top-ups included.
    pub deposit: u128,
    /// All that the payee has taken.
    pub settled: u128,
    /// Set when the payer has asked to close by force: from this instant it may withdraw. Accept
    /// no vouchers any more; settle before it.
    pub withdrawable_at: Option<Timestamp>,
    /// How it ended, if it did. Then nothing moves any more.
    pub ended: Option<Ended>,
}

/// How a channel ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    /// The payee closed it.
    Closed,
    /// The payer withdrew what remained.
    Withdrawn,
}

/// A movement of a channel, done.
#[derive(Debug, Clone, PartialEq)]
pub struct ChannelMoved {
    /// Which.
    pub channel: ChannelId,
    /// The rail's id of the movement.
    pub reference: String,
    /// When, by the rail.
    pub at: Timestamp,
    /// The channel, at least as new as the movement.
    pub state: ChannelState,
    /// Members the method adds to the receipt of this movement.
    pub receipt: Vec<(String, Value)>,
}

/// What the rail knows of a movement of a channel.
#[derive(Debug, Clone, PartialEq)]
pub enum ChannelLookup {
    /// It was done.
    Done(Box<ChannelMoved>),
    /// It was not and never can be. Not a time-out.
    Never(Refusal),
    /// It may yet, or nobody can tell now.
    Pending,
}

/// The `session` intent, for a payer.
pub trait PayerSession: Send + Sync {
    /// The method's name on the wire.
    fn name(&self) -> &MethodName;
    /// What this method's channels can do.
    fn caps(&self) -> &Caps;
    /// The challenge in plain terms, for the budget and the human. Refuses what it could not pay.
    /// Pure.
    ///
    /// # Errors
    ///
    /// [`Unpayable`].
    fn view(&self, challenge: &Challenge) -> Result<SessionView, Unpayable>;
    /// A channel's id as the wire has it.
    fn channel_text(&self, channel: &ChannelId) -> String;
    /// Reads a channel's id, of a receipt or an event.
    ///
    /// # Errors
    ///
    /// [`Refusal`] when the text is no channel id of this method.
    fn parse_channel(&self, text: &str) -> Result<ChannelId, Refusal>;
    /// Prepares opening a channel: signs, moves nothing, sends nothing.
    ///
    /// Channels prepared with one [`CallKey`] share the rail's nonce where the rail has one.
    fn prepare_open<'a>(
        &'a self,
        open: OpenRequest<'a>,
    ) -> BoxFuture<'a, Result<PreparedOpen, PayError>>;
    /// Prepares adding to a deposit: signs, moves nothing, sends nothing.
    fn prepare_top_up<'a>(
        &'a self,
        top_up: TopUpRequest<'a>,
    ) -> BoxFuture<'a, Result<Artefact, PayError>>;
    /// Sets up signing for one channel, from the record that its opening gave.
    ///
    /// # Errors
    ///
    /// [`Unpayable`] when the record is not of this method, or of a key that is not here.
    fn signer(&self, record: &[u8]) -> Result<Box<dyn VoucherSigner>, Unpayable>;
    /// The credential that opens a channel or tops it up, paying the rail first where it works so.
    /// Repeatable. `voucher` is the first voucher of an opening.
    fn fund<'a>(
        &'a self,
        artefact: &'a Artefact,
        voucher: Option<&'a Voucher>,
    ) -> BoxFuture<'a, Result<Proof, PayError>>;
    /// The credential that pays by a voucher. Pure.
    ///
    /// # Errors
    ///
    /// [`Refusal`] when the voucher is not one that this method signed.
    fn spend(&self, voucher: &Voucher) -> Result<Proof, Refusal>;
    /// The credential that asks the payee to close. Pure.
    ///
    /// # Errors
    ///
    /// [`Refusal`] when the voucher is not one that this method signed.
    fn close(&self, voucher: &Voucher) -> Result<Proof, Refusal>;
    /// Prepares asking the rail to close without the payee: a period of grace begins when it is
    /// executed. `record` is the channel's.
    fn prepare_forced_close<'a>(
        &'a self,
        record: &'a [u8],
        call: CallKey,
        now: Timestamp,
    ) -> BoxFuture<'a, Result<Artefact, PayError>>;
    /// Prepares taking back what remains, once [`ChannelState::withdrawable_at`] has passed.
    fn prepare_withdraw<'a>(
        &'a self,
        record: &'a [u8],
        call: CallKey,
        now: Timestamp,
    ) -> BoxFuture<'a, Result<Artefact, PayError>>;
    /// Executes a forced close or a withdrawal at the rail. Repeatable.
    fn execute<'a>(
        &'a self,
        artefact: &'a Artefact,
    ) -> BoxFuture<'a, Result<ChannelMoved, ExecuteError>>;
    /// What became of an artefact of this method: open, top-up, forced close, withdrawal.
    fn lookup<'a>(
        &'a self,
        artefact: &'a Artefact,
    ) -> BoxFuture<'a, Result<ChannelLookup, RailUnavailable>>;
    /// The channel as the rail has it now, by its record; `None` when the rail does not know it.
    fn state<'a>(
        &'a self,
        record: &'a [u8],
    ) -> BoxFuture<'a, Result<Option<ChannelState>, RailUnavailable>>;
    /// Checks what a receipt proves by itself. Pure. The default finds nothing to check.
    ///
    /// # Errors
    ///
    /// Why the receipt proves nothing, in words for the payer.
    fn check_receipt(&self, receipt: &stiver_core::Receipt) -> Result<(), String> {
        let _ = receipt;
        Ok(())
    }
}

/// Signs the vouchers of one channel. It has state (a hash chain's pebbles): one for each channel,
/// kept while the channel is used.
pub trait VoucherSigner: Send {
    /// The channel.
    fn channel(&self) -> ChannelId;
    /// Vouchers are multiples of this many base units; 1 where any figure can be signed.
    fn granularity(&self) -> u128;
    /// The largest voucher that this signer can ever make: a hash chain has an end.
    fn most(&self) -> u128 {
        u128::MAX
    }
    /// How far a voucher may lie above the one that the payee took last, or above nothing. A payee
    /// refuses one that is further: send some in between.
    fn leap_max(&self) -> u128 {
        u128::MAX
    }
    /// Signs the smallest voucher of at least `cumulative` base units: above it by less than
    /// [`VoucherSigner::granularity`]. Journal the voucher's figure before it is sent.
    ///
    /// `ack` countersigns what was delivered, where the scheme can: 32 bytes that the payee gave
    /// meaning to. Signing a lower figure than before is allowed and gives nothing away.
    fn sign<'a>(
        &'a mut self,
        cumulative: u128,
        ack: Option<[u8; 32]>,
    ) -> BoxFuture<'a, Result<Voucher, PayError>>;
}

/// A challenge in plain terms.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SessionView {
    /// The prices; at least one, all of one currency.
    pub prices: Vec<UnitPrice>,
    /// Who gets it, in the method's form.
    pub payee: String,
    /// The network, ledger or processor, in plain words.
    pub network: String,
    /// What the payee suggests to set aside. A wish, not a demand.
    pub suggested_deposit: Option<Amount>,
    /// The smallest step between two vouchers, base units; zero for none.
    pub min_voucher_delta: u128,
    /// How long after a forced close the payer must wait, milliseconds, where a channel opened now
    /// could be closed so.
    pub grace_ms: Option<u64>,
    /// The server's hint at a channel. Compare it with the journal; never sign more because of it.
    pub snapshot: Option<Snapshot>,
    /// After this the challenge opens nothing any more. Vouchers of an open channel outlive it.
    pub expires: Option<Timestamp>,
}

/// What to open.
pub struct OpenRequest<'a> {
    /// The challenge to answer.
    pub challenge: &'a Challenge,
    /// How much to set aside.
    pub deposit: &'a Amount,
    /// How the channel's vouchers are to be made; `None` lets the method choose of what the
    /// challenge offers.
    pub scheme: Option<VoucherScheme>,
    /// Names the opening: one at most lands, where the rail has nonces.
    pub call: CallKey,
    /// 32 bytes of a cryptographically secure source, for the channel's own secrets. Use them for
    /// one opening.
    pub entropy: Zeroizing<[u8; 32]>,
    /// Now.
    pub now: Timestamp,
}

/// How vouchers are proven.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum VoucherScheme {
    /// Each is signed.
    Signed,
    /// Each is a word of a hash chain whose root was signed at the opening.
    HashChain {
        /// Base units of one word; above zero.
        step: u128,
    },
}

/// What to add to a channel.
#[derive(Clone, Copy)]
pub struct TopUpRequest<'a> {
    /// The challenge to answer.
    pub challenge: &'a Challenge,
    /// The channel's record.
    pub record: &'a [u8],
    /// How much to add.
    pub add: &'a Amount,
    /// Names the top-up.
    pub call: CallKey,
    /// Now.
    pub now: Timestamp,
}

/// An opening, signed and not sent.
pub struct PreparedOpen {
    /// The channel it will be.
    pub channel: ChannelId,
    /// To send, by [`PayerSession::fund`].
    pub artefact: Artefact,
    /// All that this method needs to use the channel again: **secret** where vouchers come from a
    /// seed. Store it durably, as keys are stored, before anything is sent; it never changes.
    pub record: Zeroizing<Vec<u8>>,
}
