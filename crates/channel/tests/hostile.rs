//! What an attacker tries with vouchers, against a payee that does as the crate says: verify,
//! decide, apply, then serve. Each attempt has its exact answer, and nothing has moved.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on may panic")]

use std::collections::HashMap;

use ed25519_dalek::{Signer as _, SigningKey};
use stiver_channel::{
    Authority, Caps, Channel, ChannelId, Op, Refusal, Rules, VerifyVoucher, Voucher, VoucherError,
    voucher::{
        chain::{Chain, SKIP_MAX, Terms, Word, Words},
        ed25519::{Ed25519, Key, Signed},
    },
};
use stiver_core::Timestamp;

const NOW: Timestamp = Timestamp::from_millis(1_767_225_600_000);
const CHANNEL: ChannelId = ChannelId([7; 32]);
const ELSEWHERE: ChannelId = ChannelId([8; 32]);
const DEPOSIT: u128 = 10_000;
/// What a request costs.
const COST: u128 = 5;

/// Why a request was not served.
#[derive(Debug, PartialEq)]
enum Denied {
    UnknownChannel,
    Voucher(VoucherError),
    Refused(Refusal),
}

/// What a payee keeps of a channel. The key is the channel's id and nothing else.
struct Kept {
    scheme: Box<dyn VerifyVoucher>,
    rules: Rules,
    channel: Channel,
    last: Option<Voucher>,
}

impl Kept {
    fn new(scheme: impl VerifyVoucher + 'static, caps: Caps) -> Self {
        let mut kept = Self {
            scheme: Box::new(scheme),
            rules: Rules {
                caps,
                voucher_delta_min: COST,
            },
            channel: Channel::opening(NOW),
            last: None,
        };
        let voucher = (caps == Caps::TEMPO_V2).then_some(0);
        kept.run(Op::ConfirmOpen {
            deposit: DEPOSIT,
            settled: 0,
            voucher,
        })
        .unwrap();
        kept
    }

    fn run(&mut self, op: Op) -> Result<(), Denied> {
        let event = self.channel.decide(&self.rules, &op, NOW);
        if let Some(event) = event.map_err(Denied::Refused)? {
            self.channel.apply(&event).unwrap();
        }
        Ok(())
    }
}

/// A payee with one channel.
struct Payee(HashMap<ChannelId, Kept>);

impl Payee {
    fn new(scheme: impl VerifyVoucher + 'static, caps: Caps) -> Self {
        Self(HashMap::from([(CHANNEL, Kept::new(scheme, caps))]))
    }

    fn kept(&mut self) -> &mut Kept {
        self.0.get_mut(&CHANNEL).unwrap()
    }

    /// One request. On a refusal the channel is what it was.
    fn request(&mut self, voucher: &Voucher) -> Result<(), Denied> {
        let kept = self.0.get_mut(&voucher.channel);
        let kept = kept.ok_or(Denied::UnknownChannel)?;
        kept.scheme
            .verify(kept.last.as_ref(), voucher)
            .map_err(Denied::Voucher)?;
        let cumulative = voucher.cumulative;
        let before = kept.channel.clone();
        let served = kept.run(Op::Accept { cumulative }).and_then(|()| {
            kept.run(Op::Spend {
                amount: COST,
                from_reserved: 0,
                authority: Authority::Voucher { cumulative },
            })
        });
        match served {
            Ok(()) => kept.last = Some(voucher.clone()),
            Err(_) => kept.channel = before,
        }
        served
    }

    /// Checks the answer to an attempt, and that nothing has moved.
    fn denies(&mut self, voucher: &Voucher, expected: Denied) {
        let before = self.kept().channel.clone();
        assert_eq!(self.request(voucher), Err(expected));
        assert_eq!(self.kept().channel, before);
    }

    fn spent(&mut self) -> u128 {
        self.kept().channel.figures().spent
    }
}

/// The signed bytes are a domain, channel and amount; the proof is the signature.
struct Domain(&'static str);

impl Domain {
    fn message(&self, voucher: &Voucher) -> Vec<u8> {
        let amount = voucher.cumulative.to_be_bytes();
        [self.0.as_bytes(), &voucher.channel.0, &amount].concat()
    }

    fn sign(&self, seed: u8, channel: ChannelId, cumulative: u128) -> Voucher {
        let mut voucher = Voucher {
            channel,
            cumulative,
            proof: Box::default(),
        };
        let key = SigningKey::from_bytes(&[seed; 32]);
        voucher.proof = key.sign(&self.message(&voucher)).to_bytes().into();
        voucher
    }
}

impl Signed for Domain {
    fn signed(&self, voucher: &Voucher) -> Result<(Vec<u8>, [u8; 64]), VoucherError> {
        let signature = voucher.proof[..].try_into();
        let signature = signature.map_err(|_| VoucherError::MalformedProof)?;
        Ok((self.message(voucher), signature))
    }
}

fn sign(cumulative: u128) -> Voucher {
    Domain("ledger").sign(1, CHANNEL, cumulative)
}

fn payee() -> Payee {
    let public = SigningKey::from_bytes(&[1; 32]).verifying_key().to_bytes();
    let key = Key::from_bytes(&public).unwrap();
    Payee::new(Ed25519::new(CHANNEL, key, Domain("ledger")), Caps::LEDGER)
}

fn insufficient(required: u128, accepted: u128) -> Denied {
    Denied::Refused(Refusal::Insufficient {
        required,
        accepted,
        deposit: DEPOSIT,
    })
}

#[test]
fn a_replayed_voucher_is_served_only_as_far_as_it_was_not_spent() {
    let mut payee = payee();
    let voucher = sign(2 * COST);
    assert_eq!(payee.request(&voucher), Ok(()));
    // The rest of it is still the payer's to use; more is not.
    assert_eq!(payee.request(&voucher), Ok(()));
    payee.denies(&voucher, insufficient(3 * COST, 2 * COST));
    assert_eq!(payee.spent(), 2 * COST);
}

#[test]
fn reordered_vouchers_are_refused_but_for_the_highest() {
    let mut payee = payee();
    assert_eq!(payee.request(&sign(30)), Ok(()));
    for late in [10, 20] {
        let lower = Refusal::Lower {
            cumulative: late,
            accepted: 30,
        };
        payee.denies(&sign(late), Denied::Refused(lower));
    }
    assert_eq!(payee.spent(), COST);
}

#[test]
fn vouchers_for_elsewhere_from_others_or_of_another_domain_are_refused() {
    let mut payee = payee();
    payee.denies(
        &Domain("ledger").sign(1, ELSEWHERE, 10),
        Denied::UnknownChannel,
    );
    let mut moved = Domain("ledger").sign(1, ELSEWHERE, 10);
    moved.channel = CHANNEL;
    let mut raised = sign(10);
    raised.cumulative = 1000;
    for forged in [
        moved,
        raised,
        Domain("ledger").sign(2, CHANNEL, 10),
        Domain("another").sign(1, CHANNEL, 10),
    ] {
        payee.denies(&forged, Denied::Voucher(VoucherError::InvalidSignature));
    }
}

#[test]
fn over_deposit_and_crumbs_are_refused() {
    let mut payee = payee();
    let exceeds = Refusal::ExceedsDeposit {
        cumulative: DEPOSIT + 1,
        deposit: DEPOSIT,
    };
    payee.denies(&sign(DEPOSIT + 1), Denied::Refused(exceeds));
    payee.denies(
        &sign(u128::MAX),
        Denied::Refused(Refusal::ExceedsDeposit {
            cumulative: u128::MAX,
            deposit: DEPOSIT,
        }),
    );
    let crumb = Refusal::DeltaTooSmall {
        delta: COST - 1,
        delta_min: COST,
    };
    payee.denies(&sign(COST - 1), Denied::Refused(crumb));
}

#[test]
fn a_new_challenge_does_not_reset_what_was_spent() {
    // Nothing of a challenge is in the key or in the record: the second visit finds the first.
    let mut payee = payee();
    assert_eq!(payee.request(&sign(COST)), Ok(()));
    payee.denies(&sign(COST), insufficient(2 * COST, COST));
    // The opening heard again opens nothing again.
    let open = Op::ConfirmOpen {
        deposit: DEPOSIT,
        settled: 0,
        voucher: None,
    };
    assert_eq!(payee.kept().run(open), Ok(()));
    assert_eq!(payee.spent(), COST);
}

#[test]
fn a_top_up_heard_twice_counts_once() {
    let mut payee = payee();
    for _ in 0..2 {
        let top_up = Op::TopUp {
            deposit: DEPOSIT + 50,
        };
        assert_eq!(payee.kept().run(top_up), Ok(()));
        assert_eq!(payee.kept().channel.figures().deposit, DEPOSIT + 50);
    }
    let exceeds = Refusal::ExceedsDeposit {
        cumulative: DEPOSIT + 51,
        deposit: DEPOSIT + 50,
    };
    payee.denies(&sign(DEPOSIT + 51), Denied::Refused(exceeds));
}

#[test]
fn vouchers_after_a_close_has_begun_are_refused() {
    let mut payee = payee();
    assert_eq!(payee.request(&sign(50)), Ok(()));
    payee.kept().run(Op::BeginClose { voucher: None }).unwrap();
    payee.denies(&sign(100), Denied::Refused(Refusal::Closing));
    payee.denies(&sign(50), Denied::Refused(Refusal::Closing));
    payee.kept().run(Op::FixCapture { voucher: 50 }).unwrap();
    payee.kept().run(Op::Close { captured: COST }).unwrap();
    let phase = payee.kept().channel.phase().name();
    payee.denies(&sign(100), Denied::Refused(Refusal::Finished { phase }));
}

#[test]
fn a_voucher_copied_from_a_public_settlement_buys_nothing() {
    let public = SigningKey::from_bytes(&[1; 32]).verifying_key().to_bytes();
    let key = Key::from_bytes(&public).unwrap();
    let scheme = Ed25519::new(CHANNEL, key, Domain("ledger"));
    let mut payee = Payee::new(scheme, Caps::TEMPO_V2);
    assert_eq!(payee.request(&sign(100)), Ok(()));
    payee.kept().run(Op::Publish { cumulative: 100 }).unwrap();
    let published = Refusal::Published {
        cumulative: 100,
        published: 100,
    };
    payee.denies(&sign(100), Denied::Refused(published));
    // The payer itself signs one step more, and has all of the rest.
    assert_eq!(payee.request(&sign(105)), Ok(()));
}

#[test]
fn forged_words_and_oversized_skips_are_refused() {
    let mut words = Words::new(&[3; 32], &CHANNEL.0, 2000).unwrap();
    let terms = Terms {
        salt: CHANNEL.0,
        root: words.root(),
        words: 2000,
        step: COST,
    };
    let chain = Chain::new(CHANNEL, terms).unwrap();
    let mut payee = Payee::new(chain.clone(), Caps::LEDGER);
    let first = chain.voucher(&words.show(1).unwrap());
    assert_eq!(payee.request(&first), Ok(()));
    payee.denies(&first, insufficient(2 * COST, COST));

    let forged = chain.voucher(&Word {
        index: 2,
        word: [9; 32],
    });
    payee.denies(&forged, Denied::Voucher(VoucherError::WrongWord));
    // A word that is known, said to be a later one.
    let mut claimed = first.clone();
    claimed.proof[3] = 2;
    claimed.cumulative = 2 * COST;
    payee.denies(&claimed, Denied::Voucher(VoucherError::WrongWord));

    let far = chain.voucher(&words.show(2 + SKIP_MAX).unwrap());
    let too_large = VoucherError::SkipTooLarge { skip_max: SKIP_MAX };
    payee.denies(&far, Denied::Voucher(too_large));
    let beyond = chain.voucher(&Word {
        index: 2001,
        word: [9; 32],
    });
    let exhausted = VoucherError::ChainExhausted { length: 2000 };
    payee.denies(&beyond, Denied::Voucher(exhausted));
    assert_eq!(payee.spent(), COST);
}

#[cfg(feature = "eip712")]
mod eip712 {
    use super::*;
    use stiver_channel::voucher::eip712::{Address, Domain, Eip712, SigningKey, Variant};

    fn domain(variant: Variant) -> Domain {
        Domain::new(variant, 4217, Address([2; 20]))
    }

    #[test]
    fn high_s_wrong_domain_and_over_width_are_refused() {
        let key = SigningKey::from_bytes(&[1; 32]).unwrap();
        let signed = |domain: &Domain, amount| key.voucher(domain, CHANNEL, amount).unwrap();
        let ours = domain(Variant::TEMPO_V2);
        let scheme = Eip712::new(ours, CHANNEL, key.address());
        let mut payee = Payee::new(scheme, Caps::TEMPO_V2);
        assert_eq!(payee.request(&signed(&ours, 50)), Ok(()));

        let mut high = signed(&ours, 100);
        high.proof[32..64].fill(0xf0);
        payee.denies(&high, Denied::Voucher(VoucherError::HighS));

        for other in [
            domain(Variant::TEMPO_V1),
            Domain::new(Variant::TEMPO_V2, 1, Address([2; 20])),
            Domain::new(Variant::TEMPO_V2, 4217, Address([3; 20])),
        ] {
            let voucher = signed(&other, 100);
            payee.denies(&voucher, Denied::Voucher(VoucherError::WrongSigner));
        }

        let mut wide = signed(&domain(Variant::TEMPO_V1), 1 << 96);
        payee.denies(&wide, Denied::Voucher(VoucherError::OverWidth { bits: 96 }));
        wide.cumulative = (1 << 96) - 1;
        payee.denies(&wide, Denied::Voucher(VoucherError::WrongSigner));
        assert_eq!(payee.spent(), COST);
    }
}
