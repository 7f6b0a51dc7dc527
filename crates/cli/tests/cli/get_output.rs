//! What `stiver get` does with an answer: streams, files, codings, and bodies that do not end.

use std::{
    io::{Read, Write},
    process::Stdio,
    sync::{Mutex, mpsc},
    time::Duration,
};

use flate2::{Compression, write::GzEncoder};

use crate::common::{
    Stage, command, finish, run,
    site::{Site, Wire, agreeable, say},
};

/// How long a site waits for its reader before it calls it stuck.
const STUCK_AFTER: Duration = Duration::from_millis(300);
/// How long a test waits for what must come.
const PATIENCE: Duration = Duration::from_secs(60);

const PRICED: &str = r#"
[[route]]
path = "/**"
price = "0.01 USD"
"#;

fn begin_chunks(wire: &mut dyn Wire, kind: &str) {
    let head = format!(
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\ncontent-type: {kind}\r\n\
         connection: close\r\n\r\n"
    );
    wire.write_all(head.as_bytes()).unwrap();
}

fn chunk(wire: &mut dyn Wire, bytes: &[u8]) {
    write!(wire, "{:x}\r\n", bytes.len()).unwrap();
    wire.write_all(bytes).unwrap();
    wire.write_all(b"\r\n").unwrap();
    wire.flush().unwrap();
}

#[test]
fn paid_events_are_passed_on_as_they_come() {
    let (go, wait) = mpsc::channel::<()>();
    let wait = Mutex::new(wait);
    let site = Site::start(move |_, wire| {
        begin_chunks(wire, "text/event-stream");
        for event in ["data: 1\n\n", "data: 2\n\n"] {
            chunk(wire, event.as_bytes());
            // The next comes only when the first was seen at the other end.
            wait.lock().unwrap().recv_timeout(PATIENCE).unwrap();
        }
        let _ = wire.write_all(b"0\r\n\r\n");
    });
    let stage = Stage::before(&site.url, PRICED);
    let mut get = command(&stage.home());
    get.args(["get", "--yes", &stage.at("/feed")]);
    let mut child = get
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut out = child.stdout.take().unwrap();
    let mut event = [0; 9];
    for expected in ["data: 1\n\n", "data: 2\n\n"] {
        out.read_exact(&mut event).unwrap();
        assert_eq!(event, expected.as_bytes());
        go.send(()).unwrap();
    }
    assert_eq!(out.read(&mut event).unwrap(), 0);
    assert!(child.wait().unwrap().success());
    assert_eq!(stage.payments()[0]["state"], "paid");
}

#[test]
fn slow_reader_slows_the_server_down() {
    const LENGTH: usize = 64 << 20;
    let (stuck, told) = mpsc::channel::<usize>();
    let site = Site::plain(move |_, mut stream| {
        let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {LENGTH}\r\n\r\n");
        stream.write_all(head.as_bytes()).unwrap();
        stream.set_write_timeout(Some(STUCK_AFTER)).unwrap();
        let (mut sent, mut said) = (0, false);
        while sent < LENGTH {
            let piece = [7; 64 * 1024];
            match stream.write(&piece[..piece.len().min(LENGTH - sent)]) {
                Ok(written) => sent += written,
                Err(_) if said => {}
                Err(_) => {
                    said = true;
                    stuck.send(sent).unwrap();
                }
            }
        }
    });
    let home = tempfile::tempdir().unwrap();
    let mut get = command(home.path());
    let get = get.args(["get", &site.url]).stdout(Stdio::piped());
    let mut child = get.stderr(Stdio::null()).spawn().unwrap();
    let sent = told.recv_timeout(PATIENCE).unwrap();
    assert!(sent < LENGTH / 2, "{sent} bytes went out to nobody");
    let mut out = child.stdout.take().unwrap();
    let mut length = 0;
    let mut piece = vec![0; 1 << 20];
    while let Ok(read @ 1..) = out.read(&mut piece) {
        assert!(piece[..read].iter().all(|byte| *byte == 7));
        length += read;
    }
    assert_eq!(length, LENGTH);
    assert!(child.wait().unwrap().success());
}

fn gzip(text: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(text).unwrap();
    encoder.finish().unwrap()
}

/// Compresses for whoever accepts it.
fn compressing() -> Site {
    Site::start(|asked, wire| {
        let accepts = asked.field("accept-encoding").unwrap_or_default();
        match asked.target.as_str() {
            _ if !accepts.contains("gzip") => say(wire, "200 OK", "", b"plain"),
            "/strange" => say(wire, "200 OK", "content-encoding: zstd\r\n", b"strange"),
            "/cut" => {
                let body = gzip(b"compressed");
                say(
                    wire,
                    "200 OK",
                    "content-encoding: gzip\r\n",
                    &body[..body.len() - 4],
                );
            }
            _ => say(
                wire,
                "200 OK",
                "content-encoding: gzip\r\n",
                &gzip(b"compressed"),
            ),
        }
    })
}

#[test]
fn compressed_bodies_are_undone_when_asked_for() {
    let site = compressing();
    let stage = Stage::before(&site.url, PRICED);
    let out = |args: &[&str], url: &str| {
        let get = [&["get", "--yes"], args, &[url]].concat();
        stage.run(&get).ends_with(0).out
    };
    let url = stage.at("/x");
    assert_eq!(out(&["--compressed"], &url), "compressed");
    assert_eq!(out(&[], &url), "plain");
    let told = stage.json(&["get", "--yes", "--compressed", &url]);
    assert_eq!(told["body"], "compressed");
    let get = ["get", "--yes", "--compressed", &stage.at("/strange")];
    let done = stage.run(&get).ends_with(0);
    assert_eq!(done.out, "strange");
    assert!(done.said().contains("its coding is zstd"), "{done:?}");
    let get = ["get", "--yes", "--compressed", &stage.at("/cut")];
    let done = stage.run(&get).ends_with(1);
    assert_eq!(done.told("error")["moneyMoved"], "yes");
}

#[test]
fn files_are_named_placed_and_filled() {
    let site = agreeable();
    let folder = tempfile::tempdir().unwrap();
    let place = folder.path().to_str().unwrap();
    let home = tempfile::tempdir().unwrap();
    let get = [
        "get",
        "-O",
        "--output-dir",
        place,
        &site.at("/a/b.txt?c=/d"),
    ];
    let done = run(home.path(), &get).ends_with(0);
    assert_eq!(done.out, "");
    assert_eq!(std::fs::read(folder.path().join("b.txt")).unwrap(), b"fine");
    let get = ["get", "-o", "name", "--output-dir", place, &site.url];
    run(home.path(), &get).ends_with(0);
    assert_eq!(std::fs::read(folder.path().join("name")).unwrap(), b"fine");
    let done = run(home.path(), &["get", "-o", "-", &site.url]).ends_with(0);
    assert_eq!(done.out, "fine");
    run(home.path(), &["get", "-O", &site.at("/")]).fails(2, "-o FILE");
    let nowhere = format!("{place}/nowhere");
    let get = ["get", "-O", "--output-dir", &nowhere, &site.at("/x")];
    run(home.path(), &get).fails(2, "writing");
}

#[test]
fn errors_of_the_server_end_with_6_with_or_without_their_body() {
    let site = Site::start(|_, wire| say(wire, "410 Gone", "", b"went away"));
    let home = tempfile::tempdir().unwrap();
    let done = run(home.path(), &["get", &site.url]).fails(6, "410 Gone; no money moved");
    assert_eq!(done.out, "went away");
    for option in ["-f", "-fsSL"] {
        let done = run(home.path(), &["get", option, &site.url]).fails(6, "410 Gone");
        assert_eq!(done.out, "");
    }
    let file = home.path().join("x");
    let get = ["get", "-f", "-o", file.to_str().unwrap(), &site.url];
    run(home.path(), &get).ends_with(6);
    assert!(!file.exists());
}

#[test]
fn silence_leaves_errors_alone_on_standard_error() {
    let stage = Stage::funded();
    let url = stage.at("/v1/temperature");
    let done = stage.run(&["get", "-s", "--yes", &url]).ends_with(0);
    assert_eq!(done.err, "");
    stage.run(&["get", "-s", &url]).fails(5, "no money moved");
}

/// Says that ten bytes come, and sends four.
fn cut() -> Site {
    Site::start(|_, wire| {
        let _ = wire.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nfour");
    })
}

#[test]
fn body_that_breaks_off_is_a_network_error_when_it_was_free() {
    let home = tempfile::tempdir().unwrap();
    let done = run(home.path(), &["get", &cut().url]).fails(3, "the body broke off");
    assert_eq!(done.out, "four");
    let error = done.told("error");
    assert_eq!(
        (&error["moneyMoved"], &error["retry"]),
        (&"no".into(), &"safe".into())
    );
}

#[test]
fn paid_body_that_breaks_off_is_had_again_without_paying_again() {
    let stage = Stage::funded();
    let gateway = stage.address().to_owned();
    let broken = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(true));
    let breaks = std::sync::Arc::clone(&broken);
    let site = Site::start(move |asked, wire| {
        let mut head = format!(
            "{} {} HTTP/1.1\r\nconnection: close\r\n",
            asked.method, asked.target
        );
        for (name, value) in &asked.fields {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        let answer = crate::common::tap::exchange(&gateway, format!("{head}\r\n").as_bytes());
        let paid = asked.field("authorization").is_some();
        let keep = if paid && breaks.load(std::sync::atomic::Ordering::SeqCst) {
            answer.len() - 5
        } else {
            answer.len()
        };
        let _ = wire.write_all(&answer.as_bytes()[..keep]);
    });
    let get = ["get", "--yes", &site.at("/v1/temperature")];
    let done = stage.run(&get).fails(7, "the body broke off");
    let error = done.told("error");
    assert_eq!(error["moneyMoved"], "yes");
    let call = error["call"].as_str().unwrap();
    broken.store(false, std::sync::atomic::Ordering::SeqCst);
    let done = stage.run(&["get", "--resume", call]).ends_with(0);
    assert!(done.out.contains("\"reading\":1"), "{done:?}");
    assert_eq!(stage.left(), 9_999_000);
}

#[test]
fn time_limit_holds_for_everything() {
    let (_keep, hold) = mpsc::channel::<()>();
    let hold = Mutex::new(hold);
    let site = Site::start(move |asked, wire| {
        if asked.target == "/body" {
            let _ = wire.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nfour");
        }
        // Until the test ends.
        let _ = hold.lock().unwrap().recv();
    });
    let home = tempfile::tempdir().unwrap();
    for path in ["/body", "/head"] {
        let get = ["get", "-m", "1", &site.at(path)];
        let done = run(home.path(), &get).ends_with(3);
        assert!(done.said().contains("no money moved"), "{done:?}");
    }
}

#[test]
fn time_limit_after_payment_leaves_a_call_to_resume() {
    let stage = Stage::funded();
    let gateway = stage.address().to_owned();
    let (_keep, hold) = mpsc::channel::<()>();
    let hold = Mutex::new(hold);
    let site = Site::start(move |asked, wire| {
        if asked.field("authorization").is_some() {
            let _ = hold.lock().unwrap().recv();
        }
        let request = format!(
            "GET {} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n",
            asked.target
        );
        let answer = crate::common::tap::exchange(&gateway, request.as_bytes());
        let _ = wire.write_all(answer.as_bytes());
    });
    let url = site.at("/v1/temperature");
    let done = stage.run(&["get", "--yes", "-m", "2", &url]).ends_with(7);
    let error = done.told("error");
    assert_eq!(error["moneyMoved"], "maybe");
    let call = error["call"].as_str().unwrap();
    assert_eq!(stage.payments()[0]["call"], call);
    let done = stage
        .run(&["get", "--resume", call, "-m", "1"])
        .ends_with(7);
    let error = done.told("error");
    assert_eq!(error["moneyMoved"], "maybe", "{done:?}");
    assert_eq!(
        (&error["retry"], &error["call"]),
        (&"resume".into(), &call.into())
    );
}

#[test]
fn lost_answer_is_not_asked_for_again_when_no_retries_are_wanted() {
    let stage = Stage::funded();
    let tap = crate::common::tap::Tap::start(stage.address());
    let url = format!("{}/v1/temperature", tap.url);
    let get = ["get", "--yes", "--retries", "0", &url];
    let done = stage.run(&get).fails(7, "money may have moved");
    let call = done.told("error")["call"].as_str().unwrap().to_owned();
    tap.heal();
    stage.run(&["get", "--resume", &call]).ends_with(0);
    assert_eq!((stage.left(), stage.served("temperature")), (9_999_000, 1));
}

#[test]
fn reader_that_goes_away_is_told_how_to_have_the_rest() {
    let site = Site::start(|_, wire| {
        begin_chunks(wire, "text/plain");
        for _ in 0..1000 {
            if write!(wire, "400\r\n{}\r\n", "x".repeat(1024)).is_err() {
                return;
            }
        }
        let _ = wire.write_all(b"0\r\n\r\n");
    });
    let stage = Stage::before(&site.url, PRICED);
    let mut get = command(&stage.home());
    get.args(["get", "--yes", &stage.at("/x")]);
    let mut child = get
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    let done = child.wait_with_output().unwrap();
    let told = String::from_utf8(done.stderr).unwrap();
    assert_eq!(done.status.code(), Some(1), "{told}");
    assert!(
        told.contains("went away") && told.contains("stiver get --resume"),
        "{told}"
    );
}

#[test]
fn long_body_is_no_part_of_a_json_object() {
    let site = Site::start(|_, wire| say(wire, "200 OK", "", &vec![b'x'; (64 << 20) + 1]));
    let home = tempfile::tempdir().unwrap();
    let done = finish(command(home.path()).args(["--json", "get", &site.url]));
    done.fails(1, "give -o FILE");
    let file = home.path().join("long");
    let get = ["--json", "get", "-o", file.to_str().unwrap(), &site.url];
    let told = run(home.path(), &get).ends_with(0).json();
    assert_eq!(told["output"], file.to_str().unwrap());
    assert_eq!(std::fs::metadata(&file).unwrap().len(), (64 << 20) + 1);
}

/// Ends while nobody reads standard output: the exit code, and the error.
fn ends_deaf(stage: &Stage, args: &[&str]) -> (Option<i32>, serde_json::Value) {
    let mut get = command(&stage.home());
    let mut child = get
        .args(args)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    let done = child.wait_with_output().unwrap();
    let told = String::from_utf8(done.stderr).unwrap();
    let error = told
        .lines()
        .filter_map(|line| serde_json::from_str(line).ok());
    let mut error = error.filter_map(|object: serde_json::Value| object.get("error").cloned());
    let error = error.next().unwrap_or_else(|| panic!("no error: {told}"));
    (done.status.code(), error)
}

#[test]
fn what_fails_after_the_end_of_a_paid_body_leaves_nothing_to_resume() {
    let site = Site::start(|asked, wire| {
        if asked.target.ends_with("/cut") {
            let body = gzip(b"paid for");
            return say(
                wire,
                "200 OK",
                "content-encoding: gzip\r\n",
                &body[..body.len() - 4],
            );
        }
        say(wire, "200 OK", "", b"paid for");
    });
    let stage = Stage::before(&site.url, PRICED);
    let check = |error: &serde_json::Value| {
        assert_eq!(error["moneyMoved"], "yes", "{error}");
        assert_eq!(
            (&error["retry"], &error["call"]),
            (&"no".into(), &().into()),
            "{error}"
        );
        let hint = error["hint"].as_str().unwrap();
        assert!(hint.contains("is finished"), "{error}");
    };
    let (code, error) = ends_deaf(&stage, &["--json", "get", "--yes", &stage.at("/x")]);
    assert_eq!(code, Some(1));
    check(&error);
    let get = ["get", "--compressed", "--yes", &stage.at("/cut")];
    check(&stage.run(&get).ends_with(1).told("error"));
    let states = stage.payments();
    assert!(
        states.iter().all(|entry| entry["moneyMoved"] == "yes"),
        "{states:?}"
    );
}

#[test]
fn notes_that_nobody_can_read_keep_no_paid_body_back() {
    let site = Site::start(|_, wire| say(wire, "200 OK", "", b"paid for"));
    let stage = Stage::before(&site.url, PRICED);
    let mut get = command(&stage.home());
    get.args(["get", "--yes", &stage.at("/x")]);
    let mut child = get
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stderr.take());
    let done = child.wait_with_output().unwrap();
    assert_eq!(done.status.code(), Some(0), "{done:?}");
    assert_eq!(done.stdout, b"paid for");
}

#[test]
fn answer_that_is_not_charged_for_is_not_called_paid() {
    let site = Site::start(|_, wire| say(wire, "404 Not Found", "", b"no"));
    let stage = Stage::before(&site.url, &format!("{PRICED}settle = \"after\"\n"));
    let done = stage
        .run(&["get", "--yes", &stage.at("/x")])
        .fails(6, "404");
    let payment = done.told("payment");
    assert_ne!(payment["moneyMoved"], "yes", "{done:?}");
    assert_eq!(stage.left(), 10_000_000);
}
