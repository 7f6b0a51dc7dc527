use super::*;
use alloc::format;
use proptest::prelude::*;

const CHANNEL: ChannelId = ChannelId([7; 32]);
const SEED: [u8; 32] = [3; 32];

fn chain(words: u32, step: u128) -> (Chain, Words) {
    let payer = Words::new(&SEED, &CHANNEL.0, words).unwrap();
    let terms = Terms {
        salt: CHANNEL.0,
        root: payer.root(),
        words,
        step,
    };
    (Chain::new(CHANNEL, terms).unwrap(), payer)
}

/// All words by the plain definition, the root first.
fn naive(words: u32) -> Vec<[u8; 32]> {
    let mut all = vec![SEED];
    for _ in 0..words {
        all.push(word_before(&CHANNEL.0, all.last().unwrap()));
    }
    all.reverse();
    all
}

#[test]
fn the_cached_block_gives_the_sha_256_of_tag_salt_and_word() {
    let hasher = Hasher::new(&CHANNEL.0);
    assert_eq!(hasher.before(&SEED), word_before(&CHANNEL.0, &SEED));
    assert_eq!(hasher.back(&SEED, 0), SEED);
    assert_eq!(hasher.back(&SEED, 9), naive(9)[0]);
}

/// The expected values were computed with Python's hashlib from the definition in the module.
#[test]
fn words_equal_those_of_another_implementation() {
    let (chain, mut payer) = chain(1000, 1);
    let hex = |bytes| ChannelId(bytes).to_hex();
    assert_eq!(
        hex(chain.terms().root),
        "74d878bcc40df63c0efd8be6fdb5367f5b9843479a6f1d0761e6306153d02e53"
    );
    assert_eq!(
        hex(payer.show(999).unwrap().word),
        "ee46b78679c4f699a7008af6e33a65185f8bb312d15faff125dbc2b5c4210a5e"
    );
}

#[test]
fn words_come_in_order_for_every_length_and_leave_log2_pebbles() {
    for words in (1..70).chain([255, 256, 257, 1000]) {
        let all = naive(words);
        let (_, mut payer) = chain(words, 1);
        assert_eq!(payer.root(), all[0], "{words}");
        let most = 2 + usize::try_from(words.ilog2()).unwrap();
        for (index, expected) in (0..=words).zip(&all).skip(1) {
            let word = payer.show(index).unwrap();
            assert_eq!((word.index, &word.word), (index, expected));
            let kept = payer.kept();
            assert!(kept <= most, "{kept} of {most} at {index} of {words}");
        }
        assert_eq!(payer.shown(), words);
        assert!(payer.show(words).is_err());
        assert!(payer.show(words + 1).is_err());
    }
}

#[test]
fn a_word_is_shown_once_and_those_below_it_with_it() {
    let (_, mut payer) = chain(10, 1);
    payer.show(4).unwrap();
    for index in 0..=4 {
        let spent = TermsError::Spent {
            index,
            next: 5,
            words: 10,
        };
        assert_eq!(payer.show(index), Err(spent));
    }
    assert!(payer.show(5).is_ok());
}

#[test]
fn terms_that_are_no_chain_are_refused() {
    let good = *chain(10, 5).0.terms();
    let with = |words, step| {
        let terms = Terms {
            words,
            step,
            ..good
        };
        Chain::new(CHANNEL, terms).map(|_| ()).unwrap_err()
    };
    assert_eq!(with(0, 1), TermsError::Words { words: 0 });
    let words = WORDS_MAX + 1;
    assert_eq!(with(words, 1), TermsError::Words { words });
    assert_eq!(with(1, 0), TermsError::Worthless);
    assert_eq!(with(2, u128::MAX), TermsError::Overflow);
    assert!(Words::new(&SEED, &CHANNEL.0, 0).is_err());
    assert!(Words::new(&SEED, &CHANNEL.0, words).is_err());
    assert!(Words::resume(&SEED, &CHANNEL.0, 10, 11).is_err());
}

#[test]
fn forged_words_and_wrong_amounts_have_their_errors_and_prove_nothing() {
    let (chain, mut payer) = chain(5000, 5);
    let first = chain.voucher(&payer.show(1).unwrap());
    let good = chain.voucher(&payer.show(10).unwrap());
    let verify = |voucher: &Voucher| chain.verify(Some(&first), voucher);
    assert_eq!(verify(&good), Ok(()));

    let mut forged = good.clone();
    forged.proof[35] ^= 1;
    assert_eq!(verify(&forged), Err(VoucherError::WrongWord));

    let mut index = good.clone();
    index.proof[3] = 11;
    assert_eq!(verify(&index), Err(VoucherError::WrongAmount));
    index.cumulative = 55;
    assert_eq!(verify(&index), Err(VoucherError::WrongWord));

    let mut amount = good.clone();
    amount.cumulative += 1;
    assert_eq!(verify(&amount), Err(VoucherError::WrongAmount));

    let mut channel = good.clone();
    channel.channel.0[0] ^= 1;
    assert_eq!(verify(&channel), Err(VoucherError::WrongChannel));

    for length in [0, 3, 4, 35, 37, 64] {
        let mut cut = good.clone();
        cut.proof = vec![0; length].into();
        assert_eq!(verify(&cut), Err(VoucherError::MalformedProof), "{length}");
    }

    let beyond = Word {
        index: 5001,
        word: SEED,
    };
    let length = 5000;
    let exhausted = Err(VoucherError::ChainExhausted { length });
    assert_eq!(verify(&chain.voucher(&beyond)), exhausted);
}

#[test]
fn a_skip_of_the_limit_verifies_and_one_more_does_not() {
    let (chain, mut payer) = chain(5000, 1);
    let first = chain.voucher(&payer.show(100).unwrap());
    let at_limit = chain.voucher(&payer.show(100 + SKIP_MAX).unwrap());
    let beyond = chain.voucher(&payer.show(101 + SKIP_MAX).unwrap());
    let too_large = Err(VoucherError::SkipTooLarge { skip_max: SKIP_MAX });
    assert_eq!(chain.verify(None, &first), Ok(()));
    assert_eq!(chain.verify(Some(&first), &at_limit), Ok(()));
    assert_eq!(chain.verify(Some(&first), &beyond), too_large);
    assert_eq!(chain.verify(Some(&at_limit), &beyond), Ok(()));
    // Backwards it is the same.
    assert_eq!(chain.verify(Some(&at_limit), &first), Ok(()));
    assert_eq!(chain.verify(Some(&beyond), &first), too_large);
    // In a batch, the one in between carries the one above.
    let batch = [beyond, at_limit];
    assert_eq!(chain.verify_batch(Some(&first), &batch), [Ok(()), Ok(())]);
}

#[test]
fn a_word_of_another_channel_or_salt_is_no_word_of_this_chain() {
    let (ours, _) = chain(10, 1);
    let other = ChannelId([8; 32]);
    let mut payer = Words::new(&SEED, &other.0, 10).unwrap();
    let word = payer.show(1).unwrap();
    let claimed = ours.voucher(&word);
    assert_eq!(ours.verify(None, &claimed), Err(VoucherError::WrongWord));
    let tick = Tick::new(&other, word);
    assert_eq!(ours.voucher_of_tick(&tick), Err(VoucherError::WrongChannel));
}

#[test]
fn ticks_have_44_bytes_and_read_back() {
    let (chain, mut payer) = chain(10, 5);
    let word = payer.show(2).unwrap();
    let bytes = Tick::new(&CHANNEL, word).to_bytes();
    assert_eq!(bytes.len(), TICK_BYTES);
    assert_eq!(bytes[..12], [7, 7, 7, 7, 7, 7, 7, 7, 0, 0, 0, 2]);
    let voucher = chain
        .voucher_of_tick(&Tick::parse(&bytes).unwrap())
        .unwrap();
    assert_eq!(voucher.cumulative, 10);
    assert_eq!(chain.verify(None, &voucher), Ok(()));
    for length in [0, 7, 8, 43, 45] {
        let wrong = Tick::parse(&vec![0; length]);
        assert_eq!(wrong, Err(TickError { length }));
    }
}

#[test]
fn debug_prints_no_word() {
    let word = Word {
        index: 3,
        word: [0xab; 32],
    };
    let tick = Tick::new(&CHANNEL, word);
    let (chain, _) = chain(10, 1);
    let text = format!("{tick:?} {:?}", chain.voucher(&word));
    assert!(!text.contains("171") && !text.contains("ab"), "{text}");
}

proptest! {
    #[test]
    fn resuming_goes_on_where_the_chain_was(
        words in 1_u32..300,
        shows in prop::collection::vec(1_u32..40, 0..20),
    ) {
        let (_, mut payer) = chain(words, 1);
        for skip in shows {
            let index = payer.shown() + skip;
            let mut resumed =
                Words::resume(&SEED, &CHANNEL.0, words, payer.shown()).unwrap();
            prop_assert_eq!(resumed.shown(), payer.shown());
            prop_assert_eq!(resumed.show(index), payer.show(index));
        }
    }

    /// The reference verifies one by one from the bottom, each from the highest before it.
    #[test]
    fn a_batch_says_of_each_what_one_by_one_from_the_bottom_says(
        at in prop::collection::vec((0_u32..3000, 0_u8..4), 1..30),
        last in 0_u32..1500,
    ) {
        let all = naive(3000);
        let (chain, _) = chain(3000, 2);
        let word = |index: u32, fault: u8| {
            let mut word = all[usize::try_from(index).unwrap()];
            word[0] ^= u8::from(fault == 0);
            chain.voucher(&Word { index, word })
        };
        let last = word(last, 1);
        let vouchers: Vec<Voucher> = at.iter().map(|&(i, fault)| word(i, fault)).collect();
        let mut order: Vec<usize> = (0..vouchers.len()).collect();
        order.sort_by_key(|&at| vouchers[at].cumulative);
        let mut known = last.clone();
        let mut expected = vec![Ok(()); vouchers.len()];
        for at in order {
            expected[at] = chain.verify(Some(&known), &vouchers[at]);
            if expected[at].is_ok() && vouchers[at].cumulative > known.cumulative {
                known = vouchers[at].clone();
            }
        }
        prop_assert_eq!(chain.verify_batch(Some(&last), &vouchers), expected);
    }

    #[test]
    fn any_bytes_are_a_tick_or_not_and_a_tick_reads_back(
        bytes in prop::collection::vec(any::<u8>(), 0..60),
    ) {
        match Tick::parse(&bytes) {
            Ok(tick) => prop_assert_eq!(&tick.to_bytes()[..], &bytes[..]),
            Err(error) => prop_assert_eq!(error.length, bytes.len()),
        }
    }
}
