//! Where the bytes of a body come from: the command line, files, standard input.

use std::io::{self, Read};

use stiver_env::Env;

use crate::{
    args::data::Kind,
    failure::{Failure, UsageContext},
};

/// Longest request body, bytes: what the client holds, because it is sent again after payment.
pub(super) const BODY_BYTES_MAX: u64 = 16 * 1024 * 1024;

/// Reads files and standard input, which can be read once.
pub(super) struct Source<'e> {
    env: &'e Env,
    stdin_read: bool,
}

impl<'e> Source<'e> {
    pub(super) fn new(env: &'e Env) -> Self {
        Self {
            env,
            stdin_read: false,
        }
    }

    /// A text as it is, or what `@FILE` and `@-` name.
    pub(super) fn value(&mut self, text: &str, option: &str) -> Result<Vec<u8>, Failure> {
        match text.strip_prefix('@') {
            Some(file) => self.file(file, option),
            None => Ok(text.as_bytes().to_vec()),
        }
    }

    /// A file; `-` is standard input.
    pub(super) fn file(&mut self, file: &str, option: &str) -> Result<Vec<u8>, Failure> {
        if file != "-" {
            let bytes = self.env.disk.read(file.as_ref(), BODY_BYTES_MAX);
            return bytes.usage(format!("{option}: reading {file}"));
        }
        if self.stdin_read {
            return Err(Failure::usage(format!(
                "{option}: standard input was read already, and can be read once"
            )));
        }
        self.stdin_read = true;
        let mut bytes = Vec::new();
        let mut stdin = io::stdin().lock().take(BODY_BYTES_MAX.saturating_add(1));
        stdin
            .read_to_end(&mut bytes)
            .usage(format!("{option}: reading standard input"))?;
        fits(&bytes, "standard input")?;
        Ok(bytes)
    }
}

/// Refuses what is longer than the client holds.
pub(super) fn fits(bytes: &[u8], what: &str) -> Result<(), Failure> {
    if u64::try_from(bytes.len()).is_ok_and(|length| length <= BODY_BYTES_MAX) {
        return Ok(());
    }
    Err(Failure::usage(format!(
        "{what} is over {BODY_BYTES_MAX} bytes, the longest body that can be sent again after \
         payment"
    )))
}

/// The pieces of `--data` and its kin, joined with `&`.
pub(super) fn joined(
    pieces: &[(Kind, String)],
    source: &mut Source<'_>,
) -> Result<Vec<u8>, Failure> {
    let mut body = Vec::new();
    for (index, (kind, text)) in pieces.iter().enumerate() {
        if index > 0 {
            body.push(b'&');
        }
        match kind {
            Kind::Raw => body.extend_from_slice(text.as_bytes()),
            Kind::Binary => body.extend(source.value(text, "--data-binary")?),
            Kind::Text => {
                let from_file = text.starts_with('@');
                let bytes = source.value(text, "--data")?.into_iter();
                body.extend(bytes.filter(|byte| !from_file || !matches!(byte, b'\r' | b'\n' | 0)));
            }
            Kind::UrlEncode => encode(text, source, &mut body)?,
        }
        fits(&body, "the body")?;
    }
    Ok(body)
}

/// `content`, `=content`, `name=content`, `@file`, `name@file`.
fn encode(text: &str, source: &mut Source<'_>, body: &mut Vec<u8>) -> Result<(), Failure> {
    let (name, content) = if let Some((name, content)) = text.split_once('=') {
        (name, content.as_bytes().to_vec())
    } else if let Some((name, file)) = text.split_once('@') {
        (name, source.file(file, "--data-urlencode")?)
    } else {
        ("", text.as_bytes().to_vec())
    };
    if !name.is_empty() {
        body.extend_from_slice(name.as_bytes());
        body.push(b'=');
    }
    for byte in content {
        percent_encode(byte, body);
    }
    Ok(())
}

/// Leaves the unreserved characters of RFC 3986 as they are.
fn percent_encode(byte: u8, to: &mut Vec<u8>) {
    const HEX: &[u8; 16] = b"0123456789ABCDEF";
    if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~') {
        to.push(byte);
        return;
    }
    to.push(b'%');
    for nibble in [byte >> 4, byte & 15] {
        to.extend(HEX.get(usize::from(nibble)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn body(pieces: &[(Kind, &str)]) -> String {
        let env = stiver_env::native::env();
        let pieces: Vec<_> = pieces
            .iter()
            .map(|(kind, text)| (*kind, (*text).to_owned()))
            .collect();
        String::from_utf8(joined(&pieces, &mut Source::new(&env)).unwrap()).unwrap()
    }

    #[test]
    fn pieces_are_joined_in_order_and_encoded_as_curl_does() {
        assert_eq!(
            body(&[
                (Kind::Text, "a=1"),
                (Kind::Raw, "@b"),
                (Kind::UrlEncode, "c=x y&z"),
                (Kind::UrlEncode, "=a/b"),
                (Kind::UrlEncode, "ä~"),
            ]),
            "a=1&@b&c=x%20y%26z&a%2Fb&%C3%A4~"
        );
        assert_eq!(body(&[(Kind::Text, "")]), "");
    }

    #[test]
    fn files_lose_their_line_ends_only_in_data() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        std::fs::write(&path, "a\r\nb c\n").unwrap();
        let at = format!("@{}", path.display());
        assert_eq!(body(&[(Kind::Text, &at)]), "ab c");
        assert_eq!(body(&[(Kind::Binary, &at)]), "a\r\nb c\n");
        assert_eq!(body(&[(Kind::Raw, "@x\n")]), "@x\n");
        let named = format!("n{at}");
        assert_eq!(body(&[(Kind::UrlEncode, &named)]), "n=a%0D%0Ab%20c%0A");
    }
}
