//! `stiver mint`: a challenge by hand.

use std::path::Path;

use serde_json::json;
use stiver_core::{
    binding::{KeyRing, Secret},
    challenge::{DigestText, Expires, Params},
    json::{EncodedObject, Object},
    limits::SECRET_BYTES_MIN,
    name::{IntentName, MethodName, Realm},
};
use stiver_env::Env;
use zeroize::Zeroizing;

use crate::{
    args::Mint,
    failure::{Failure, UsageContext},
    output::{DIM, Output},
};

/// Longest secret file, bytes.
const SECRET_FILE_BYTES_MAX: u64 = 64 * 1024;

/// Makes the challenge and prints its id and header.
pub(crate) fn run(args: &Mint, env: &Env, output: Output) -> Result<(), Failure> {
    let opaque = args.opaque.as_deref().map(opaque_of).transpose()?;
    let params = Params {
        realm: Realm::new(&args.realm).usage("--realm")?,
        method: MethodName::new(&args.method).usage("--method")?,
        intent: IntentName::new(&args.intent).usage("--intent")?,
        request: EncodedObject::encode(&Object::parse(args.request.as_bytes()).usage("--request")?),
        expires: args
            .expires
            .as_deref()
            .map(Expires::parse)
            .transpose()
            .usage("--expires")?,
        digest: args
            .digest
            .as_deref()
            .map(DigestText::new)
            .transpose()
            .usage("--digest")?,
        description: args.description.clone(),
        opaque,
    };
    let challenge = key_ring(&args.secret_file, env, output)?.bind(params);
    let header = challenge.to_header();
    let expired = challenge
        .params
        .expires
        .as_ref()
        .is_some_and(|at| at.has_passed(env.clock.now()));
    if expired {
        output.note("note: this challenge has expired already")?;
    }
    output.line(&format!("{} {}", output.paint(DIM, "id"), challenge.id))?;
    output.line(&format!(
        "{} {header}",
        output.paint(DIM, "WWW-Authenticate:")
    ))?;
    output.object(&json!({"id": challenge.id.as_str(), "header": header}))?;
    Ok(())
}

fn opaque_of(text: &str) -> Result<EncodedObject, Failure> {
    let object = Object::parse(text.as_bytes()).usage("--opaque")?;
    match object
        .members()
        .iter()
        .find(|(_, value)| value.as_str().is_none())
    {
        Some((key, _)) => Err(Failure::usage(format!(
            "--opaque: the value of {key:?} is no string"
        ))),
        None => Ok(EncodedObject::encode(&object)),
    }
}

/// A gateway's file of secrets, or a file whose bytes are the secret.
fn key_ring(path: &Path, env: &Env, output: Output) -> Result<KeyRing, Failure> {
    let doing = format!("reading the secret file {}", path.display());
    let bytes = Zeroizing::new(
        env.disk
            .read(path, SECRET_FILE_BYTES_MAX)
            .usage(doing.clone())?,
    );
    if let Ok(text) = std::str::from_utf8(&bytes) {
        let is_ring = text.lines().any(|line| line.starts_with("current "));
        if is_ring {
            return stiver_gateway::secrets::parse(text).usage(doing);
        }
    }
    let secret = bytes.strip_suffix(b"\n").unwrap_or(&bytes);
    let secret = secret.strip_suffix(b"\r").unwrap_or(secret);
    if secret.is_empty() {
        return Err(Failure::usage(format!("{doing}: the file is empty")));
    }
    if secret.len() < SECRET_BYTES_MIN {
        output.note(&format!(
            "warning: the secret has {} bytes; a server accepts no fewer than {SECRET_BYTES_MIN}",
            secret.len()
        ))?;
    }
    Ok(KeyRing::new(Secret::from_bytes(secret)))
}
