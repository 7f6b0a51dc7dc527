use super::*;

fn amount(units: u128) -> Amount {
    Currency::new("usd", 6).unwrap().units(units)
}

fn details() -> Details {
    Details {
        method: "ledger".to_owned(),
        amount: amount(u128::MAX),
        payee: "merchant".to_owned(),
        payer: Some("did:key:z6Mk".to_owned()),
        source: None,
        resource: "POST /order?x=\u{e9}".to_owned(),
        request_digest: Some(BodyDigest::of(b"one")),
        price_revision: Some("list-1".to_owned()),
        on_failure: OnFailure::Refund,
        repeatable: true,
        attempts_max: 3,
        resume_until: Timestamp::from_millis(1),
        replayable_until: Timestamp::MAX,
        store_response_ms: Some(u64::MAX),
        key_hash: None,
        agreement: None,
    }
}

fn settled() -> Settled {
    Settled {
        reference: "tx-1".to_owned(),
        at: Timestamp::from_millis(1_735_689_600_001),
        amount: amount(10_000),
        payer: None,
        payee: "merchant".to_owned(),
        receipt: vec![
            ("externalId".to_owned(), Value::String("o-1".to_owned())),
            (
                "legs".to_owned(),
                Value::Array(vec![Value::Null, Value::Bool(true)]),
            ),
        ],
    }
}

#[test]
fn every_record_reads_back_as_it_was_written() {
    let bare = Details {
        payer: None,
        source: Some("did:web:x".to_owned()),
        request_digest: None,
        price_revision: None,
        on_failure: OnFailure::Keep,
        repeatable: false,
        store_response_ms: None,
        key_hash: Some([6; 32]),
        agreement: Some([7; 32]),
        ..details()
    };
    for details in [details(), bare] {
        assert_eq!(Details::decode(&details.encode()), Ok(details));
    }
    assert_eq!(decode_settled(&encode_settled(&settled())), Ok(settled()));
    for kind in [
        RefusalKind::Invalid,
        RefusalKind::Insufficient,
        RefusalKind::Expired,
        RefusalKind::Denied,
        RefusalKind::AlreadyUsed,
    ] {
        let refusal = Refusal {
            kind,
            detail: "no".to_owned(),
        };
        assert_eq!(decode_refusal(&encode_refusal(&refusal)), Ok(refusal));
    }
    let artefact = Artefact {
        rail_key: b"key".to_vec(),
        bytes: Zeroizing::new(vec![0, 1, 255]),
    };
    let read = decode_artefact(&encode_artefact(&artefact)).unwrap();
    assert_eq!(
        (&read.rail_key, &*read.bytes),
        (&artefact.rail_key, &*artefact.bytes)
    );
    for delivered in [None, Some("receipt".into())] {
        let refund = Refund {
            artefact: artefact.clone(),
            delivered,
        };
        let read = Refund::decode(&refund.encode()).unwrap();
        assert_eq!(read.artefact.bytes, artefact.bytes);
        assert_eq!(read.delivered, refund.delivered);
    }
}

#[test]
fn writing_is_deterministic() {
    assert_eq!(details().encode(), details().encode());
    assert_eq!(encode_settled(&settled()), encode_settled(&settled()));
}

#[test]
fn every_cut_and_every_changed_byte_is_an_error_or_another_record_and_never_a_panic() {
    let (details, settled) = (details().encode(), encode_settled(&settled()));
    let refusal = encode_refusal(&Refusal {
        kind: RefusalKind::Denied,
        detail: "no".to_owned(),
    });
    for bytes in [details, settled, refusal] {
        let fails = |bytes: &[u8]| {
            Details::decode(bytes).is_err()
                && decode_settled(bytes).is_err()
                && decode_refusal(bytes).is_err()
                && decode_artefact(bytes).is_err()
                && Refund::decode(bytes).is_err()
        };
        for cut in 0..bytes.len() {
            assert!(fails(&bytes[..cut]), "cut at {cut}");
        }
        let longer = [&bytes[..], &[0xf6]].concat();
        assert!(fails(&longer), "one byte more");
        for at in 0..bytes.len() {
            for bit in 0..8 {
                let mut changed = bytes.clone();
                changed[at] ^= 1 << bit;
                // Whatever it says, it says it.
                let _ = fails(&changed);
            }
        }
    }
}

#[test]
fn record_of_a_later_version_is_refused_by_its_number() {
    let mut bytes = details().encode();
    assert_eq!(bytes[1], VERSION);
    bytes[1] = 2;
    let error = Details::decode(&bytes).unwrap_err();
    assert_eq!(
        error.to_string(),
        "the claim details record has version 2, which this version does not read"
    );
}

#[test]
fn record_that_claims_endless_members_is_refused_without_allocating_them() {
    let mut writer = Encoder::new(Vec::new());
    writer.array(7).unwrap().u8(VERSION).unwrap();
    writer.str("tx").unwrap().u64(1).unwrap();
    write_amount(&mut writer, &amount(1)).unwrap();
    writer.null().unwrap().str("merchant").unwrap();
    writer.array(u64::MAX).unwrap();
    let error = decode_settled(&writer.into_writer()).unwrap_err();
    assert_eq!(error, RecordError::Malformed("settlement"));
}

#[test]
fn settlement_too_large_for_the_journal_is_kept_without_its_members() {
    let large = Settled {
        receipt: vec![(
            "note".to_owned(),
            Value::String("x".repeat(RECORD_BYTES_MAX)),
        )],
        ..settled()
    };
    let record = encode_settled(&large);
    assert!(record.len() <= RECORD_BYTES_MAX);
    let kept = decode_settled(&record).unwrap();
    assert_eq!(
        (kept.reference, kept.receipt),
        (large.reference, Vec::new())
    );
}

#[test]
fn long_refusals_are_cut_between_characters() {
    let refusal = Refusal {
        kind: RefusalKind::Denied,
        detail: "\u{e9}".repeat(REFUSAL_CHARS_MAX + 1),
    };
    let kept = decode_refusal(&encode_refusal(&refusal)).unwrap();
    assert_eq!(kept.detail.chars().count(), REFUSAL_CHARS_MAX);
}
