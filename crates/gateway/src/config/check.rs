//! Unknown and missing keys: where they stand, and what was meant.

use std::ops::Range;

use toml::{
    Spanned,
    de::{DeTable, DeValue},
};

use super::{
    ConfigError,
    schema::{FILE, Holds, Key, Table},
    source::Source,
};

/// Keys of a table that an error lists at most.
const LISTED_KEYS_MAX: usize = 24;
/// Longest piece of a key that an error repeats, characters.
const SHOWN_KEY_CHARACTERS_MAX: usize = 64;

/// What a walk through a file found.
#[derive(Default)]
pub(super) struct Found<'a> {
    unknown: Vec<(usize, String)>,
    missing: Vec<(usize, String)>,
    values: Vec<(Range<usize>, &'a Key)>,
}

/// Compares the keys of a file with those that there are.
///
/// # Errors
///
/// The first unknown key; when there is none, the first that is missing.
pub(super) fn keys(
    source: &Source<'_>,
    document: &Spanned<DeTable<'_>>,
) -> Result<Found<'static>, ConfigError> {
    let mut found = Found::default();
    found.table(&FILE, document.get_ref(), 0);
    let first = |problems: &[(usize, String)]| {
        let first = problems.iter().min_by_key(|(offset, _)| *offset);
        first.map(|(offset, problem)| source.error(*offset, problem.clone()))
    };
    match first(&found.unknown).or_else(|| first(&found.missing)) {
        Some(error) => Err(error),
        None => Ok(found),
    }
}

impl Found<'static> {
    /// The example of the key whose value stands at an offset.
    pub(super) fn example(&self, offset: usize) -> Option<&'static str> {
        let around = self
            .values
            .iter()
            .filter(|(span, _)| span.contains(&offset));
        let closest = around.min_by_key(|(span, _)| span.len());
        closest.map(|(_, key)| key.example)
    }

    fn table(&mut self, table: &'static Table, keys: &DeTable<'_>, offset: usize) {
        for (name, value) in keys {
            let text = name.get_ref().as_ref();
            match table.keys.iter().find(|key| key.name == text) {
                Some(key) => self.value(key, value),
                None => {
                    let offset = name.span().start;
                    self.unknown.push((offset, unknown(table, text)));
                }
            }
        }
        for key in table.keys.iter().filter(|key| key.required) {
            let given = keys
                .iter()
                .any(|(name, _)| name.get_ref().as_ref() == key.name);
            if !given {
                let problem = format!(
                    "{} is missing in {}: write {}",
                    key.name, table.name, key.example
                );
                self.missing.push((offset, problem));
            }
        }
    }

    fn value(&mut self, key: &'static Key, value: &Spanned<DeValue<'_>>) {
        let offset = value.span().start;
        self.values.push((value.span(), key));
        match (&key.holds, value.get_ref()) {
            (Holds::Table(table), DeValue::Table(keys)) => self.table(table, keys, offset),
            (Holds::List(table), DeValue::Array(entries)) => {
                for entry in entries.iter() {
                    if let DeValue::Table(keys) = entry.get_ref() {
                        self.table(table, keys, entry.span().start);
                    }
                }
            }
            (Holds::Named(table), DeValue::Table(entries)) => {
                for (_, entry) in entries {
                    if let DeValue::Table(keys) = entry.get_ref() {
                        self.table(table, keys, entry.span().start);
                    }
                }
            }
            // What has another type is for the reader of the values to refuse.
            _ => {}
        }
    }
}

/// What to say of a key that a table does not have.
fn unknown(table: &'static Table, name: &str) -> String {
    let shown: String = name.chars().take(SHOWN_KEY_CHARACTERS_MAX).collect();
    let shown = shown.escape_debug();
    let wrong = format!("unknown key `{shown}` in {}", table.name);
    if let Some(key) = nearest(name, table.keys) {
        return format!("{wrong}: did you mean {}?", spoken(key));
    }
    let mut homes = Vec::new();
    homes_of(&FILE, name, &mut homes);
    if !homes.is_empty() {
        homes.dedup();
        return format!("{wrong}: it belongs in {}", homes.join(" or "));
    }
    let known: Vec<&str> = table.keys.iter().map(|key| key.name).collect();
    let shown = known.get(..LISTED_KEYS_MAX).unwrap_or(&known);
    format!("{wrong}: its keys are {}", shown.join(", "))
}

/// A key as it is written: tables with their brackets.
fn spoken(key: &Key) -> String {
    match key.holds {
        _ if key.example.starts_with('[') => format!("`{}`", key.example),
        _ => format!("`{}`", key.name),
    }
}

/// The tables that have a key.
fn homes_of(table: &'static Table, name: &str, homes: &mut Vec<&'static str>) {
    for key in table.keys {
        if key.name == name && !homes.contains(&table.name) {
            homes.push(table.name);
        }
        match key.holds {
            Holds::Table(inner) | Holds::List(inner) | Holds::Named(inner) => {
                homes_of(inner, name, homes);
            }
            Holds::Value | Holds::Values => {}
        }
    }
}

/// The key that is most like a name, when one is.
fn nearest<'a>(name: &str, keys: &'a [Key]) -> Option<&'a Key> {
    if name.len() > SHOWN_KEY_CHARACTERS_MAX {
        return None;
    }
    let plain = name.to_ascii_lowercase().replace('-', "_");
    let close = |key: &&Key| {
        let allowed = 1 + key.name.len() / 5;
        edits(&plain, key.name) <= allowed
            || (plain.len() >= 4 && key.name.starts_with(&plain))
            || (key.name.len() >= 4 && plain.starts_with(key.name))
    };
    keys.iter()
        .filter(close)
        .min_by_key(|key| edits(&plain, key.name))
}

/// How many letters must be changed, put in, taken out or swapped with their neighbour to make one
/// word of the other.
fn edits(one: &str, other: &str) -> usize {
    let one: Vec<char> = one.chars().collect();
    let other: Vec<char> = other.chars().collect();
    let mut rows: Vec<Vec<usize>> = vec![(0..=other.len()).collect()];
    for (i, a) in one.iter().enumerate() {
        let mut row = vec![i + 1];
        for (j, b) in other.iter().enumerate() {
            let swapped =
                i > 0 && j > 0 && Some(a) == other.get(j - 1) && one.get(i - 1) == Some(b);
            let cost = [
                cell(&rows, i, j + 1) + 1,
                row.last().map_or(usize::MAX, |left| left + 1),
                cell(&rows, i, j) + usize::from(a != b),
                if swapped {
                    cell(&rows, i - 1, j - 1) + 1
                } else {
                    usize::MAX
                },
            ];
            row.extend(cost.into_iter().min());
        }
        rows.push(row);
    }
    cell(&rows, one.len(), other.len())
}

fn cell(rows: &[Vec<usize>], row: usize, column: usize) -> usize {
    let cell = rows.get(row).and_then(|row| row.get(column));
    *cell.expect("the cell is there, because rows are filled in order")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn edits_count_changes_and_swaps() {
        for (one, other, count) in [
            ("", "", 0),
            ("", "ab", 2),
            ("route", "route", 0),
            ("rotue", "route", 1),
            ("lisen", "listen", 1),
            ("prise", "price", 1),
            ("timeout", "timeout_s", 2),
        ] {
            assert_eq!(edits(one, other), count, "{one} {other}");
            assert_eq!(edits(other, one), count, "{other} {one}");
        }
    }
}
