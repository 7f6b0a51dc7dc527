//! The file of challenge secrets.
//!
//! One secret a line, base64url of at least 32 bytes. The current one binds new challenges;
//! previous ones verify those still out until their end date. Blank lines and lines that begin with
//! `#` are skipped.
//!
//! ```text
//! current  mNbV...
//! previous kJhG... until 2026-12-01T00:00:00Z
//! ```

use stiver_core::{
    Timestamp, base64url,
    binding::{KeyRing, Secret},
};
use zeroize::Zeroizing;

/// Longest secrets file, bytes.
pub const SECRETS_BYTES_MAX: u64 = 64 * 1024;
/// Most previous secrets: each costs one HMAC for a challenge that no newer one verifies.
pub const PREVIOUS_SECRETS_MAX: usize = 16;
/// Length of a secret that we make, bytes.
pub const SECRET_BYTES: usize = 32;

/// The text of a new file with one secret.
pub fn new_file(secret: &[u8; SECRET_BYTES]) -> Zeroizing<String> {
    let encoded = Zeroizing::new(base64url::encode(secret));
    Zeroizing::new(format!("current {}\n", encoded.as_str()))
}

/// Reads a key ring.
///
/// # Errors
///
/// [`SecretsError`] names the line, and holds nothing of what stands there.
pub fn parse(text: &str) -> Result<KeyRing, SecretsError> {
    let mut current = None;
    let mut previous: Vec<(Secret, Timestamp)> = Vec::new();
    for (index, line) in text.lines().enumerate() {
        let wrong = |problem| SecretsError {
            line: index + 1,
            problem,
        };
        let words: Vec<&str> = line.split_whitespace().collect();
        match words.as_slice() {
            [] => {}
            [first, ..] if first.starts_with('#') => {}
            ["current", encoded] => {
                if current.is_some() {
                    return Err(wrong(SecretsProblem::TwoCurrent));
                }
                current = Some(secret(encoded).map_err(wrong)?);
            }
            ["previous", encoded, "until", date] => {
                if previous.len() == PREVIOUS_SECRETS_MAX {
                    return Err(wrong(SecretsProblem::TooMany));
                }
                let until =
                    Timestamp::parse_rfc3339(date).map_err(|_| wrong(SecretsProblem::EndDate))?;
                previous.push((secret(encoded).map_err(wrong)?, until));
            }
            _ => return Err(wrong(SecretsProblem::Form)),
        }
    }
    let current = current.ok_or(SecretsError {
        line: 1,
        problem: SecretsProblem::NoCurrent,
    })?;
    Ok(previous
        .into_iter()
        .fold(KeyRing::new(current), |ring, (secret, until)| {
            ring.with_previous(secret, until)
        }))
}

fn secret(encoded: &str) -> Result<Secret, SecretsProblem> {
    let bytes = base64url::decode(encoded.as_bytes()).map_err(|_| SecretsProblem::Encoding)?;
    let bytes = Zeroizing::new(bytes);
    Secret::configured(&bytes).map_err(|error| SecretsProblem::Short { bytes: error.bytes })
}

/// What is wrong with a secrets file, and on which line (from 1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {problem}")]
pub struct SecretsError {
    /// The line.
    pub line: usize,
    /// What is wrong.
    pub problem: SecretsProblem,
}

/// What is wrong with a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SecretsProblem {
    /// Another form.
    #[error("write `current SECRET` or `previous SECRET until DATE`")]
    Form,
    /// Not base64url.
    #[error("the secret is not unpadded base64url")]
    Encoding,
    /// Too short.
    #[error("the secret has {bytes} bytes: it must have at least 32, drawn at random")]
    Short {
        /// How long it is.
        bytes: usize,
    },
    /// The date.
    #[error("the end date is not of the form 2026-12-01T00:00:00Z")]
    EndDate,
    /// Two current secrets.
    #[error("there is a current secret already: make the older one `previous ... until ...`")]
    TwoCurrent,
    /// No current secret.
    #[error("there is no `current` line")]
    NoCurrent,
    /// Too many previous ones.
    #[error("there are more than 16 previous secrets: remove those that have ended")]
    TooMany,
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: &str = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";

    #[test]
    fn a_file_holds_one_current_and_previous_secrets() {
        assert!(parse(&new_file(&[7; 32])).is_ok());
        let text = format!("# rotated\n\ncurrent {A}\nprevious {A} until 2026-12-01T00:00:00Z\n");
        assert!(parse(&text).is_ok());
    }

    #[test]
    fn broken_lines_are_named_without_the_secret() {
        let table = [
            (String::new(), 1, SecretsProblem::NoCurrent),
            (format!("\ncurent {A}"), 2, SecretsProblem::Form),
            (format!("current {A} {A}"), 1, SecretsProblem::Form),
            ("current AAAA=".into(), 1, SecretsProblem::Encoding),
            ("current AAAA".into(), 1, SecretsProblem::Short { bytes: 3 }),
            (
                format!("current {A}\ncurrent {A}"),
                2,
                SecretsProblem::TwoCurrent,
            ),
            (
                format!("current {A}\nprevious {A} until never"),
                2,
                SecretsProblem::EndDate,
            ),
            (
                format!(
                    "{}current {A}",
                    format!("previous {A} until 2027-01-01T00:00:00Z\n").repeat(17)
                ),
                17,
                SecretsProblem::TooMany,
            ),
        ];
        for (text, line, problem) in table {
            let error = parse(&text).err().unwrap();
            assert_eq!(error, SecretsError { line, problem });
            assert!(!error.to_string().contains("AAAA"));
        }
    }
}
