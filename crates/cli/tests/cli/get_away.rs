//! Redirects, proxies and certificates: where a request goes, and what goes with it.

use std::{
    io::Write,
    net::{Shutdown, TcpStream},
    path::{Path, PathBuf},
};

use stiver_testkit::certificates::Authority;

use crate::common::{
    Stage, command, finish, run,
    site::{Site, Wire, agreeable, say},
};

/// Redirects everything.
fn sends_to(url: String, status: &'static str) -> Site {
    Site::start(move |_, wire| say(wire, status, &format!("location: {url}\r\n"), b""))
}

const PERSONAL: [&str; 6] = [
    "-u",
    "anna:secret",
    "-H",
    "cookie: c=1",
    "-H",
    "x-api-key: k",
];

#[test]
fn redirect_is_the_answer_unless_it_is_followed() {
    let other = agreeable();
    let site = sends_to(other.at("/there"), "302 Found");
    let home = tempfile::tempdir().unwrap();
    let done = run(home.path(), &["get", "-i", &site.url]).ends_with(0);
    assert!(done.out.starts_with("HTTP/1.1 302 Found"), "{done:?}");
    assert!(done.said().contains("follow it with -L"), "{done:?}");
    assert!(other.asked().is_empty());
    let done = run(home.path(), &["get", "-L", &site.url]).ends_with(0);
    assert_eq!(done.out, "fine");
    assert_eq!(other.last().target, "/there");
    run(home.path(), &["get", "-L", "--max-redirs", "0", &site.url]).fails(6, "more than 0");
}

#[test]
fn credentials_stay_behind_when_a_redirect_leaves_the_origin() {
    let other = agreeable();
    let site = sends_to(other.at("/there"), "307 Temporary Redirect");
    let home = tempfile::tempdir().unwrap();
    let get = [&["get", "-L", "-d", "body"][..], &PERSONAL, &[&site.url]].concat();
    run(home.path(), &get).ends_with(0);
    assert!(site.last().field("authorization").is_some());
    let asked = other.last();
    assert_eq!(
        (asked.method.as_str(), asked.text().as_str()),
        ("POST", "body")
    );
    for name in ["authorization", "cookie", "x-api-key"] {
        assert_eq!(asked.field(name), None, "{name}");
    }
    let get = [&["get", "--location-trusted"][..], &PERSONAL, &[&site.url]].concat();
    run(home.path(), &get).ends_with(0);
    let asked = other.last();
    for name in ["authorization", "cookie", "x-api-key"] {
        assert!(asked.field(name).is_some(), "{name}");
    }
}

#[test]
fn nothing_is_paid_where_a_redirect_led_unless_that_is_asked_for() {
    let stage = Stage::funded();
    let url = stage.at("/v1/temperature");
    let site = sends_to(url.clone(), "302 Found");
    for consent in [&["--max-amount", "1 USD"][..], &["--yes"]] {
        let get = [&["get", "-L"][..], consent, &[&site.url]].concat();
        let done = stage.run(&get).fails(5, "asks for payment");
        let error = done.told("error");
        assert_eq!(error["moneyMoved"], "no");
        assert!(error["hint"].as_str().unwrap().contains(&url), "{done:?}");
    }
    assert!(stage.payments().is_empty());
    assert_eq!(stage.left(), 10_000_000);
    let get = [
        "get",
        "--location-trusted",
        "--max-amount",
        "0.0001 USD",
        &site.url,
    ];
    stage.run(&get).fails(5, "more than the limit");
    let get = [
        "get",
        "--location-trusted",
        "--max-amount",
        "1 USD",
        &site.url,
    ];
    stage.run(&get).ends_with(0);
    assert_eq!(stage.left(), 9_999_000);
    assert_eq!(stage.payments()[0]["url"], url);
}

#[test]
fn redirect_within_the_origin_is_followed_and_paid() {
    let stage = Stage::funded();
    let gateway = stage.address().to_owned();
    let site = Site::start(move |asked, wire| {
        if asked.target == "/old" {
            return say(
                wire,
                "308 Permanent Redirect",
                "location: /v1/temperature\r\n",
                b"",
            );
        }
        pass_on(asked, &gateway, wire);
    });
    let get = ["get", "-L", "--max-amount", "1 USD", &site.at("/old")];
    stage.run(&get).ends_with(0);
    assert_eq!(stage.left(), 9_999_000);
}

/// Sends a request without a body on, and the answer back.
fn pass_on(asked: &crate::common::site::Asked, to: &str, wire: &mut dyn Wire) {
    let mut stream = TcpStream::connect(to).unwrap();
    let mut head = format!(
        "{} {} HTTP/1.1\r\nconnection: close\r\n",
        asked.method, asked.target
    );
    for (name, value) in asked.fields.iter().filter(|(name, _)| name != "connection") {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    stream.write_all(format!("{head}\r\n").as_bytes()).unwrap();
    let _ = std::io::copy(&mut stream, wire);
}

/// A proxy: tunnels CONNECT to one address whatever is asked for, and passes plain requests on.
fn proxy(to: String) -> Site {
    Site::plain(move |asked, mut stream| {
        if asked.method == "CONNECT" {
            stream
                .write_all(b"HTTP/1.1 200 Connection established\r\n\r\n")
                .unwrap();
            return tunnel(stream, TcpStream::connect(&to).unwrap());
        }
        let path = asked.target.splitn(4, '/').nth(3).unwrap_or_default();
        let mut asked = asked.clone();
        asked.target = format!("/{path}");
        pass_on(&asked, &to, &mut stream);
    })
}

/// Carries bytes both ways until both are done.
#[expect(clippy::disallowed_methods, reason = "a test starts its own threads")]
fn tunnel(near: TcpStream, far: TcpStream) {
    let carry = |mut from: TcpStream, mut to: TcpStream| {
        let _ = std::io::copy(&mut from, &mut to);
        let _ = to.shutdown(Shutdown::Write);
    };
    let (near_too, far_too) = (near.try_clone().unwrap(), far.try_clone().unwrap());
    let back = std::thread::spawn(move || carry(far_too, near_too));
    carry(near, far);
    back.join().unwrap();
}

/// A folder with a file of the authority's root.
fn trusted(authority: &Authority) -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("ca.pem");
    std::fs::write(&file, authority.root()).unwrap();
    (folder, file)
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

#[test]
fn certificates_are_checked_against_the_authorities_given() {
    let authority = Authority::new();
    let issued = authority.issue(&["127.0.0.1"]);
    let site = Site::tls(&issued, |_, wire| say(wire, "200 OK", "", b"fine"));
    let (home, file) = trusted(&authority);
    let home = home.path();
    let done = run(home, &["get", "--cacert", text(&file), &site.url]).ends_with(0);
    assert_eq!(done.out, "fine");
    let (_folder, other) = trusted(&Authority::new());
    run(home, &["get", "--cacert", text(&other), &site.url]).fails(3, "certificate");
    run(home, &["get", "-k", &site.url]).ends_with(0);
    let garbage = home.join("garbage.pem");
    std::fs::write(&garbage, "no certificate").unwrap();
    run(home, &["get", "--cacert", text(&garbage), &site.url]).fails(2, "--cacert");
    // It will be as bad in a second: nobody waits for that.
    let other = [
        "get",
        "-v",
        "--retries",
        "2",
        "--cacert",
        text(&other),
        &site.url,
    ];
    let done = run(home, &other).fails(3, "certificate");
    assert_eq!(done.err.matches("> GET /").count(), 1, "{done:?}");
    let name = site.url.replace("127.0.0.1", "localhost");
    run(home, &["get", "--cacert", text(&file), &name]).fails(3, "certificate");
}

#[test]
fn proxy_of_this_machine_is_used_when_it_is_given() {
    let stage = Stage::funded();
    let proxy = proxy(stage.address().to_owned());
    let url = stage.at("/v1/temperature");
    let get = ["get", "-x", &proxy.url, "--max-amount", "1 USD", &url];
    stage.run(&get).ends_with(0);
    let asked = proxy.asked();
    assert_eq!(asked.len(), 2, "the offer and the payment: {asked:?}");
    assert!(asked.iter().all(|asked| asked.target == url), "{asked:?}");
    assert_eq!(stage.left(), 9_999_000);
    let get = [
        "get",
        "-x",
        &proxy.url,
        "--noproxy",
        "127.0.0.1",
        "--yes",
        &url,
    ];
    stage.run(&get).ends_with(0);
    assert_eq!(proxy.asked().len(), 2);
    let mut get = command(&stage.home());
    get.args(["get", "-x", &proxy.url, "--yes", &url]);
    finish(get.env("NO_PROXY", "127.0.0.1")).ends_with(0);
    assert_eq!(proxy.asked().len(), 2, "NO_PROXY holds for -x too");
    let mut get = command(&stage.home());
    get.args(["get", "--yes", &url]);
    get.env("HTTP_PROXY", &proxy.url)
        .env("ALL_PROXY", &proxy.url);
    finish(&mut get).ends_with(0);
    assert_eq!(
        proxy.asked().len(),
        2,
        "plain HTTP to this machine stays on it"
    );
}

#[test]
fn proxies_of_the_environment_carry_https() {
    let authority = Authority::new();
    let issued = authority.issue(&["api.example"]);
    let site = Site::tls(&issued, |_, wire| say(wire, "200 OK", "", b"fine"));
    let proxy = proxy(site.address().to_owned());
    let (home, file) = trusted(&authority);
    let url = "https://api.example/x";
    let with = |name: &str, more: &[&str]| {
        let mut get = command(home.path());
        get.args(["get", "--cacert", text(&file), url]).args(more);
        get.env(name, &proxy.url);
        finish(&mut get)
    };
    assert_eq!(with("HTTPS_PROXY", &[]).ends_with(0).out, "fine");
    let connect = proxy.last();
    assert_eq!(
        (connect.method.as_str(), connect.target.as_str()),
        ("CONNECT", "api.example:443")
    );
    assert_eq!(
        connect.field("idempotency-key"),
        None,
        "the proxy learns the host alone"
    );
    assert_eq!(with("ALL_PROXY", &[]).ends_with(0).out, "fine");
    assert_eq!(
        with("https_proxy", &["--no-proxy", "other.example"])
            .ends_with(0)
            .out,
        "fine"
    );
    assert_eq!(proxy.asked().len(), 3);
    let direct = with(
        "HTTPS_PROXY",
        &["--no-proxy", "api.example", "--connect-timeout", "1"],
    );
    direct.fails(3, "no response");
    let direct = with(
        "HTTPS_PROXY",
        &["--no-proxy", "*", "--connect-timeout", "1"],
    );
    direct.fails(3, "no response");
    assert_eq!(proxy.asked().len(), 3);
    let password = proxy.url.replace("http://", "http://anna:s3cret@");
    let get = ["get", "-v", "-x", &password, "--cacert", text(&file), url];
    let done = run(home.path(), &get).ends_with(0);
    assert!(!done.err.contains("s3cret"), "{done:?}");
    let given = proxy.last();
    assert_eq!(
        given.field("proxy-authorization"),
        Some("Basic YW5uYTpzM2NyZXQ=")
    );
}

#[test]
fn certificate_of_a_ledger_elsewhere_is_checked_though_the_server_is_on_this_machine() {
    let stage = Stage::funded();
    let issued = Authority::new().issue(&["ledger.example"]);
    let ledger = Site::tls(&issued, |_, wire| {
        say(wire, "503 Service Unavailable", "", b"");
    });
    let proxy = proxy(ledger.address().to_owned());
    let account = stage.home().join("accounts/default.json");
    let text = std::fs::read_to_string(&account).unwrap();
    let moved = text.replace(&stage.url, "https://ledger.example");
    assert_ne!(text, moved);
    std::fs::write(&account, moved).unwrap();
    let url = stage.at("/v1/temperature");
    let get = |insecure: &str| {
        let mut get = command(&stage.home());
        get.args(["get", insecure, "--yes", &url]);
        finish(get.env("HTTPS_PROXY", &proxy.url)).ends_with(0);
    };
    get("-k");
    assert!(!proxy.asked().is_empty(), "the ledger was looked for");
    assert!(ledger.asked().is_empty(), "whoever answered was not asked");
    get("--dangerous-insecure");
    assert!(!ledger.asked().is_empty());
}
