use super::*;

fn map(lines: &[(&'static str, &'static str)]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for (name, value) in lines {
        headers.append(
            HeaderName::from_static(name),
            HeaderValue::from_static(value),
        );
    }
    headers
}

fn rules() -> HeaderRules {
    let set = vec![(
        HeaderName::from_static("x-api-key"),
        HeaderValue::from_static("the-secret"),
    )];
    HeaderRules::new(set, vec![header::COOKIE], vec![header::SERVER])
}

#[test]
fn header_that_is_set_replaces_every_line_and_spelling_of_the_client() {
    let mut headers = map(&[
        ("x-api-key", "mine"),
        ("x-api-key", "mine-too"),
        ("x_api_key", "spelt"),
        ("x-api_key", "spelt"),
        ("x_other", "kept"),
        ("connection", "x-api-key, x-of-the-hop"),
        ("x-of-the-hop", "1"),
    ]);
    rules().request(&mut headers);
    let lines: Vec<_> = headers.get_all("x-api-key").iter().collect();
    assert_eq!(lines, ["the-secret"]);
    assert!(lines[0].is_sensitive());
    assert_eq!(headers["x_other"], "kept");
    assert_eq!(headers.len(), 2, "{headers:?}");
}

#[test]
fn spellings_with_underscores_do_not_pass_what_is_stripped() {
    let mut headers = map(&[
        ("x_http_method_override", "DELETE"),
        ("x_forwarded_for", "10.0.0.1"),
        ("x_original_url", "/dear"),
        ("content_length", "7"),
        ("payment_authorization", "Payment x"),
        ("cookie", "a=1"),
    ]);
    rules().request(&mut headers);
    assert_eq!(headers.len(), 1, "{headers:?}");
    assert!(headers.contains_key("x-api-key"));
}

#[test]
fn request_trailers_carry_nothing_that_counts_as_a_header() {
    let mut trailers = map(&[
        ("x-checksum", "kept"),
        ("x-api-key", "mine"),
        ("x_api_key", "mine"),
        ("authorization", "Bearer x"),
        ("cookie", "a=1"),
        ("content-length", "3"),
        ("transfer-encoding", "chunked"),
        ("x-http-method-override", "DELETE"),
        ("x-forwarded-for", "10.0.0.1"),
        ("idempotency-key", "k"),
    ]);
    rules().request_trailers(&mut trailers);
    assert_eq!(trailers.len(), 1, "{trailers:?}");
    assert_eq!(trailers["x-checksum"], "kept");
}

#[test]
fn responses_lose_what_the_rules_remove() {
    let mut headers = map(&[
        ("server", "secretd/1"),
        ("etag", "\"1\""),
        ("upgrade", "h2c"),
    ]);
    rules().response(&mut headers);
    assert_eq!(headers.len(), 1, "{headers:?}");
}

#[test]
fn debug_output_names_headers_and_tells_no_value() {
    let shown = format!("{:?}", rules());
    assert!(shown.contains("x-api-key"), "{shown}");
    assert!(!shown.contains("the-secret"), "{shown}");
}

#[test]
fn cookies_of_several_lines_become_one() {
    let mut headers = map(&[("cookie", "a=1"), ("cookie", "b=2"), ("x", "y")]);
    join_cookies(&mut headers);
    let lines: Vec<_> = headers.get_all(header::COOKIE).iter().collect();
    assert_eq!(lines, ["a=1; b=2"]);
}
