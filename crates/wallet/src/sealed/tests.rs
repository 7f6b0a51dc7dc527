use super::*;

const PASSPHRASE: &str = "correct horse battery";

fn seal(seed: u8) -> SealedKey {
    let random = SealRandom {
        salt: [3; 16],
        nonce: [4; 12],
    };
    let key = Ed25519Key::from_seed(&[seed; 32]);
    SealedKey::seal(&key, PASSPHRASE, KdfCost::DANGEROUSLY_LOW, random).unwrap()
}

#[test]
fn a_sealed_key_opens_with_its_passphrase_only() {
    let text = seal(9).to_file_text();
    let sealed = SealedKey::from_file_text(&text).unwrap();
    assert_eq!(sealed, seal(9));
    assert_eq!(sealed.to_file_text(), text);
    let key = sealed.open(PASSPHRASE).unwrap();
    assert_eq!(key.did(), sealed.did());
    for wrong in ["correct horse batterx", " ", "correct horse battery "] {
        let error = sealed.open(wrong).err();
        assert_eq!(error, Some(SealedKeyError::Passphrase), "{wrong:?}");
    }
    for wrong in ["", &"x".repeat(PASSPHRASE_BYTES_MAX + 1)] {
        let error = sealed.open(wrong).err();
        assert_eq!(error, Some(SealedKeyError::PassphraseLength));
    }
}

#[test]
fn the_file_holds_nothing_of_the_seed() {
    let key = Ed25519Key::from_seed(&[9; 32]);
    let text = seal(9).to_file_text();
    assert!(!text.contains(key.to_secret_text().as_str()));
}

/// Made once with another implementation (Python: cryptography, on OpenSSL), so that a file
/// written today opens for ever.
#[test]
fn a_file_of_another_implementation_opens() {
    let text = include_str!("vector.key");
    let sealed = SealedKey::from_file_text(text).unwrap();
    let key = sealed.open("pass\u{e9}phrase").unwrap();
    assert_eq!(
        *key.to_seed(),
        std::array::from_fn(|at| u8::try_from(at).unwrap())
    );
    let random = SealRandom {
        salt: [7; 16],
        nonce: [8; 12],
    };
    let cost = KdfCost {
        memory_kib: 64,
        passes: 2,
        lanes: 2,
    };
    let again = SealedKey::seal(&key, "pass\u{e9}phrase", cost, random).unwrap();
    assert_eq!(again.to_file_text(), text);
}

#[test]
fn every_altered_byte_is_noticed() {
    let text = seal(9).to_file_text();
    for index in 0..text.len() {
        let mut bytes = text.clone().into_bytes();
        bytes[index] ^= 1;
        let Ok(altered) = String::from_utf8(bytes) else {
            continue;
        };
        let opened = SealedKey::from_file_text(&altered).and_then(|key| key.open(PASSPHRASE));
        assert!(opened.is_err(), "byte {index}");
    }
}

#[test]
fn another_key_in_front_of_the_same_secret_is_refused() {
    let (one, two) = (seal(9).to_file_text(), seal(8).to_file_text());
    let other = two.lines().nth(1).unwrap();
    let swapped = one.replace(one.lines().nth(1).unwrap(), other);
    let sealed = SealedKey::from_file_text(&swapped).unwrap();
    assert_eq!(
        sealed.open(PASSPHRASE).err(),
        Some(SealedKeyError::Passphrase)
    );
}

#[test]
fn damaged_files_are_refused_by_line() {
    use SealedKeyError as E;
    let good = seal(9).to_file_text();
    let cost = |memory_kib, passes, lanes| {
        E::Cost(KdfCost {
            memory_kib,
            passes,
            lanes,
        })
    };
    let table = [
        (String::new(), E::NotASealedKey),
        ("stiver-key 1 ed25519\n".into(), E::NotASealedKey),
        (good.replace("key 1", "key 2"), E::Version),
        (good.replace("ed25519", "p256"), E::Version),
        (good.replace("z6Mk", "z6Mj"), E::Public),
        (good.replace("argon2id", "argon2i"), E::Kdf),
        (good.replace("m=8", "m=08"), E::Kdf),
        (good.replace("m=8", "m=+8"), E::Kdf),
        (good.replace("m=8", "m=99999999999"), E::Kdf),
        (good.replace("m=8 t=1", "t=1 m=8"), E::Kdf),
        (good.replace("salt=", "salt=A"), E::Kdf),
        (good.replace("p=1", "p=1 q=1"), E::Kdf),
        (good.replace("m=8", "m=7"), cost(7, 1, 1)),
        (good.replace("m=8", "m=1048577"), cost(1_048_577, 1, 1)),
        (good.replace("t=1", "t=17"), cost(8, 17, 1)),
        (
            good.replace("m=8 t=1 p=1", "m=999 t=1 p=17"),
            cost(999, 1, 17),
        ),
        (
            good.replace("chacha20poly1305 ", "chacha20poly1305 A"),
            E::Box,
        ),
        (good.replace("chacha20poly1305", "aes"), E::Box),
        (good.trim_end().to_owned(), E::Trailing),
        (format!("{good}\n"), E::Trailing),
        (format!("{good}x"), E::Trailing),
    ];
    for (text, error) in table {
        assert_eq!(SealedKey::from_file_text(&text), Err(error), "{text}");
    }
}
