//! `stiver get` when it does not pay: each reason has its exit code, and no money has moved.

use crate::common::{
    Stage, files, run_with,
    tap::{Closed, serve},
};

/// Nothing was paid, and nobody thinks that something was.
fn assert_untouched(stage: &Stage, funds: u128) {
    assert_eq!(stage.left(), funds);
    assert!(stage.payments().is_empty(), "{:?}", stage.payments());
    assert_eq!(stage.served("temperature"), 0);
}

#[test]
fn nothing_is_paid_without_a_limit_or_over_it() {
    let stage = Stage::funded();
    let url = stage.at("/v1/temperature");
    let done = stage.run(&["--json", "get", &url]);
    let done = done.fails(5, "--max-amount \"0.001 USD\"");
    let error = &done.told("error");
    assert_eq!(error["kind"], "too-expensive");
    assert_eq!(error["exitCode"], 5);
    for limit in ["0.000999 USD", "0 USD"] {
        let done = stage.run(&["get", "--max-amount", limit, &url]);
        done.fails(5, "0.001 USD");
    }
    assert_untouched(&stage, 10_000_000);
}

#[test]
fn server_that_cannot_be_reached_is_exit_3() {
    let stage = Stage::funded();
    let closed = Closed::new();
    let url = closed.url();
    let done = stage.run(&["--json", "get", "--max-amount", "1 USD", &url]);
    let done = done.fails(3, "no response");
    assert_eq!(done.told("error")["kind"], "network");
    let silent = serve(|_| None);
    stage.run(&["get", &silent]).fails(3, "no response");
    assert_untouched(&stage, 10_000_000);
}

#[test]
fn offer_that_cannot_be_paid_is_exit_4() {
    let stage = Stage::funded();
    let shop = serve(|_| {
        Some(
            "HTTP/1.1 402 Payment Required\r\nwww-authenticate: Payment id=\"x\", \
             realm=\"shop\", method=\"cowries\", intent=\"charge\", request=\"e30\"\r\n\
             content-length: 0\r\nconnection: close\r\n\r\n"
                .to_owned(),
        )
    });
    let done = stage.run(&["--json", "get", "--max-amount", "1 USD", &shop]);
    let done = done.fails(4, "no offer can be paid");
    assert_eq!(done.told("error")["kind"], "payment");
    assert_untouched(&stage, 10_000_000);
}

#[test]
fn wallet_without_enough_money_is_not_served_and_loses_none() {
    let stage = Stage::poor();
    let url = stage.at("/v1/temperature");
    let get = ["get", "--max-amount", "1 USD", &url];
    for (funds, told) in [
        (0, "the wallet has 0.00 USD"),
        (500, "the wallet has 0.0005 USD"),
    ] {
        if funds > 0 {
            let key = stage.key();
            stage.ledger(&["issue", &key, "0.0005 USD"]).ends_with(0);
        }
        let done = stage.run(&get).fails(4, told);
        let error = done.told("error");
        assert_eq!(error["moneyMoved"], "no");
        assert!(
            error["hint"]
                .as_str()
                .unwrap()
                .contains("stiver ledger issue"),
            "{done:?}"
        );
        assert_untouched(&stage, funds);
    }
}

#[test]
fn answer_that_is_no_success_is_exit_6() {
    let stage = Stage::funded();
    let url = stage.at("/nowhere");
    let done = stage.run(&["--json", "get", "--max-amount", "1 USD", &url]);
    let done = done.ends_with(6);
    assert!(done.err.contains("404"), "{done:?}");
    assert_untouched(&stage, 10_000_000);
    let elsewhere = serve(|_| {
        Some(
            "HTTP/1.1 302 Found\r\nlocation: http://127.0.0.1:1/\r\ncontent-length: 0\r\n\
             connection: close\r\n\r\n"
                .to_owned(),
        )
    });
    let done = stage.run(&["get", &elsewhere]).ends_with(0);
    assert!(done.said().contains("follow it with -L"), "{done:?}");
    stage
        .run(&["get", "-L", &elsewhere])
        .fails(3, "no response");
    assert_untouched(&stage, 10_000_000);
    let url = stage.at("/v1/nothing");
    let done = stage.run(&["get", "--max-amount", "1 USD", &url]);
    let done = done.fails(6, "404");
    assert_eq!(done.told("payment")["display"], "0.001 USD");
    assert_eq!(done.told("error")["moneyMoved"], "yes");
    assert_eq!(stage.left(), 9_999_000);
}

#[test]
fn hostile_options_are_refused_before_anything_is_sent_or_written() {
    let stage = Stage::funded();
    let url = stage.at("/v1/temperature");
    let missing = stage.root.path().join("no/such/folder/out");
    let missing = missing.to_str().unwrap();
    let table: &[(&[&str], &str)] = &[
        (&["--max-amount", "1 USD", ""], "URL"),
        (&["--max-amount", "1 USD", "not a url"], "URL"),
        (&["--max-amount", "1 USD", "/only/a/path"], ""),
        (&["--max-amount", "1 USD", "ftp://x/"], ""),
        (&["--max-amount", "1 USD", "http://192.0.2.1/"], "https"),
        (&["--max-amount", "1", &url], "amount"),
        (&["--max-amount", "1e9 USD", &url], "amount"),
        (&["--max-amount", "-1 USD", &url], ""),
        (&["--max-amount", "1 DOGE", &url], "amount"),
        (&["--max-amount", "", &url], "amount"),
        (&["-H", "no colon", &url], "--header"),
        (&["-H", ": value", &url], "--header"),
        (&["-H", "a b: value", &url], "--header"),
        (&["-H", "a: b\r\nc: d", &url], "--header"),
        (&["-H", "authorization: Payment abc", &url], "credential"),
        (&["-X", "GE T", &url], "--request"),
        (&["-X", "", &url], "--request"),
        (&["-d", "@/nowhere/file", &url], "/nowhere/file"),
        (&["-o", missing, "--max-amount", "1 USD", &url], "writing"),
        (&["-o", "/", "--max-amount", "1 USD", &url], "writing"),
        (&["-m", "soon", &url], "--max-time"),
        (&["--resume", "nonsense"], "--resume"),
        (&["--resume", "", ""], ""),
        (&["--wallet", "../up", &url], "--wallet"),
        (&["--wallet", "nobody", &url], "nobody"),
    ];
    for (options, needle) in table {
        let before = files(&stage.home());
        let args = [&["get"], *options].concat();
        let done = stage.run(&args).fails(2, needle);
        assert!(!done.err.contains("Payment abc"), "{done:?}");
        if !done.err.contains("credential") && !done.err.contains("https") {
            assert_eq!(files(&stage.home()), before, "{options:?}");
        }
    }
    let call = "get --dry-run --resume 0".split(' ').collect::<Vec<_>>();
    stage.run(&call).fails(2, "--dry-run");
    let long = vec![b'x'; 16 * 1024 * 1024 + 1];
    let post = ["get", "--max-amount", "1 USD", "-d", "@-", &url];
    run_with(&stage.home(), &post, &long).fails(2, "standard input");
    assert_untouched(&stage, 10_000_000);
}

#[test]
fn file_to_write_is_left_alone_when_nothing_is_fetched() {
    let stage = Stage::funded();
    let kept = stage.root.path().join("kept");
    std::fs::write(&kept, "kept").unwrap();
    let url = stage.at("/v1/temperature");
    let fresh = stage.root.path().join("fresh");
    for file in [&kept, &fresh] {
        stage
            .run(&["get", "-o", file.to_str().unwrap(), &url])
            .ends_with(5);
    }
    assert_eq!(std::fs::read_to_string(kept).unwrap(), "kept");
    assert!(!fresh.exists());
}
