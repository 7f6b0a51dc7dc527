//! `cargo xtask tidy`: the house rules that no other tool knows.
//!
//! Each rule is a function from text to findings, with its own tests; this module reads the
//! repository and hands the pieces out.

mod docs;
mod layers;
mod manifests;
mod modules;
mod spec_map;
mod text;

use std::{
    collections::BTreeMap,
    fmt, fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result, ensure};

use crate::{run, workspace::Workspace};

/// Something to mend.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Finding {
    /// The file, relative to the root.
    path: PathBuf,
    /// The line, from 1; 0 when it is about the file as a whole.
    line: usize,
    /// What is wrong and what to do.
    message: String,
}

impl Finding {
    fn at(path: &Path, line: usize, message: impl Into<String>) -> Self {
        Self {
            path: path.to_owned(),
            line,
            message: message.into(),
        }
    }

    fn file(path: &Path, message: impl Into<String>) -> Self {
        Self::at(path, 0, message)
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path = self.path.display();
        match self.line {
            0 => write!(f, "{path}: {}", self.message),
            line => write!(f, "{path}:{line}: {}", self.message),
        }
    }
}

/// The text files of the repository: path relative to the root, and content. What is not UTF-8,
/// such as a seed for the fuzzer, holds no rules to keep.
pub(crate) struct Tree {
    /// Every file, whatever it holds.
    paths: Vec<PathBuf>,
    texts: BTreeMap<PathBuf, String>,
}

impl Tree {
    /// Reads what git tracks, and what it would track if it were added.
    fn read(root: &Path) -> Result<Self> {
        let mut command = Command::new("git");
        command.current_dir(root);
        command.args([
            "ls-files",
            "-z",
            "--cached",
            "--others",
            "--exclude-standard",
        ]);
        let list = run::output(&mut command)?;
        let mut paths: Vec<PathBuf> = list
            .split('\0')
            .filter(|path| !path.is_empty())
            .map(PathBuf::from)
            .collect();
        paths.sort();
        paths.dedup();
        paths.retain(|path| root.join(path).is_file());
        let mut texts = BTreeMap::new();
        for path in &paths {
            let bytes =
                fs::read(root.join(path)).with_context(|| format!("reading {}", path.display()))?;
            if let Ok(text) = String::from_utf8(bytes) {
                texts.insert(path.clone(), text);
            }
        }
        Ok(Self { paths, texts })
    }

    #[cfg(test)]
    fn of(files: &[(&str, &str)]) -> Self {
        let texts: BTreeMap<PathBuf, String> = files
            .iter()
            .map(|(path, text)| (PathBuf::from(path), (*text).to_owned()))
            .collect();
        Self {
            paths: texts.keys().cloned().collect(),
            texts,
        }
    }

    /// True when there is a file or folder of this path.
    fn has(&self, path: &Path) -> bool {
        self.paths.iter().any(|known| known.starts_with(path))
    }

    /// The text files with this extension.
    fn with_extension<'a>(
        &'a self,
        extension: &'a str,
    ) -> impl Iterator<Item = (&'a Path, &'a str)> {
        self.texts
            .iter()
            .filter(move |(path, _)| path.extension().is_some_and(|found| found == extension))
            .map(|(path, text)| (path.as_path(), text.as_str()))
    }
}

/// Checks every rule and prints every finding.
pub(crate) fn run(workspace: &Workspace) -> Result<()> {
    let tree = Tree::read(&workspace.root)?;
    let mut findings = Vec::new();
    for (path, text) in &tree.texts {
        findings.extend(text::check(path, text));
    }
    findings.extend(modules::check(&tree));
    findings.extend(docs::check(&tree));
    findings.extend(spec_map::check(&tree));
    findings.extend(manifests::check(workspace, &tree));
    findings.extend(layers::check(workspace));
    findings.sort_by(|a, b| (&a.path, a.line).cmp(&(&b.path, b.line)));
    for finding in &findings {
        println!("{finding}");
    }
    ensure!(findings.is_empty(), "{} to mend", findings.len());
    println!("{} files are tidy", tree.paths.len());
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finding_prints_its_place_and_message() {
        let path = Path::new("a/b.rs");
        assert_eq!(
            Finding::at(path, 3, "is wrong").to_string(),
            "a/b.rs:3: is wrong"
        );
        assert_eq!(
            Finding::file(path, "is wrong").to_string(),
            "a/b.rs: is wrong"
        );
    }

    #[test]
    fn folder_of_a_file_is_in_the_tree() {
        let tree = Tree::of(&[("docs/a.md", "")]);
        assert!(tree.has(Path::new("docs")));
        assert!(tree.has(Path::new("docs/a.md")));
        assert!(!tree.has(Path::new("docs/b.md")));
    }
}
