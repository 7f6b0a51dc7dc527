//! `serve`, `reload`, `secrets`.

use serde_json::{Value, json};

use super::{
    Printed,
    shape::{anything, flag, instant, list, object, object_with, ok, text, whole},
};

pub(super) fn printed() -> Vec<Printed> {
    vec![serve(), reload(), rotate()]
}

fn serve() -> Printed {
    let listening = object("", [("listening", text("Where it listens, a URL."))]);
    Printed::new(
        "serve",
        "Printed when the gateway takes requests; with --check, what it would serve; with \
         --print-config, the configuration with every default, its tables and keys as in the file.",
        json!({"anyOf": [listening, checked(), configuration()]}),
    )
}

fn checked() -> Value {
    let route = object(
        "",
        [
            ("path", text("Its pattern.")),
            (
                "methods",
                list("Its methods; empty means all.", text("A method.")),
            ),
            ("terms", text("What it asks, in words. Not stable.")),
            ("upstream", text("The name of its upstream.")),
        ],
    );
    object(
        "",
        [
            ("ok", ok()),
            ("config", text("The configuration file.")),
            (
                "listeners",
                list("Where it would listen.", text("An address.")),
            ),
            ("routes", list("In the order of the file.", route)),
        ],
    )
}

fn configuration() -> Value {
    let table = || anything("A table of the file.");
    object_with(
        "",
        [
            ("gateway", table()),
            ("listener", list("Where clients connect.", table())),
            ("upstreams", anything("By name.")),
            ("limits", table()),
            ("sessions", table()),
            ("cors", table()),
            ("discovery", table()),
            ("ledger", table()),
            ("route", list("In the order of the file.", table())),
        ],
        [("metrics", table()), ("tracing", table())],
    )
}

fn reload() -> Printed {
    Printed::new(
        "reload",
        "What is in force now.",
        object(
            "",
            [
                ("ok", ok()),
                (
                    "changed",
                    flag("Something but the secrets is not as it was before."),
                ),
                ("routes", whole("How many routes there are.")),
                ("upstreams", whole("How many upstreams there are.")),
            ],
        ),
    )
}

fn rotate() -> Printed {
    Printed::new(
        "secrets rotate",
        "What became of the secret.",
        object(
            "",
            [
                ("ok", ok()),
                ("secretFile", text("The file of challenge secrets.")),
                (
                    "inForce",
                    flag("A running gateway uses the new secret; else the next start does."),
                ),
                (
                    "previousUntil",
                    instant("When the secret that was current ends."),
                ),
            ],
        ),
    )
}
