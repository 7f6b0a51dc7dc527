//! Running programs and reporting what they did.

use std::{
    path::Path,
    process::Command,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail};

/// Runs a program in the foreground and fails when it does.
pub(crate) fn succeed(command: &mut Command) -> Result<()> {
    println!("$ {}", shown(command));
    let status = command
        .status()
        .with_context(|| format!("starting {:?}", command.get_program()))?;
    if !status.success() {
        bail!("`{}` ended with {status}", shown(command));
    }
    Ok(())
}

/// Runs a program and returns what it printed.
pub(crate) fn output(command: &mut Command) -> Result<String> {
    let output = command
        .output()
        .with_context(|| format!("starting {:?}", command.get_program()))?;
    if !output.status.success() {
        bail!(
            "`{}` ended with {}: {}",
            shown(command),
            output.status,
            String::from_utf8_lossy(&output.stderr).trim()
        );
    }
    String::from_utf8(output.stdout)
        .with_context(|| format!("`{}` printed bytes that are not UTF-8", shown(command)))
}

/// The program and its arguments, for a person.
pub(crate) fn shown(command: &Command) -> String {
    let program = Path::new(command.get_program());
    let name = program.file_name().unwrap_or(program.as_os_str());
    let mut text = name.to_string_lossy().into_owned();
    for argument in command.get_args() {
        text.push(' ');
        text.push_str(&argument.to_string_lossy());
    }
    text
}

/// Steps that all run, even after one failed, so that one look shows everything there is to mend.
#[derive(Default)]
pub(crate) struct Steps {
    done: Vec<Done>,
}

struct Done {
    name: String,
    took: Duration,
    error: Option<anyhow::Error>,
}

impl Steps {
    /// Runs one step and remembers how it went.
    #[expect(
        clippy::disallowed_methods,
        reason = "wall time is what a person waits for"
    )]
    pub(crate) fn step(&mut self, name: &str, step: impl FnOnce() -> Result<()>) {
        println!("\n== {name}");
        let start = Instant::now();
        let error = step().err();
        if let Some(error) = &error {
            println!("{error:#}");
        }
        self.done.push(Done {
            name: name.to_owned(),
            took: start.elapsed(),
            error,
        });
    }

    /// Prints the table of steps and fails when any of them did.
    pub(crate) fn finish(self) -> Result<()> {
        println!();
        for step in &self.done {
            let verdict = if step.error.is_some() { "FAILED" } else { "ok" };
            println!("{verdict:>6} {:>5} s  {}", step.took.as_secs(), step.name);
        }
        let failed: Vec<&str> = self
            .done
            .iter()
            .filter(|s| s.error.is_some())
            .map(|s| s.name.as_str())
            .collect();
        if !failed.is_empty() {
            bail!("failed: {}", failed.join(", "));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_step_runs_even_after_one_failed() {
        let mut steps = Steps::default();
        let mut second_ran = false;
        steps.step("first", || bail!("broken"));
        steps.step("second", || {
            second_ran = true;
            Ok(())
        });
        assert!(second_ran);
        assert_eq!(steps.finish().unwrap_err().to_string(), "failed: first");
    }

    #[test]
    fn failure_of_a_program_names_the_program_and_its_arguments() {
        let error = output(Command::new("cargo").arg("no-such-command")).unwrap_err();
        assert!(
            error
                .to_string()
                .starts_with("`cargo no-such-command` ended with"),
            "{error}"
        );
    }
}
