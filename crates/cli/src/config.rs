//! The gateway's configuration file, read for commands that need it.

use std::path::Path;

use stiver_env::Env;
use stiver_gateway::config::Config;

use crate::failure::{Failure, FailureKind};

/// Reads a configuration file.
pub(crate) fn read_config(path: &Path, env: &Env) -> Result<Config, Failure> {
    Config::read(path, env).map_err(|error| Failure::new(FailureKind::Usage, error))
}
