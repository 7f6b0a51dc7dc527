//! Looks at everything that a configuration names, and starts nothing.

use std::{path::Path, sync::Arc};

use stiver_env::Env;

use crate::{
    config::Config,
    keys,
    run::{UpstreamClients, chain, upstream_clients},
    tls::Certificate,
};

/// Longest path of a Unix socket, bytes: what the operating systems allow.
const SOCKET_PATH_BYTES_MAX: usize = 103;

/// What would keep a gateway from starting with a configuration, as far as that can be told without
/// listening anywhere and without opening the logs: keys and secrets that cannot be read,
/// certificates that do not parse, a data folder that is not there. Empty when all is well.
pub fn check(config: &Config, env: &Env) -> Vec<String> {
    let mut problems = Vec::new();
    let mut note = |error: &dyn std::error::Error| problems.push(chain(error));
    if let Err(error) = keys::read_secrets(&config.secret_file, env) {
        note(&error);
    }
    for key in [config.payee_key_file(), config.issuer_key_file()] {
        if let Err(error) = keys::read_key(&key, env) {
            note(&error);
        }
    }
    // One at a time, so that every upstream with a problem is told.
    for (name, upstream) in &config.upstreams {
        let mut one = config.clone();
        one.upstreams.clear();
        one.upstreams.insert(name.clone(), upstream.clone());
        if let Err(error) = upstream_clients(&one, &UpstreamClients::new(), env) {
            note(&error);
        }
    }
    for listener in &config.listeners {
        let Some(tls) = &listener.tls else { continue };
        let loaded = Certificate::load(tls.clone(), Arc::clone(&env.disk));
        let loaded = loaded.map(Arc::new);
        if let Err(error) = loaded.and_then(|loaded| loaded.acceptor(listener.protocols)) {
            note(&error);
        }
    }
    problems.extend(data_folder(&config.data_dir, env));
    let socket = config.admin_socket();
    if socket.as_os_str().len() > SOCKET_PATH_BYTES_MAX {
        problems.push(format!(
            "{} is too long for a socket: move data_dir to a shorter path",
            socket.display()
        ));
    }
    problems
}

fn data_folder(folder: &Path, env: &Env) -> Option<String> {
    let error = env.disk.list(folder).err()?;
    Some(format!(
        "the data folder {} cannot be read; `stiver init` makes it: {error}",
        folder.display()
    ))
}
