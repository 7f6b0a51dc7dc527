//! What the user sees: text with colour on a terminal, plain lines in a pipe, JSON when asked.

use std::io::{self, IsTerminal, Write};

use anstyle::{AnsiColor, Style};
use serde_json::Value;

use crate::args::{ColorChoice, Global};

/// Names, amounts.
pub(crate) const STRONG: Style = Style::new().bold();
/// What is less important.
pub(crate) const DIM: Style = Style::new().dimmed();
/// What went well.
pub(crate) const GOOD: Style = AnsiColor::Green.on_default().bold();
/// What went wrong.
pub(crate) const BAD: Style = AnsiColor::Red.on_default().bold();
/// Headings.
pub(crate) const HEADING: Style = AnsiColor::Cyan.on_default().bold();

/// Where and how to print.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Output {
    json: bool,
    out_colour: bool,
    err_colour: bool,
    live: bool,
    lines: bool,
}

impl Output {
    /// From the global flags, the environment and what the streams are.
    pub(crate) fn new(global: &Global) -> Self {
        let wanted = |terminal: bool| match global.color {
            ColorChoice::Always => true,
            ColorChoice::Never => false,
            ColorChoice::Auto => {
                terminal && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
            }
        };
        let out_terminal = io::stdout().is_terminal();
        Self {
            json: global.json,
            out_colour: !global.json && wanted(out_terminal),
            err_colour: wanted(io::stderr().is_terminal()),
            live: !global.json && out_terminal,
            lines: false,
        }
    }

    /// Writes to standard error one JSON object on each line when that is no terminal: for a
    /// command whose standard output is somebody else's bytes.
    pub(crate) fn with_lines(self) -> Self {
        Self {
            lines: !self.json && !io::stderr().is_terminal(),
            ..self
        }
    }

    /// True when one JSON object was asked for.
    pub(crate) fn is_json(self) -> bool {
        self.json
    }

    /// Paints text for standard output.
    pub(crate) fn paint(self, style: Style, text: &str) -> String {
        if self.out_colour {
            format!("{style}{text}{style:#}")
        } else {
            text.to_owned()
        }
    }

    /// Prints a line of text to standard output, unless JSON was asked for.
    pub(crate) fn line(self, text: &str) -> io::Result<()> {
        if self.json {
            return Ok(());
        }
        writeln!(io::stdout().lock(), "{text}")
    }

    /// Writes over the current line of a terminal; nothing in a pipe.
    pub(crate) fn progress(self, text: &str) -> io::Result<()> {
        if !self.live {
            return Ok(());
        }
        let mut out = io::stdout().lock();
        write!(out, "\r\u{1b}[2K{text}")?;
        out.flush()
    }

    /// Prints a JSON object to standard output, when JSON was asked for.
    pub(crate) fn object(self, value: &Value) -> io::Result<()> {
        if !self.json {
            return Ok(());
        }
        writeln!(io::stdout().lock(), "{value}")
    }

    /// Prints a note to standard error, as text or as the object, as programs read it.
    pub(crate) fn tell(self, text: &str, object: &Value) -> io::Result<()> {
        if self.lines {
            writeln!(io::stderr().lock(), "{object}")
        } else {
            self.note(text)
        }
    }

    /// Prints a note to standard error.
    pub(crate) fn note(self, text: &str) -> io::Result<()> {
        if self.err_colour {
            writeln!(io::stderr().lock(), "{DIM}{text}{DIM:#}")
        } else {
            writeln!(io::stderr().lock(), "{text}")
        }
    }

    /// Prints an error to standard error, as text or as the object, as programs read it.
    pub(crate) fn error(self, text: &str, object: &Value) -> io::Result<()> {
        if self.lines || self.json {
            writeln!(io::stderr().lock(), "{object}")
        } else if self.err_colour {
            writeln!(io::stderr().lock(), "{BAD}error:{BAD:#} {text}")
        } else {
            writeln!(io::stderr().lock(), "error: {text}")
        }
    }
}
