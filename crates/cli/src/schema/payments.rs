//! `payments ...`.

use serde_json::Value;

use super::{
    Printed,
    ledger::money,
    shape::{flag, instant, list, object, object_with, ok, one_of, text, whole},
};

/// How far a payment is.
const STATES: [&str; 12] = [
    "settling",
    "settled",
    "delivering",
    "delivered",
    "failed",
    "refunding",
    "refunded",
    "disputed",
    "reversed",
    "authorised",
    "serving",
    "capturing",
];

pub(super) fn printed() -> Vec<Printed> {
    let order = "Those with work left, newest first, then those that have ended, latest first.";
    vec![
        Printed::new(
            "payments list",
            "What the gateway's journal knows.",
            object("", [("payments", list(order, payment()))]),
        ),
        Printed::new(
            "payments show",
            "One payment.",
            object("", [("payment", payment())]),
        ),
        Printed::new("payments refund", "What went back.", refund()),
    ]
}

fn moved(about: &str) -> Value {
    object(
        about,
        [
            ("reference", text("The rail's id of the movement.")),
            ("at", instant("When, by the rail.")),
            ("amount", money("How much.")),
        ],
    )
}

fn payment() -> Value {
    object_with(
        "",
        [
            (
                "challenge",
                text("The id of the challenge that it answers."),
            ),
            ("state", one_of("How far it is.", &STATES)),
            (
                "kept",
                flag("It counts as delivered and nothing was: the money was kept."),
            ),
            ("method", text("The payment method.")),
            ("amount", money("What was asked.")),
            ("payee", text("Who is paid.")),
            ("resource", text("HTTP method and path, without a query.")),
            ("claimedAt", instant("When its credential came.")),
            (
                "deliveriesStarted",
                whole("How many times the upstream was asked."),
            ),
        ],
        [
            ("payer", text("Who pays, where the method can prove it.")),
            (
                "keptUntil",
                instant("Until when the journal keeps it, once nothing is left to do."),
            ),
            ("settled", moved("The settlement.")),
            ("refunded", moved("The whole refund.")),
            ("refusal", text("Why the rail refused it.")),
        ],
    )
}

fn refund() -> Value {
    object(
        "",
        [
            ("ok", ok()),
            ("challenge", text("The payment.")),
            ("amount", money("How much went back.")),
            ("reference", text("The rail's id of the movement.")),
        ],
    )
}
