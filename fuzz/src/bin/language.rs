//! `Accept-Language`: whatever is asked, a text that is there is chosen, and none that is refused.
#![no_main]

use libfuzzer_sys::fuzz_target;
use stiver_core::language::{LanguageTag, preferred};

fuzz_target!(|data: &[u8]| {
    let mut texts: Vec<LanguageTag> = ["en", "de", "pt-br", "zh-hant-tw"]
        .iter()
        .map(|text| LanguageTag::new(text).expect("it is a tag"))
        .collect();
    for line in stiver_fuzz::lines(data) {
        if let Some(Ok(tag)) = stiver_fuzz::text(line).map(LanguageTag::new) {
            let again = LanguageTag::new(tag.as_str()).expect("a tag is a tag");
            assert_eq!(again, tag);
            texts.push(tag);
        }
    }
    let chosen = preferred(stiver_fuzz::lines(data), texts.iter());
    assert!(chosen.is_none_or(|index| index < texts.len()));
    // Whether something is chosen does not depend on what else is there before it.
    if let Some(index) = chosen {
        let alone = preferred(stiver_fuzz::lines(data), texts[index..=index].iter());
        assert_eq!(alone, Some(0));
    }
});
