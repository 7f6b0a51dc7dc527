//! `stiver init`: a gateway's configuration, keys and data folder.

use serde_json::json;
use stiver_env::Env;
use stiver_gateway::init::{InitError, NewGateway, init};

use crate::{
    args::Init,
    failure::{Failure, FailureKind},
    output::{Output, STRONG},
};

/// Writes the files and says what to do next.
pub(crate) fn run(args: &Init, env: &Env, output: Output) -> Result<(), Failure> {
    let new = NewGateway {
        upstream: args.upstream.clone(),
        listen: args.listen.clone(),
        realm: args.realm.clone(),
        price: args.price.clone(),
    };
    let written = init(&args.folder, &new, env).map_err(|error| {
        let kind = match &error {
            InitError::Config(_) | InitError::Exists { .. } => FailureKind::Usage,
            InitError::Io { .. } => FailureKind::Other,
        };
        Failure::new(kind, error)
    })?;
    let file = written.config_file.display().to_string();
    let data = written.config.data_dir.display().to_string();
    output.line(&format!("wrote {}", output.paint(STRONG, &file)))?;
    output.line(&format!(
        "keys and data are in {data}: keep it, it will hold money"
    ))?;
    output.line(&format!("next: stiver serve --config {file}"))?;
    output.object(&json!({"ok": true, "config": file, "dataDir": data}))?;
    Ok(())
}
