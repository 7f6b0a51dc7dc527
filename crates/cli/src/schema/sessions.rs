//! `sessions ...`.

use serde_json::Value;

use super::{
    Printed,
    shape::{instant, list, nullable, object, ok, one_of, text, units, whole},
};

const STATES: [&str; 11] = [
    "intended",
    "opening",
    "open",
    "closing",
    "forcing",
    "forced",
    "withdrawing",
    "closed",
    "withdrawn",
    "void",
    "abandoned",
];

pub(super) fn printed() -> Vec<Printed> {
    vec![
        Printed::new("sessions list", "The sessions of a wallet.", listed()),
        Printed::new("sessions close", "The sessions that were closed.", listed()),
        Printed::new(
            "sessions recover",
            "The sessions that were not over, as they stand now.",
            listed(),
        ),
    ]
}

fn listed() -> Value {
    object(
        "",
        [("ok", ok()), ("sessions", list("Oldest first.", session()))],
    )
}

/// One session. All figures are cumulative base units of its currency.
pub(super) fn session() -> Value {
    object(
        "A session.",
        [
            ("session", text("Its id.")),
            ("state", one_of("Where it stands.", &STATES)),
            ("begunAt", instant("When it began.")),
            ("changedAt", instant("When the journal last wrote of it.")),
            ("origin", text("The server.")),
            ("realm", text("The realm.")),
            ("url", text("The URL it was opened at.")),
            ("method", text("The payment method.")),
            ("network", text("The network, ledger or processor.")),
            ("payee", text("Who gets it, in the method's form.")),
            (
                "channel",
                nullable(text("The channel's id, as the wire has it.")),
            ),
            ("currency", text("The currency's code.")),
            ("decimals", whole("Decimals of the base unit.")),
            ("deposit", units("What is set aside for certain.")),
            (
                "pending",
                units("What was asked to be set aside and is not confirmed."),
            ),
            (
                "signed",
                units("The highest voucher: what the payee can take at most."),
            ),
            (
                "agreed",
                units("What this wallet agreed to pay for its requests."),
            ),
            (
                "accepted",
                units("The highest voucher that the payee confirmed."),
            ),
            ("spent", units("What the payee says was used.")),
            (
                "exposure",
                units("What counts as spent: what is set aside, or was taken."),
            ),
            (
                "captured",
                nullable(units("What the payee took, once it is over.")),
            ),
            ("display", text("What is signed, for people.")),
            ("inFlight", whole("Requests whose outcome is not known.")),
            (
                "step",
                units("What vouchers are multiples of: 1, or a word of its chain."),
            ),
            ("requests", whole("Requests begun.")),
            ("vouchers", whole("Vouchers signed.")),
            (
                "withdrawableAt",
                nullable(instant(
                    "From when the rest can be taken back, after a forced close.",
                )),
            ),
            ("note", nullable(text("What happened last, in words."))),
        ],
    )
}
