//! What is valid, alone and in batches, beside what a strict library says; signatures that only a
//! dishonest signer can make.

use super::*;
use alloc::{boxed::Box, format, vec};
use curve25519_dalek::constants::EIGHT_TORSION;
use ed25519_dalek::{Signature, Signer as _, SigningKey, VerifyingKey};
use proptest::prelude::*;

const CHANNEL: ChannelId = ChannelId([7; 32]);

/// The signed bytes are channel and amount, the proof is the signature.
struct Plain;

impl Signed for Plain {
    fn signed(&self, voucher: &Voucher) -> Result<(Vec<u8>, [u8; 64]), VoucherError> {
        let signature = voucher.proof[..].try_into();
        let signature = signature.map_err(|_| VoucherError::MalformedProof)?;
        Ok((message(voucher), signature))
    }
}

fn message(voucher: &Voucher) -> Vec<u8> {
    [&voucher.channel.0[..], &voucher.cumulative.to_be_bytes()].concat()
}

/// A key whose scalar is known, so that signatures can be bent.
struct Bent {
    a: Scalar,
    public: EdwardsPoint,
}

impl Bent {
    fn new(a: u64, torsion: usize) -> Self {
        let a = Scalar::from(a) * Scalar::from(0x9e37_79b9_7f4a_7c15_u64);
        Self {
            a,
            public: EdwardsPoint::mul_base(&a) + EIGHT_TORSION[torsion],
        }
    }

    fn public(&self) -> [u8; 32] {
        self.public.compress().to_bytes()
    }

    /// A signature with a point of small order added to R: with `torsion` 0, an honest one.
    fn sign(&self, message: &[u8], nonce: u64, torsion: usize) -> [u8; 64] {
        let r = Scalar::from(nonce) * Scalar::from(0xd1b5_4a32_d192_ed03_u64);
        let point = EdwardsPoint::mul_base(&r) + EIGHT_TORSION[torsion];
        let r_bytes = point.compress().to_bytes();
        let hash = Sha512::new()
            .chain_update(r_bytes)
            .chain_update(self.public())
            .chain_update(message)
            .finalize();
        let k = Scalar::from_bytes_mod_order_wide(&hash.into());
        let mut signature = [0; 64];
        signature[..32].copy_from_slice(&r_bytes);
        signature[32..].copy_from_slice((r + k * self.a).as_bytes());
        signature
    }
}

fn strict(key: &[u8; 32], message: &[u8], signature: &[u8; 64]) -> bool {
    VerifyingKey::from_bytes(key).is_ok_and(|key| {
        key.verify_strict(message, &Signature::from_bytes(signature))
            .is_ok()
    })
}

fn ours(key: &[u8; 32], message: &[u8], signature: &[u8; 64]) -> bool {
    Key::from_bytes(key).is_ok_and(|key| key.verify(message, signature).is_ok())
}

fn signer() -> SigningKey {
    SigningKey::from_bytes(&[9; 32])
}

fn voucher(cumulative: u128) -> Voucher {
    let mut voucher = Voucher {
        channel: CHANNEL,
        cumulative,
        proof: Box::default(),
    };
    voucher.proof = signer().sign(&message(&voucher)).to_bytes().into();
    voucher
}

fn verifier() -> Ed25519<Plain> {
    let key = Key::from_bytes(&signer().verifying_key().to_bytes()).unwrap();
    Ed25519::new(CHANNEL, key, Plain)
}

/// RFC 8032, section 7.1, tests 1 to 3: key, message, signature.
#[test]
fn signatures_of_the_rfc_are_valid() {
    let file = include_str!("../../../vectors/rfc8032.txt");
    let mut seen = 0;
    for line in file.lines().filter(|line| !line.starts_with('#')) {
        let fields: Vec<Vec<u8>> = line.split(' ').map(unhex).collect();
        let [key, message, signature] = &fields[..] else {
            panic!("{line}");
        };
        let key = Key::from_bytes(key[..].try_into().unwrap()).unwrap();
        let mut signature: [u8; 64] = signature[..].try_into().unwrap();
        assert_eq!(key.verify(message, &signature), Ok(()));
        signature[5] ^= 4;
        assert!(key.verify(message, &signature).is_err());
        seen += 1;
    }
    assert_eq!(seen, 3);
}

fn unhex(text: &str) -> Vec<u8> {
    let digits = text.trim_start_matches('-').as_bytes();
    digits
        .chunks(2)
        .map(|pair| u8::from_str_radix(core::str::from_utf8(pair).unwrap(), 16).unwrap())
        .collect()
}

#[test]
fn keys_of_small_order_and_of_other_encodings_are_refused() {
    for point in EIGHT_TORSION {
        assert!(Key::from_bytes(&point.compress().to_bytes()).is_err());
    }
    // y = p + n for every n that fits, with either sign.
    for low in 0xed..=0xff {
        for high in [0x7f, 0xff] {
            let mut bytes = [0xff; 32];
            bytes[0] = low;
            bytes[31] = high;
            assert!(Key::from_bytes(&bytes).is_err(), "{low} {high}");
        }
    }
    // The neutral element with a negative zero for x; bytes that are no point.
    let mut negative_zero = [0; 32];
    negative_zero[0] = 1;
    negative_zero[31] = 0x80;
    assert!(Key::from_bytes(&negative_zero).is_err());
    let no_points = (0..=255).filter(|n| Key::from_bytes(&[*n; 32]).is_err());
    assert!(no_points.count() > 64);
}

#[test]
fn s_that_is_not_reduced_and_r_of_small_order_are_refused() {
    let bent = Bent::new(5, 0);
    let good = bent.sign(b"m", 3, 0);
    assert!(ours(&bent.public(), b"m", &good));
    // s + the group's order, where that fits in 32 bytes.
    let mut malleated = good;
    let order: [u8; 32] = (-Scalar::ONE).to_bytes();
    let mut carry = 1_u16;
    for (byte, add) in malleated[32..].iter_mut().zip(order) {
        carry += u16::from(*byte) + u16::from(add);
        *byte = u8::try_from(carry & 0xff).unwrap();
        carry >>= 8;
    }
    assert_eq!(carry, 0);
    assert!(!ours(&bent.public(), b"m", &malleated));
    // R of small order: s = k·a solves the equation.
    for torsion in 0..8 {
        let signature = bent.sign(b"m", 0, torsion);
        assert!(!ours(&bent.public(), b"m", &signature), "{torsion}");
        assert!(!strict(&bent.public(), b"m", &signature), "{torsion}");
    }
}

/// The one difference from a strict library, and it is the signer's own doing.
#[test]
fn a_point_of_small_order_added_to_r_passes_alone_as_in_every_batch() {
    let bent = Bent::new(5, 0);
    for torsion in 1..8 {
        let signature = bent.sign(b"m", 3, torsion);
        assert!(!strict(&bent.public(), b"m", &signature));
        assert!(ours(&bent.public(), b"m", &signature));
        let key = Key::from_bytes(&bent.public()).unwrap();
        let bad = key.equation(b"m", &signature).unwrap();
        for n in 0..16 {
            let other = format!("{n}");
            let honest = bent.sign(other.as_bytes(), n + 50, 0);
            let honest = key.equation(other.as_bytes(), &honest).unwrap();
            assert!(key.all_hold(&[honest, clone(&bad)]));
        }
    }
}

fn clone(equation: &Equation) -> Equation {
    Equation {
        r: equation.r,
        r_bytes: equation.r_bytes,
        s: equation.s,
        k: equation.k,
    }
}

#[test]
fn wrong_channel_amount_signer_and_length_are_refused() {
    let verifier = verifier();
    let good = voucher(5);
    assert_eq!(verifier.verify(None, &good), Ok(()));

    let mut other = good.clone();
    other.channel = ChannelId([8; 32]);
    assert_eq!(
        verifier.verify(None, &other),
        Err(VoucherError::WrongChannel)
    );
    let mut more = good.clone();
    more.cumulative = 6;
    assert_eq!(
        verifier.verify(None, &more),
        Err(VoucherError::InvalidSignature)
    );
    let mut cut = good.clone();
    cut.proof = vec![0; 63].into();
    assert_eq!(
        verifier.verify(None, &cut),
        Err(VoucherError::MalformedProof)
    );
    let mut stranger = good.clone();
    let signature = SigningKey::from_bytes(&[1; 32]).sign(&message(&good));
    stranger.proof = signature.to_bytes().into();
    assert_eq!(
        verifier.verify(None, &stranger),
        Err(VoucherError::InvalidSignature)
    );
}

#[test]
fn a_batch_says_of_each_what_alone_is_said() {
    let verifier = verifier();
    let mut vouchers: Vec<Voucher> = (0..150).map(voucher).collect();
    let all = verifier.verify_batch(None, &vouchers);
    assert_eq!(all, vec![Ok(()); 150]);
    assert_eq!(verifier.verify_batch(None, &[]), []);
    for at in [0, 63, 64, 149] {
        vouchers[at].proof[40] ^= 1;
    }
    vouchers[7].channel = ChannelId([8; 32]);
    vouchers[8].proof = Box::default();
    let expected: Vec<_> = vouchers
        .iter()
        .map(|voucher| verifier.verify(None, voucher))
        .collect();
    assert_eq!(expected.iter().filter(|one| one.is_err()).count(), 6);
    assert_eq!(verifier.verify_batch(None, &vouchers), expected);
}

#[test]
fn after_a_forged_voucher_singles_are_verified_for_a_while() {
    let verifier = verifier();
    let vouchers: Vec<Voucher> = (0..64).map(voucher).collect();
    let mut forged = vouchers.clone();
    forged[10].proof[32] ^= 1;
    let left = || verifier.singles.load(Ordering::Relaxed);

    // What cannot even be read costs no batch.
    let mut malformed = vouchers.clone();
    malformed[9].proof = Box::default();
    assert!(verifier.verify_batch(None, &malformed)[9].is_err());
    assert_eq!(left(), 0);

    assert!(verifier.verify_batch(None, &forged)[10].is_err());
    assert_eq!(left(), SINGLES_AFTER_FORGERY);
    let mut rounds = 0;
    while left() > 0 {
        assert_eq!(verifier.verify_batch(None, &vouchers), vec![Ok(()); 64]);
        rounds += 1;
    }
    assert_eq!(rounds, SINGLES_AFTER_FORGERY / 64);
}

#[test]
fn forged_equations_do_not_cancel_each_other_out() {
    let bent = Bent::new(5, 0);
    let key = Key::from_bytes(&bent.public()).unwrap();
    let equation = |nonce| {
        let signature = bent.sign(b"m", nonce, 0);
        key.equation(b"m", &signature).unwrap()
    };
    let (mut one, mut two) = (equation(3), equation(4));
    assert!(key.all_hold(&[clone(&one), clone(&two)]));
    // With equal coefficients the sum would hold still.
    one.s += Scalar::ONE;
    two.s -= Scalar::ONE;
    assert!(!key.all_hold(&[clone(&one), clone(&two)]));
    assert!(!key.all_hold(&[clone(&two), clone(&one)]));
    assert!(!key.all_hold(&[one]));
}

proptest! {
    /// Keys and Rs with points of small order, bent bytes, and honest ones: batch and single
    /// agree; what a strict library lets pass, passes; what passes beside that has torsion.
    #[test]
    fn batch_single_and_a_strict_library_agree_but_for_torsion(
        a in 1_u64..1000,
        key_torsion in 0_usize..8,
        signatures in prop::collection::vec(
            (1_u64..1000, 0_usize..8, prop::option::weighted(0.2, 0_usize..512)),
            1..8,
        ),
    ) {
        let bent = Bent::new(a, key_torsion);
        let key = Key::from_bytes(&bent.public()).unwrap();
        let mut all = Vec::new();
        let mut each = true;
        for (at, (nonce, torsion, flip)) in signatures.into_iter().enumerate() {
            let message = format!("message {at}").into_bytes();
            let mut signature = bent.sign(&message, nonce, torsion);
            if let Some(bit) = flip {
                signature[bit / 8] ^= 1 << (bit % 8);
            }
            let single = key.verify(&message, &signature).is_ok();
            if strict(&bent.public(), &message, &signature) {
                prop_assert!(single);
            } else if single {
                prop_assert!(torsion + key_torsion > 0);
            }
            match key.equation(&message, &signature) {
                Ok(equation) => {
                    prop_assert_eq!(key.all_hold(&[clone(&equation)]), single);
                    all.push(equation);
                    each &= single;
                }
                Err(_) => prop_assert!(!single),
            }
        }
        prop_assert_eq!(key.all_hold(&all), each);
    }
}
