//! A naive channel: it remembers everything that happened and adds it up each time it is asked.

use super::*;

/// Where the naive channel stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    Before,
    Serving { waits_for: Option<u128> },
    Frozen { until: Timestamp },
    Ending { takes: Option<u128> },
    Over(PhaseName),
}

/// What becomes of an operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Outcome {
    Changed,
    Unchanged,
    Refused,
}
use Outcome::{Changed, Refused, Unchanged};

/// The naive channel.
#[derive(Debug, Clone)]
pub(super) struct Model {
    pub(super) place: Place,
    deposits: Vec<u128>,
    vouchers: Vec<u128>,
    spends: Vec<u128>,
    reservations: Vec<u128>,
    releases: Vec<u128>,
    settlements: Vec<u128>,
    shown: Vec<u128>,
}

fn highest(all: &[u128]) -> u128 {
    all.iter().copied().max().unwrap_or(0)
}

/// Reservations come and go, so that all of them together may be more than fits: only what is left
/// has to.
fn sum(all: &[u128]) -> u128 {
    all.iter().fold(0, |sum, one| sum.wrapping_add(*one))
}

impl Model {
    pub(super) fn new() -> Self {
        Self {
            place: Place::Before,
            deposits: Vec::new(),
            vouchers: Vec::new(),
            spends: Vec::new(),
            reservations: Vec::new(),
            releases: Vec::new(),
            settlements: Vec::new(),
            shown: Vec::new(),
        }
    }

    pub(super) fn figures(&self) -> Figures {
        Figures {
            deposit: highest(&self.deposits),
            accepted: highest(&self.vouchers),
            spent: sum(&self.spends),
            reserved: sum(&self.reservations).wrapping_sub(sum(&self.releases)),
            settled: highest(&self.settlements),
            published: highest(&self.shown),
        }
    }

    pub(super) fn phase(&self) -> PhaseName {
        match self.place {
            Place::Before => PhaseName::Opening,
            Place::Serving { waits_for: None } => PhaseName::Active,
            Place::Serving { .. } => PhaseName::Paused,
            Place::Frozen { .. } => PhaseName::Suspended,
            Place::Ending { .. } => PhaseName::Closing,
            Place::Over(phase) => phase,
        }
    }

    fn serves(&self) -> bool {
        matches!(self.place, Place::Serving { .. })
    }

    fn has_money(&self) -> bool {
        !matches!(self.place, Place::Before | Place::Over(_))
    }

    fn free(&self) -> u128 {
        let figures = self.figures();
        figures.accepted - figures.spent - figures.reserved
    }

    fn owed(&self) -> u128 {
        sum(&self.spends).max(highest(&self.settlements))
    }

    /// Whether who asks may take something.
    fn trusts(&self, authority: Authority) -> bool {
        let Authority::Voucher { cumulative } = authority else {
            return true;
        };
        let seen_by_others = !self.shown.is_empty() && cumulative <= highest(&self.shown);
        cumulative == highest(&self.vouchers) && !(seen_by_others && cumulative > 0)
    }

    fn authorise(&mut self, cumulative: u128) {
        self.vouchers.push(cumulative);
        if let Place::Serving { waits_for } = &mut self.place
            && waits_for.is_some_and(|needs| needs <= cumulative)
        {
            *waits_for = None;
        }
    }

    /// Says what becomes of an operation, and does it.
    pub(super) fn run(&mut self, rules: &Rules, op: &Op) -> Outcome {
        match *op {
            Op::ConfirmOpen {
                deposit,
                settled,
                voucher,
            } => self.open(rules, deposit, settled, voucher),
            Op::RejectOpen => match self.place {
                Place::Before => {
                    self.place = Place::Over(PhaseName::Rejected);
                    Changed
                }
                Place::Over(PhaseName::Rejected) => Unchanged,
                _ => Refused,
            },
            Op::TopUp { deposit } => self.top_up(rules, deposit),
            Op::Accept { cumulative } => self.accept(rules, cumulative),
            Op::Reserve { amount, authority } => {
                if !self.serves() || !self.trusts(authority) || amount > self.free() {
                    return Refused;
                }
                self.reservations.push(amount);
                changed(amount > 0)
            }
            Op::Spend {
                amount,
                from_reserved,
                authority,
            } => self.spend(amount, from_reserved, authority),
            Op::Release { amount } => {
                if amount > self.figures().reserved {
                    return Refused;
                }
                self.releases.push(amount);
                changed(amount > 0)
            }
            Op::Pause { required } => self.pause(rules, required),
            Op::Resume => match &mut self.place {
                Place::Serving { waits_for } => changed(waits_for.take().is_some()),
                _ => Unchanged,
            },
            Op::Publish { cumulative } => {
                if !self.has_money() || cumulative > highest(&self.vouchers) {
                    return Refused;
                }
                let news = cumulative > highest(&self.shown);
                self.shown.push(cumulative);
                changed(news)
            }
            _ => self.end(rules, op),
        }
    }

    fn open(
        &mut self,
        rules: &Rules,
        deposit: u128,
        settled: u128,
        voucher: Option<u128>,
    ) -> Outcome {
        match self.place {
            Place::Before => {}
            Place::Over(PhaseName::Rejected) => return Refused,
            _ => {
                return if deposit <= highest(&self.deposits) {
                    Unchanged
                } else {
                    Refused
                };
            }
        }
        let prepaid = rules.caps.authorised_by == AuthorisedBy::Deposit;
        let accepted = if prepaid {
            deposit
        } else {
            voucher.unwrap_or(settled)
        };
        let voucher_fits = match rules.caps.initial_voucher {
            InitialVoucher::Required => voucher.is_some(),
            InitialVoucher::Optional => true,
            InitialVoucher::Refused => voucher.is_none(),
        };
        let ordered = settled <= accepted && accepted <= deposit && rules.caps.fits(deposit);
        if !voucher_fits || !ordered {
            return Refused;
        }
        self.place = Place::Serving { waits_for: None };
        self.deposits.push(deposit);
        self.vouchers.push(accepted);
        self.spends.push(settled);
        self.settlements.push(settled);
        self.shown.push(settled);
        Changed
    }

    fn top_up(&mut self, rules: &Rules, deposit: u128) -> Outcome {
        let frozen = matches!(self.place, Place::Frozen { .. });
        let allowed = self.serves() || (frozen && rules.caps.top_up_cancels_close);
        let before = highest(&self.deposits);
        if !allowed || !rules.caps.fits(deposit) || deposit < before {
            return Refused;
        }
        if deposit == before {
            return Unchanged;
        }
        self.deposits.push(deposit);
        if frozen {
            self.place = Place::Serving { waits_for: None };
        }
        if rules.caps.authorised_by == AuthorisedBy::Deposit {
            self.authorise(deposit);
        }
        Changed
    }

    fn accept(&mut self, rules: &Rules, cumulative: u128) -> Outcome {
        let before = highest(&self.vouchers);
        if !self.serves() || rules.caps.authorised_by == AuthorisedBy::Deposit {
            return Refused;
        }
        if cumulative < before && rules.caps.stale == StaleVoucher::Refused {
            return Refused;
        }
        if cumulative <= before {
            return Unchanged;
        }
        let backed = cumulative <= highest(&self.deposits);
        if !backed || cumulative - before < rules.voucher_delta_min {
            return Refused;
        }
        self.authorise(cumulative);
        Changed
    }

    fn spend(&mut self, amount: u128, from_reserved: u128, authority: Authority) -> Outcome {
        let beyond = amount.saturating_sub(from_reserved);
        if from_reserved > self.figures().reserved {
            return Refused;
        }
        let begins_something = beyond > 0 || from_reserved == 0;
        if !self.has_money() || (begins_something && !self.serves()) {
            return Refused;
        }
        if beyond > 0 && (!self.trusts(authority) || beyond > self.free()) {
            return Refused;
        }
        self.releases.push(from_reserved);
        self.spends.push(amount);
        changed(amount > 0 || from_reserved > 0)
    }

    fn pause(&mut self, rules: &Rules, required: u128) -> Outcome {
        let accepted = highest(&self.vouchers);
        let Place::Serving { waits_for } = &mut self.place else {
            return Refused;
        };
        if !rules.caps.fits(required) {
            return Refused;
        }
        if waits_for.is_some_and(|before| before <= required) {
            return Unchanged;
        }
        // Nobody waits for what is there.
        if required <= accepted {
            return Unchanged;
        }
        *waits_for = Some(required);
        Changed
    }

    /// What leads to the end of a channel.
    fn end(&mut self, rules: &Rules, op: &Op) -> Outcome {
        let settled = highest(&self.settlements);
        if let Op::Close { captured } = *op
            && self.place == Place::Over(PhaseName::Closed)
            && captured == settled
        {
            return Unchanged;
        }
        if *op == Op::Withdraw && self.place == Place::Over(PhaseName::Withdrawn) {
            return Unchanged;
        }
        if !self.has_money() {
            return Refused;
        }
        let forced = rules.caps.grace_seconds_min.is_some();
        match *op {
            Op::Settle { settled } => self.settle(rules, settled),
            Op::Suspend { withdrawable_at } => match self.place {
                _ if !forced => Refused,
                Place::Ending { .. } => Unchanged,
                Place::Frozen { until } if until == withdrawable_at => Unchanged,
                _ => {
                    self.place = Place::Frozen {
                        until: withdrawable_at,
                    };
                    Changed
                }
            },
            Op::CancelSuspension => match self.place {
                Place::Frozen { .. } => {
                    self.place = Place::Serving { waits_for: None };
                    Changed
                }
                _ => Unchanged,
            },
            Op::BeginClose { voucher } => self.begin_close(rules, voucher),
            Op::FixCapture { voucher } => self.fix(rules, voucher),
            Op::Close { captured } => {
                let ordered = matches!(self.place, Place::Ending { takes: Some(takes) }
                    if takes != captured);
                if ordered || captured < settled || captured > highest(&self.vouchers) {
                    return Refused;
                }
                self.settlements.push(captured);
                self.over(PhaseName::Closed)
            }
            Op::Withdraw if !forced => Refused,
            Op::Withdraw => self.over(PhaseName::Withdrawn),
            _ => unreachable!("{op:?}"),
        }
    }

    fn settle(&mut self, rules: &Rules, settled: u128) -> Outcome {
        let before = highest(&self.settlements);
        let beyond = matches!(self.place, Place::Ending { takes: Some(takes) }
            if settled > takes);
        if beyond || settled < before || settled > highest(&self.vouchers) {
            return Refused;
        }
        if settled == before {
            return Unchanged;
        }
        self.settlements.push(settled);
        if rules.caps.public_settlement {
            self.shown.push(settled);
        }
        Changed
    }

    fn begin_close(&mut self, rules: &Rules, voucher: Option<u128>) -> Outcome {
        let accepted = highest(&self.vouchers);
        if matches!(self.place, Place::Ending { .. }) {
            let raises = voucher.is_some_and(|voucher| voucher > accepted);
            return if raises { Refused } else { Unchanged };
        }
        if let Some(voucher) = voucher {
            let backed = voucher <= highest(&self.deposits) && rules.caps.fits(voucher);
            let taken = rules.caps.authorised_by == AuthorisedBy::Voucher;
            if !taken || !backed || voucher < self.owed() {
                return Refused;
            }
            self.vouchers.push(voucher);
        }
        self.place = Place::Ending { takes: None };
        Changed
    }

    fn fix(&mut self, rules: &Rules, voucher: u128) -> Outcome {
        let Place::Ending { takes } = self.place else {
            return Refused;
        };
        let owed = self.owed();
        let settled = highest(&self.settlements);
        if self.figures().reserved > 0 || voucher > highest(&self.vouchers) {
            return Refused;
        }
        let prepaid = rules.caps.authorised_by == AuthorisedBy::Deposit;
        let capture = match rules.caps.partial_capture {
            true if prepaid || voucher >= owed || owed == settled => owed,
            false if voucher <= owed => voucher.max(settled),
            _ => return Refused,
        };
        match takes {
            None => {
                self.place = Place::Ending {
                    takes: Some(capture),
                };
                Changed
            }
            Some(takes) if takes == capture => Unchanged,
            Some(_) => Refused,
        }
    }

    fn over(&mut self, phase: PhaseName) -> Outcome {
        self.releases.push(self.figures().reserved);
        self.place = Place::Over(phase);
        Changed
    }
}

fn changed(changed: bool) -> Outcome {
    if changed { Changed } else { Unchanged }
}
