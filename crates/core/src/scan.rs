//! Looks for bytes in texts that are long and mostly have none.

/// Bytes that are looked at together: as wide as a vector register of every machine.
const BLOCK: usize = 16;

/// Where the first byte that `is` one stands.
pub(crate) fn first(bytes: &[u8], is: impl Fn(u8) -> bool) -> Option<usize> {
    let (blocks, rest) = bytes.as_chunks::<BLOCK>();
    let mut before = 0;
    for block in blocks {
        // No early end: so that the compiler compares the whole block at once.
        if block.iter().fold(false, |any, byte| any | is(*byte)) {
            break;
        }
        before += BLOCK;
    }
    let rest = match before < blocks.len() * BLOCK {
        true => bytes.get(before..)?,
        false => rest,
    };
    let at = rest.iter().position(|byte| is(*byte))?;
    Some(before + at)
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec;

    #[test]
    fn first_of_several_is_found_wherever_it_stands() {
        let is = |byte| byte == b'"';
        for length in 0..70 {
            assert_eq!(first(&vec![b'a'; length], is), None, "{length}");
            for at in 0..length {
                let mut bytes = vec![b'a'; length];
                for byte in bytes.iter_mut().skip(at).step_by(5) {
                    *byte = b'"';
                }
                assert_eq!(first(&bytes, is), Some(at), "{at} of {length}");
            }
        }
    }
}
