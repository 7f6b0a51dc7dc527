//! Commands as they would be typed.

/// A word for a shell: quoted when it must be.
pub(crate) fn quoted(word: &str) -> String {
    let plain = |byte: u8| {
        byte.is_ascii_alphanumeric()
            || matches!(byte, b'-' | b'_' | b'.' | b'/' | b':' | b'@' | b'=')
    };
    if !word.is_empty() && word.bytes().all(plain) {
        return word.to_owned();
    }
    let visible = stiver_core::untrusted::Untrusted(word).to_string();
    format!("'{}'", visible.replace('\'', "'\\''"))
}

#[cfg(test)]
mod tests {
    use super::quoted;

    #[test]
    fn words_survive_a_shell() {
        assert_eq!(quoted("http://a:1/b"), "http://a:1/b");
        assert_eq!(quoted(""), "''");
        assert_eq!(quoted("a b"), "'a b'");
        assert_eq!(quoted("it's $HOME"), "'it'\\''s $HOME'");
        assert_eq!(quoted("http://a/?b&c"), "'http://a/?b&c'");
    }
}
