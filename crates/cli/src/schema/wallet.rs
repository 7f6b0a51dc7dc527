//! `wallet ...`.

use serde_json::Value;

use super::{
    Printed,
    shape::{
        flag, instant, key, list, money_moved, nullable, object, ok, one_of, text, units, whole,
    },
};

const KEPT: [&str; 4] = ["plain-file", "encrypted-file", "keyring", "environment"];
const STATES: [&str; 10] = [
    "challenged",
    "authorised",
    "sent",
    "refused",
    "unknown",
    "unread",
    "paid",
    "settled",
    "void",
    "abandoned",
];

pub(super) fn printed() -> Vec<Printed> {
    vec![
        Printed::new("wallet new", "The wallet that was made.", made()),
        Printed::new("wallet list", "The wallets of the folder.", listed()),
        Printed::new("wallet join", "The ledger it pays on now.", joined()),
        Printed::new(
            "wallet fund",
            "What was issued to it.",
            super::ledger::issued(),
        ),
        Printed::new("wallet balance", "What the ledger says it has.", balance()),
        Printed::new(
            "wallet history",
            "Its payments, newest first. With --format ndjson each line is one of `payments`.",
            object("", [("payments", list("The payments.", payment()))]),
        ),
        Printed::new("wallet import", "The wallet that was made.", made()),
        Printed::new("wallet export", "The key that leaves.", exported()),
        Printed::new("wallet move", "The wallet, where it is now.", made()),
        Printed::new(
            "wallet passwd",
            "The wallet under its new passphrase.",
            made(),
        ),
    ]
}

fn kept() -> Value {
    one_of("Where its key is kept.", &KEPT)
}

fn made() -> Value {
    object(
        "",
        [
            ("ok", ok()),
            ("name", text("Its name.")),
            ("key", key("Its public key, which an issuer funds.")),
            (
                "account",
                text("The account that this key opens on any ledger."),
            ),
            ("keptIn", kept()),
        ],
    )
}

fn listed() -> Value {
    let row = object(
        "",
        [
            ("name", text("Its name.")),
            ("key", key("Its public key.")),
            ("keptIn", kept()),
            ("ledger", nullable(text("The ledger it has joined."))),
        ],
    );
    object(
        "",
        [
            ("wallets", list("By name.", row)),
            (
                "environmentKey",
                nullable(key("The public key of STIVER_KEY, when that is set.")),
            ),
        ],
    )
}

fn joined() -> Value {
    object(
        "",
        [
            ("ok", ok()),
            ("ledger", text("The ledger's id.")),
            ("account", text("Its account there.")),
            ("key", key("Its public key.")),
        ],
    )
}

fn balance() -> Value {
    let row = object(
        "",
        [
            ("currency", text("The currency's code.")),
            ("available", units("What can be spent, base units.")),
            ("held", units("What is set aside, base units.")),
            ("display", text("What can be spent, for people.")),
        ],
    );
    object(
        "",
        [
            ("account", text("The account.")),
            ("frozen", flag("Nothing can be spent while it is.")),
            (
                "balances",
                list("By currency; empty until it is funded.", row),
            ),
        ],
    )
}

fn payment() -> Value {
    object(
        "A paid call.",
        [
            ("call", text("Its id: `stiver get --resume` takes it.")),
            ("state", one_of("Where it stands.", &STATES)),
            ("moneyMoved", money_moved()),
            ("begunAt", instant("When it began.")),
            ("changedAt", instant("When it came to its state.")),
            ("method", text("The HTTP method.")),
            ("url", text("What was asked for.")),
            ("amount", units("The most it costs, base units.")),
            ("currency", text("The currency's code.")),
            ("decimals", whole("Decimals of the base unit.")),
            ("value", text("The amount as an exact decimal number.")),
            ("display", text("The amount for people.")),
            ("payee", text("Who gets it, in the method's form.")),
            ("network", text("The network, ledger or processor.")),
            ("realm", text("The realm of the challenge.")),
            ("paymentMethod", text("The payment method.")),
            ("intent", text("The intent.")),
            ("challengeId", text("The challenge that was answered.")),
            (
                "reference",
                nullable(text("The rail's or the receipt's id of it.")),
            ),
            ("signatures", whole("Signatures made so far.")),
            ("note", nullable(text("What happened last, in words."))),
        ],
    )
}

fn exported() -> Value {
    object(
        "",
        [
            ("ok", ok()),
            ("name", text("Its name.")),
            ("key", key("Its public key.")),
            (
                "format",
                one_of(
                    "`secret`: whoever has it can spend.",
                    &["encrypted", "secret"],
                ),
            ),
            ("output", nullable(text("The file it was written to."))),
            (
                "text",
                nullable(text("The key itself, when no file was named.")),
            ),
        ],
    )
}
