//! `get`.

use serde_json::{Value, json};

use super::{
    LINES, Printed,
    shape::{anything, flag, list, money_moved, nullable, object_with, text, units, whole},
    tools::challenge_shape,
};

pub(super) fn printed() -> Printed {
    Printed::new(
        "get",
        "The answer; with --dry-run, what would be paid.",
        json!({"anyOf": [answer(), dry_run(), message()]}),
    )
}

/// What goes to standard error in a pipe.
pub(super) fn lines() -> Printed {
    let mut paid = payment();
    paid["description"] = json!("What was paid, once the answer has come.");
    let members = &mut paid["properties"];
    members["reference"] = nullable(text("The receipt's reference, when one came."));
    if let Some(members) = members.as_object_mut() {
        members.remove("receipt");
    }
    paid["required"] = json!([
        "call",
        "amount",
        "currency",
        "display",
        "payee",
        "challengeId",
        "moneyMoved",
        "reference"
    ]);
    let note = object_with(
        "A warning or another note.",
        [("note", text("In words."))],
        [],
    );
    Printed::new(
        LINES,
        "What `stiver get` prints on standard error without --json when that is no terminal: one \
         object on each line. An error is one of them too.",
        json!({"anyOf": [object_with("A payment.", [("payment", paid)], []), note]}),
    )
}

/// Of a WebSocket: one object on each line, and the answer as the last one.
fn message() -> Value {
    object_with(
        "A message of a WebSocket. Each has a line of its own; the answer is the last line.",
        [],
        [
            ("message", text("The message, when it is text.")),
            ("messageBase64Url", text("The message, when it is not.")),
        ],
    )
}

fn answer() -> Value {
    let field = json!({
        "type": "array",
        "items": {"type": "string"},
        "description": "The name and the value.",
    });
    object_with(
        "The answer.",
        [
            ("ok", flag("The status is a success.")),
            ("status", whole("The HTTP status.")),
            (
                "headers",
                nullable(list("With --include: the field lines.", field)),
            ),
            ("payment", nullable(payment())),
        ],
        [
            (
                "body",
                text("The body, when it is text and no file was named."),
            ),
            ("bodyBase64Url", text("The body, when it is not text.")),
            ("output", text("The file that the body is in.")),
            (
                "notes",
                list("Warnings and other notes.", json!({"type": "string"})),
            ),
        ],
    )
}

fn payment() -> Value {
    object_with(
        "What was paid; null when the answer was free.",
        [
            ("call", text("Its id in the history.")),
            ("amount", units("How much, base units.")),
            ("currency", text("The currency's code.")),
            ("display", text("How much, for people.")),
            ("payee", text("Who got it, in the method's form.")),
            ("challengeId", text("The challenge that was answered.")),
            ("moneyMoved", money_moved()),
            (
                "receipt",
                nullable(anything("The receipt that came, decoded.")),
            ),
        ],
        [
            ("method", text("The payment method.")),
            ("session", nullable(super::sessions::session())),
        ],
    )
}

fn dry_run() -> Value {
    let offer = object_with(
        "A challenge of the server.",
        [
            ("method", text("The payment method.")),
            ("intent", text("The intent.")),
            ("realm", text("The realm.")),
            ("display", nullable(text("What it costs, for people."))),
            ("expires", nullable(text("When the offer ends."))),
            ("description", nullable(text("For people, by the server."))),
            ("payable", flag("This wallet can pay it.")),
            ("allowed", flag("The limits let it through.")),
            ("reason", nullable(text("Why not."))),
        ],
        [
            ("amount", units("What it costs, base units.")),
            ("currency", text("The currency's code.")),
            ("payee", text("Who would get it.")),
            ("network", text("The network, ledger or processor.")),
            ("url", text("What it would pay for.")),
            ("firstUse", flag("Nothing was paid to this origin before.")),
            ("challenge", challenge_shape()),
        ],
    );
    object_with(
        "What would be paid.",
        [
            ("ok", flag("Always true.")),
            (
                "dryRun",
                json!({"const": true, "description": "Nothing was paid."}),
            ),
            ("offers", list("What the server offers.", offer)),
        ],
        [("wouldPay", flag("One of `offers` would be paid."))],
    )
}
