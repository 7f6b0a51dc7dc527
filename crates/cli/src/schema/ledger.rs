//! `ledger ...`.

use serde_json::{Value, json};

use super::{
    Printed,
    shape::{flag, instant, list, nullable, object, object_with, ok, text, units, whole},
};

pub(super) fn printed() -> Vec<Printed> {
    vec![
        Printed::new("ledger issue", "What was issued.", issued()),
        Printed::new(
            "ledger accounts",
            "Every account.",
            object("", [("accounts", list("By id.", account()))]),
        ),
        Printed::new("ledger statement", "Movements of an account.", statement()),
        Printed::new("ledger check", "What a check found in order.", check()),
    ]
}

/// An amount.
pub(super) fn money(about: &str) -> Value {
    object(
        about,
        [
            (
                "units",
                units("Base units; negative for what is owed or left."),
            ),
            ("currency", text("The currency's code.")),
            ("display", text("For people.")),
        ],
    )
}

/// What an issue prints.
pub(super) fn issued() -> Value {
    object(
        "",
        [
            ("ok", ok()),
            ("account", text("Who got it.")),
            ("amount", nullable(money("How much."))),
            ("transfer", text("The transfer's id.")),
            ("ledger", text("The ledger's id.")),
        ],
    )
}

fn account() -> Value {
    let balance = object(
        "",
        [
            ("posted", money("Credits less debits.")),
            ("held", money("Of it, set aside.")),
            ("available", money("What can be spent.")),
        ],
    );
    object_with(
        "",
        [
            ("id", text("Its id.")),
            ("keys", list("Its public keys.", json!({"type": "string"}))),
            ("frozen", flag("Nothing can be spent while it is.")),
            ("balances", list("By currency.", balance)),
        ],
        [("owner", text("Its owner's label."))],
    )
}

fn statement() -> Value {
    let movement = object_with(
        "",
        [
            ("sequence", whole("Its place in the ledger.")),
            ("at", instant("When.")),
            (
                "kind",
                text("`transfer`, `mint`, `burn`, `refund` or `post`."),
            ),
            ("id", text("The transfer's id.")),
            ("other", text("The other account.")),
            ("amount", money("Negative when it left the account.")),
        ],
        [
            ("challenge", text("The challenge it answered.")),
            ("refundOf", text("The transfer it gives back.")),
        ],
    );
    object(
        "",
        [
            ("account", text("The account.")),
            ("movements", list("Newest first.", movement)),
        ],
    )
}

fn check() -> Value {
    object(
        "",
        [
            ("ok", ok()),
            ("events", whole("Events in the log.")),
            ("signatures", whole("Signatures verified.")),
            ("chain", text("The hash of the log's last frame.")),
            ("books", books()),
        ],
    )
}

/// The books of a ledger.
pub(super) fn books() -> Value {
    let currency = object(
        "",
        [
            ("currency", text("Its code.")),
            ("decimals", whole("Decimals of its base unit.")),
            ("issuer", text("Its issuer's account.")),
            ("issued", money("In circulation.")),
            ("held", money("Of it, set aside.")),
            ("sum", money("Over all accounts: zero.")),
        ],
    );
    object(
        "The ledger as a whole.",
        [
            ("ledger", text("Its id.")),
            ("at", instant("Now, by its clock.")),
            ("accounts", whole("How many accounts.")),
            ("executed", whole("Orders executed since the beginning.")),
            ("openHolds", whole("Open holds.")),
            ("currencies", list("Each currency.", currency)),
        ],
    )
}
