//! What the command tells of itself, as it is typed: schemas, man pages, completions.

use std::path::PathBuf;

use clap::Args;

/// `stiver schema`
#[derive(Debug, Args)]
pub(crate) struct Schema {
    /// The command, such as `wallet list`; or `error`. The names are listed when none is given.
    #[arg(value_name = "COMMAND", conflicts_with_all = ["all", "markdown"])]
    pub(crate) command: Vec<String>,
    /// Print all of them, in one object by their commands.
    #[arg(long)]
    pub(crate) all: bool,
    /// Print all of them as a page of documentation.
    #[arg(long, conflicts_with = "all")]
    pub(crate) markdown: bool,
}

/// `stiver man`
#[derive(Debug, Args)]
pub(crate) struct Man {
    /// Write a page for each command into this folder, instead of one to standard output.
    #[arg(long, value_name = "FOLDER")]
    pub(crate) dir: Option<PathBuf>,
}
