//! The text of a configuration file: byte offsets become lines, problems become errors.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use toml::Spanned;

use super::ConfigError;

/// A configuration file that is being read.
pub(super) struct Source<'a> {
    /// What stands in it.
    pub(super) text: &'a str,
    /// Its name, for errors.
    pub(super) file: &'a Path,
    /// What relative paths are relative to.
    pub(super) folder: &'a Path,
}

impl Source<'_> {
    /// A problem at a byte offset.
    pub(super) fn error(&self, offset: usize, problem: impl Into<String>) -> ConfigError {
        let before = self.text.as_bytes().get(..offset);
        let before = before.unwrap_or(self.text.as_bytes());
        ConfigError {
            file: self.file.to_path_buf(),
            line: before.iter().filter(|byte| **byte == b'\n').count() + 1,
            problem: problem.into(),
        }
    }

    /// A problem with a value.
    pub(super) fn at<T>(&self, place: &Spanned<T>, problem: impl Into<String>) -> ConfigError {
        self.error(place.span().start, problem)
    }

    /// A number between `low` and `high`, or the default.
    pub(super) fn bounded(
        &self,
        key: &str,
        value: Option<&Spanned<u64>>,
        default: u64,
        (low, high): (u64, u64),
    ) -> Result<u64, ConfigError> {
        let Some(value) = value else {
            return Ok(default);
        };
        let number = *value.get_ref();
        if (low..=high).contains(&number) {
            Ok(number)
        } else {
            Err(self.at(
                value,
                format!("{key} is {number}: it must be from {low} to {high}"),
            ))
        }
    }

    /// The same for numbers that count things in memory.
    pub(super) fn count(
        &self,
        key: &str,
        value: Option<&Spanned<u64>>,
        default: u64,
        range: (u64, u64),
    ) -> Result<usize, ConfigError> {
        let number = self.bounded(key, value, default, range)?;
        Ok(usize::try_from(number).unwrap_or(usize::MAX))
    }

    /// The same in seconds.
    pub(super) fn seconds(
        &self,
        key: &str,
        value: Option<&Spanned<u64>>,
        default: Duration,
        range: (u64, u64),
    ) -> Result<Duration, ConfigError> {
        self.bounded(key, value, default.as_secs(), range)
            .map(Duration::from_secs)
    }

    /// One of a few words.
    pub(super) fn word<T: Copy>(
        &self,
        key: &str,
        value: Option<&Spanned<String>>,
        default: T,
        words: &[(&str, T)],
    ) -> Result<T, ConfigError> {
        let Some(value) = value else {
            return Ok(default);
        };
        let text = value.get_ref().as_str();
        if let Some((_, found)) = words.iter().find(|(word, _)| *word == text) {
            return Ok(*found);
        }
        let words: Vec<String> = words.iter().map(|(word, _)| format!("{word:?}")).collect();
        Err(self.at(
            value,
            format!("{key} {text:?} must be {}", words.join(" or ")),
        ))
    }

    /// At most `limit` entries of what `name` lists.
    pub(super) fn at_most(
        &self,
        name: &str,
        entries: usize,
        limit: usize,
        offset: usize,
    ) -> Result<(), ConfigError> {
        if entries <= limit {
            return Ok(());
        }
        Err(self.error(
            offset,
            format!("{name} has {entries} entries: at most {limit}"),
        ))
    }

    /// A path of the file, from the file's folder.
    pub(super) fn path(&self, value: &Spanned<String>) -> Result<PathBuf, ConfigError> {
        if value.get_ref().is_empty() {
            return Err(self.at(value, "the path is empty: name a file or leave the key out"));
        }
        Ok(self.folder.join(value.get_ref()))
    }
}
