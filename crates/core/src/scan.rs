//! Looks for bytes in texts that are long and mostly have none: eight at a time, in one word.
//!
//! What looks at a word gives the highest bit of each byte that is one. Above the first such byte
//! it may give a bit too many, because a subtraction borrows from the next byte; never below.

/// Bytes of a word.
const WORD: usize = 8;
/// One in each byte.
const ONES: u64 = 0x0101_0101_0101_0101;
/// The highest bit of each byte.
const HIGH: u64 = 0x8080_8080_8080_8080;
/// A byte that nobody looks for: it fills the last word.
const FILL: u8 = b'a';

/// Where the first byte stands that `marks` marks in a word.
pub(crate) fn first(bytes: &[u8], marks: impl Fn(u64) -> u64) -> Option<usize> {
    let (words, rest) = bytes.as_chunks::<WORD>();
    for (index, word) in words.iter().enumerate() {
        let marked = marks(u64::from_le_bytes(*word));
        if marked != 0 {
            return Some(index * WORD + lowest(marked));
        }
    }
    let mut last = [FILL; WORD];
    for (to, from) in last.iter_mut().zip(rest) {
        *to = *from;
    }
    let marked = marks(u64::from_le_bytes(last));
    (marked != 0).then(|| words.len() * WORD + lowest(marked))
}

/// Marks a byte.
pub(crate) fn equal(word: u64, byte: u8) -> u64 {
    let zero = word ^ (ONES * u64::from(byte));
    zero.wrapping_sub(ONES) & !zero & HIGH
}

/// Marks what may not stand between quotes: quotes and backslashes.
pub(crate) fn quotes(word: u64) -> u64 {
    equal(word, b'"') | equal(word, b'\\')
}

/// Marks ASCII's control characters but the last, `DEL`.
pub(crate) fn controls(word: u64) -> u64 {
    word.wrapping_sub(ONES * u64::from(b' ')) & !word & HIGH
}

/// Marks what is above the last visible character of ASCII.
pub(crate) fn beyond(word: u64) -> u64 {
    (word.wrapping_add(ONES) | word) & HIGH
}

fn lowest(marked: u64) -> usize {
    let bits = usize::try_from(marked.trailing_zeros()).unwrap_or(0);
    bits / WORD
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec;

    #[test]
    fn every_byte_is_marked_as_it_should_be_wherever_it_stands() {
        type Marks = fn(u64) -> u64;
        type Is = fn(u8) -> bool;
        let all: [(Marks, Is); 3] = [
            (quotes, |byte| matches!(byte, b'"' | b'\\')),
            (controls, |byte| byte < b' '),
            (beyond, |byte| byte > b'~'),
        ];
        for (marks, is) in all {
            for byte in 0..=u8::MAX {
                for at in 0..20 {
                    let mut bytes = vec![b'-'; 20];
                    bytes[at] = byte;
                    let found = first(&bytes, marks);
                    assert_eq!(found, is(byte).then_some(at), "{byte} at {at}");
                }
            }
        }
    }

    #[test]
    fn the_first_of_several_is_found() {
        for length in 0..40 {
            assert_eq!(first(&vec![b'!'; length], quotes), None, "{length}");
            for at in 0..length {
                // What follows differs from a mark by one: borrows must not deceive.
                let mut bytes = vec![b'#'; length];
                for byte in bytes.iter_mut().skip(at).step_by(3) {
                    *byte = b'"';
                }
                assert_eq!(first(&bytes, quotes), Some(at), "{at} of {length}");
            }
        }
    }
}
