//! Tables of what was found: a row for each question, a column for each peer.

use std::fmt::Write as _;

/// What one question found at one peer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cell {
    /// In a few words, such as `yes` or `402 invalid-challenge`.
    pub text: String,
    /// Why it is not what one would expect.
    pub note: Option<&'static str>,
}

impl Cell {
    /// It works.
    pub fn yes() -> Self {
        Self::fact("yes")
    }

    /// What was measured.
    pub fn fact(text: impl Into<String>) -> Self {
        Self {
            text: text.into(),
            note: None,
        }
    }

    /// What was measured, and why it differs.
    pub fn differs(text: impl Into<String>, note: &'static str) -> Self {
        Self {
            text: text.into(),
            note: Some(note),
        }
    }
}

/// What the questions of one side found at one peer. A question that failed has the reason.
#[derive(Debug, Clone)]
pub struct Section {
    /// The peer, as the head of its column.
    pub peer: &'static str,
    /// Each question and what it found.
    pub rows: Vec<(&'static str, Result<Cell, String>)>,
}

impl Section {
    /// An empty section.
    pub fn new(peer: &'static str) -> Self {
        Self {
            peer,
            rows: Vec::new(),
        }
    }

    /// Asks one question.
    pub fn ask(&mut self, question: &'static str, ask: impl FnOnce() -> Result<Cell, String>) {
        self.rows.push((question, ask()));
    }

    /// The questions that failed, one a line.
    pub fn failures(&self) -> String {
        let failed = self.rows.iter().filter_map(|(question, found)| {
            let reason = found.as_ref().err()?;
            Some(format!("{}: {question}: {reason}", self.peer))
        });
        failed.collect::<Vec<_>>().join("\n")
    }
}

/// Footnotes, each told once.
#[derive(Debug, Default)]
pub struct Notes(Vec<&'static str>);

impl Notes {
    fn number(&mut self, note: &'static str) -> usize {
        let known = self.0.iter().position(|known| *known == note);
        let at = known.unwrap_or_else(|| {
            self.0.push(note);
            self.0.len().saturating_sub(1)
        });
        at.saturating_add(1)
    }

    /// The notes as a numbered list, lines at most 100 columns.
    pub fn print(&self) -> String {
        let mut text = String::new();
        for (at, note) in self.0.iter().enumerate() {
            text.push_str(&wrapped(&format!("{}. {note}", at.saturating_add(1))));
        }
        text
    }
}

/// Wraps one item of a list.
fn wrapped(item: &str) -> String {
    let mut text = String::new();
    let mut column = 0_usize;
    for word in item.split(' ') {
        let width = word.chars().count();
        if column > 0 && column.saturating_add(width).saturating_add(1) > 100 {
            text.push_str("\n  ");
            column = 2;
        }
        if column > 0 {
            text.push(' ');
            column = column.saturating_add(1);
        }
        text.push_str(word);
        column = column.saturating_add(width);
    }
    text.push('\n');
    text
}

/// One table. Questions are in the order of the first section that asks them.
pub fn table(sections: &[&Section], notes: &mut Notes) -> String {
    let mut questions: Vec<&str> = Vec::new();
    for (question, _) in sections.iter().flat_map(|section| &section.rows) {
        if !questions.contains(question) {
            questions.push(question);
        }
    }
    let peers: Vec<&str> = sections.iter().map(|section| section.peer).collect();
    let mut text = format!("| | {} |\n", peers.join(" | "));
    text.push_str(&format!("|---|{}\n", "---|".repeat(sections.len())));
    for question in questions {
        let _ = write!(text, "| {question} |");
        for section in sections {
            let row = section.rows.iter().find(|(asked, _)| *asked == question);
            let cell = match row {
                None => "–".to_owned(),
                Some((_, Err(_))) => "FAILED".to_owned(),
                Some((_, Ok(cell))) => match cell.note {
                    None => cell.text.clone(),
                    Some(note) => format!("{} ({})", cell.text, notes.number(note)),
                },
            };
            let _ = write!(text, " {cell} |");
        }
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn section(peer: &'static str, rows: &[(&'static str, Cell)]) -> Section {
        let rows = rows
            .iter()
            .map(|(question, cell)| (*question, Ok(cell.clone())));
        Section {
            peer,
            rows: rows.collect(),
        }
    }

    #[test]
    fn each_question_is_a_row_and_each_note_is_told_once() {
        let odd = || Cell::differs("no", "It cannot.");
        let first = section("a", &[("pays", Cell::yes()), ("reads", odd())]);
        let second = section("b", &[("reads", odd()), ("writes", Cell::fact("402"))]);
        let mut notes = Notes::default();
        let text = table(&[&first, &second], &mut notes);
        let expected = "| | a | b |\n|---|---|---|\n| pays | yes | – |\n\
                        | reads | no (1) | no (1) |\n| writes | – | 402 |\n";
        assert_eq!(text, expected);
        assert_eq!(notes.print(), "1. It cannot.\n");
    }

    #[test]
    fn long_note_is_wrapped_at_100_columns() {
        let text = wrapped(&format!("1. {}", "word ".repeat(60).trim_end()));
        assert!(text.lines().count() > 2);
        assert!(
            text.lines().all(|line| line.chars().count() <= 100),
            "{text}"
        );
        assert!(text.lines().skip(1).all(|line| line.starts_with("   ")));
    }

    #[test]
    fn failure_names_peer_and_question() {
        let mut section = Section::new("a");
        section.ask("pays", || Err("it did not".to_owned()));
        section.ask("reads", || Ok(Cell::yes()));
        assert_eq!(section.failures(), "a: pays: it did not");
    }
}
