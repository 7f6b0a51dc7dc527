//! What `stiver init` writes: the configuration, the keys, the data folder.

use std::{
    io,
    path::{Path, PathBuf},
};

use stiver_env::Env;
use stiver_method::key::Ed25519Key;
use zeroize::Zeroizing;

use crate::{
    config::{Config, ConfigError},
    secrets,
};

/// Name of the configuration file.
pub const CONFIG_FILE: &str = "stiver.toml";

/// What goes into a new configuration.
#[derive(Debug, Clone)]
pub struct NewGateway {
    /// The API to charge for.
    pub upstream: String,
    /// Where to listen.
    pub listen: String,
    /// The protection space.
    pub realm: String,
    /// The price of every request.
    pub price: String,
}

/// What was written.
#[derive(Debug, Clone)]
pub struct Written {
    /// The configuration file.
    pub config_file: PathBuf,
    /// The configuration in it.
    pub config: Config,
}

/// Writes a configuration and what it needs into a folder. Keys and secrets that are there already
/// are kept.
///
/// # Errors
///
/// [`InitError`]; a configuration that is there already is never written over.
pub fn init(folder: &Path, new: &NewGateway, env: &Env) -> Result<Written, InitError> {
    let config_file = folder.join(CONFIG_FILE);
    let text = config_text(new);
    let config = Config::parse(&text, &config_file, folder).map_err(InitError::Config)?;
    let io_error = |path: &Path| {
        let path = path.to_path_buf();
        move |source| InitError::Io { path, source }
    };
    if exists(env, &config_file).map_err(io_error(&config_file))? {
        return Err(InitError::Exists { path: config_file });
    }
    env.disk
        .create_folder(&config.data_dir)
        .map_err(io_error(&config.data_dir))?;
    write_new(env, &config.secret_file, || secrets::new_file(&random(env)))?;
    for path in [config.payee_key_file(), config.issuer_key_file()] {
        write_new(env, &path, || {
            Ed25519Key::from_seed(&random(env)).to_file_text()
        })?;
    }
    env.disk
        .write_atomic(&config_file, text.as_bytes(), false)
        .map_err(io_error(&config_file))?;
    Ok(Written {
        config_file,
        config,
    })
}

fn random(env: &Env) -> Zeroizing<[u8; 32]> {
    let mut bytes = Zeroizing::new([0; 32]);
    env.entropy.fill(bytes.as_mut());
    bytes
}

/// A key that is there already may hold money: it is kept.
fn write_new(
    env: &Env,
    path: &Path,
    make: impl FnOnce() -> Zeroizing<String>,
) -> Result<(), InitError> {
    let io_error = |source| InitError::Io {
        path: path.to_path_buf(),
        source,
    };
    if exists(env, path).map_err(io_error)? {
        return Ok(());
    }
    env.disk
        .write_atomic(path, make().as_bytes(), true)
        .map_err(io_error)
}

fn exists(env: &Env, path: &Path) -> io::Result<bool> {
    match env.disk.open(path, false) {
        Ok(_) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

/// TOML strings are written as basic strings: what must be escaped is.
fn quoted(text: &str) -> String {
    toml::Value::String(text.to_owned()).to_string()
}

/// The file. A line that begins with `#` and no space is an example of a key that is left out: it
/// can be used as it stands.
fn config_text(new: &NewGateway) -> String {
    let filled = TEMPLATE.lines().map(|line| match line {
        "listen = LISTEN" => format!("listen = {}", quoted(&new.listen)),
        "realm = REALM" => format!("realm = {}", quoted(&new.realm)),
        "upstream = UPSTREAM" => format!("upstream = {}", quoted(&new.upstream)),
        "price = PRICE" => format!("price = {}", quoted(&new.price)),
        line => line.to_owned(),
    });
    filled.map(|line| line + "\n").collect()
}

/// What the file looks like; the words in capitals stand for what the user chose.
const TEMPLATE: &str = include_str!("init/stiver.toml");

/// Why nothing, or not everything, was written.
#[derive(Debug, thiserror::Error)]
pub enum InitError {
    /// What was asked for makes no valid configuration.
    #[error("the options make no valid configuration")]
    Config(#[source] ConfigError),
    /// There is a configuration already.
    #[error("{} is there already: edit it, or choose another folder", path.display())]
    Exists {
        /// The file.
        path: PathBuf,
    },
    /// A file could not be written.
    #[error("writing {}", path.display())]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
}

#[cfg(test)]
mod tests;
