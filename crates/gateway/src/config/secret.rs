//! Secrets that a configuration names and does not hold.

use std::{fmt, io, path::PathBuf};

use stiver_env::Env;
use zeroize::Zeroizing;

/// Longest secret of a header, bytes.
pub const SECRET_BYTES_MAX: u64 = 8 * 1024;

/// Where a secret is. Tells where, never what.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SecretRef {
    /// An environment variable.
    Env(String),
    /// A file; one line end at its end does not count.
    File(PathBuf),
}

impl SecretRef {
    /// Reads the secret.
    ///
    /// # Errors
    ///
    /// [`SecretError`] names the place and holds nothing of the secret.
    pub fn read(&self, env: &Env) -> Result<Zeroizing<String>, SecretError> {
        let text = match self {
            Self::Env(name) => match std::env::var(name) {
                Ok(text) => Zeroizing::new(text),
                Err(std::env::VarError::NotPresent) => {
                    return Err(self.wrong(SecretProblem::NotSet));
                }
                Err(std::env::VarError::NotUnicode(_)) => {
                    return Err(self.wrong(SecretProblem::NoText));
                }
            },
            Self::File(path) => {
                let read = env.disk.read(path, SECRET_BYTES_MAX);
                let bytes = read.map_err(|error| self.wrong(SecretProblem::Read(error)))?;
                match String::from_utf8(bytes) {
                    Ok(text) => Zeroizing::new(text),
                    Err(error) => {
                        drop(Zeroizing::new(error.into_bytes()));
                        return Err(self.wrong(SecretProblem::NoText));
                    }
                }
            }
        };
        let line = text.strip_suffix('\n').unwrap_or(&text);
        let line = line.strip_suffix('\r').unwrap_or(line);
        if line.is_empty() {
            return Err(self.wrong(SecretProblem::Empty));
        }
        if http::HeaderValue::from_str(line).is_err() {
            return Err(self.wrong(SecretProblem::NoText));
        }
        Ok(Zeroizing::new(line.to_owned()))
    }

    fn wrong(&self, problem: SecretProblem) -> SecretError {
        SecretError {
            place: self.clone(),
            problem,
        }
    }
}

impl fmt::Display for SecretRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Env(name) => write!(f, "the environment variable {name}"),
            Self::File(path) => write!(f, "the file {}", path.display()),
        }
    }
}

/// A secret that cannot be had.
#[derive(Debug, thiserror::Error)]
#[error("{place} {problem}")]
pub struct SecretError {
    /// Where it should be.
    pub place: SecretRef,
    /// Why not.
    pub problem: SecretProblem,
}

/// Why a secret cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum SecretProblem {
    /// The variable is not there.
    #[error("is not set")]
    NotSet,
    /// It is there without content.
    #[error("is empty")]
    Empty,
    /// What stands there cannot stand in a header.
    #[error("is not one line of text")]
    NoText,
    /// The file cannot be read.
    #[error("cannot be read: {0}")]
    Read(io::Error),
}
