//! Body digests, in both forms.
#![no_main]

use libfuzzer_sys::fuzz_target;
use stiver_core::{challenge::DigestText, digest::BodyDigest};

fuzz_target!(|data: &[u8]| {
    let Some(text) = stiver_fuzz::text(data) else {
        return;
    };
    if let Ok(digest) = BodyDigest::parse(text) {
        assert_eq!(BodyDigest::parse(&digest.to_header()), Ok(digest));
    }
    if let Ok(kept) = DigestText::new(text) {
        assert_eq!(kept.as_str(), text);
        assert!(!text.contains('|'), "could leave its slot of the binding");
    }
});
