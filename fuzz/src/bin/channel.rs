//! A channel under any operations: it never breaks, and what it refuses changes nothing.
#![no_main]

use libfuzzer_sys::fuzz_target;
use stiver_channel::{Authority, Caps, Channel, Op, Rules};
use stiver_core::Timestamp;

/// Reads numbers of one byte, now and then of all sixteen.
struct Numbers<'a>(&'a [u8]);

impl Numbers<'_> {
    fn byte(&mut self) -> Option<u8> {
        let (byte, rest) = self.0.split_first()?;
        self.0 = rest;
        Some(*byte)
    }

    fn amount(&mut self) -> Option<u128> {
        let byte = self.byte()?;
        if byte < 0xff {
            return Some(byte.into());
        }
        let (bytes, rest) = self.0.split_first_chunk::<16>()?;
        self.0 = rest;
        Some(u128::from_be_bytes(*bytes))
    }

    fn option(&mut self) -> Option<Option<u128>> {
        Some(match self.byte()? % 2 {
            0 => None,
            _ => Some(self.amount()?),
        })
    }

    fn authority(&mut self) -> Option<Authority> {
        Some(match self.option()? {
            None => Authority::Established,
            Some(cumulative) => Authority::Voucher { cumulative },
        })
    }

    fn op(&mut self) -> Option<Op> {
        Some(match self.byte()? % 17 {
            0 => Op::ConfirmOpen {
                deposit: self.amount()?,
                settled: self.amount()?,
                voucher: self.option()?,
            },
            1 => Op::RejectOpen,
            2 => Op::TopUp {
                deposit: self.amount()?,
            },
            3 => Op::Accept {
                cumulative: self.amount()?,
            },
            4 => Op::Reserve {
                amount: self.amount()?,
                authority: self.authority()?,
            },
            5 => Op::Spend {
                amount: self.amount()?,
                from_reserved: self.amount()?,
                authority: self.authority()?,
            },
            6 => Op::Release {
                amount: self.amount()?,
            },
            7 => Op::Pause {
                required: self.amount()?,
            },
            8 => Op::Resume,
            9 => Op::Publish {
                cumulative: self.amount()?,
            },
            10 => Op::Settle {
                settled: self.amount()?,
            },
            11 => Op::Suspend {
                withdrawable_at: Timestamp::from_millis(self.byte()?.into()),
            },
            12 => Op::CancelSuspension,
            13 => Op::BeginClose {
                voucher: self.option()?,
            },
            14 => Op::FixCapture {
                voucher: self.amount()?,
            },
            15 => Op::Close {
                captured: self.amount()?,
            },
            _ => Op::Withdraw,
        })
    }
}

fuzz_target!(|data: &[u8]| {
    let mut numbers = Numbers(data);
    let Some(which) = numbers.byte() else {
        return;
    };
    let all = [
        Caps::TEMPO_V1,
        Caps::TEMPO_V2,
        Caps::EVM,
        Caps::SOLANA,
        Caps::LIGHTNING,
        Caps::LEDGER,
    ];
    let rules = Rules {
        caps: all[usize::from(which) % all.len()],
        voucher_delta_min: u128::from(which / 64),
    };
    let mut channel = Channel::opening(Timestamp::EPOCH);
    while let Some(op) = numbers.op() {
        let now = Timestamp::from_millis(numbers.byte().unwrap_or(0).into());
        let before = channel.figures();
        match channel.decide(&rules, &op, now) {
            Ok(Some(event)) => channel.apply(&event).expect("it was decided just now"),
            Ok(None) => {}
            Err(refusal) => assert!(!refusal.to_string().is_empty()),
        }
        channel.check().expect("no operation breaks a channel");
        let after = channel.figures();
        assert!(after.settled >= before.settled && after.accepted >= before.accepted);
        assert!(after.spent >= before.spent && after.deposit >= before.deposit);
        let again = Channel::restore(channel.phase(), after, channel.active_at());
        assert_eq!(again.as_ref(), Ok(&channel));
    }
});
