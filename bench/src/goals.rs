//! The goals: one checked file, `goals.toml`.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result};
use serde::Deserialize;

/// The file, as it stood when this was built.
const FILE: &str = include_str!("../goals.toml");

/// What a row must reach.
#[derive(Debug, Clone, Copy, PartialEq, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Goal {
    /// Value over baseline, at most.
    RatioMax(f64),
    /// Value over baseline, at least.
    RatioMin(f64),
    /// The value itself, at most.
    ValueMax(f64),
    /// The value itself, at least.
    ValueMin(f64),
}

impl Goal {
    /// The bound.
    pub fn number(self) -> f64 {
        match self {
            Self::RatioMax(bound)
            | Self::RatioMin(bound)
            | Self::ValueMax(bound)
            | Self::ValueMin(bound) => bound,
        }
    }

    /// Which side of the bound is good.
    pub fn sense(self) -> &'static str {
        match self {
            Self::RatioMax(_) | Self::ValueMax(_) => "<=",
            Self::RatioMin(_) | Self::ValueMin(_) => ">=",
        }
    }
}

/// All goals, by row.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct Goals(BTreeMap<String, Goal>);

impl Goals {
    /// Those of `goals.toml`.
    pub fn load() -> Result<Self> {
        Self::parse(FILE)
    }

    /// Reads the text of a file.
    pub fn parse(text: &str) -> Result<Self> {
        toml::from_str(text).context("goals.toml")
    }

    /// The goal of a row, if it has one.
    pub fn of(&self, row: &str) -> Option<Goal> {
        self.0.get(row).copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn goals_are_the_numbers_that_were_set() {
        let goals = Goals::load().unwrap();
        for (row, goal) in [
            ("http-402", Goal::RatioMax(1.10)),
            ("http-credential", Goal::RatioMax(1.30)),
            ("proxy-free", Goal::RatioMax(1.05)),
            ("ledger-apply", Goal::ValueMax(0.3)),
            ("ledger-durable", Goal::RatioMin(3.0)),
        ] {
            assert_eq!(goals.of(row), Some(goal), "{row}");
        }
    }

    #[test]
    fn each_goal_has_a_row_that_is_measured() {
        let goals = Goals::load().unwrap();
        let measured: Vec<&str> = crate::rows::ALL
            .iter()
            .flat_map(|row| row.names())
            .collect();
        for row in goals.0.keys() {
            assert!(
                measured.contains(&row.as_str()),
                "{row} has a goal and no measurement"
            );
        }
    }

    #[test]
    fn goals_with_unknown_words_are_refused() {
        assert!(Goals::parse("[a]\nratio_maximum = 1.0\n").is_err());
    }
}
