//! What an event does to a channel.

use super::{Broken, Change, Channel, Event, Figures, Phase, PhaseName};

impl Channel {
    /// Applies an event that [`Channel::decide`] made from this very state.
    ///
    /// # Errors
    /// [`Broken`] when the event does not follow from the state, as one of a damaged log would
    /// not. The channel is unchanged then.
    pub fn apply(&mut self, event: &Event) -> Result<(), Broken> {
        let mut next = self.clone();
        next.change(&event.change)?;
        if is_payers(&event.change) || next.phase.name().is_final() {
            next.active_at = next.active_at.max(event.at);
        }
        next.check()?;
        only_grows(&self.figures, &next.figures)?;
        *self = next;
        Ok(())
    }

    fn change(&mut self, change: &Change) -> Result<(), Broken> {
        let phase = self.phase.name();
        if !follows(phase, change) {
            return Err(Broken::OutOfPhase { phase });
        }
        let figures = &mut self.figures;
        match *change {
            Change::Opened {
                deposit,
                accepted,
                settled,
            } => {
                *figures = Figures {
                    deposit,
                    accepted,
                    spent: settled,
                    reserved: 0,
                    settled,
                    published: settled,
                };
                self.phase = Phase::Active;
            }
            Change::Rejected => self.phase = Phase::Rejected,
            Change::ToppedUp {
                deposit,
                accepted,
                resumes,
            } => {
                figures.deposit = deposit;
                self.accepted(accepted);
                if resumes {
                    self.phase = Phase::Active;
                }
            }
            Change::Accepted { accepted } => self.accepted(accepted),
            Change::Reserved { amount } => add(&mut figures.reserved, amount)?,
            Change::Spent {
                amount,
                from_reserved,
            } => {
                take(&mut figures.reserved, from_reserved)?;
                add(&mut figures.spent, amount)?;
            }
            Change::Released { amount } => take(&mut figures.reserved, amount)?,
            Change::Paused { required } => self.phase = Phase::Paused { required },
            Change::Resumed | Change::SuspensionCancelled => self.phase = Phase::Active,
            Change::Published { published } => figures.published = published,
            Change::Settled { settled, published } => {
                figures.settled = settled;
                figures.published = published;
            }
            Change::Suspended { withdrawable_at } => {
                self.phase = Phase::Suspended { withdrawable_at };
            }
            Change::CloseBegun { accepted } => {
                figures.accepted = accepted;
                self.phase = Phase::Closing { capture: None };
            }
            Change::CaptureFixed { capture } => {
                self.phase = Phase::Closing {
                    capture: Some(capture),
                };
            }
            Change::Closed { captured } => {
                figures.settled = captured;
                self.end(Phase::Closed);
            }
            Change::Withdrawn => self.end(Phase::Withdrawn),
        }
        Ok(())
    }

    /// Raises what is authorised, which ends a pause that waited for it.
    fn accepted(&mut self, accepted: u128) {
        self.figures.accepted = accepted;
        if let Phase::Paused { required } = self.phase
            && required <= accepted
        {
            self.phase = Phase::Active;
        }
    }

    fn end(&mut self, phase: Phase) {
        self.figures.reserved = 0;
        self.phase = phase;
    }
}

/// Whether such a change can happen in such a phase.
fn follows(phase: PhaseName, change: &Change) -> bool {
    let serving = matches!(phase, PhaseName::Active | PhaseName::Paused);
    let suspended = phase == PhaseName::Suspended;
    let closing = phase == PhaseName::Closing;
    match change {
        Change::Opened { .. } | Change::Rejected => phase == PhaseName::Opening,
        Change::ToppedUp { resumes, .. } => match resumes {
            true => suspended,
            false => serving,
        },
        Change::Accepted { .. } | Change::Reserved { .. } | Change::Paused { .. } => serving,
        Change::Resumed => phase == PhaseName::Paused,
        Change::Spent {
            amount,
            from_reserved,
        } => serving || ((suspended || closing) && amount <= from_reserved),
        Change::Released { .. }
        | Change::Published { .. }
        | Change::Settled { .. }
        | Change::Closed { .. }
        | Change::Withdrawn => serving || suspended || closing,
        Change::Suspended { .. } | Change::CloseBegun { .. } => serving || suspended,
        Change::SuspensionCancelled => suspended,
        Change::CaptureFixed { .. } => closing,
    }
}

/// Whether the payer did it, or had it done.
fn is_payers(change: &Change) -> bool {
    matches!(
        change,
        Change::Opened { .. }
            | Change::ToppedUp { .. }
            | Change::Accepted { .. }
            | Change::Reserved { .. }
            | Change::Spent { .. }
    )
}

fn add(figure: &mut u128, amount: u128) -> Result<(), Broken> {
    *figure = figure
        .checked_add(amount)
        .ok_or(Broken::UsedAboveAccepted)?;
    Ok(())
}

fn take(figure: &mut u128, amount: u128) -> Result<(), Broken> {
    *figure = figure.checked_sub(amount).ok_or(Broken::Lowered)?;
    Ok(())
}

/// Checks that nothing but `reserved` became less.
fn only_grows(before: &Figures, after: &Figures) -> Result<(), Broken> {
    let grown = before.deposit <= after.deposit
        && before.accepted <= after.accepted
        && before.spent <= after.spent
        && before.settled <= after.settled
        && before.published <= after.published;
    match grown {
        true => Ok(()),
        false => Err(Broken::Lowered),
    }
}
