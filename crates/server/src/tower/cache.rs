//! `Cache-Control` of paid responses: no shared cache may keep what somebody paid for.

use http::{HeaderMap, HeaderName, HeaderValue, header::CACHE_CONTROL};

/// Fields by which some shared caches are steered past `Cache-Control`.
const SHARED_CACHE_FIELDS: [HeaderName; 3] = [
    HeaderName::from_static("surrogate-control"),
    HeaderName::from_static("surrogate-key"),
    HeaderName::from_static("x-accel-expires"),
];

/// `CDN-Cache-Control` (RFC 9213), and how the fields of single makers of caches end.
const TARGETED: &str = "cdn-cache-control";

/// Makes a response private: `public` and `s-maxage` go, everything else stays.
///
/// # Spec
/// draft-httpauth-payment-00, CORE-56.
pub(super) fn make_private(headers: &mut HeaderMap) {
    for field in SHARED_CACHE_FIELDS {
        headers.remove(field);
    }
    let targeted: Vec<HeaderName> = headers
        .keys()
        .filter(|name| name.as_str().ends_with(TARGETED))
        .cloned()
        .collect();
    for field in targeted {
        headers.remove(field);
    }
    let mut merged = String::from("private");
    for line in headers.get_all(CACHE_CONTROL) {
        // What cannot be read as text is no directive of ours to keep.
        for directive in line.to_str().unwrap_or_default().split(',').map(str::trim) {
            let name = directive.split('=').next().unwrap_or_default().trim_end();
            let dropped = ["", "public", "s-maxage", "private"];
            // A quoted list of fields may hold commas: its pieces are dropped with it.
            if dropped
                .iter()
                .any(|dropped| name.eq_ignore_ascii_case(dropped))
                || directive.contains('"')
                || !directive.is_ascii()
            {
                continue;
            }
            merged.push_str(", ");
            merged.push_str(directive);
        }
    }
    let value = HeaderValue::try_from(merged);
    headers.insert(
        CACHE_CONTROL,
        value.unwrap_or(HeaderValue::from_static("private")),
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paid_responses_are_private_whatever_the_handler_said() {
        for (before, after) in [
            (&[][..], "private"),
            (&["public, max-age=600"], "private, max-age=600"),
            (&["PUBLIC"], "private"),
            (&["s-maxage=600, max-age=5"], "private, max-age=5"),
            (&["S-MaxAge = 600"], "private"),
            (&["max-age=5", "public"], "private, max-age=5"),
            (&["no-store"], "private, no-store"),
            (&["private"], "private"),
            (&["private=\"set-cookie\""], "private"),
            (&[",,"], "private"),
        ] {
            let mut headers = HeaderMap::new();
            for line in before {
                headers.append(CACHE_CONTROL, HeaderValue::from_static(line));
            }
            let shared = [
                "surrogate-control",
                "surrogate-key",
                "x-accel-expires",
                "cdn-cache-control",
                "vercel-cdn-cache-control",
                "cloudflare-cdn-cache-control",
            ];
            for field in shared {
                headers.insert(field, HeaderValue::from_static("max-age=600"));
            }
            headers.insert("etag", HeaderValue::from_static("\"1\""));
            make_private(&mut headers);
            let lines: Vec<_> = headers.get_all(CACHE_CONTROL).iter().collect();
            assert_eq!(lines, [after], "{before:?}");
            assert_eq!(headers.len(), 2, "{headers:?}");
        }
    }
}
