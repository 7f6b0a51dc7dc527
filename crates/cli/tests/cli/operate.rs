//! `serve --check`, `serve --print-config`, `reload`, `secrets rotate`.

use std::process::Command;

use serde_json::Value;

use crate::common::{Stage, files, run};

/// Replaces something in the stage's configuration.
fn edit(stage: &Stage, from: &str, to: &str) {
    let text = std::fs::read_to_string(stage.config()).unwrap();
    assert!(text.contains(from), "{from}");
    std::fs::write(stage.config(), text.replacen(from, to, 1)).unwrap();
}

#[test]
fn check_says_what_would_be_served_and_starts_nothing() {
    let root = tempfile::tempdir().unwrap();
    run(root.path(), &["init", root.path().to_str().unwrap()]).ends_with(0);
    let config = root.path().join("stiver.toml");
    let config = config.to_str().unwrap();
    let before = files(root.path());
    let check = ["serve", "--check", "--config", config];
    let done = run(root.path(), &check).ends_with(0);
    for line in [
        "would listen on http://127.0.0.1:8402",
        "upstream default: http://127.0.0.1:3000",
        "GET,HEAD /health: free, to default",
        "* /**: 0.01 USD, to default",
        "is good",
    ] {
        assert!(done.out.contains(line), "no {line:?}: {done:?}");
    }
    let mut json = vec!["--json"];
    json.extend(check);
    let told = run(root.path(), &json).ends_with(0).json();
    assert_eq!(told["ok"], true);
    assert_eq!(told["routes"][1]["terms"], "0.01 USD, to default");
    assert_eq!(files(root.path()), before, "nothing is written");
}

#[test]
fn check_tells_everything_that_is_missing_at_once() {
    let root = tempfile::tempdir().unwrap();
    run(root.path(), &["init", root.path().to_str().unwrap()]).ends_with(0);
    let config = root.path().join("stiver.toml");
    let mut text = std::fs::read_to_string(&config).unwrap();
    text.push_str(
        "[[listener]]\naddress = \"127.0.0.1:0\"\n\
         tls = { certificate = \"no-cert.pem\", key = \"no-key.pem\" }\n\
         [upstreams.other]\nurl = \"https://h\"\nca_file = \"no-ca.pem\"\n\
         [upstreams.third]\nurl = \"http://h\"\n\
         set_headers.Authorization = { env = \"STIVER_TEST_NOT_SET\" }\n",
    );
    std::fs::write(&config, text).unwrap();
    std::fs::remove_file(root.path().join("stiver-data/payee.key")).unwrap();
    std::fs::write(root.path().join("stiver-data/issuer.key"), "hunter2").unwrap();
    let check = ["serve", "--check", "--config", config.to_str().unwrap()];
    let done = run(root.path(), &check).fails(2, "payee.key");
    for told in [
        "issuer.key",
        "no-cert.pem",
        "no-ca.pem",
        "STIVER_TEST_NOT_SET",
    ] {
        assert!(done.said().contains(told), "no {told:?}: {done:?}");
    }
    assert!(!done.err.contains("hunter2"), "{done:?}");
}

#[test]
fn check_names_the_line_and_the_nearest_key() {
    let root = tempfile::tempdir().unwrap();
    run(root.path(), &["init", root.path().to_str().unwrap()]).ends_with(0);
    let config = root.path().join("stiver.toml");
    let text = std::fs::read_to_string(&config).unwrap();
    let text = text.replace("[gateway]", "[gateway]\nupstream_timeout = 5");
    std::fs::write(&config, text).unwrap();
    let check = ["serve", "--check", "--config", config.to_str().unwrap()];
    let done = run(root.path(), &check).fails(2, "did you mean `upstream_timeout_s`?");
    assert!(done.err.contains("stiver.toml:7: "), "{done:?}");
}

#[test]
fn the_printed_configuration_is_good_and_prints_the_same() {
    let root = tempfile::tempdir().unwrap();
    run(root.path(), &["init", root.path().to_str().unwrap()]).ends_with(0);
    let config = root.path().join("stiver.toml");
    let print = |config: &str| {
        run(
            root.path(),
            &["serve", "--print-config", "--config", config],
        )
        .ends_with(0)
        .out
    };
    let printed = print(config.to_str().unwrap());
    assert!(
        printed.contains("keep_responses = \"with-key\""),
        "{printed}"
    );
    let elsewhere = root.path().join("elsewhere");
    std::fs::create_dir(&elsewhere).unwrap();
    let copy = elsewhere.join("copy.toml");
    std::fs::write(&copy, &printed).unwrap();
    let copy = copy.to_str().unwrap();
    assert_eq!(print(copy), printed, "from another folder too");
    run(root.path(), &["serve", "--check", "--config", copy]).ends_with(0);
    let json = ["--json", "serve", "--print-config", "--config", copy];
    let json = run(root.path(), &json).ends_with(0).json();
    assert_eq!(json["gateway"]["realm"], "stiver");
    assert_eq!(json["route"][1]["price"], "0.01 USD");
}

/// What the gateway asks for a reading.
fn asked(stage: &Stage) -> String {
    let url = stage.at("/v1/temperature");
    let done = stage.run(&["get", "--dry-run", "--max-amount", "1 USD", &url]);
    assert_eq!(done.code, 10, "{done:?}");
    done.out + &done.err
}

#[test]
fn reload_puts_new_prices_into_force_by_command_and_by_signal() {
    let stage = Stage::funded();
    let config = stage.config();
    let config = config.to_str().unwrap();
    let reload = ["reload", "--config", config];
    assert!(asked(&stage).contains("0.001"));
    edit(&stage, "\"0.001 USD\"", "\"0.002 USD\"");
    let done = stage.run(&reload).ends_with(0);
    assert!(
        done.out.contains("the new configuration is in force"),
        "{done:?}"
    );
    assert!(asked(&stage).contains("0.002"));
    let again = stage.json(&["reload", "--config", config]);
    assert_eq!(
        (&again["ok"], &again["changed"]),
        (&Value::Bool(true), &Value::Bool(false))
    );

    edit(&stage, "realm = \"stiver\"", "realm = \"another\"");
    let done = stage
        .run(&reload)
        .fails(2, "realm cannot change while the gateway runs");
    assert!(done.err.contains("restart"), "{done:?}");
    edit(&stage, "realm = \"another\"", "realm = \"stiver\"");
    edit(&stage, "\"0.002 USD\"", "\"two\"");
    stage.run(&reload).fails(2, "stiver.toml:");
    assert!(asked(&stage).contains("0.002"), "the old one is in force");

    edit(&stage, "\"two\"", "\"0.003 USD\"");
    let id = stage.gateway_process().to_string();
    assert!(
        Command::new("kill")
            .args(["-s", "HUP", &id])
            .status()
            .unwrap()
            .success()
    );
    let reloaded = (0..1000).any(|_| asked(&stage).contains("0.003"));
    assert!(reloaded, "SIGHUP reloads");
}

#[test]
fn secrets_rotate_in_the_running_gateway_and_without_one() {
    let mut stage = Stage::funded();
    let config = stage.config();
    let config = config.to_str().unwrap();
    let file = stage.folder().join("stiver-data/challenge.secret");
    let lines = || std::fs::read_to_string(&file).unwrap().lines().count();
    let rotate = ["secrets", "rotate", "--config", config];
    let told = stage.json(&rotate);
    assert_eq!(
        (&told["ok"], &told["inForce"]),
        (&Value::Bool(true), &Value::Bool(true))
    );
    assert_eq!(lines(), 2);
    let url = stage.at("/v1/temperature");
    stage
        .run(&["get", "--max-amount", "0.01 USD", &url])
        .ends_with(0);
    stage.stop();
    stage
        .run(&["reload", "--config", config])
        .fails(2, "no gateway answers");
    let done = stage.run(&rotate).ends_with(0);
    assert!(done.out.contains("no gateway runs"), "{done:?}");
    assert_eq!(lines(), 3);
    let secret = std::fs::read_to_string(&file).unwrap();
    let current = secret
        .lines()
        .next()
        .unwrap()
        .strip_prefix("current ")
        .unwrap();
    assert!(!done.out.contains(current), "a secret is told to nobody");
    stage.start();
    let url = stage.at("/v1/temperature");
    stage
        .run(&["get", "--max-amount", "0.01 USD", &url])
        .ends_with(0);
}
