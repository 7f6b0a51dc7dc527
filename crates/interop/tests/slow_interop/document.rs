//! `docs/interop.md`, made of what was found.

use std::path::{Path, PathBuf};

use stiver_interop::matrix::{Notes, Section, table};

/// The document of a run.
pub(crate) fn interop(
    theirs: &[&Section],
    ours: &[&Section],
    quirks: &Section,
    validate: &Section,
) -> String {
    let mut notes = Notes::default();
    let theirs = table(theirs, &mut notes);
    let ours = table(ours, &mut notes);
    let quirks = table(&[quirks], &mut notes);
    let validate = table(&[validate], &mut notes);
    let parts = [
        ("Their clients pay our gateway", THEIRS, theirs),
        ("Our client pays their servers", OURS, ours),
        ("Odd answers, and our client", QUIRKS, quirks),
        ("mppx's validator on our gateway", VALIDATE, validate),
        ("Notes", "", notes.print()),
    ];
    let mut text = HEAD.to_owned();
    for (title, about, found) in parts {
        text.push_str(&format!("\n## {title}\n\n"));
        if !about.is_empty() {
            text.push_str(&format!("{about}\n"));
        }
        text.push_str(&found);
    }
    format!("{text}\n{SEAMS}")
}

/// Where a document of the repository is.
pub(crate) fn path(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../docs")
        .join(name)
}

const HEAD: &str = "\
# Interoperability

What Stiver and other implementations of the `Payment` scheme do with each other. This page is
written by the tests, which run the real packages as processes on one machine and fail when they
find anything else than what stands here:

```sh
cargo xtask interop           # installs the peers, runs the tests, compares
cargo xtask interop --write   # and writes this page
```

The peers are mppx for Node, the `mpp` crate and pympp for Python, at the versions in the tables.
They know nothing of the method [`ledger`](spec/ledger-charge.md): each gets it by its own seam for
methods, written from the specification in a few dozen lines without any code of Stiver, in
[`interop/`](../interop/README.md). What a cell quotes as `402 invalid-challenge` is the status and
the problem type of the answer. [Against the peers](peers.md) puts the servers beside each other.
";

const THEIRS: &str = "\
The page costs 0.001 USD. \"Pays\" means that the peer's client got the page, that exactly one price
left its account, and that the API behind the gateway was asked once. The refusals are answers of
our gateway to a credential that the peer's client made.
";

const OURS: &str = "\
The peers' servers settle on the ledger of a Stiver gateway, to which they bring the order that the
payer signed. The questions are asked with `stiver get`; \"the library\" is `stiver-client` with
reqwest. The refusals are answers of the peer's server to a credential that our library made.
";

const QUIRKS: &str = "\
Servers that are none, each with one oddity; the challenge is otherwise good.
";

const VALIDATE: &str = "\
No check needs a public network: the validator pays only with methods of its own, which are not
offered here.
";

const SEAMS: &str = "\
## What the seams for methods allow

- mppx: `Method.from`, `toClient`, `toServer`. Everything above goes through them.
- pympp: `Method`, `ClientMethod`, `ServerMethod`. Everything above goes through them.
- mpp: `PaymentProvider` for clients, `ChargeMethod` and the axum extractors for servers. Making
  challenges is there for the crate's own methods only, so the peer's challenges are made with
  `PaymentChallenge::with_secret_key_full`, and with it go their expiry and their ids.
- Serving each payment once is left to the method by all three: the peers keep a set of the orders
  that they were paid with.
- Sessions go through no seam of theirs. mppx's paid WebSockets are bound to its method `tempo`: its
  client opens no other session, and its reader takes no receipt of another method. So no socket of
  mppx was paid by `ledger`, nor the other way round. What is compared is the framing: each kind of
  frame that mppx's functions write is read by ours, and ours by its parser, as the same.
";
