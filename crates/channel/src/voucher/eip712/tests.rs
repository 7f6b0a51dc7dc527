//! Against the vectors, and against another implementation of the curve.

use super::*;
use alloc::{boxed::Box, string::String, vec, vec::Vec};
use k256::ecdsa as other;
use proptest::prelude::*;
use stiver_core::json::Value;

fn file() -> Value {
    Value::parse(include_bytes!("../../../vectors/eip712.json")).unwrap()
}

fn cases(file: &Value, name: &str) -> Vec<Value> {
    let Some(Value::Array(cases)) = file.get(name) else {
        panic!("no {name}");
    };
    cases.to_vec()
}

fn text(case: &Value, name: &str) -> String {
    case.get(name).and_then(Value::as_str).unwrap().into()
}

fn bytes<const N: usize>(case: &Value, name: &str) -> [u8; N] {
    let text = text(case, name);
    let pairs = text.as_bytes().chunks(2);
    let byte = |pair| u8::from_str_radix(core::str::from_utf8(pair).unwrap(), 16).unwrap();
    pairs.map(byte).collect::<Vec<u8>>().try_into().unwrap()
}

fn variant(case: &Value) -> Variant {
    match text(case, "name").as_str() {
        "tempo v1" => Variant::TEMPO_V1,
        "tempo v2" => Variant::TEMPO_V2,
        "evm" => Variant::EVM,
        "hedera" => Variant::HEDERA,
        name => panic!("{name}"),
    }
}

/// A vector, read.
struct Case {
    domain: Domain,
    verifier: Eip712,
    voucher: Voucher,
    vector: Value,
}

fn vouchers() -> Vec<Case> {
    let read = |vector: Value| {
        let chain_id = text(&vector, "chain_id").parse().unwrap();
        let contract = Address(bytes(&vector, "contract"));
        let domain = Domain::new(variant(&vector), chain_id, contract);
        let channel = ChannelId(bytes(&vector, "channel"));
        Case {
            domain,
            verifier: Eip712::new(domain, channel, Address(bytes(&vector, "signer"))),
            voucher: Voucher {
                channel,
                cumulative: text(&vector, "cumulative").parse().unwrap(),
                proof: bytes::<65>(&vector, "signature").into(),
            },
            vector,
        }
    };
    let all: Vec<Case> = cases(&file(), "vouchers").into_iter().map(read).collect();
    assert_eq!(all.len(), 4);
    all
}

fn with_proof(voucher: &Voucher, proof: impl Into<Box<[u8]>>) -> Voucher {
    Voucher {
        proof: proof.into(),
        ..voucher.clone()
    }
}

#[test]
fn hashes_and_signatures_equal_the_vectors_of_all_four_protocols() {
    for case in vouchers() {
        let Case {
            domain,
            voucher,
            vector,
            ..
        } = &case;
        assert_eq!(domain.separator(), &bytes(vector, "domain_separator"));
        let hash = domain.struct_hash(&voucher.channel, voucher.cumulative);
        assert_eq!(hash, bytes(vector, "struct_hash"));
        let digest = domain.digest(&voucher.channel, voucher.cumulative);
        assert_eq!(digest, bytes(vector, "digest"));
        let key = SigningKey::from_bytes(&bytes(vector, "secret_key")).unwrap();
        assert_eq!(key.address().0, bytes(vector, "signer"));
        let signed = key.voucher(domain, voucher.channel, voucher.cumulative);
        assert_eq!(signed.as_ref(), Ok(voucher));
        assert_eq!(case.verifier.verify(None, voucher), Ok(()));
    }
}

#[test]
fn the_compact_form_is_valid_where_the_protocol_has_it() {
    for case in vouchers() {
        let compact = with_proof(&case.voucher, bytes::<64>(&case.vector, "compact"));
        let expected = match case.domain.variant.compact {
            true => Ok(()),
            false => Err(VoucherError::MalformedProof),
        };
        assert_eq!(case.verifier.verify(None, &compact), expected);
    }
    let compact = vouchers()
        .iter()
        .map(|case| case.domain.variant.compact)
        .collect::<Vec<_>>();
    assert_eq!(compact, [true, true, false, true]);
}

#[test]
fn the_upper_half_of_s_is_refused_in_both_forms() {
    for case in vouchers() {
        let high = bytes::<65>(&case.vector, "high_s");
        let voucher = with_proof(&case.voucher, high);
        assert_eq!(
            case.verifier.verify(None, &voucher),
            Err(VoucherError::HighS)
        );
        // The library alone would recover the signer.
        let id = RecoveryId::from_u8_masked(high[64] - 27);
        let signature = RecoverableSignature::from_compact(&high[..64], id).unwrap();
        let digest = case.domain.digest(&voucher.channel, voucher.cumulative);
        let key = signature
            .recover_ecdsa(Message::from_digest(digest))
            .unwrap();
        assert_eq!(Address::of(&key), case.verifier.signer);
    }
    let mut just_above = [1; 65];
    just_above[32..64].copy_from_slice(&HALF_ORDER);
    just_above[64] = 27;
    assert!(parse(&just_above, true).is_ok());
    assert!(parse(&just_above[..64], true).is_ok());
    just_above[63] += 1;
    assert_eq!(parse(&just_above, true), Err(VoucherError::HighS));
    assert_eq!(parse(&just_above[..64], true), Err(VoucherError::HighS));
}

#[test]
fn another_v_length_channel_amount_domain_or_signer_is_refused_by_name() {
    let all = vouchers();
    for (at, case) in all.iter().enumerate() {
        let verify = |voucher: &Voucher| case.verifier.verify(None, voucher);
        let good = &case.voucher;
        for v in (0..=255).filter(|v| !matches!(v, 27 | 28)) {
            let mut other = good.clone();
            other.proof[64] = v;
            assert_eq!(verify(&other), Err(VoucherError::MalformedProof), "{v}");
        }
        let mut flipped = good.clone();
        flipped.proof[64] ^= 27 ^ 28;
        assert_eq!(verify(&flipped), Err(VoucherError::WrongSigner));
        for length in [0, 1, 63, 66, 130] {
            let cut = with_proof(good, vec![1; length]);
            assert_eq!(verify(&cut), Err(VoucherError::MalformedProof));
        }
        let mut other = good.clone();
        other.channel.0[31] ^= 1;
        assert_eq!(verify(&other), Err(VoucherError::WrongChannel));
        let mut more = good.clone();
        more.cumulative += 1;
        assert_eq!(verify(&more), Err(VoucherError::WrongSigner));
        // Signed for another protocol, chain or contract.
        let elsewhere = &all[(at + 1) % all.len()].voucher.proof;
        let refused = verify(&with_proof(good, elsewhere.clone()));
        assert_eq!(refused, Err(VoucherError::WrongSigner));
        let stranger = SigningKey::from_bytes(&[9; 32]).unwrap();
        let signed = stranger.voucher(&case.domain, good.channel, good.cumulative);
        assert_eq!(verify(&signed.unwrap()), Err(VoucherError::WrongSigner));
    }
}

#[test]
fn zero_and_the_order_are_no_r_and_no_s() {
    let case = &vouchers()[0];
    let order = secp256k1::constants::CURVE_ORDER;
    for (from, to) in [(0, 32), (32, 64)] {
        let mut zero = case.voucher.clone();
        zero.proof[from..to].fill(0);
        let refused = case.verifier.verify(None, &zero);
        assert_eq!(refused, Err(VoucherError::InvalidSignature), "{from}");
    }
    let mut r = case.voucher.clone();
    r.proof[..32].copy_from_slice(&order);
    let refused = case.verifier.verify(None, &r);
    assert_eq!(refused, Err(VoucherError::InvalidSignature));
}

#[test]
fn an_amount_over_the_width_is_neither_signed_nor_verified() {
    let case = &vouchers()[1];
    let bits = 96;
    let wide = 1 << 96;
    let key = SigningKey::from_bytes(&[9; 32]).unwrap();
    let refused = key.voucher(&case.domain, case.voucher.channel, wide);
    assert_eq!(refused, Err(VoucherError::OverWidth { bits }));
    let voucher = Voucher {
        cumulative: wide,
        ..case.voucher.clone()
    };
    let refused = case.verifier.verify(None, &voucher);
    assert_eq!(refused, Err(VoucherError::OverWidth { bits }));
    assert!(
        key.voucher(&case.domain, case.voucher.channel, wide - 1)
            .is_ok()
    );
}

#[test]
fn ids_equal_the_vectors_and_every_term_changes_them() {
    let file = file();
    let all = cases(&file, "ids");
    assert_eq!(all.len(), 5);
    for case in all {
        let variant = variant(&case);
        let terms = Terms {
            payer: Address(bytes(&case, "payer")),
            payee: Address(bytes(&case, "payee")),
            operator: Address(bytes(&case, "operator")),
            token: Address(bytes(&case, "token")),
            salt: bytes(&case, "salt"),
            authorized_signer: Address(bytes(&case, "authorized_signer")),
            expiring_nonce_hash: bytes(&case, "expiring_nonce_hash"),
            escrow: Address(bytes(&case, "escrow")),
            chain_id: text(&case, "chain_id").parse().unwrap(),
        };
        let id = variant.channel_id(&terms);
        assert_eq!(id.0, bytes(&case, "channel"));
        assert_eq!(terms.signer(), terms.payer);
        let changes: [fn(&mut Terms); 7] = [
            |terms| terms.payer.0[0] ^= 1,
            |terms| terms.payee.0[0] ^= 1,
            |terms| terms.token.0[0] ^= 1,
            |terms| terms.salt[0] ^= 1,
            |terms| terms.authorized_signer.0[0] ^= 1,
            |terms| terms.escrow.0[0] ^= 1,
            |terms| terms.chain_id ^= 1,
        ];
        let only_v2: [fn(&mut Terms); 2] = [
            |terms| terms.operator.0[0] ^= 1,
            |terms| terms.expiring_nonce_hash[0] ^= 1,
        ];
        for (count, change) in changes.iter().chain(&only_v2).enumerate() {
            let mut other = terms;
            change(&mut other);
            let same = variant.channel_id(&other) == id;
            let ignored = count >= 7 && variant.id == IdFormula::SevenWords;
            assert_eq!(same, ignored, "{count}");
        }
    }
}

#[test]
fn keys_out_of_range_are_refused() {
    assert!(SigningKey::from_bytes(&[0; 32]).is_err());
    assert!(SigningKey::from_bytes(&secp256k1::constants::CURVE_ORDER).is_err());
}

/// What another implementation makes of the same bytes, by the rules in the module.
fn by_the_other(case: &Eip712, voucher: &Voucher) -> bool {
    let Ok([rs @ .., v]) = <&[u8; 65]>::try_from(&voucher.proof[..]) else {
        return false;
    };
    let id = match v {
        27 => other::RecoveryId::new(false, false),
        28 => other::RecoveryId::new(true, false),
        _ => return false,
    };
    let Ok(signature) = other::Signature::from_slice(rs) else {
        return false;
    };
    if signature.normalize_s() != signature {
        return false;
    }
    let digest = case.domain.digest(&voucher.channel, voucher.cumulative);
    let key = other::VerifyingKey::recover_from_prehash(&digest, &signature, id);
    key.is_ok_and(|key| {
        let point = key.to_sec1_point(false);
        keccak(&[&point.as_bytes()[1..]])[12..] == case.signer.0
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn both_implementations_sign_alike_and_accept_the_same(
        secret in any::<[u8; 32]>(),
        channel in any::<[u8; 32]>(),
        cumulative in any::<u128>(),
        flips in prop::collection::vec(0_usize..520, 0..3),
    ) {
        let Ok(key) = SigningKey::from_bytes(&secret) else {
            return Ok(());
        };
        let domain = Domain::new(Variant::EVM, 196, Address([1; 20]));
        let channel = ChannelId(channel);
        let verifier = Eip712::new(domain, channel, key.address());
        let mut voucher = key.voucher(&domain, channel, cumulative).unwrap();

        let theirs = other::SigningKey::from_slice(&secret).unwrap();
        let (signature, id) = theirs.sign_prehash_recoverable(&domain.digest(&channel, cumulative));
        prop_assert_eq!(&voucher.proof[..64], &signature.to_bytes()[..]);
        prop_assert_eq!(voucher.proof[64], 27 + id.to_byte());

        prop_assert_eq!(verifier.verify(None, &voucher), Ok(()));
        for bit in flips {
            voucher.proof[bit / 8] ^= 1 << (bit % 8);
        }
        let accepted = verifier.verify(None, &voucher).is_ok();
        prop_assert_eq!(accepted, by_the_other(&verifier, &voucher));
    }

    #[test]
    fn any_bytes_are_judged(proof in prop::collection::vec(any::<u8>(), 0..70)) {
        let case = &vouchers()[0];
        let voucher = with_proof(&case.voucher, proof);
        prop_assert!(case.verifier.verify(None, &voucher).is_err());
    }
}
