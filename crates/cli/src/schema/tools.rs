//! `demo`, `init`, `inspect`, `mint`.

use serde_json::{Value, json};

use super::{
    Printed,
    shape::{anything, list, object, object_with, ok, one_of, text},
};

pub(super) fn printed() -> Vec<Printed> {
    vec![demo(), init(), inspect(), mint()]
}

fn demo() -> Printed {
    let scene = anything("A scene: its name, whether it went as it should, and what it measured.");
    let ran = object(
        "",
        [
            (
                "ok",
                json!({"type": "boolean", "description": "All went as it should."}),
            ),
            ("scenes", list("The scenes that were run.", scene)),
        ],
    );
    let row = object(
        "",
        [
            ("name", text("Its name.")),
            ("about", text("What it shows.")),
        ],
    );
    let listed = object("", [("scenes", list("The scenes there are.", row))]);
    Printed::new(
        "demo",
        "How the scenes went; with --list, which there are.",
        json!({"anyOf": [ran, listed]}),
    )
}

fn init() -> Printed {
    Printed::new(
        "init",
        "What was written.",
        object_with(
            "",
            [
                ("ok", ok()),
                ("config", text("The configuration file.")),
                ("dataDir", text("The folder of keys and data.")),
            ],
            [],
        ),
    )
}

fn challenge() -> Value {
    object_with(
        "A challenge, `request` and `opaque` decoded.",
        [
            ("id", text("Its id.")),
            ("realm", text("The realm.")),
            ("method", text("The payment method.")),
            ("intent", text("The intent.")),
            ("request", anything("What the method asks for.")),
        ],
        [
            (
                "expires",
                text("When it expires, as it stands on the wire."),
            ),
            ("digest", text("The digest of the body it is bound to.")),
            ("description", text("For people.")),
            ("opaque", anything("The server's correlation data.")),
        ],
    )
}

/// A challenge, for what else shows one.
pub(super) fn challenge_shape() -> Value {
    challenge()
}

fn inspect() -> Printed {
    let kind = |name: &str| one_of("What it is.", &[name]);
    let failed = object("One that cannot be read.", [("error", text("Why."))]);
    let challenges = list(
        "In the order of the header.",
        json!({"anyOf": [challenge(), failed]}),
    );
    let shapes = [
        object(
            "",
            [("kind", kind("challenges")), ("challenges", challenges)],
        ),
        object_with(
            "",
            [
                ("kind", kind("credential")),
                ("challenge", challenge()),
                ("payload", anything("The proof of the method.")),
            ],
            [("source", text("Who says they pay."))],
        ),
        object(
            "",
            [
                ("kind", kind("receipt")),
                ("receipt", anything("Its members.")),
            ],
        ),
        object(
            "",
            [
                ("kind", kind("object")),
                ("object", anything("Base64url of JSON.")),
            ],
        ),
        object(
            "",
            [
                ("kind", kind("problem")),
                ("problem", anything("Its members.")),
                (
                    "known",
                    json!({"type": ["string", "null"], "description": "The title we know it by."}),
                ),
            ],
        ),
    ];
    Printed::new(
        "inspect",
        "What a header or a problem document says.",
        json!({"anyOf": shapes}),
    )
}

fn mint() -> Printed {
    Printed::new(
        "mint",
        "A challenge.",
        object(
            "",
            [
                ("id", text("Its id, bound by the secret.")),
                ("header", text("The value of WWW-Authenticate.")),
            ],
        ),
    )
}
