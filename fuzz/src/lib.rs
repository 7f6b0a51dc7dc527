//! What the fuzz targets share.
//!
//! Each target in `src/bin` takes the bytes of one peer, reads them with the code that meets that
//! peer, and asserts more than that nothing panics: whatever is accepted prints and reads back as
//! the same value.
#![forbid(unsafe_code)]

/// The input as the field lines of one header: one per line.
pub fn lines(data: &[u8]) -> impl Iterator<Item = &[u8]> + Clone {
    data.split(|byte| *byte == b'\n')
}

/// The input as text, when it is UTF-8.
pub fn text(data: &[u8]) -> Option<&str> {
    std::str::from_utf8(data).ok()
}
