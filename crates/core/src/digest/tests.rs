use super::*;
use alloc::string::ToString as _;
use proptest::prelude::*;

/// The sample of RFC 9530, which the draft uses too.
const SAMPLE_BODY: &[u8] = br#"{"hello": "world"}"#;
const SAMPLE_BASE64: &str = "X48E9qOokqqrvdts8nOJRJN3OWDUoyWxBf7kbu9DBPE=";
/// RFC 9530, the SHA-512 of the same body.
const SAMPLE_SHA512: &str = "sha-512=:WZDPaVn/7XgHaAy8pmojAkGWoRx2UFChF41A2svX+TaPm\
                             +AbwAgBWnrIiYllu7BNNyealdVLvRwEmTHWXvJwew==:";

#[test]
fn both_deployed_forms_are_read_and_the_rfc_form_is_printed() {
    let digest = BodyDigest::of(SAMPLE_BODY);
    let rfc = alloc::format!("sha-256=:{SAMPLE_BASE64}:");
    let bare = alloc::format!("sha-256={SAMPLE_BASE64}");
    assert_eq!(BodyDigest::parse(&rfc), Ok(digest));
    assert_eq!(BodyDigest::parse(&bare), Ok(digest));
    assert_eq!(digest.to_header(), rfc);
    assert_eq!(digest.to_string(), rfc);
}

#[test]
fn the_sha_256_of_several_algorithms_is_picked() {
    let digest = BodyDigest::of(SAMPLE_BODY);
    for text in [
        alloc::format!("{SAMPLE_SHA512}, sha-256=:{SAMPLE_BASE64}:"),
        alloc::format!("sha-256=:{SAMPLE_BASE64}:,{SAMPLE_SHA512}"),
        alloc::format!("sha-256={SAMPLE_BASE64} ,\tunixsum=30637"),
    ] {
        assert_eq!(BodyDigest::parse(&text), Ok(digest), "{text}");
    }
}

#[test]
fn malformed_digests_are_refused() {
    use DigestError::{Base64, Duplicate, Length, NoSha256, Syntax, TooLong};
    let good = alloc::format!("sha-256=:{SAMPLE_BASE64}:");
    let bare = SAMPLE_BASE64.trim_end_matches('=');
    let stray = SAMPLE_BASE64.replace("PE=", "PF=");
    let long = alloc::format!("{good},x={}", "a".repeat(DIGEST_BYTES_MAX));
    let table: &[(&str, DigestError)] = &[
        ("", Syntax),
        ("sha-256", Syntax),
        ("sha-256=", Length { bytes: 0 }),
        ("sha-256=::", Length { bytes: 0 }),
        ("sha-256=:AAAA:", Length { bytes: 3 }),
        ("sha-256=:AAAA", Syntax),
        ("sha-256=AAAA:", Base64),
        ("sha-256=:", Syntax),
        (SAMPLE_SHA512, NoSha256),
        (&alloc::format!("SHA-256=:{SAMPLE_BASE64}:"), Syntax),
        (&alloc::format!("{good},{good}"), Duplicate),
        (&alloc::format!("{good},"), Syntax),
        (&alloc::format!(",{good}"), Syntax),
        (&alloc::format!("sha-256 =:{SAMPLE_BASE64}:"), Syntax),
        (&alloc::format!("sha-256= :{SAMPLE_BASE64}:"), Base64),
        (&alloc::format!("{good};q=1"), Syntax),
        (&alloc::format!("sha-256=:{bare}:"), Base64),
        (&alloc::format!("sha-256=:{stray}:"), Base64),
        (
            &alloc::format!("sha-256=:{}:", SAMPLE_BASE64.replace('X', "_")),
            Base64,
        ),
        (
            &alloc::format!("sha-256=:{}:", "A".repeat(44)),
            Length { bytes: 33 },
        ),
        (&long, TooLong { bytes: long.len() }),
    ];
    for (text, expected) in table {
        assert_eq!(&BodyDigest::parse(text).unwrap_err(), expected, "{text:?}");
    }
}

proptest! {
    #[test]
    fn printing_and_reading_is_the_identity(bytes: [u8; 32]) {
        let digest = BodyDigest::from_bytes(bytes);
        prop_assert_eq!(BodyDigest::parse(&digest.to_header()), Ok(digest));
    }

    #[test]
    fn a_body_in_pieces_has_the_digest_of_the_whole(pieces: Vec<Vec<u8>>) {
        let mut digester = BodyDigester::new();
        for piece in &pieces {
            digester.update(piece);
        }
        prop_assert_eq!(digester.finish(), BodyDigest::of(&pieces.concat()));
    }

    #[test]
    fn any_text_is_read_or_refused(text: String) {
        let _ = BodyDigest::parse(&text);
        let _ = BodyDigest::parse(&alloc::format!("sha-256=:{text}"));
    }
}
