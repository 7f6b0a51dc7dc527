//! A scene: a small story with its facts and its expectations.

use std::{
    future::Future,
    pin::Pin,
    sync::atomic::{AtomicUsize, Ordering},
    time::Duration,
};

use serde_json::{Map, Value, json};
use stiver_env::Env;

use super::stage::StageDirector;
use crate::{
    failure::Failure,
    output::{BAD, DIM, GOOD, HEADING, Output, STRONG},
};

/// How often the live line is written.
const PROGRESS_PAUSE: Duration = Duration::from_millis(80);
/// How wide the live bar is, characters.
const BAR_WIDTH: usize = 40;

/// What a scene returns: an error ends it as not ok.
pub(crate) type Played<'a> = Pin<Box<dyn Future<Output = Result<(), Failure>> + 'a>>;

/// One scene of the demo.
pub(crate) struct Scene {
    /// Its name for `--scene`.
    pub(crate) name: &'static str,
    /// One line for `--list`.
    pub(crate) about: &'static str,
    /// Plays it.
    pub(crate) play: for<'a> fn(&'a StageDirector, &'a mut Report) -> Played<'a>,
}

/// What a scene found out, told as it goes.
pub(crate) struct Report {
    output: Output,
    facts: Map<String, Value>,
    broken: Vec<String>,
}

impl Report {
    /// An empty report of a scene that begins now.
    pub(crate) fn begin(scene: &Scene, output: Output) -> Result<Self, Failure> {
        output.line(&format!(
            "\n{}  {}",
            output.paint(HEADING, scene.name),
            scene.about
        ))?;
        Ok(Self {
            output,
            facts: Map::new(),
            broken: Vec::new(),
        })
    }

    /// A heading inside of the scene.
    pub(crate) fn act(&self, text: &str) -> Result<(), Failure> {
        self.output.progress("")?;
        Ok(self
            .output
            .line(&format!("\n  {}", self.output.paint(STRONG, text)))?)
    }

    /// A fact: shown, and part of the JSON.
    pub(crate) fn fact(
        &mut self,
        key: &str,
        label: &str,
        value: impl Into<Value>,
    ) -> Result<(), Failure> {
        let value = value.into();
        let shown = match &value {
            Value::String(text) => text.clone(),
            other => other.to_string(),
        };
        self.output.line(&format!(
            "    {} {shown}",
            self.output.paint(DIM, &format!("{label:<26}"))
        ))?;
        self.facts.insert(key.to_owned(), value);
        Ok(())
    }

    /// A fact that was shown already: only part of the JSON.
    pub(crate) fn hidden_fact(&mut self, key: &str, value: impl Into<Value>) {
        self.facts.insert(key.to_owned(), value.into());
    }

    /// Lines to look at, not part of the JSON.
    pub(crate) fn show(&self, text: &str) -> Result<(), Failure> {
        for line in text.lines() {
            self.output.line(&format!("      {line}"))?;
        }
        Ok(())
    }

    /// An expectation: if it does not hold, the scene is not ok.
    pub(crate) fn expect(&mut self, holds: bool, text: &str) -> Result<(), Failure> {
        let mark = if holds {
            self.output.paint(GOOD, "ok")
        } else {
            self.broken.push(text.to_owned());
            self.output.paint(BAD, "NOT OK")
        };
        Ok(self.output.line(&format!("    {mark} {text}"))?)
    }

    /// A line on a terminal that the next one replaces.
    pub(crate) fn live(&self, text: &str) -> Result<(), Failure> {
        Ok(self.output.progress(&format!("    {text}"))?)
    }

    /// Shows on a terminal how far something is, while it runs.
    pub(crate) async fn watching<T>(
        &self,
        done: &AtomicUsize,
        total: usize,
        env: &Env,
        work: impl Future<Output = Result<T, Failure>>,
    ) -> Result<T, Failure> {
        let mut work = std::pin::pin!(work);
        loop {
            tokio::select! {
                result = &mut work => {
                    self.output.progress("")?;
                    return result;
                }
                () = env.clock.sleep(PROGRESS_PAUSE) => {
                    let done = done.load(Ordering::Relaxed);
                    let bar = "=".repeat(BAR_WIDTH * done.min(total) / total.max(1));
                    self.output.progress(&format!("    [{bar:<BAR_WIDTH$}] {done} of {total}"))?;
                }
            }
        }
    }

    /// Ends the scene.
    pub(crate) fn end(mut self, name: &str, result: Result<(), Failure>) -> Result<Value, Failure> {
        self.output.progress("")?;
        if let Err(failure) = result {
            let message = failure.message();
            self.expect(false, &format!("the scene ended early: {message}"))?;
        }
        let ok = self.broken.is_empty();
        if !ok {
            self.facts.insert("broken".to_owned(), json!(self.broken));
        }
        Ok(json!({"name": name, "ok": ok, "facts": self.facts}))
    }
}
