//! What `stiver get` sends: curl's options mean what they mean to curl, and paid requests arrive
//! as they were sent first.

use crate::common::{
    Done, Stage, command, finish, run, run_with,
    site::{Asked, Site, agreeable, say},
};

/// A price for everything.
const PRICED: &str = r#"
[[route]]
path = "/paid"
price = "0.01 USD"
description = "A page"
descriptions = { en = "A page", de = "Eine Seite" }

[[route]]
path = "/free"
access = "free"
"#;

/// Asks a free page from a home without a wallet.
fn sent(args: &[&str], path: &str) -> Asked {
    let site = agreeable();
    let home = tempfile::tempdir().unwrap();
    let url = site.at(path);
    let done = run(home.path(), &[&["get"], args, &[&url]].concat());
    done.ends_with(0);
    site.last()
}

fn refused(args: &[&str], needle: &str) -> Done {
    let site = agreeable();
    let home = tempfile::tempdir().unwrap();
    let done = run(home.path(), &[&["get"], args, &[&site.at("/x")]].concat());
    assert!(site.asked().is_empty(), "{args:?}");
    done.fails(2, needle)
}

#[test]
fn request_without_options_is_a_plain_get() {
    let asked = sent(&[], "/a%20b?c=d#e");
    assert_eq!(
        (asked.method.as_str(), asked.target.as_str()),
        ("GET", "/a%20b?c=d")
    );
    assert_eq!(asked.field("accept"), Some("*/*"));
    let agent = concat!("stiver/", env!("CARGO_PKG_VERSION"));
    assert_eq!(asked.field("user-agent"), Some(agent));
    assert_eq!(asked.field("authorization"), None);
    assert_eq!(asked.field("accept-encoding"), None);
}

#[test]
fn data_is_joined_encoded_and_typed() {
    let asked = sent(&["-d", "a=1", "--data-urlencode", "b=x y", "-d", "c"], "/");
    assert_eq!(
        (asked.method.as_str(), asked.text().as_str()),
        ("POST", "a=1&b=x%20y&c")
    );
    let form = "application/x-www-form-urlencoded";
    assert_eq!(asked.field("content-type"), Some(form));
    let asked = sent(
        &["-d", "a", "-H", "content-type: text/plain", "-X", "PUT"],
        "/",
    );
    assert_eq!(asked.field("content-type"), Some("text/plain"));
    assert_eq!(asked.method, "PUT");
    let asked = sent(&["--data-raw", "@not-a-file"], "/");
    assert_eq!(asked.text(), "@not-a-file");
    let asked = sent(&["-G", "-d", "a=1", "--data-urlencode", "b=&"], "/p?z=0#f");
    assert_eq!(
        (asked.method.as_str(), asked.target.as_str()),
        ("GET", "/p?z=0&a=1&b=%26")
    );
    assert!(asked.body.is_empty());
    let asked = sent(&["-G", "-I", "-d", "a=1"], "/p");
    assert_eq!(
        (asked.method.as_str(), asked.target.as_str()),
        ("HEAD", "/p?a=1")
    );
}

#[test]
fn json_is_checked_before_it_is_sent() {
    let asked = sent(&["--data-json", r#"{"a":[1,"b"]}"#], "/");
    assert_eq!(asked.text(), r#"{"a":[1,"b"]}"#);
    assert_eq!(asked.field("content-type"), Some("application/json"));
    assert_eq!(asked.field("accept"), Some("application/json"));
    refused(&["--data-json", "{a:1}"], "--data-json");
    refused(&["--data-json", "@/nowhere"], "/nowhere");
}

#[test]
fn headers_are_added_taken_away_and_read_from_a_file() {
    let home = tempfile::tempdir().unwrap();
    let file = home.path().join("headers");
    std::fs::write(&file, "X-One: 1\r\n\nX-Two:two\n").unwrap();
    let at_file = format!("@{}", file.display());
    let args = [
        "-H",
        &at_file,
        "-H",
        "Accept:",
        "-H",
        "X-Empty;",
        "-A",
        "me",
        "-e",
        "http://r/",
    ];
    let asked = sent(&args, "/");
    assert_eq!(asked.field("x-one"), Some("1"));
    assert_eq!(asked.field("x-two"), Some("two"));
    assert_eq!(asked.field("x-empty"), Some(""));
    assert_eq!(asked.field("user-agent"), Some("me"));
    assert_eq!(asked.field("referer"), Some("http://r/"));
    // The library underneath asks for anything when nothing is said.
    assert_ne!(asked.field("accept"), Some("application/json"));
    let asked = sent(&["-u", "anna:pass:word"], "/");
    assert_eq!(
        asked.field("authorization"),
        Some("Basic YW5uYTpwYXNzOndvcmQ=")
    );
    let asked = sent(&["--bearer", "t0"], "/");
    assert_eq!(asked.field("authorization"), Some("Bearer t0"));
    let asked = sent(&["-H", "accept-language: de, en;q=0.5"], "/");
    assert_eq!(asked.field("accept-language"), Some("de, en;q=0.5"));
}

#[test]
fn what_contradicts_itself_is_refused_before_anything_is_sent() {
    for (args, needle) in [
        (&["-u", "anna"][..], "USER:PASSWORD"),
        (&["-u", "a:b", "-H", "authorization: x"], "two things"),
        (&["-u", "a:b", "--bearer", "t"], "--bearer"),
        (&["-I", "-d", "x"], "--head"),
        (&["-F", "a=b", "-d", "x"], "--form"),
        (&["-F", "a"], "name=value"),
        (&["-H", "content-length: 3"], "leave it out"),
        (&["-H", "secret-thing no colon"], "Name: value"),
        (&["-H", "@/nowhere"], "/nowhere"),
        (&["--output-dir", "/tmp"], "-O"),
        (&["-o", "x", "-O"], "--output"),
        (&["-m", "0"], "--max-time"),
        (&["--http1.1", "--http2"], "--http2"),
        (&["-x", "socks5://127.0.0.1:1"], "--proxy"),
        (&["-x", "http://"], "--proxy"),
        (&["--cacert", "/nowhere"], "--cacert"),
        (&["--method", "cowries"], "`ledger`"),
        (&["--method", "Not A Name"], "--method"),
        (&["--max-amount", "cheap"], "amount"),
        (&["-s", "-v"], "--silent"),
    ] {
        let done = refused(args, needle);
        assert!(!done.err.contains("a:b"), "{done:?}");
    }
    let elsewhere = ["get", "-k", "https://192.0.2.1/"];
    let home = tempfile::tempdir().unwrap();
    run(home.path(), &elsewhere).fails(2, "--dangerous-insecure");
}

#[test]
fn standard_input_is_read_once() {
    let site = agreeable();
    let home = tempfile::tempdir().unwrap();
    let url = site.at("/");
    let args = ["get", "--data-binary", "@-", &url];
    run_with(home.path(), &args, b"line\n\0").ends_with(0);
    assert_eq!(site.last().body, b"line\n\0");
    let twice = ["get", "-d", "@-", "-d", "@-", &url];
    run_with(home.path(), &twice, b"x").fails(2, "read once");
}

#[test]
fn multipart_body_is_paid_for_and_arrives_as_it_was_made() {
    let site = agreeable();
    let stage = Stage::before(&site.url, PRICED);
    let file = stage.root.path().join("picture.png");
    std::fs::write(&file, [0, 255, 13, 10, 7]).unwrap();
    let part = format!("file=@{}", file.display());
    let url = stage.at("/paid");
    let get = [
        "get",
        "--max-amount",
        "0.01 USD",
        "-F",
        &part,
        "-F",
        "size=200",
        &url,
    ];
    stage.run(&get).ends_with(0);
    let asked = site.last();
    let kind = asked.field("content-type").unwrap();
    let boundary = kind.strip_prefix("multipart/form-data; boundary=").unwrap();
    let body = [
        format!(
            "--{boundary}\r\nContent-Disposition: form-data; name=\"file\"; \
             filename=\"picture.png\"\r\nContent-Type: image/png\r\n\r\n"
        )
        .as_bytes(),
        &[0, 255, 13, 10, 7],
        format!(
            "\r\n--{boundary}\r\nContent-Disposition: form-data; name=\"size\"\r\n\r\n200\r\n\
             --{boundary}--\r\n"
        )
        .as_bytes(),
    ]
    .concat();
    assert_eq!(asked.body, body);
    assert_eq!(
        site.asked().len(),
        1,
        "only the paid request reaches the API"
    );
    assert_eq!(stage.left(), 9_990_000);
}

#[test]
fn description_comes_in_the_language_asked_for() {
    let site = agreeable();
    let stage = Stage::before(&site.url, PRICED);
    let url = stage.at("/paid");
    for (field, expected) in [
        ("accept-language: de-CH, en;q=0.5", "Eine Seite"),
        ("accept-language: fr, en;q=0.5", "A page"),
        ("accept-language: fr", "A page"),
    ] {
        let get = ["--json", "get", "--dry-run", "-H", field, &url];
        let told = stage.run(&get).ends_with(10).json();
        assert_eq!(told["offers"][0]["description"], expected, "{field}");
        stage.run(&["get", "--yes", "-H", field, &url]).ends_with(0);
    }
}

#[test]
fn payment_goes_beside_the_applications_own_authorization() {
    let site = agreeable();
    let stage = Stage::before(&site.url, PRICED);
    let url = stage.at("/paid");
    for (option, value, expected) in [
        ("-u", "anna:secret", "Basic YW5uYTpzZWNyZXQ="),
        ("--bearer", "t0k3n", "Bearer t0k3n"),
    ] {
        let get = ["get", "-v", "--max-amount", "0.01 USD", option, value, &url];
        let done = stage.run(&get).ends_with(0);
        let asked = site.last();
        assert_eq!(asked.field("authorization"), Some(expected));
        assert_eq!(asked.field("payment-authorization"), None);
        assert!(
            done.err.contains("> payment-authorization: [left out]"),
            "{done:?}"
        );
        assert!(done.err.contains("> authorization: [left out]"), "{done:?}");
        for secret in [value, expected, "Payment ey", "t0k3n"] {
            assert!(!done.err.contains(secret), "{secret}: {done:?}");
        }
    }
    assert_eq!(stage.left(), 9_980_000);
}

#[test]
fn verbose_shows_both_rounds_and_no_secret() {
    let stage = Stage::funded();
    let url = stage.at("/v1/temperature?api_key=k3y");
    let get = [
        "get",
        "-v",
        "--max-amount",
        "1 USD",
        "-H",
        "x-api-key: k3y",
        &url,
    ];
    let done = stage.run(&get).ends_with(0);
    let heads = done
        .err
        .matches("> GET /v1/temperature?api_key=[left out]")
        .count();
    assert_eq!(heads, 2, "{done:?}");
    for shown in [
        "< HTTP/1.1 402",
        "< HTTP/1.1 200",
        "< www-authenticate: Payment id=",
        "> authorization: [left out]",
        "< payment-receipt: [left out]",
        "> x-api-key: [left out]",
    ] {
        assert!(done.err.contains(shown), "no {shown:?} in {done:?}");
    }
    for secret in ["k3y", "Payment ey"] {
        assert!(!done.err.contains(secret), "{secret}: {done:?}");
    }
}

#[test]
fn unpaid_requests_are_retried_as_often_as_asked_and_no_more() {
    let count = std::sync::atomic::AtomicU32::new(0);
    let site = Site::start(move |asked, wire| {
        let first = count.fetch_add(1, std::sync::atomic::Ordering::SeqCst) % 3 < 2;
        match (asked.target.as_str(), first) {
            ("/down", _) => say(
                wire,
                "503 Service Unavailable",
                "retry-after: 0\r\n",
                b"down",
            ),
            (_, true) => say(
                wire,
                "429 Too Many Requests",
                "retry-after: 0\r\n",
                b"later",
            ),
            (_, false) => say(wire, "200 OK", "", b"now"),
        }
    });
    let home = tempfile::tempdir().unwrap();
    let up = site.at("/up");
    let done = run(home.path(), &["get", "--retries", "2", &up]).ends_with(0);
    assert_eq!((done.out.as_str(), site.asked().len()), ("now", 3));
    let keys = site.asked();
    assert!(
        keys.iter()
            .all(|a| a.field("idempotency-key") == keys[0].field("idempotency-key"))
    );
    let down = site.at("/down");
    run(home.path(), &["get", "--retry", "1", &down]).fails(6, "503");
    assert_eq!(site.asked().len(), 5);
    let done = run(home.path(), &["get", &down]).fails(6, "503");
    assert_eq!(done.told("error")["retry"], "safe");
    assert_eq!(site.asked().len(), 6);
}

#[test]
fn http2_is_spoken_when_asked() {
    let stage = Stage::funded();
    let url = stage.at("/v1/temperature");
    let mut get = command(&stage.home());
    get.args(["get", "-i", "--http2", "--max-amount", "1 USD", &url]);
    let done = finish(&mut get).ends_with(0);
    assert!(done.out.starts_with("HTTP/2.0 200 OK\r\n"), "{done:?}");
    let get = ["get", "-i", "--http1.1", "--max-amount", "1 USD", &url];
    let done = stage.run(&get).ends_with(0);
    assert!(done.out.starts_with("HTTP/1.1 200 OK\r\n"), "{done:?}");
}
