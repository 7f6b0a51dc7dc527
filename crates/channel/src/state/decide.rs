//! What a channel says to an operation.

use super::{Authority, Change, Channel, Event, Op, Phase, PhaseName, Refusal, Rules};
use crate::{AuthorisedBy, InitialVoucher, StaleVoucher};
use stiver_core::Timestamp;

/// What came of an operation: something, or nothing because it is so already.
type Decided = Result<Option<Change>, Refusal>;

impl Channel {
    /// Decides what `op` would change. Changes nothing.
    ///
    /// `None` says that all is as asked for already: an equal voucher, a report that was heard
    /// before. There is nothing to write then.
    ///
    /// # Errors
    /// [`Refusal`] says which rule stands against it.
    pub fn decide(&self, rules: &Rules, op: &Op, now: Timestamp) -> Result<Option<Event>, Refusal> {
        let change = match *op {
            Op::ConfirmOpen {
                deposit,
                settled,
                voucher,
            } => self.confirm_open(rules, deposit, settled, voucher),
            Op::RejectOpen => self.reject_open(),
            Op::TopUp { deposit } => self.top_up(rules, deposit),
            Op::Accept { cumulative } => self.accept(rules, cumulative),
            Op::Reserve { amount, authority } => self.reserve(amount, authority),
            Op::Spend {
                amount,
                from_reserved,
                authority,
            } => self.spend(amount, from_reserved, authority),
            Op::Release { amount } => self.release(amount),
            Op::Pause { required } => self.pause(rules, required),
            Op::Resume => Ok(self.is_paused().then_some(Change::Resumed)),
            Op::Publish { cumulative } => self.publish(cumulative),
            Op::Settle { settled } => self.settle(rules, settled),
            Op::Suspend { withdrawable_at } => self.suspend(rules, withdrawable_at),
            Op::CancelSuspension => self.cancel_suspension(),
            Op::BeginClose { voucher } => self.begin_close(rules, voucher),
            Op::FixCapture { voucher } => self.fix_capture(rules, voucher),
            Op::Close { captured } => self.close(captured),
            Op::Withdraw => self.withdraw(rules),
        }?;
        let at = now.max(self.active_at);
        Ok(change.map(|change| Event { at, change }))
    }

    fn confirm_open(
        &self,
        rules: &Rules,
        deposit: u128,
        settled: u128,
        voucher: Option<u128>,
    ) -> Decided {
        match self.phase {
            Phase::Opening => {}
            Phase::Rejected => return Err(self.finished()),
            // The rail was asked twice. What it says of a later top-up comes as one.
            _ if deposit <= self.figures.deposit => return Ok(None),
            _ => return Err(Refusal::AlreadyOpen),
        }
        match (rules.caps.initial_voucher, voucher) {
            (InitialVoucher::Required, None) => return Err(Refusal::InitialVoucherMissing),
            (InitialVoucher::Refused, Some(_)) => return Err(Refusal::InitialVoucherRefused),
            _ => {}
        }
        fits(rules, deposit)?;
        if settled > deposit {
            return Err(Refusal::SettledAboveAccepted {
                reported: settled,
                accepted: deposit,
            });
        }
        let accepted = match rules.caps.authorised_by {
            AuthorisedBy::Deposit => deposit,
            AuthorisedBy::Voucher => voucher.unwrap_or(settled),
        };
        within(rules, accepted, deposit)?;
        if accepted < settled {
            return Err(Refusal::BelowSettled {
                cumulative: accepted,
                settled,
            });
        }
        Ok(Some(Change::Opened {
            deposit,
            accepted,
            settled,
        }))
    }

    fn reject_open(&self) -> Decided {
        match self.phase {
            Phase::Opening => Ok(Some(Change::Rejected)),
            Phase::Rejected => Ok(None),
            _ => Err(Refusal::AlreadyOpen),
        }
    }

    fn top_up(&self, rules: &Rules, deposit: u128) -> Decided {
        let resumes = matches!(self.phase, Phase::Suspended { .. });
        if !(resumes && rules.caps.top_up_cancels_close) {
            self.serving()?;
        }
        fits(rules, deposit)?;
        if deposit < self.figures.deposit {
            return Err(Refusal::DepositLowered {
                deposit: self.figures.deposit,
                reported: deposit,
            });
        }
        let accepted = match rules.caps.authorised_by {
            AuthorisedBy::Deposit => deposit,
            AuthorisedBy::Voucher => self.figures.accepted,
        };
        let change = Change::ToppedUp {
            deposit,
            accepted,
            resumes,
        };
        Ok((deposit > self.figures.deposit).then_some(change))
    }

    fn accept(&self, rules: &Rules, cumulative: u128) -> Decided {
        self.serving()?;
        takes_vouchers(rules)?;
        fits(rules, cumulative)?;
        let accepted = self.figures.accepted;
        let Some(delta) = cumulative.checked_sub(accepted) else {
            return match rules.caps.stale {
                StaleVoucher::State => Ok(None),
                StaleVoucher::Refused => Err(Refusal::Lower {
                    cumulative,
                    accepted,
                }),
            };
        };
        if delta == 0 {
            return Ok(None);
        }
        within(rules, cumulative, self.figures.deposit)?;
        if delta < rules.voucher_delta_min {
            return Err(Refusal::DeltaTooSmall {
                delta,
                delta_min: rules.voucher_delta_min,
            });
        }
        Ok(Some(Change::Accepted {
            accepted: cumulative,
        }))
    }

    fn reserve(&self, amount: u128, authority: Authority) -> Decided {
        self.serving()?;
        self.authorised(authority)?;
        self.covers(amount)?;
        Ok((amount > 0).then_some(Change::Reserved { amount }))
    }

    fn spend(&self, amount: u128, from_reserved: u128, authority: Authority) -> Decided {
        let beyond = amount.saturating_sub(from_reserved);
        if beyond > 0 || from_reserved == 0 {
            self.serving()?;
        } else {
            self.open()?;
        }
        self.is_reserved(from_reserved)?;
        if beyond > 0 {
            self.authorised(authority)?;
            self.covers(beyond)?;
        }
        let change = Change::Spent {
            amount,
            from_reserved,
        };
        Ok((amount > 0 || from_reserved > 0).then_some(change))
    }

    fn release(&self, amount: u128) -> Decided {
        self.is_reserved(amount)?;
        Ok((amount > 0).then_some(Change::Released { amount }))
    }

    fn pause(&self, rules: &Rules, required: u128) -> Decided {
        self.serving()?;
        fits(rules, required)?;
        let needed = match self.phase {
            // Whoever needs less is served first; the other one asks again.
            Phase::Paused { required: before } if before <= required => return Ok(None),
            _ => required > self.figures.accepted,
        };
        Ok(needed.then_some(Change::Paused { required }))
    }

    fn publish(&self, cumulative: u128) -> Decided {
        self.open()?;
        self.was_accepted(cumulative)?;
        let change = Change::Published {
            published: cumulative,
        };
        Ok((cumulative > self.figures.published).then_some(change))
    }

    fn settle(&self, rules: &Rules, settled: u128) -> Decided {
        self.open()?;
        self.plausible(settled)?;
        if let Some(fixed) = self.capture()
            && settled > fixed
        {
            let asked = settled;
            return Err(Refusal::CaptureFixed { fixed, asked });
        }
        let published = match rules.caps.public_settlement {
            true => self.figures.published.max(settled),
            false => self.figures.published,
        };
        let change = Change::Settled { settled, published };
        Ok((settled > self.figures.settled).then_some(change))
    }

    fn suspend(&self, rules: &Rules, withdrawable_at: Timestamp) -> Decided {
        self.open()?;
        if rules.caps.grace_seconds_min.is_none() {
            return Err(Refusal::NoForcedClose);
        }
        let known = match self.phase {
            Phase::Suspended {
                withdrawable_at: before,
            } => before == withdrawable_at,
            // A close of ours is under way: it needs no other reason.
            Phase::Closing { .. } => true,
            _ => false,
        };
        Ok((!known).then_some(Change::Suspended { withdrawable_at }))
    }

    fn cancel_suspension(&self) -> Decided {
        self.open()?;
        let suspended = matches!(self.phase, Phase::Suspended { .. });
        Ok(suspended.then_some(Change::SuspensionCancelled))
    }

    fn begin_close(&self, rules: &Rules, voucher: Option<u128>) -> Decided {
        self.open()?;
        let accepted = self.figures.accepted;
        let last = voucher.unwrap_or(accepted);
        if matches!(self.phase, Phase::Closing { .. }) {
            return if last <= accepted {
                Ok(None)
            } else {
                Err(Refusal::Closing)
            };
        }
        if voucher.is_some() {
            takes_vouchers(rules)?;
            within(rules, last, self.figures.deposit)?;
            let owed = self.owed();
            if last < owed {
                let voucher = last;
                return Err(Refusal::CloseTooLow { voucher, owed });
            }
        }
        Ok(Some(Change::CloseBegun {
            accepted: accepted.max(last),
        }))
    }

    fn fix_capture(&self, rules: &Rules, voucher: u128) -> Decided {
        self.open()?;
        let Phase::Closing { capture: fixed } = self.phase else {
            let phase = self.phase.name();
            return Err(Refusal::NotClosing { phase });
        };
        if self.figures.reserved > 0 {
            return Err(Refusal::StillReserved {
                reserved: self.figures.reserved,
            });
        }
        self.was_accepted(voucher)?;
        let owed = self.owed();
        let capture = if rules.caps.partial_capture {
            let by_voucher = rules.caps.authorised_by == AuthorisedBy::Voucher;
            if by_voucher && owed > self.figures.settled && voucher < owed {
                return Err(Refusal::CloseTooLow { voucher, owed });
            }
            owed
        } else if voucher > owed {
            return Err(Refusal::CaptureAboveSpent { voucher, owed });
        } else {
            voucher.max(self.figures.settled)
        };
        match fixed {
            None => Ok(Some(Change::CaptureFixed { capture })),
            Some(fixed) if fixed == capture => Ok(None),
            Some(fixed) => Err(Refusal::CaptureFixed {
                fixed,
                asked: capture,
            }),
        }
    }

    fn close(&self, captured: u128) -> Decided {
        if self.phase == Phase::Closed && captured == self.figures.settled {
            return Ok(None);
        }
        self.open()?;
        self.plausible(captured)?;
        match self.capture() {
            Some(fixed) if fixed != captured => Err(Refusal::CaptureFixed {
                fixed,
                asked: captured,
            }),
            _ => Ok(Some(Change::Closed { captured })),
        }
    }

    fn withdraw(&self, rules: &Rules) -> Decided {
        if self.phase == Phase::Withdrawn {
            return Ok(None);
        }
        self.open()?;
        if rules.caps.grace_seconds_min.is_none() {
            return Err(Refusal::NoForcedClose);
        }
        Ok(Some(Change::Withdrawn))
    }

    fn is_paused(&self) -> bool {
        matches!(self.phase, Phase::Paused { .. })
    }

    /// What the close captures, once that is fixed.
    fn capture(&self) -> Option<u128> {
        match self.phase {
            Phase::Closing { capture } => capture,
            _ => None,
        }
    }

    /// What the payee may keep.
    fn owed(&self) -> u128 {
        self.figures.spent.max(self.figures.settled)
    }

    fn finished(&self) -> Refusal {
        Refusal::Finished {
            phase: self.phase.name(),
        }
    }

    /// Passes a channel with a deposit that is not paid out.
    fn open(&self) -> Result<(), Refusal> {
        match self.phase.name() {
            PhaseName::Opening => Err(Refusal::NotOpen),
            PhaseName::Active | PhaseName::Paused | PhaseName::Suspended | PhaseName::Closing => {
                Ok(())
            }
            PhaseName::Closed | PhaseName::Withdrawn | PhaseName::Rejected => Err(self.finished()),
        }
    }

    /// Passes a channel that takes on something new.
    fn serving(&self) -> Result<(), Refusal> {
        self.open()?;
        match self.phase {
            Phase::Suspended { withdrawable_at } => Err(Refusal::Suspended { withdrawable_at }),
            Phase::Closing { .. } => Err(Refusal::Closing),
            _ => Ok(()),
        }
    }

    fn authorised(&self, authority: Authority) -> Result<(), Refusal> {
        let Authority::Voucher { cumulative } = authority else {
            return Ok(());
        };
        self.was_accepted(cumulative)?;
        let (accepted, published) = (self.figures.accepted, self.figures.published);
        if cumulative < accepted {
            return Err(Refusal::Superseded {
                cumulative,
                accepted,
            });
        }
        if published > 0 && cumulative <= published {
            return Err(Refusal::Published {
                cumulative,
                published,
            });
        }
        Ok(())
    }

    /// Passes an amount that is available.
    fn covers(&self, amount: u128) -> Result<(), Refusal> {
        let used = self.figures.spent.saturating_add(self.figures.reserved);
        let required = used.saturating_add(amount);
        if amount <= self.figures.available() {
            return Ok(());
        }
        Err(Refusal::Insufficient {
            required,
            accepted: self.figures.accepted,
            deposit: self.figures.deposit,
        })
    }

    fn is_reserved(&self, asked: u128) -> Result<(), Refusal> {
        let reserved = self.figures.reserved;
        if asked > reserved {
            return Err(Refusal::NotReserved { asked, reserved });
        }
        Ok(())
    }

    fn was_accepted(&self, cumulative: u128) -> Result<(), Refusal> {
        let accepted = self.figures.accepted;
        if cumulative > accepted {
            return Err(Refusal::NotAccepted {
                cumulative,
                accepted,
            });
        }
        Ok(())
    }

    /// Passes what the rail can have taken out in all.
    fn plausible(&self, reported: u128) -> Result<(), Refusal> {
        let (settled, accepted) = (self.figures.settled, self.figures.accepted);
        if reported < settled {
            return Err(Refusal::SettledLowered { settled, reported });
        }
        if reported > accepted {
            return Err(Refusal::SettledAboveAccepted { reported, accepted });
        }
        Ok(())
    }
}

fn takes_vouchers(rules: &Rules) -> Result<(), Refusal> {
    match rules.caps.authorised_by {
        AuthorisedBy::Voucher => Ok(()),
        AuthorisedBy::Deposit => Err(Refusal::VouchersUnused),
    }
}

fn fits(rules: &Rules, amount: u128) -> Result<(), Refusal> {
    if rules.caps.fits(amount) {
        return Ok(());
    }
    let bits = rules.caps.bits;
    Err(Refusal::OverWidth { bits })
}

/// Passes a voucher's amount that is backed by the deposit.
fn within(rules: &Rules, cumulative: u128, deposit: u128) -> Result<(), Refusal> {
    fits(rules, cumulative)?;
    if cumulative > deposit {
        return Err(Refusal::ExceedsDeposit {
            cumulative,
            deposit,
        });
    }
    Ok(())
}
