//! `stiver demo`: scenes with real processes on this machine.

mod burst;
pub(crate) mod buyer;
mod charger;
mod cpu;
mod crash;
mod paywall;
mod readings;
mod scene;
pub(crate) mod sensor;
mod shopper;
mod stage;
mod subscriber;
mod tokens;

use anyhow::anyhow;
use serde_json::{Value, json};
use stiver_env::Env;

use self::{
    scene::{Report, Scene},
    stage::StageDirector,
};
use crate::{
    args::Demo,
    failure::{Failure, FailureKind},
    output::{BAD, GOOD, Output, STRONG},
};

/// The scenes, in the order they are played.
const SCENES: [Scene; 6] = [
    paywall::SCENE,
    crash::SCENE,
    burst::SCENE,
    readings::SCENE,
    tokens::SCENE,
    charger::SCENE,
];

/// Plays the scenes that were asked for.
pub(crate) async fn run(args: &Demo, env: &Env, output: Output) -> Result<(), Failure> {
    if args.list {
        return list(output);
    }
    let scenes = chosen(&args.scene)?;
    let director = StageDirector::new(env)?;
    let mut results: Vec<Value> = Vec::new();
    for scene in scenes {
        let mut report = Report::begin(scene, output)?;
        let played = (scene.play)(&director, &mut report).await;
        results.push(report.end(scene.name, played)?);
    }
    let ok = results
        .iter()
        .all(|scene| scene.get("ok") == Some(&Value::Bool(true)));
    let verdict = if ok {
        output.paint(GOOD, "every expectation held")
    } else {
        output.paint(BAD, "some expectations did not hold")
    };
    output.line(&format!("\n{verdict}"))?;
    if args.keep && ok {
        paywall::keep(&director, output).await?;
    }
    output.object(&json!({"ok": ok, "scenes": results}))?;
    if ok {
        Ok(())
    } else {
        Err(Failure::new(
            FailureKind::Reported,
            anyhow!("the demo is not ok"),
        ))
    }
}

fn list(output: Output) -> Result<(), Failure> {
    for scene in &SCENES {
        output.line(&format!(
            "{} {}",
            output.paint(STRONG, &format!("{:<10}", scene.name)),
            scene.about
        ))?;
    }
    let names: Vec<Value> = SCENES
        .iter()
        .map(|scene| json!({"name": scene.name, "about": scene.about}))
        .collect();
    Ok(output.object(&json!({"scenes": names}))?)
}

fn chosen(names: &[String]) -> Result<Vec<&'static Scene>, Failure> {
    if names.is_empty() {
        return Ok(SCENES.iter().collect());
    }
    names
        .iter()
        .map(|name| {
            SCENES
                .iter()
                .find(|scene| scene.name == *name)
                .ok_or_else(|| {
                    let known: Vec<&str> = SCENES.iter().map(|scene| scene.name).collect();
                    Failure::usage(format!("no scene {name:?}: there are {}", known.join(", ")))
                })
        })
        .collect()
}
