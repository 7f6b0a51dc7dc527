//! Text from the peer, safe to print.

use core::fmt::{self, Write as _};

/// Most characters of an [`Untrusted`] text that are printed.
pub const PRINTED_CHARACTERS_MAX: usize = 256;

/// Text from the peer. `Display` replaces control, line-separator, bidirectional-override and
/// invisible characters with U+FFFD, and cuts at 256 characters (with an ellipsis), so that
/// nobody forges a log line or a terminal sequence, or hides a message in one.
///
/// `Debug` prints the same between quotes.
///
/// # Examples
/// ```
/// use stiver_core::untrusted::Untrusted;
/// let text = "paid\r\n200 OK \u{1b}[2J";
/// assert_eq!(Untrusted(text).to_string(), "paid\u{FFFD}\u{FFFD}200 OK \u{FFFD}[2J");
/// ```
#[derive(Clone, Copy)]
pub struct Untrusted<'a>(pub &'a str);

impl fmt::Display for Untrusted<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut characters = self.0.chars();
        for character in characters.by_ref().take(PRINTED_CHARACTERS_MAX) {
            f.write_char(if is_hazard(character) {
                char::REPLACEMENT_CHARACTER
            } else {
                character
            })?;
        }
        match characters.next() {
            Some(_) => f.write_char('…'),
            None => Ok(()),
        }
    }
}

impl fmt::Debug for Untrusted<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{self}\"")
    }
}

/// Characters that move the cursor, start a line, turn the direction of the text, or do not show.
fn is_hazard(character: char) -> bool {
    character.is_control()
        || matches!(
            character,
            '\u{00AD}' // soft hyphen
            | '\u{061C}' // Arabic letter mark
            | '\u{180E}' // Mongolian vowel separator
            | '\u{200B}'..='\u{200F}' // zero width, left-to-right and right-to-left marks
            | '\u{2028}'..='\u{202E}' // line and paragraph separators, embeddings, overrides
            | '\u{2060}'..='\u{206F}' // joiners, invisible operators, isolates
            | '\u{FEFF}' // byte order mark
            | '\u{FFF9}'..='\u{FFFB}' // interlinear annotation
            | '\u{E0000}'..='\u{E007F}' // tags: invisible ASCII
        )
}

#[cfg(test)]
mod tests;
