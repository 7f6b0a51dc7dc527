//! Which rows there are, and what measures them.

use std::path::PathBuf;

use anyhow::Result;

use crate::{
    accept, codec, cost, finality, http, ledger, metered, million, paid, peers, proxy,
    report::Finding, sessions, vouchers,
};

/// What the measurements need from outside.
#[derive(Debug, Clone)]
pub struct Setting {
    /// The `stiver` command that was built for release.
    pub stiver: Option<PathBuf>,
    /// The folder that mppx was installed in.
    pub mppx: Option<PathBuf>,
    /// The program over the mpp crate.
    pub mpp: Option<PathBuf>,
    /// How much the longest metered stream carries, bytes.
    pub stream_bytes: u64,
    /// Rounds of each comparison.
    pub rounds: usize,
    /// Only rows whose name begins so; all when there is none.
    pub rows: Vec<String>,
}

impl Setting {
    /// Whether a row is to be measured.
    pub fn wants(&self, name: &str) -> bool {
        let mut rows = self.rows.iter();
        self.rows.is_empty() || rows.any(|row| name.starts_with(row.as_str()))
    }
}

/// Rows that are measured together.
pub struct Group {
    rows: &'static [&'static str],
    run: fn(&Setting, &mut dyn FnMut(Finding)) -> Result<()>,
}

impl Group {
    /// The names of its rows.
    pub fn names(&self) -> impl Iterator<Item = &'static str> {
        self.rows.iter().copied()
    }

    /// Measures all of its rows.
    pub fn run(&self, setting: &Setting, found: &mut dyn FnMut(Finding)) -> Result<()> {
        (self.run)(setting, found)
    }
}

/// All of them, in the order of the table.
pub const ALL: &[Group] = &[
    Group {
        rows: codec::ROWS,
        run: codec::run,
    },
    Group {
        rows: &http::ROWS,
        run: http::run,
    },
    Group {
        rows: &proxy::ROWS,
        run: proxy::run,
    },
    Group {
        rows: &paid::ROWS,
        run: paid::run,
    },
    Group {
        rows: &ledger::APPLY_ROWS,
        run: ledger::apply,
    },
    Group {
        rows: &ledger::DURABLE_ROWS,
        run: ledger::durable,
    },
    Group {
        rows: &vouchers::ROWS,
        run: vouchers::run,
    },
    Group {
        rows: &sessions::ROWS,
        run: sessions::run,
    },
    Group {
        rows: &accept::ROWS,
        run: accept::run,
    },
    Group {
        rows: &million::ROWS,
        run: million::run,
    },
    Group {
        rows: &metered::ROWS,
        run: metered::run,
    },
    Group {
        rows: &peers::ROWS,
        run: peers::run,
    },
    Group {
        rows: &finality::ROWS,
        run: finality::run,
    },
    Group {
        rows: &cost::PAYMENT_ROWS,
        run: cost::payments,
    },
    Group {
        rows: &cost::ENERGY_ROWS,
        run: cost::energy,
    },
];

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn no_two_rows_share_a_name() {
        let names: Vec<&str> = ALL.iter().flat_map(Group::names).collect();
        assert_eq!(names.iter().collect::<BTreeSet<_>>().len(), names.len());
    }

    #[test]
    fn rows_inside_this_process_are_measured_and_named_as_listed() {
        let setting = Setting {
            stiver: None,
            mppx: None,
            mpp: None,
            stream_bytes: 1 << 20,
            rounds: 1,
            rows: Vec::new(),
        };
        for group in [&ALL[0], &ALL[4], &ALL[6]] {
            let mut found = Vec::new();
            group
                .run(&setting, &mut |finding| found.push(finding))
                .unwrap();
            let names: Vec<&str> = found.iter().map(|finding| finding.name.as_str()).collect();
            assert_eq!(names, group.names().collect::<Vec<_>>());
            for finding in found {
                assert!(finding.value > 0.0, "{finding:?}");
                assert!(finding.baseline.is_none_or(|it| it > 0.0), "{finding:?}");
            }
        }
    }
}
