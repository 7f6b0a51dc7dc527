//! Odd answers of servers, and what `stiver get` makes of them.

use stiver_core::base64url;
use stiver_interop::matrix::{Cell, Section};

use crate::{
    stage::{Done, Stage},
    wire::{Scripted, answer, get, has_credential},
};

/// What one question finds.
type Found = Result<Cell, String>;

/// What the client does with a challenge: how many credentials it sends, and its exit code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Does {
    Pays,
    Refuses(i32),
}

struct Quirks {
    stage: Stage,
    /// A challenge as the gateway makes it: good for this machine's realm.
    ours: String,
}

/// Every question, in order.
pub(crate) fn section() -> Section {
    let stage = Stage::new();
    stage.fund_wallet();
    let reply = get(&stage.at("/paid"), &[]);
    let ours = reply.header("www-authenticate").unwrap().to_owned();
    let quirks = Quirks { stage, ours };
    let mut section = Section::new("`stiver get`");
    readable(&quirks, &mut section);
    unreadable(&quirks, &mut section);
    after(&quirks, &mut section);
    section
}

/// Challenges in forms that the grammar allows.
fn readable(quirks: &Quirks, section: &mut Section) {
    let ours = quirks.ours.as_str();
    section.ask("three schemes in one field, ours last", || {
        let other = ours.replacen("method=\"ledger\"", "method=\"other\"", 1);
        let field = format!("Basic realm=\"a, \\\"b\", Negotiate abc==, {other}, {ours}");
        quirks.does(&[field], Does::Pays)
    });
    section.ask("a field for each scheme, ours first", || {
        let fields = [
            ours.to_owned(),
            "Negotiate".to_owned(),
            "Basic realm=x".to_owned(),
        ];
        quirks.does(&fields, Does::Pays)
    });
    section.ask("the scheme in capitals", || {
        quirks.does(&[ours.replacen("Payment ", "PAYMENT ", 1)], Does::Pays)
    });
    section.ask("spaces around `=`, a value without quotes", || {
        let field = ours.replacen("method=\"ledger\"", "method = ledger", 1);
        quirks.does(&[field], Does::Pays)
    });
    section.ask("parameters that nobody knows", || {
        quirks.does(&[format!("{ours}, x-new=\"1\", later=2")], Does::Pays)
    });
    section.ask("no `expires`", || {
        quirks.does(&[quirks.without("expires")], Does::Pays)
    });
}

/// Challenges that must not be paid.
fn unreadable(quirks: &Quirks, section: &mut Section) {
    let ours = quirks.ours.as_str();
    section.ask(
        "a scheme against the grammar before ours, in one field",
        || {
            let field = format!("Digest nonce=abc==, {ours}");
            quirks.does(&[field], Does::Refuses(4))
        },
    );
    section.ask("a method that the wallet does not have", || {
        let field = ours.replacen("method=\"ledger\"", "method=\"other\"", 1);
        quirks.does(&[field], Does::Refuses(4))
    });
    section.ask("a parameter twice", || {
        quirks.does(&[format!("{ours}, id=\"another\"")], Does::Refuses(4))
    });
    section.ask("no `id`", || {
        quirks.does(&[quirks.without("id")], Does::Refuses(4))
    });
    section.ask("a realm that is another host's name", || {
        let field = ours.replacen("realm=\"127.0.0.1\"", "realm=\"api.example.com\"", 1);
        quirks.does(&[field], Does::Refuses(4))
    });
    section.ask("an amount with a leading zero", || {
        quirks.does(&[quirks.request("\"1000\"", "\"01000\"")], Does::Refuses(4))
    });
    section.ask("an amount with a decimal point", || {
        quirks.does(
            &[quirks.request("\"1000\"", "\"1000.0\"")],
            Does::Refuses(4),
        )
    });
    section.ask("a higher amount than allowed", || {
        quirks.does(&[quirks.request("\"1000\"", "\"1001\"")], Does::Refuses(5))
    });
    section.ask("other decimals than the ledger's", || {
        let field = quirks.request("\"decimals\":6", "\"decimals\":2");
        quirks.does(&[field], Does::Refuses(4))
    });
    section.ask("a 402 without a challenge", || {
        quirks.does(&["Basic realm=\"x\"".to_owned()], Does::Refuses(6))
    });
    section.ask("a field folded over two lines", || {
        quirks.does(
            &[ours.replacen(", realm", ",\r\n realm", 1)],
            Does::Refuses(3),
        )
    });
}

/// What follows a payment.
fn after(quirks: &Quirks, section: &mut Section) {
    let paid = |reply: String| quirks.server(std::slice::from_ref(&quirks.ours), reply);
    section.ask("200 with a receipt that is no receipt", || {
        let junk = ["payment-receipt: e30".to_owned()];
        let (credentials, done) = paid(answer("200 OK", &junk, "paid\n"));
        let held = credentials == 1 && done.code == 0 && done.err.contains("warning");
        held.then(|| Cell::fact("page kept, warned"))
            .ok_or(format!("{credentials}: {done:?}"))
    });
    section.ask("the same 402 again and again", || {
        let field = format!("www-authenticate: {}", quirks.ours);
        let (credentials, done) = paid(answer("402 Payment Required", &[field], ""));
        let held = done.code != 0 && (1..=8).contains(&credentials) && quirks.one_order();
        held.then(|| Cell::fact(format!("one order signed, exit {}", done.code)))
            .ok_or(format!("{credentials}: {done:?}"))
    });
    section.ask("500 without a word about the payment", || {
        let (_, done) = paid(answer("500 Internal Server Error", &[], "oh"));
        let held = done.code == 7 && quirks.one_order();
        held.then(|| Cell::fact("one order signed, exit 7: it may have been paid"))
            .ok_or(format!("{done:?}"))
    });
}

impl Quirks {
    /// Our challenge without one of its parameters.
    fn without(&self, name: &str) -> String {
        let (scheme, parameters) = self.ours.split_once(' ').unwrap();
        let start = format!("{name}=");
        let kept = parameters
            .split(", ")
            .filter(|part| !part.starts_with(&start));
        format!("{scheme} {}", kept.collect::<Vec<_>>().join(", "))
    }

    /// Our challenge with a change to its request.
    fn request(&self, from: &str, to: &str) -> String {
        let (_, rest) = self.ours.split_once("request=\"").unwrap();
        let (request, _) = rest.split_once('"').unwrap();
        let json = base64url::decode(request.as_bytes()).unwrap();
        let json = String::from_utf8(json).unwrap();
        assert!(json.contains(from), "{json}");
        let changed = base64url::encode(json.replacen(from, to, 1).as_bytes());
        self.ours.replacen(request, &changed, 1)
    }

    /// Asks a server that wants this and answers a credential so: how many credentials it saw.
    fn server(&self, fields: &[String], paid: String) -> (usize, Done) {
        let headers: Vec<String> = fields
            .iter()
            .map(|value| format!("www-authenticate: {value}"))
            .collect();
        let server = Scripted::start(move |head| match has_credential(head) {
            true => paid.clone(),
            false => answer("402 Payment Required", &headers, ""),
        });
        let url = format!("{}/", server.url);
        let done = self
            .stage
            .stiver(&["get", "--max-amount", "0.001 USD", &url]);
        (server.credentials(), done)
    }

    fn does(&self, fields: &[String], expected: Does) -> Found {
        let (credentials, done) = self.server(fields, answer("200 OK", &[], "paid\n"));
        let does = match (credentials, done.code) {
            (1, 0) => Does::Pays,
            (0, code) => Does::Refuses(code),
            _ => return Err(format!("{credentials} credentials: {done:?}")),
        };
        if does != expected {
            return Err(format!("{does:?}, not {expected:?}: {done:?}"));
        }
        Ok(match does {
            Does::Pays => Cell::fact("pays"),
            Does::Refuses(code) => Cell::fact(format!("signs nothing, exit {code}")),
        })
    }

    /// True when the newest call in the wallet's history signed once.
    fn one_order(&self) -> bool {
        let done = self
            .stage
            .stiver(&["--json", "wallet", "history", "-n", "1"]);
        let told: serde_json::Value = serde_json::from_str(&done.out).unwrap();
        told["payments"][0]["signatures"].as_u64().unwrap_or(1) == 1
    }
}
