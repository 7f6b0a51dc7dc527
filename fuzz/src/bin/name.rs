//! Names: what is accepted can stand in a challenge and comes back unchanged; what is shown to a
//! person cannot forge a line.
#![no_main]

use libfuzzer_sys::fuzz_target;
use stiver_core::{
    did::DidKey,
    name::{ChallengeId, IntentName, MethodName, Realm},
    untrusted::Untrusted,
};

fuzz_target!(|data: &[u8]| {
    let Some(text) = stiver_fuzz::text(data) else {
        return;
    };
    let names = [
        Realm::new(text).map(|name| name.to_string()),
        MethodName::new(text).map(|name| name.to_string()),
        IntentName::new(text).map(|name| name.to_string()),
        ChallengeId::new(text).map(|name| name.to_string()),
    ];
    for name in names.into_iter().flatten() {
        assert_eq!(name, text);
        assert!(
            !text.contains(|c: char| c.is_control()),
            "holds a control character"
        );
    }
    if let Ok(key) = text.parse::<DidKey>() {
        assert_eq!(key.to_string(), text, "one key has one name");
    }
    let shown = Untrusted(text).to_string();
    assert!(
        !shown.contains(|c: char| c.is_control()),
        "shows a control character"
    );
});
