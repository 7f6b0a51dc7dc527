//! One parameter of a query.

use super::places::NotFound;

/// The decoded value of the parameter with this name.
pub(super) fn find(query: &str, name: &str) -> Result<Option<String>, NotFound> {
    let mut found = None;
    let pairs = query.split('&').filter(|pair| !pair.is_empty());
    for pair in pairs {
        let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
        // Some upstreams end a parameter at a semicolon too.
        for piece in pair.split(';').skip(1) {
            let key = piece.split('=').next().unwrap_or_default();
            if decode(key).is_none_or(|key| alike(&key, name)) {
                return Err(NotFound::Twice);
            }
        }
        let Some(key) = decode(key) else {
            // A name that does not decode is nobody's.
            continue;
        };
        if key != name {
            if alike(&key, name) {
                return Err(NotFound::Ambiguous { other: key });
            }
            continue;
        }
        if found.is_some() {
            return Err(NotFound::Twice);
        }
        found = Some(decode(value).ok_or(NotFound::NotText)?);
    }
    Ok(found)
}

/// Whether an upstream may read two names as one: without looking at case or at `[]` after the
/// name, or with `.`, a space and a lone `[` as `_`.
fn alike(one: &str, other: &str) -> bool {
    let cut = |name: &str| folded(name.split('[').next().unwrap_or(name));
    cut(one) == cut(other) || folded(one) == folded(other)
}

fn folded(name: &str) -> String {
    let name = name.replace(['.', ' ', '['], "_");
    super::json::folded(name.trim_matches('_'))
}

/// Percent-decodes; a plus is a space. `None` when it is no text then.
fn decode(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        bytes.push(match byte {
            b'+' => b' ',
            b'%' => {
                let high = char::from(rest.next()?).to_digit(16)?;
                let low = char::from(rest.next()?).to_digit(16)?;
                u8::try_from(high * 16 + low).ok()?
            }
            other => other,
        });
    }
    String::from_utf8(bytes).ok()
}
