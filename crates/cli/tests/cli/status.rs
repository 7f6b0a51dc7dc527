//! `stiver status`, and the log of `stiver serve`.

use std::{
    fs::File,
    io::{Read, Write},
    net::TcpStream,
};

use serde_json::Value;

use crate::common::{Running, Stage, command, run};

#[test]
fn status_tells_how_a_running_gateway_is_doing() {
    let mut stage = Stage::poor();
    let config = stage.config();
    let args = ["status", "--config", config.to_str().unwrap()];
    let done = stage.run(&args).ends_with(0);
    for part in [
        "ready",
        "rail ledger",
        "undelivered     none",
        "Logs",
        "accounts",
    ] {
        assert!(done.out.contains(part), "{part}: {done:?}");
    }
    let status = stage
        .run(&["--json", args[0], args[1], args[2]])
        .ends_with(0)
        .json();
    assert_eq!(status["ready"]["ready"], true);
    assert_eq!(status["undelivered"], Value::Array(Vec::new()));
    assert_eq!(status["logs"][0]["name"], "store");
    assert!(status["store"]["claimsBytesMax"].as_u64().unwrap() > 0);
    stage.stop();
    stage.run(&args).fails(3, "stiver serve");
}

#[test]
fn a_log_in_json_has_one_object_for_each_request() {
    let root = tempfile::tempdir().unwrap();
    run(root.path(), &["init", root.path().to_str().unwrap()]).ends_with(0);
    let config = root.path().join("stiver.toml");
    let text = std::fs::read_to_string(&config).unwrap();
    let text = text.replacen("127.0.0.1:8402", "127.0.0.1:0", 1).replacen(
        "[gateway]\n",
        "[gateway]\nlog_format = \"json\"\n",
        1,
    );
    std::fs::write(&config, text).unwrap();
    let log = root.path().join("log");
    let mut serve = command(root.path());
    serve.args(["serve", "--config"]).arg(&config);
    serve.stderr(File::create(&log).unwrap());
    let gateway = Running::start(&mut serve);
    let url = gateway.url();
    let address = url.strip_prefix("http://").unwrap();
    let mut stream = TcpStream::connect(address).unwrap();
    let request =
        "GET /priced HTTP/1.1\r\nhost: h\r\nx-request-id: one\r\nconnection: close\r\n\r\n";
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 402"), "{answer}");
    assert!(answer.contains("x-request-id: one"), "{answer}");
    let (status, _) = gateway.end("TERM");
    assert_eq!(status.code(), Some(0));
    let text = std::fs::read_to_string(&log).unwrap();
    let lines: Vec<Value> = text
        .lines()
        .map(|line| serde_json::from_str(line).unwrap_or_else(|_| panic!("no JSON: {line}")))
        .collect();
    let line = lines
        .iter()
        .find(|line| line["fields"]["request_id"] == "one");
    let line = line.unwrap_or_else(|| panic!("the request is missing: {text}"));
    assert_eq!(line["target"], "stiver_gateway::access");
    assert_eq!(line["fields"]["route"], "/**");
    assert_eq!(line["fields"]["status"], 402);
    assert_eq!(line["fields"]["outcome"], "challenged");
    let last = lines.last().unwrap();
    assert_eq!(
        last["fields"]["message"], "stopped",
        "nothing is lost at the end"
    );
}

#[test]
fn a_collector_that_is_away_holds_nobody_up() {
    let root = tempfile::tempdir().unwrap();
    run(root.path(), &["init", root.path().to_str().unwrap()]).ends_with(0);
    let config = root.path().join("stiver.toml");
    let text = std::fs::read_to_string(&config).unwrap();
    let text = text.replacen("127.0.0.1:8402", "127.0.0.1:0", 1);
    // Nobody listens on the discard port of this machine.
    let tracing = "\n[tracing]\notlp_endpoint = \"http://127.0.0.1:9\"\n";
    std::fs::write(&config, format!("{text}{tracing}")).unwrap();
    let mut serve = command(root.path());
    serve.args(["serve", "--config"]).arg(&config);
    let gateway = Running::start(serve.env("STIVER_LOG", "error"));
    let url = gateway.url();
    let mut stream = TcpStream::connect(url.strip_prefix("http://").unwrap()).unwrap();
    let request = "GET /priced HTTP/1.1\r\nhost: h\r\nconnection: close\r\n\r\n";
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 402"), "{answer}");
    let (status, _) = gateway.end("TERM");
    assert_eq!(status.code(), Some(0));
}
