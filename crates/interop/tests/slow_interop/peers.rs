//! `docs/peers.md`: servers beside each other, made of what both sides found.

use stiver_interop::matrix::{Cell, Notes, Section, table};

/// The same question, as asked to our gateway, to their server, and as a row.
const QUESTIONS: [(&str, &str, &str); 5] = [
    (
        "`Idempotency-Key` repeated",
        "`Idempotency-Key` repeated",
        "A request repeated with its `Idempotency-Key`",
    ),
    (
        "a body is bound by its digest",
        "the body is bound by its digest",
        "A `POST` body is bound to the payment",
    ),
    (
        "the credential sent again",
        "our credential sent again",
        "A credential sent again",
    ),
    (
        "the signature altered",
        "our credential with its signature altered",
        "A credential with an altered signature",
    ),
    (
        "the credential cut short",
        "our credential cut short",
        "A credential cut short",
    ),
];

/// The document: what clients of all peers found at our gateway, beside what ours found at theirs.
pub(crate) fn peers(theirs: &[&Section], ours: &[&Section]) -> String {
    let mut stiver = Section::new("Stiver");
    for (asked, _, row) in QUESTIONS {
        stiver.ask(row, || agreed(theirs, asked));
    }
    let mut columns = vec![stiver];
    for section in ours {
        let mut column = Section::new(section.peer);
        for (_, asked, row) in QUESTIONS {
            column.ask(row, || found(section, asked));
        }
        columns.push(column);
    }
    let mut notes = Notes::default();
    let columns: Vec<&Section> = columns.iter().collect();
    let text = table(&columns, &mut notes);
    format!("{HEAD}\n{text}\n{}\n{TAIL}", notes.print())
}

fn found(section: &Section, asked: &str) -> Result<Cell, String> {
    let row = section.rows.iter().find(|(question, _)| *question == asked);
    row.map_or(Err(format!("nobody asked: {asked}")), |(_, found)| {
        found.clone()
    })
}

/// What all of them found, which must be the same.
fn agreed(sections: &[&Section], asked: &str) -> Result<Cell, String> {
    let mut all = sections.iter().map(|section| found(section, asked));
    let first = all.next().ok_or("no peer")??;
    match all.all(|other| other.as_ref() == Ok(&first)) {
        true => Ok(first),
        false => Err(format!("the peers found different things: {asked}")),
    }
}

const HEAD: &str = "\
# Against the peers

Servers that charge, asked the same by the test run, at the versions in the heads. Written by
`cargo xtask interop --write` from the run that also makes [interop.md](interop.md), which tells how
it is measured; the test fails when a cell is not what the run found.
";

const TAIL: &str = "\
What this table cannot say. The peers are libraries: they charge inside a program in their language,
and chiefly for payment networks that Stiver does not speak today. mppx, mpp and pympp come with
Tempo and Stripe; Stiver comes with its own ledger only. Sessions were not compared. All were asked
here with the method `ledger`, added by their own seams: what their own methods do beyond that was
not measured. A credential is refused the second time by the peers because the method added here
counts it, as each method of theirs must; Stiver counts for every method, and durably.
";
