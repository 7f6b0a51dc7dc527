//! The gateway's files: configuration and challenge secrets. Errors tell the line, never a secret.
#![no_main]

use std::path::Path;

use libfuzzer_sys::fuzz_target;
use stiver_gateway::{config::Config, secrets};

/// Words of this length could be secrets.
const SECRET_CHARACTERS: usize = 24;

fuzz_target!(|data: &[u8]| {
    let Some(text) = stiver_fuzz::text(data) else {
        return;
    };
    let (file, folder) = (Path::new("stiver.toml"), Path::new("/srv"));
    match Config::parse(text, file, folder) {
        Ok(config) => {
            let printed = config.to_toml();
            let again = Config::parse(&printed, file, folder);
            assert_eq!(again, Ok(config), "printed as another one:\n{printed}");
        }
        Err(error) => assert!(
            error.to_string().contains("stiver.toml"),
            "which file? {error}"
        ),
    }
    if let Err(error) = secrets::parse(text) {
        let message = error.to_string();
        let mut words = text
            .split_whitespace()
            .filter(|word| word.len() >= SECRET_CHARACTERS);
        assert!(
            !words.any(|word| message.contains(word)),
            "told a secret: {message}"
        );
    }
});
