//! A program that measures itself when it is asked to: one line in, one line out.

use std::{
    io::{BufRead as _, BufReader, Write as _},
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
};

use anyhow::{Context as _, Result, ensure};

use crate::measure;

/// A program that runs. Killed when dropped.
pub struct Program {
    child: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
    shown: String,
}

impl Program {
    /// Starts a program; gives its first line, which it says when it is ready.
    pub fn start(mut command: Command) -> Result<(Self, String)> {
        let shown = format!("{:?}", command.get_program());
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .with_context(|| format!("starting {shown}"))?;
        let input = child.stdin.take().context("a program without input")?;
        let output = child.stdout.take().context("a program without output")?;
        let mut program = Self {
            child,
            input,
            output: BufReader::new(output),
            shown,
        };
        let line = program.line()?;
        Ok((program, line))
    }

    /// Asks for something; gives the answer.
    pub fn ask(&mut self, line: &str) -> Result<String> {
        writeln!(self.input, "{line}").with_context(|| format!("asking {}", self.shown))?;
        self.line()
    }

    /// Asks for a number.
    pub fn number(&mut self, line: &str) -> Result<f64> {
        let answer = self.ask(line)?;
        let number = answer.parse();
        number.with_context(|| format!("{} answered {answer:?}", self.shown))
    }

    fn line(&mut self) -> Result<String> {
        let mut line = String::new();
        let count = self.output.read_line(&mut line)?;
        ensure!(count > 0, "{} ended", self.shown);
        Ok(line.trim().to_owned())
    }

    /// The CPU time that it has taken so far, nanoseconds.
    pub fn cpu(&self) -> Result<f64> {
        measure::cpu_of_process(self.child.id())
    }

    /// Its memory that is resident now, and the most that ever was, MB.
    pub fn memory(&self) -> Result<(f64, f64)> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id()))?;
        let of = |name: &str| -> Result<f64> {
            let line = status.lines().find_map(|line| line.strip_prefix(name));
            let kilobytes = line.and_then(|line| line.trim().strip_suffix(" kB"));
            let kilobytes = kilobytes.with_context(|| format!("no {name} in a status"))?;
            Ok(kilobytes.parse::<f64>()? * 1024.0 / 1e6)
        };
        Ok((of("VmRSS:")?, of("VmHWM:")?))
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        // It may have ended by itself: that is no matter here.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
