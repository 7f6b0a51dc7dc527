//! A channel in memory: small, because there may be a million.

use stiver_channel::{Channel, ChannelId, Figures, Phase, Voucher};
use stiver_core::Timestamp;

use super::{Carried, ChannelSeen, Glance, Left, Settling};

/// What is kept of one channel.
pub(crate) struct Record {
    packed: Packed,
    /// The proof of the highest voucher, and then the server's details: one allocation.
    bytes: Box<[u8]>,
    proof_bytes: u16,
    /// How often something was spent since the last settlement.
    spends: u32,
    extra: Option<Box<Extra>>,
}

/// What few channels have.
#[derive(Default)]
struct Extra {
    settling: Option<Settling>,
    outcome: Option<Box<[u8]>>,
    carried: Carried,
}

impl Extra {
    fn is_empty(&self) -> bool {
        self.settling.is_none() && self.outcome.is_none() && self.carried.is_empty()
    }
}

/// Phase and figures. Nearly all figures fit 64 bits, and nearly all phases say nothing more than
/// their name.
enum Packed {
    Small {
        figures: [u64; 6],
        active_at: u64,
        phase: PlainPhase,
    },
    Large(Box<Channel>),
}

#[derive(Clone, Copy)]
enum PlainPhase {
    Active,
    Closed,
    Withdrawn,
}

impl Packed {
    fn new(channel: Channel) -> Self {
        let phase = match channel.phase() {
            Phase::Active => PlainPhase::Active,
            Phase::Closed => PlainPhase::Closed,
            Phase::Withdrawn => PlainPhase::Withdrawn,
            _ => return Self::Large(Box::new(channel)),
        };
        let it = channel.figures();
        let all = [
            it.deposit,
            it.accepted,
            it.spent,
            it.reserved,
            it.settled,
            it.published,
        ];
        let mut figures = [0; 6];
        for (to, from) in figures.iter_mut().zip(all) {
            match u64::try_from(from) {
                Ok(from) => *to = from,
                Err(_) => return Self::Large(Box::new(channel)),
            }
        }
        Self::Small {
            figures,
            active_at: channel.active_at().as_millis(),
            phase,
        }
    }

    fn channel(&self) -> Channel {
        match self {
            Self::Large(channel) => (**channel).clone(),
            Self::Small {
                figures,
                active_at,
                phase,
            } => {
                let [deposit, accepted, spent, reserved, settled, published] =
                    figures.map(u128::from);
                let figures = Figures {
                    deposit,
                    accepted,
                    spent,
                    reserved,
                    settled,
                    published,
                };
                let phase = match phase {
                    PlainPhase::Active => Phase::Active,
                    PlainPhase::Closed => Phase::Closed,
                    PlainPhase::Withdrawn => Phase::Withdrawn,
                };
                Channel::restore(phase, figures, Timestamp::from_millis(*active_at))
                    .expect("the figures are sound, because a sound channel was packed")
            }
        }
    }
}

impl Record {
    pub(crate) fn new(channel: Channel, proof: Option<&[u8]>, details: &[u8]) -> Self {
        let mut record = Self {
            packed: Packed::new(channel),
            bytes: details.into(),
            proof_bytes: 0,
            spends: 0,
            extra: None,
        };
        if let Some(proof) = proof {
            record.set_proof(proof);
        }
        record
    }

    pub(crate) fn channel(&self) -> Channel {
        self.packed.channel()
    }

    pub(crate) fn set_channel(&mut self, channel: Channel) {
        self.packed = Packed::new(channel);
    }

    pub(crate) fn spends(&self) -> u32 {
        self.spends
    }

    pub(crate) fn set_spends(&mut self, spends: u32) {
        self.spends = spends;
    }

    /// Counts what happened between two states of the channel.
    pub(crate) fn count(&mut self, before: Figures, after: Figures) {
        if after.settled > before.settled {
            self.spends = 0;
        } else if after.spent > before.spent {
            self.spends = self.spends.saturating_add(1);
        }
    }

    pub(crate) fn glance(&self) -> Glance {
        Glance {
            channel: self.channel(),
            settling: self.settling().is_some(),
            spends: self.spends,
        }
    }

    fn proof_end(&self) -> usize {
        usize::from(self.proof_bytes)
    }

    pub(crate) fn proof(&self) -> Option<&[u8]> {
        let end = self.proof_end();
        self.bytes.get(..end).filter(|it| !it.is_empty())
    }

    pub(crate) fn details(&self) -> &[u8] {
        self.bytes.get(self.proof_end()..).unwrap_or_default()
    }

    /// A proof of the same length is written in place.
    pub(crate) fn set_proof(&mut self, proof: &[u8]) {
        let end = self.proof_end();
        match self.bytes.get_mut(..end) {
            Some(place) if place.len() == proof.len() => place.copy_from_slice(proof),
            _ => {
                let Ok(proof_bytes) = u16::try_from(proof.len()) else {
                    return;
                };
                self.bytes = [proof, self.details()].concat().into();
                self.proof_bytes = proof_bytes;
            }
        }
    }

    pub(crate) fn settling(&self) -> Option<&Settling> {
        self.extra.as_ref()?.settling.as_ref()
    }

    pub(crate) fn outcome(&self) -> Option<&[u8]> {
        self.extra.as_ref()?.outcome.as_deref()
    }

    pub(crate) fn begin(&mut self, settling: Settling) {
        self.extra.get_or_insert_default().settling = Some(settling);
    }

    pub(crate) fn set_outcome(&mut self, outcome: Box<[u8]>) {
        self.extra.get_or_insert_default().outcome = Some(outcome);
    }

    pub(crate) fn end(&mut self, outcome: Option<Box<[u8]>>) {
        if let Some(extra) = &mut self.extra {
            extra.settling = None;
        }
        if outcome.is_some() {
            self.extra.get_or_insert_default().outcome = outcome;
        }
        self.tidy();
    }

    /// What the channel's meters carry.
    pub(crate) fn carried(&self) -> Carried {
        let extra = self.extra.as_ref();
        extra.map_or_else(Carried::default, |it| it.carried.clone())
    }

    pub(crate) fn set_carried(&mut self, carried: Carried) {
        if self.extra.is_some() || !carried.is_empty() {
            self.extra.get_or_insert_default().carried = carried;
        }
        self.tidy();
    }

    fn tidy(&mut self) {
        if self.extra.as_deref().is_some_and(Extra::is_empty) {
            self.extra = None;
        }
    }

    /// The highest voucher, of a channel with this id.
    pub(crate) fn voucher(&self, id: ChannelId) -> Option<Voucher> {
        Some(Voucher {
            channel: id,
            cumulative: self.channel().figures().accepted,
            proof: self.proof()?.into(),
        })
    }

    pub(crate) fn seen(&self, id: ChannelId) -> ChannelSeen {
        ChannelSeen {
            channel: self.channel(),
            voucher: self.voucher(id),
            details: self.details().into(),
            settling: self.settling().cloned(),
            outcome: self.outcome().map(Into::into),
            carried: self.carried(),
        }
    }

    /// Memory that the record takes, bytes, with its place among the others.
    pub(crate) fn weight(&self) -> u64 {
        let large = match &self.packed {
            Packed::Small { .. } => 0,
            Packed::Large(_) => size_of::<Channel>() + HEAP_OVERHEAD_BYTES,
        };
        let extra = self.extra.as_ref().map_or(0, |extra| {
            let settling = extra.settling.as_ref().map_or(0, |it| it.artefact.len());
            let outcome = extra.outcome.as_ref().map_or(0, |it| it.len());
            let meters = extra.carried.meters.iter();
            let carried = meters.map(|it| size_of::<Left>() + it.meter.len() + HEAP_OVERHEAD_BYTES);
            let carried: usize = carried.sum();
            size_of::<Extra>() + settling + outcome + carried + 3 * HEAP_OVERHEAD_BYTES
        });
        let bytes = PLACE_BYTES
            + size_of::<Self>()
            + 2 * HEAP_OVERHEAD_BYTES
            + self.bytes.len()
            + large
            + extra;
        u64::try_from(bytes).unwrap_or(u64::MAX)
    }
}

/// What an allocation takes besides its bytes, about.
const HEAP_OVERHEAD_BYTES: usize = 16;
/// A place in a map that is as full as such maps are on average, bytes.
const PLACE_BYTES: usize = 64;
