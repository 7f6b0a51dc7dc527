//! Key and secret files in the data folder.

use std::{io, path::Path, path::PathBuf, sync::Arc};

use stiver_core::binding::KeyRing;
use stiver_env::Env;
use stiver_method::key::{Ed25519Key, KEY_FILE_BYTES_MAX, KeyFileError};
use zeroize::Zeroizing;

use crate::secrets::{self, SECRETS_BYTES_MAX, SecretsError};

/// Reads a key file.
///
/// # Errors
///
/// [`KeyError`] names the file.
pub fn read_key(path: &Path, env: &Env) -> Result<Arc<Ed25519Key>, KeyError> {
    let text = read_text(path, KEY_FILE_BYTES_MAX, env)?;
    let key = Ed25519Key::from_file_text(&text).map_err(|source| KeyError::Key {
        path: path.to_path_buf(),
        source,
    })?;
    Ok(Arc::new(key))
}

/// Reads the challenge secrets.
///
/// # Errors
///
/// [`KeyError`] names the file and the line.
pub fn read_secrets(path: &Path, env: &Env) -> Result<KeyRing, KeyError> {
    let text = read_secrets_text(path, env)?;
    secrets::parse(&text).map_err(|source| KeyError::Secrets {
        path: path.to_path_buf(),
        source,
    })
}

/// The text of the challenge secrets, not looked at.
pub(crate) fn read_secrets_text(path: &Path, env: &Env) -> Result<Zeroizing<String>, KeyError> {
    read_text(path, SECRETS_BYTES_MAX, env)
}

fn read_text(path: &Path, limit: u64, env: &Env) -> Result<Zeroizing<String>, KeyError> {
    let read = |source| KeyError::Read {
        path: path.to_path_buf(),
        source,
    };
    let bytes = env.disk.read(path, limit).map_err(read)?;
    match String::from_utf8(bytes) {
        Ok(text) => Ok(Zeroizing::new(text)),
        Err(error) => {
            drop(Zeroizing::new(error.into_bytes()));
            Err(read(io::Error::new(
                io::ErrorKind::InvalidData,
                "it is no text",
            )))
        }
    }
}

/// Why a key or secrets file was refused. Holds nothing of what stands in it.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// It cannot be read.
    #[error("reading {}; `stiver init` writes it", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// It holds no key.
    #[error("the key file {}", path.display())]
    Key {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: KeyFileError,
    },
    /// It holds no secrets.
    #[error("the secrets file {}", path.display())]
    Secrets {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: SecretsError,
    },
}
