//! Proofs of vouchers, in all schemes, and ticks: what is accepted is genuine, and a batch says
//! what one by one says.
#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use stiver_channel::{
    ChannelId, VerifyVoucher, Voucher, VoucherError,
    voucher::{
        chain::{self, Chain, Tick, Words, word_before},
        ed25519::{Ed25519, Key, Signed},
        eip712::{self, Address, Domain, Eip712, SigningKey, Variant},
    },
};

const CHANNEL: ChannelId = ChannelId([7; 32]);
/// Longer than a skip, so that the limit is met.
const WORDS: u32 = 1200;
/// The public key of RFC 8032, section 7.1, test 1.
const KEY: [u8; 32] = [
    0xd7, 0x5a, 0x98, 0x01, 0x82, 0xb1, 0x0a, 0xb7, 0xd5, 0x4b, 0xfe, 0xd3, 0xc9, 0x64, 0x07, 0x3a,
    0x0e, 0xe1, 0x72, 0xf3, 0xda, 0xa6, 0x23, 0x25, 0xaf, 0x02, 0x1a, 0x68, 0xf7, 0x07, 0x51, 0x1a,
];

/// The signed bytes are channel and amount, the proof is the signature.
struct Plain;

impl Signed for Plain {
    fn signed(&self, voucher: &Voucher) -> Result<(Vec<u8>, [u8; 64]), VoucherError> {
        let signature = voucher.proof[..].try_into();
        let signature = signature.map_err(|_| VoucherError::MalformedProof)?;
        let message = [&voucher.channel.0[..], &voucher.cumulative.to_be_bytes()].concat();
        Ok((message, signature))
    }
}

/// All words of the chain, by the plain definition, the root first.
static ALL: LazyLock<Vec<[u8; 32]>> = LazyLock::new(|| {
    let mut all = vec![[3; 32]];
    for _ in 0..WORDS {
        all.push(word_before(&CHANNEL.0, all.last().expect("there is one")));
    }
    all.reverse();
    all
});

static CHAIN: LazyLock<Chain> = LazyLock::new(|| {
    let words = Words::new(&[3; 32], &CHANNEL.0, WORDS).expect("a short chain");
    let terms = chain::Terms {
        salt: CHANNEL.0,
        root: words.root(),
        words: WORDS,
        step: 5,
    };
    Chain::new(CHANNEL, terms).expect("good terms")
});

fn one_by_one(scheme: &dyn VerifyVoucher, vouchers: &[Voucher]) {
    let each: Vec<_> = vouchers
        .iter()
        .map(|voucher| scheme.verify(None, voucher))
        .collect();
    assert_eq!(scheme.verify_batch(None, vouchers), each);
}

fn chain(voucher: &Voucher) {
    if CHAIN.verify(None, voucher).is_ok() {
        let word = chain::Word::from_proof(&voucher.proof).expect("it was read before");
        let index = usize::try_from(word.index).expect("it is short");
        assert_eq!(ALL[index], word.word);
        assert_eq!(voucher.cumulative, 5 * u128::from(word.index));
    }
    one_by_one(&*CHAIN, std::slice::from_ref(voucher));
}

fn signatures(vouchers: &[Voucher]) {
    let key = Key::from_bytes(&KEY).expect("a good key");
    one_by_one(&Ed25519::new(CHANNEL, key, Plain), vouchers);
    let signer = SigningKey::from_bytes(&[1; 32]).expect("a good key");
    for variant in [Variant::TEMPO_V2, Variant::EVM] {
        let domain = Domain::new(variant, 1, Address([2; 20]));
        let scheme = Eip712::new(domain, CHANNEL, signer.address());
        for voucher in vouchers {
            if scheme.verify(None, voucher).is_ok() {
                let genuine = signer.voucher(&domain, CHANNEL, voucher.cumulative);
                let genuine = genuine.expect("its width was checked").proof;
                assert_eq!(genuine[..32], voucher.proof[..32], "another nonce");
                assert!(voucher.proof.len() == 65 || variant.compact);
                assert!(voucher.proof.len() >= eip712::COMPACT_SIGNATURE_BYTES);
            }
        }
    }
}

fuzz_target!(|data: &[u8]| {
    if let Ok(tick) = Tick::parse(data) {
        assert_eq!(&tick.to_bytes()[..], data);
        if let Ok(voucher) = CHAIN.voucher_of_tick(&tick) {
            chain(&voucher);
        }
    }
    let Some((cumulative, proof)) = data.split_first_chunk::<2>() else {
        return;
    };
    let voucher = |proof: &[u8]| Voucher {
        channel: CHANNEL,
        cumulative: u16::from_be_bytes(*cumulative).into(),
        proof: proof.into(),
    };
    chain(&voucher(proof));
    // Two of them, so that there is a batch.
    let (first, second) = proof.split_at(proof.len().min(64));
    signatures(&[voucher(proof), voucher(first), voucher(second)]);
    if let Ok(bytes) = <[u8; 32]>::try_from(first)
        && let Ok(key) = Key::from_bytes(&bytes)
    {
        assert!(key.verify(second, &[0; 64]).is_err(), "s and R of zero");
    }
});
