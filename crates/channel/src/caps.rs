//! How methods differ, as data.

/// What the channels of one method can do.
///
/// | | Tempo v1 | Tempo v2 | EVM | Hedera | Solana | Lightning | ledger |
/// |---|---|---|---|---|---|---|---|
/// | `bits` | 128 | 96 | 128 | 128 | 64 | 64 | 128 |
/// | `authorised_by` | voucher | voucher | voucher | voucher | voucher | deposit | voucher |
/// | `initial_voucher` | required | required | required | required | refused | refused | optional |
/// | `stale` | refused | refused | state | state | refused | refused | refused |
/// | `partial_capture` | no | yes | no | no | no | yes | yes |
/// | `top_up_cancels_close` | yes | yes | yes | yes | no | no | yes |
/// | `grace_seconds_min` | 900 | 900 | 600 | 900 | 0 | – | 0 |
/// | `public_settlement` | yes | yes | yes | yes | yes | no | no |
/// | `need_more` | voucher | voucher | voucher | voucher | refuse | top-up | voucher |
///
/// The fields are open so that a method outside of this project can state its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Caps {
    /// Width of the rail's integer in bits, 1 to 128: no figure needs more.
    pub bits: u8,
    /// What authorises spending.
    pub authorised_by: AuthorisedBy,
    /// Whether the proof of funding brings a voucher.
    pub initial_voucher: InitialVoucher,
    /// What becomes of a genuine voucher below the highest one.
    pub stale: StaleVoucher,
    /// Whether a close can capture less than the voucher it presents.
    pub partial_capture: bool,
    /// Whether a top-up cancels the payer's forced close; where not, it is refused meanwhile.
    pub top_up_cancels_close: bool,
    /// The shortest time in seconds between a payer's forced close and the withdrawal; `None`
    /// where a payer cannot force a close. 0 where each channel states its own.
    pub grace_seconds_min: Option<u64>,
    /// Whether a settlement shows its voucher to others, as on a public chain.
    pub public_settlement: bool,
    /// How a metered response asks for more.
    pub need_more: NeedMore,
}

/// What authorises spending.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AuthorisedBy {
    /// Vouchers, each for a cumulative amount.
    Voucher,
    /// The deposit: it was paid in advance, and the payee is trusted to meter.
    Deposit,
}

/// Whether the proof of funding brings a voucher.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum InitialVoucher {
    /// It must, though the voucher may be for nothing.
    Required,
    /// It may.
    Optional,
    /// It must not.
    Refused,
}

/// What becomes of a genuine voucher below the highest one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StaleVoucher {
    /// It is refused.
    Refused,
    /// It is answered with the channel's state, and buys nothing.
    State,
}

/// How a metered response asks for more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NeedMore {
    /// The event `payment-need-voucher`, then it waits.
    Voucher,
    /// The event `payment-need-topup`, then it waits.
    TopUp,
    /// It ends, and the next request is answered with 402.
    Refuse,
}

impl Caps {
    /// Tempo sessions through the contract.
    pub const TEMPO_V1: Self = Self {
        bits: 128,
        authorised_by: AuthorisedBy::Voucher,
        initial_voucher: InitialVoucher::Required,
        stale: StaleVoucher::Refused,
        partial_capture: false,
        top_up_cancels_close: true,
        grace_seconds_min: Some(900),
        public_settlement: true,
        need_more: NeedMore::Voucher,
    };

    /// Tempo sessions through the precompile.
    pub const TEMPO_V2: Self = Self {
        bits: 96,
        partial_capture: true,
        ..Self::TEMPO_V1
    };

    /// EVM sessions.
    pub const EVM: Self = Self {
        stale: StaleVoucher::State,
        grace_seconds_min: Some(600),
        ..Self::TEMPO_V1
    };

    /// Hedera sessions.
    pub const HEDERA: Self = Self {
        stale: StaleVoucher::State,
        ..Self::TEMPO_V1
    };

    /// Solana sessions.
    pub const SOLANA: Self = Self {
        bits: 64,
        initial_voucher: InitialVoucher::Refused,
        top_up_cancels_close: false,
        grace_seconds_min: Some(0),
        need_more: NeedMore::Refuse,
        ..Self::TEMPO_V1
    };

    /// Lightning sessions: prepaid, metered by the payee, no forced close.
    pub const LIGHTNING: Self = Self {
        bits: 64,
        authorised_by: AuthorisedBy::Deposit,
        initial_voucher: InitialVoucher::Refused,
        stale: StaleVoucher::Refused,
        partial_capture: true,
        top_up_cancels_close: false,
        grace_seconds_min: None,
        public_settlement: false,
        need_more: NeedMore::TopUp,
    };

    /// Sessions of the embedded ledger.
    pub const LEDGER: Self = Self {
        initial_voucher: InitialVoucher::Optional,
        partial_capture: true,
        grace_seconds_min: Some(0),
        public_settlement: false,
        ..Self::TEMPO_V1
    };

    /// True when `amount` fits in [`Caps::bits`].
    #[must_use]
    pub fn fits(&self, amount: u128) -> bool {
        amount
            .checked_shr(u32::from(self.bits))
            .is_none_or(|beyond| beyond == 0)
    }
}
