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
//!
//! [`rotate`] puts a new secret in front. No challenge that is out is refused for it.

use std::{io, path::Path, time::Duration};

use stiver_core::{
    Timestamp, base64url,
    binding::{KeyRing, Secret},
};
use stiver_env::Env;
use zeroize::Zeroizing;

use crate::{
    config::CHALLENGE_LIFETIME_S_MAX,
    keys::{self, KeyError},
};

/// Longest secrets file, bytes.
pub const SECRETS_BYTES_MAX: u64 = 64 * 1024;
/// Most previous secrets: each costs one HMAC for a challenge that no newer one verifies.
pub const PREVIOUS_SECRETS_MAX: usize = 16;
/// Length of a secret that we make, bytes.
pub const SECRET_BYTES: usize = 32;

/// How much longer than any challenge a secret that was replaced still verifies: for clocks that
/// differ, and for the moment between writing the file and using it.
pub const ROTATION_MARGIN: Duration = Duration::from_secs(300);

/// What a rotation did.
pub struct Rotated {
    /// What is in the file now.
    pub ring: KeyRing,
    /// When the secret that was current ends.
    pub previous_until: Timestamp,
}

/// Puts a new secret into a secrets file: the current one becomes a previous one that outlives
/// every challenge it can have made, previous ones that have ended are left out. The file is
/// replaced as a whole, and durably, before this returns.
///
/// Two rotations at once may lose one of the two new secrets: let the gateway that runs do it.
///
/// # Errors
///
/// [`RotateError`]; the file is as it was then.
pub fn rotate(path: &Path, env: &Env) -> Result<Rotated, RotateError> {
    let now = env.clock.now();
    let old = keys::read_secrets_text(path, env).map_err(RotateError::Read)?;
    let mut bytes = Zeroizing::new([0; SECRET_BYTES]);
    env.entropy.fill(bytes.as_mut());
    let parsed = |source| {
        RotateError::Read(KeyError::Secrets {
            path: path.to_path_buf(),
            source,
        })
    };
    let (text, previous_until) = rotated(&old, &bytes, now).map_err(parsed)?;
    let ring = parse(&text).map_err(parsed)?;
    env.disk
        .write_atomic(path, text.as_bytes(), true)
        .map_err(RotateError::Write)?;
    Ok(Rotated {
        ring,
        previous_until,
    })
}

/// The text of a file after a rotation, and when its old current secret ends.
fn rotated(
    old: &str,
    secret: &[u8; SECRET_BYTES],
    now: Timestamp,
) -> Result<(Zeroizing<String>, Timestamp), SecretsError> {
    parse(old)?;
    let life_ms = CHALLENGE_LIFETIME_S_MAX.saturating_mul(1000);
    let margin_ms = u64::try_from(ROTATION_MARGIN.as_millis()).unwrap_or(u64::MAX);
    let until = now.plus_millis(life_ms.saturating_add(margin_ms));
    // The file tells whole seconds.
    let until = Timestamp::parse_rfc3339(&until.to_rfc3339()).unwrap_or(until);
    // Room for all of it: what outgrows its place leaves a copy behind.
    let mut text = Zeroizing::new(String::with_capacity(2 * (old.len() + 128)));
    text.push_str(&new_file(secret));
    let mut line_of = |words: &[&str]| {
        // One by one: a joined copy would not be wiped.
        for (index, word) in words.iter().enumerate() {
            if index > 0 {
                text.push(' ');
            }
            text.push_str(word);
        }
        text.push('\n');
    };
    for line in old.lines() {
        let words: Vec<&str> = line.split_whitespace().collect();
        match words.as_slice() {
            ["current", encoded] => {
                line_of(&["previous", encoded, "until", &until.to_rfc3339()]);
            }
            ["previous", _, "until", date] => {
                let ended = Timestamp::parse_rfc3339(date).is_ok_and(|end| end <= now);
                if !ended {
                    line_of(&words);
                }
            }
            [] => {}
            // A comment.
            words => line_of(words),
        }
    }
    Ok((text, until))
}

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

/// Why a secret was not rotated.
#[derive(Debug, thiserror::Error)]
pub enum RotateError {
    /// The file as it is, or as it would be, is no good.
    #[error("the secrets cannot be rotated")]
    Read(#[source] KeyError),
    /// The new file could not be written.
    #[error("the new secrets file could not be written")]
    Write(#[source] io::Error),
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

    #[test]
    fn a_rotation_keeps_what_is_out_and_drops_what_has_ended() {
        let now = Timestamp::parse_rfc3339("2026-11-21T12:00:00Z").unwrap();
        let old = format!(
            "# ours\ncurrent {A}\nprevious {A} until 2026-11-21T12:00:00Z\n\
             previous {A} until 2026-11-21T12:00:01Z\n"
        );
        let (text, until) = rotated(&old, &[7; 32], now).unwrap();
        let new = base64url::encode(&[7; 32]);
        let expected = format!(
            "current {new}\n# ours\nprevious {A} until 2026-11-21T13:05:00Z\n\
             previous {A} until 2026-11-21T12:00:01Z\n"
        );
        assert_eq!(text.as_str(), expected);
        assert_eq!(until.to_rfc3339(), "2026-11-21T13:05:00Z");
        parse(&text).unwrap();
    }

    #[test]
    fn a_file_that_is_full_or_broken_is_not_rotated() {
        let now = Timestamp::parse_rfc3339("2026-11-21T12:00:00Z").unwrap();
        let mut text = format!("current {A}\n");
        for _ in 0..PREVIOUS_SECRETS_MAX {
            text = rotated(&text, &[7; 32], now).unwrap().0.to_string();
        }
        let full = rotated(&text, &[7; 32], now).unwrap().0;
        assert_eq!(parse(&full).err().unwrap().problem, SecretsProblem::TooMany);
        let later = now.plus_millis(2 * 3600 * 1000);
        assert_eq!(
            rotated(&text, &[8; 32], later).unwrap().0.lines().count(),
            2
        );
        assert!(rotated("nothing", &[7; 32], now).is_err());
    }
}
