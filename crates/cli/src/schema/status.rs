//! `status`.

use serde_json::Value;

use super::{
    Printed,
    ledger::{books, money},
    shape::{flag, list, object, object_with, text, whole},
};

pub(super) fn printed() -> Printed {
    Printed::new("status", "How the running gateway is doing.", status())
}

fn status() -> Value {
    object_with(
        "",
        [
            ("version", text("The gateway's version.")),
            ("uptimeS", whole("How long it runs, seconds.")),
            ("ready", ready()),
            ("atWork", whole("Payments being settled or delivered now.")),
            ("connections", whole("Public connections open now.")),
            ("connectionsMax", whole("Most public connections.")),
            ("spooledBytes", whole("Bytes of request bodies held now.")),
            ("spooledBytesMax", whole("Most bytes of request bodies.")),
            (
                "undeliveredComplete",
                flag("False when there was more than could be counted."),
            ),
            ("sessions", sessions()),
            ("store", store()),
            ("logs", list("The logs.", log())),
            (
                "limitedSources",
                whole("Sources that rate limits remember."),
            ),
            (
                "eventsLost",
                whole("Events that observers were too slow for."),
            ),
        ],
        [
            (
                "undelivered",
                list(
                    "Paid for, and neither delivered nor given back; missing when the store \
                     cannot tell.",
                    undelivered(),
                ),
            ),
            ("ledger", books()),
        ],
    )
}

fn ready() -> Value {
    let check = object_with(
        "",
        [("name", text("What.")), ("ok", flag("It is well."))],
        [("why", text("Why it is not."))],
    );
    object(
        "Whether it is ready.",
        [
            ("ready", flag("Requests should come here.")),
            ("checks", list("What was looked at.", check)),
        ],
    )
}

fn undelivered() -> Value {
    object(
        "",
        [
            ("method", text("The payment method.")),
            ("payments", whole("How many.")),
            ("amount", money("How much.")),
        ],
    )
}

fn sessions() -> Value {
    let held = object(
        "What is in the open ones; missing where the ledger has several currencies.",
        [
            ("deposit", money("What payers have put in.")),
            ("accepted", money("What they have authorised.")),
            ("spent", money("What was served.")),
            ("reserved", money("What is being served.")),
            ("unsettled", money("What was served and is not taken yet.")),
        ],
    );
    object_with(
        "The channels of sessions.",
        [
            ("open", whole("Channels that have not ended.")),
            ("openMax", whole("Most channels that have not ended.")),
            (
                "ended",
                whole("Channels that have ended and are still known."),
            ),
        ],
        [("held", held)],
    )
}

fn store() -> Value {
    let state = object(
        "",
        [
            ("state", text("The state.")),
            ("claims", whole("How many.")),
        ],
    );
    object(
        "What is remembered of credentials and answers.",
        [
            ("claims", whole("Claims held.")),
            ("claimsMax", whole("Most claims.")),
            ("claimsBytes", whole("Their memory, bytes.")),
            ("claimsBytesMax", whole("Most memory of claims, bytes.")),
            (
                "responsesBytes",
                whole("Memory of stored responses, bytes."),
            ),
            (
                "responsesBytesMax",
                whole("Most memory of stored responses, bytes."),
            ),
            ("byState", list("Claims by state.", state)),
        ],
    )
}

fn log() -> Value {
    object_with(
        "",
        [
            ("name", text("Whose.")),
            ("events", whole("The number of its last durable event.")),
            ("batches", whole("Batches made durable since the start.")),
            (
                "writeUsAverage",
                whole("How long they took on average, microseconds."),
            ),
        ],
        [("failure", text("Why it failed."))],
    )
}
