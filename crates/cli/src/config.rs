//! The gateway's configuration file, read for commands that need it.

use std::path::Path;

use stiver_env::Env;
use stiver_gateway::config::{CONFIG_BYTES_MAX, Config};

use crate::failure::{Failure, UsageContext};

/// Reads a configuration file.
pub(crate) fn read_config(path: &Path, env: &Env) -> Result<Config, Failure> {
    let doing = format!("reading {}; `stiver init` writes one", path.display());
    let bytes = env.disk.read(path, CONFIG_BYTES_MAX).usage(doing.clone())?;
    let text = String::from_utf8(bytes).usage(doing)?;
    let folder = path.parent().unwrap_or(Path::new("."));
    Config::parse(&text, path, folder).usage("the configuration is not valid")
}
