use super::*;
use proptest::prelude::*;

type Decoded = Result<&'static [u8], Base64UrlError>;

#[test]
fn texts_are_decoded_strictly() {
    use Base64UrlError::{Alphabet, Length, Padding, TrailingBits};
    let table: [(&[u8], Decoded); 19] = [
        (b"", Ok(b"")),
        (b"Zg", Ok(b"f")),
        (b"Zm8", Ok(b"fo")),
        (b"Zm9v", Ok(b"foo")),
        (b"-_-_", Ok(&[0xfb, 0xff, 0xbf])),
        (b"Zg==", Err(Padding)),
        (b"Zm8=", Err(Padding)),
        (b"Zm9v=", Err(Padding)),
        (b"=", Err(Padding)),
        (b"Z=g", Err(Alphabet { offset: 1 })),
        (b"+/+/", Err(Alphabet { offset: 0 })),
        (b"Zm9v Zm9v", Err(Alphabet { offset: 4 })),
        (b"Zm9v\n", Err(Alphabet { offset: 4 })),
        (b"Zm9v\0", Err(Alphabet { offset: 4 })),
        (b"Zm9\xff", Err(Alphabet { offset: 3 })),
        (b"Z", Err(Length { bytes: 1 })),
        (b"Zm9vZ", Err(Length { bytes: 5 })),
        (b"Zh", Err(TrailingBits)),
        (b"Zm9", Err(TrailingBits)),
    ];
    for (text, expected) in table {
        assert_eq!(
            decode(text).as_deref(),
            expected.as_ref().copied(),
            "{text:?}"
        );
    }
}

#[test]
fn every_request_of_the_specification_decodes_and_encodes_back() {
    for text in [
        "eyJhbW91bnQiOiIxMDAwIiwiY3VycmVuY3kiOiJVU0QiLCJyZWNpcGllbnQiOiJhY2N0XzEyMyJ9",
        "eyJhbW91bnQiOiIxMDAwIiwiY3VycmVuY3kiOiJVU0QiLCJpbnZvaWNlIjoiaW52XzEyMzQ1In0",
    ] {
        assert_eq!(encode(&decode(text.as_bytes()).unwrap()), text);
    }
}

proptest! {
    #[test]
    fn encoding_and_decoding_is_the_identity(bytes: Vec<u8>) {
        prop_assert_eq!(decode(encode(&bytes).as_bytes()), Ok(bytes));
    }

    #[test]
    fn whatever_decodes_has_one_text(text in "[A-Za-z0-9_-]{0,40}") {
        if let Ok(bytes) = decode(text.as_bytes()) {
            prop_assert_eq!(encode(&bytes), text);
        }
    }

    #[test]
    fn any_bytes_are_decoded_or_refused(text: Vec<u8>) {
        if let Ok(bytes) = decode(&text) {
            prop_assert_eq!(encode(&bytes).into_bytes(), text);
        }
    }
}
