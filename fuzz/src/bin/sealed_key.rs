//! Key files of every kind, encrypted ones first: what is read prints and reads back as the same,
//! and reading one costs nothing, whatever it asks for.
#![no_main]

use libfuzzer_sys::fuzz_target;
use stiver_method::key::Ed25519Key;
use stiver_wallet::{
    keyfile::KeyFile,
    sealed::{KDF_LANES_MAX, KDF_MEMORY_KIB_MAX, KDF_PASSES_MAX, KdfCost, SealRandom, SealedKey},
};

fuzz_target!(|data: &[u8]| {
    if let Some(text) = stiver_fuzz::text(data) {
        read(text);
    }
    // Every key under every passphrase opens with it, and with no other.
    if let Some((seed, rest)) = data.split_first_chunk::<32>()
        && let Some(passphrase) = stiver_fuzz::text(rest)
    {
        round_trip(seed, passphrase);
    }
});

fn read(text: &str) {
    match KeyFile::from_text(text) {
        Ok(KeyFile::Sealed(sealed)) => {
            assert_eq!(sealed.to_file_text(), text);
            let cost = sealed.cost();
            assert!(cost.memory_kib <= KDF_MEMORY_KIB_MAX);
            assert!(cost.passes <= KDF_PASSES_MAX && cost.lanes <= KDF_LANES_MAX);
        }
        Ok(KeyFile::Keyring(item)) => assert_eq!(item.to_file_text(), text),
        Ok(KeyFile::Plain(_)) | Err(_) => {}
    }
}

fn round_trip(seed: &[u8; 32], passphrase: &str) {
    let key = Ed25519Key::from_seed(seed);
    let random = SealRandom {
        salt: [seed[0]; 16],
        nonce: [seed[1]; 12],
    };
    let Ok(sealed) = SealedKey::seal(&key, passphrase, KdfCost::DANGEROUSLY_LOW, random) else {
        return;
    };
    let again = SealedKey::from_file_text(&sealed.to_file_text()).expect("own file is read");
    let opened = again.open(passphrase).expect("own passphrase opens it");
    assert_eq!(opened.did(), key.did());
    assert!(again.open(&format!("{passphrase}x")).is_err());
}
