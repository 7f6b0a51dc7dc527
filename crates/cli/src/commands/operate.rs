//! `stiver reload` and `stiver secrets`: what a running gateway is told.

use serde_json::json;
use stiver_env::Env;
use stiver_gateway::{admin::wire, secrets};

use crate::{
    args::{ConfigChoice, Secrets},
    books,
    config::read_config,
    failure::Failure,
    output::Output,
};

/// Lets the running gateway read its configuration again. A file that is not good is refused here,
/// with its line, before the gateway hears of it.
pub(crate) async fn reload(
    choice: &ConfigChoice,
    env: &Env,
    output: Output,
) -> Result<(), Failure> {
    let config = read_config(&choice.config, env)?;
    let told: Option<wire::Reloaded> = books::tell(&config, "/v1/reload", env).await?;
    let Some(reloaded) = told else {
        let socket = config.admin_socket();
        return Err(Failure::usage(format!(
            "no gateway answers at {}: start one with `stiver serve`, which reads the file then",
            socket.display()
        )));
    };
    let what = match reloaded.changed {
        true => "the new configuration is in force",
        false => "the configuration is as it was, secrets and certificates were read again",
    };
    let (routes, upstreams) = (reloaded.routes, reloaded.upstreams);
    output.line(&format!("{what}: {routes} routes, {upstreams} upstreams"))?;
    output.object(&json!({
        "ok": true,
        "changed": reloaded.changed,
        "routes": routes,
        "upstreams": upstreams,
    }))?;
    Ok(())
}

/// Rotates the challenge secret: in the gateway that runs, else in the file.
pub(crate) async fn secrets(args: Secrets, env: &Env, output: Output) -> Result<(), Failure> {
    let Secrets::Rotate { config } = args;
    let config = read_config(&config.config, env)?;
    let told: Option<wire::Rotated> = books::tell(&config, "/v1/secrets/rotate", env).await?;
    let in_force = told.is_some();
    let until = match told {
        Some(rotated) => rotated.previous_until,
        None => secrets::rotate(&config.secret_file, env)?
            .previous_until
            .to_rfc3339(),
    };
    let file = config.secret_file.display().to_string();
    let used = match in_force {
        true => "the running gateway uses it",
        false => "no gateway runs: the next start uses it",
    };
    output.line(&format!("a new secret is in {file}: {used}"))?;
    output.line(&format!("the one before it is good until {until}"))?;
    output.object(&json!({
        "ok": true,
        "secretFile": file,
        "inForce": in_force,
        "previousUntil": until,
    }))?;
    Ok(())
}
