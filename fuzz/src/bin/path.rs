//! Request paths: one normal form, which the upstream reads as we do.
#![no_main]

use libfuzzer_sys::fuzz_target;
use stiver_gateway::path::{Pattern, normalise};

fuzz_target!(|data: &[u8]| {
    let Some(text) = stiver_fuzz::text(data) else {
        return;
    };
    let (pattern, path) = text.split_once('\n').unwrap_or(("/**", text));
    let pattern = Pattern::parse(pattern);
    let Ok(normal) = normalise(path) else { return };
    assert_eq!(
        normalise(&normal).as_deref(),
        Ok(normal.as_str()),
        "two normal forms"
    );
    let lower = normal.to_ascii_lowercase();
    assert!(!lower.contains("%2f") && !lower.contains("%5c") && !lower.contains("%2e"));
    assert!(normal.starts_with('/') && !normal.contains("//"));
    assert!(
        !normal
            .split('/')
            .any(|segment| segment == "." || segment == "..")
    );
    if let Ok(pattern) = pattern {
        let _ = pattern.matches(&normal);
    }
    let everything = Pattern::parse("/**").expect("`/**` is a pattern");
    assert!(everything.matches(&normal));
});
