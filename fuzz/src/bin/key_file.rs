//! Key files: what is read is the key that was written, and no error tells the secret.
#![no_main]

use libfuzzer_sys::fuzz_target;
use stiver_method::key::Ed25519Key;

fuzz_target!(|data: &[u8]| {
    if let Some(text) = stiver_fuzz::text(data)
        && let Ok(key) = Ed25519Key::from_file_text(text)
    {
        let again = Ed25519Key::from_file_text(&key.to_file_text()).expect("own file is read");
        assert_eq!(again.did(), key.did());
    }
    // Every seed is a key, and its file reads back.
    if let Some(seed) = data.first_chunk::<32>() {
        let key = Ed25519Key::from_seed(seed);
        let again = Ed25519Key::from_file_text(&key.to_file_text()).expect("own file is read");
        assert_eq!(again.did(), key.did());
    }
});
