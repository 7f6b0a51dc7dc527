//! Their client pays our gateway.

use serde_json::{Value, json};
use stiver_interop::matrix::{Cell, Section};

use crate::{
    stage::{Implementation, PRICE, Peer, Stage},
    wire::{self, Reply, Scripted, answer, ask, field, get},
};

/// What one question finds.
type Found = Result<Cell, String>;

/// How many requests are made at once.
const CROWD: usize = 8;

struct Pair {
    stage: Stage,
    peer: Peer,
    who: Implementation,
}

/// Every question, in order.
pub(crate) fn section(who: Implementation) -> Section {
    let stage = Stage::new();
    let peer = stage.peer(who);
    let pair = Pair { stage, peer, who };
    let mut section = Section::new(who.name());
    section.ask("reads a free page", || pair.free());
    section.ask("reads the challenge of a 402", || pair.parses());
    section.ask("tells its user of a payer without money", || pair.poor());
    pair.stage.fund_peer();
    section.ask("pays, and gets the page", || pair.pays());
    section.ask("reads the receipt", || pair.receipt());
    section.ask("the receipt's further members survive", || pair.members());
    section.ask("`HEAD` of a priced page", || pair.head());
    section.ask("a body is bound by its digest", || pair.digest());
    section.ask("the digest's body replaced", || pair.other_body());
    section.ask("the credential sent again", || pair.replayed());
    section.ask("the credential sent to another page", || pair.elsewhere());
    section.ask("the signature altered", || pair.altered());
    section.ask("the credential cut short", || pair.cut());
    section.ask("`Idempotency-Key` repeated", || pair.idempotent());
    section.ask("an expired challenge", || pair.expired());
    section.ask("eight requests at once", || pair.crowd());
    section.ask("sends `Accept-Payment`", || pair.accepts());
    section.ask("ours among several challenges, a field each", || {
        pair.among(true)
    });
    section.ask("ours among several challenges, one field", || {
        pair.among(false)
    });
    section
}

/// Fails with what was seen.
fn ensure(holds: bool, seen: impl std::fmt::Debug) -> Result<(), String> {
    if holds {
        Ok(())
    } else {
        Err(format!("{seen:?}"))
    }
}

impl Pair {
    fn challenge(&self, path: &str) -> Reply {
        get(&self.stage.at(path), &[])
    }

    /// The challenges of a reply, as the peer reads them.
    fn parsed(&self, headers: &[&str]) -> Result<Vec<Value>, String> {
        let told = self.peer.tell(json!({"op": "parse", "headers": headers}))?;
        Ok(told["challenges"].as_array().unwrap().clone())
    }

    fn free(&self) -> Found {
        let told = self.peer.fetch("GET", &self.stage.at("/free"))?;
        ensure(told["status"] == 200 && told["receipt"].is_null(), &told)?;
        Ok(Cell::yes())
    }

    fn parses(&self) -> Found {
        let reply = ask("POST", &self.stage.at("/order"), &[], "a body");
        let plain = self.challenge("/paid");
        let fields = [
            reply.fields("www-authenticate"),
            plain.fields("www-authenticate"),
        ];
        let parsed = self.parsed(&fields.concat())?;
        ensure(parsed.len() == 2, &parsed)?;
        for (challenge, header) in parsed.iter().zip(fields.concat()) {
            for name in ["id", "realm", "method", "intent", "expires", "digest"] {
                let value = challenge[name].as_str();
                let wire = value.map(|value| format!("{name}=\"{value}\""));
                let agrees = match wire {
                    Some(wire) => header.contains(&wire),
                    None => !header.contains(&format!(" {name}=")),
                };
                ensure(agrees, (name, challenge, header))?;
            }
            ensure(
                challenge["request"]["amount"] == PRICE.to_string(),
                challenge,
            )?;
        }
        let described = &parsed[1]["description"];
        ensure(described == "a \"quoted\" \\ reading", described)?;
        Ok(Cell::yes())
    }

    fn poor(&self) -> Found {
        let told = self.peer.fetch("GET", &self.stage.at("/paid"));
        ensure(self.stage.served() == 1, "only the free page was served")?;
        match told {
            Ok(told) => {
                let body = told["body"].as_str().unwrap_or_default();
                let problem: Value = serde_json::from_str(body).unwrap_or_default();
                let kind = problem["type"].as_str().unwrap_or("no problem");
                let name = kind.rsplit('/').next().unwrap_or(kind);
                Ok(Cell::fact(format!("{} {name}", told["status"])))
            }
            Err(error) => {
                ensure(error.contains("insufficient"), &error)?;
                Ok(Cell::fact("error that names `payment-insufficient`"))
            }
        }
    }

    /// Pays once, and checks that one price left the account and one page was served.
    fn paid(&self, request: Value) -> Result<Value, String> {
        let (left, served) = (self.stage.peer_left(), self.stage.served());
        let told = self.peer.tell(request)?;
        ensure(told["status"] == 200, &told)?;
        let (now, count) = (self.stage.peer_left(), self.stage.served());
        ensure(now + PRICE == left, (left, now))?;
        ensure(count == served + 1, (served, count))?;
        Ok(told)
    }

    fn pays(&self) -> Found {
        let told = self.paid(json!({"op": "fetch", "url": self.stage.at("/paid")}))?;
        let body = format!("served {}\n", self.stage.served());
        ensure(told["body"] == body, &told)?;
        Ok(Cell::yes())
    }

    fn receipt(&self) -> Found {
        let told = self.paid(json!({"op": "fetch", "url": self.stage.at("/paid")}))?;
        let receipt = &told["receipt"];
        let reference = receipt["reference"].as_str().unwrap_or_default();
        ensure(reference.starts_with("tr_"), receipt)?;
        let status = (&receipt["status"], &receipt["method"]);
        ensure(status == (&json!("success"), &json!("ledger")), receipt)?;
        Ok(Cell::yes())
    }

    fn members(&self) -> Found {
        let told = self.paid(json!({"op": "fetch", "url": self.stage.at("/paid")}))?;
        let receipt = &told["receipt"];
        for name in [
            "challengeId",
            "payerAccount",
            "payee",
            "amount",
            "signature",
            "resource",
        ] {
            ensure(receipt[name].is_string(), (name, receipt))?;
        }
        Ok(Cell::yes())
    }

    fn head(&self) -> Found {
        let left = self.stage.peer_left();
        let told = self.peer.fetch("HEAD", &self.stage.at("/paid"));
        ensure(self.stage.peer_left() == left, "HEAD took a payment")?;
        let text = match told {
            Ok(told) => told["status"].to_string(),
            Err(_) => "an error".to_owned(),
        };
        Ok(Cell::differs(
            format!("{text}, nothing paid"),
            "The gateway answers `HEAD` of a priced page with the 402, so that one can look at the \
             price, and refuses a credential with it: there is no body to sell. These clients pay \
             for whatever answers 402, and tell their user of the refusal.",
        ))
    }

    fn digest(&self) -> Found {
        let reply = ask("POST", &self.stage.at("/order"), &[], "a body");
        let header = reply.header("www-authenticate").unwrap_or_default();
        ensure(header.contains("digest=\"sha-256=:"), header)?;
        let url = self.stage.at("/order");
        self.paid(json!({"op": "fetch", "method": "POST", "url": url, "body": "a body"}))?;
        Ok(Cell::yes())
    }

    fn other_body(&self) -> Found {
        let url = self.stage.at("/order");
        let reply = ask("POST", &url, &[], "a body");
        let credential = self.peer.credential(&reply)?;
        let headers = [("authorization", credential.as_str())];
        let refused = ask("POST", &url, &headers, "a bodY");
        self.refused(&refused, "invalid-challenge")
    }

    /// One credential for the priced page.
    fn credential(&self) -> Result<String, String> {
        self.peer.credential(&self.challenge("/paid"))
    }

    fn send(&self, path: &str, credential: &str) -> Reply {
        get(&self.stage.at(path), &[("authorization", credential)])
    }

    /// The reply is a refusal with this problem, and nothing was served for it.
    fn refused(&self, reply: &Reply, kind: &str) -> Found {
        let problem = reply.problem();
        ensure(problem.ends_with(&format!(" {kind}")), (&problem, reply))?;
        Ok(Cell::fact(problem))
    }

    fn replayed(&self) -> Found {
        let credential = self.credential()?;
        let left = self.stage.peer_left();
        let first = self.send("/paid", &credential);
        ensure(first.status == 200, &first)?;
        let served = self.stage.served();
        let again = self.send("/paid", &credential);
        ensure(self.stage.served() == served, &again)?;
        ensure(
            self.stage.peer_left() + PRICE == left,
            "paid more than once",
        )?;
        Ok(Cell::fact(again.problem()))
    }

    fn elsewhere(&self) -> Found {
        let (credential, left) = (self.credential()?, self.stage.peer_left());
        let reply = self.send("/other", &credential);
        ensure(self.stage.peer_left() == left, &reply)?;
        self.refused(&reply, "invalid-challenge")
    }

    fn altered(&self) -> Found {
        let credential = self.credential()?;
        let token = credential.split_once(' ').unwrap().1;
        let json = stiver_core::base64url::decode(token.trim_end_matches('=').as_bytes());
        let mut value: Value = serde_json::from_slice(&json.unwrap()).unwrap();
        let signature = value["payload"]["signature"].as_str().unwrap();
        let other = if signature.starts_with('A') { "B" } else { "A" };
        let altered = format!("{other}{}", &signature[1..]);
        value["payload"]["signature"] = json!(altered);
        let token = stiver_core::base64url::encode(value.to_string().as_bytes());
        self.refused(
            &self.send("/paid", &format!("Payment {token}")),
            "verification-failed",
        )
    }

    fn cut(&self) -> Found {
        let credential = self.credential()?;
        let half = &credential[..credential.len() / 2];
        self.refused(&self.send("/paid", half), "malformed-credential")
    }

    fn idempotent(&self) -> Found {
        let request = json!({
            "op": "fetch",
            "method": "POST",
            "url": self.stage.at("/order"),
            "headers": {"Idempotency-Key": "\"once\""},
            "body": "a body",
        });
        let first = self.paid(request.clone())?;
        let (left, served) = (self.stage.peer_left(), self.stage.served());
        let second = self.peer.tell(request)?;
        ensure(second["status"] == 200, &second)?;
        ensure(second["body"] == first["body"], (&first, &second))?;
        ensure(self.stage.served() == served, "served twice")?;
        ensure(self.stage.peer_left() == left, "paid twice")?;
        Ok(Cell::fact("same answer, paid once"))
    }

    fn expired(&self) -> Found {
        let fresh = self.challenge("/paid");
        let parsed = self.parsed(&fresh.fields("www-authenticate"))?;
        let realm = parsed[0]["realm"].as_str().unwrap();
        let header = self.stage.expired(realm, &parsed[0]["request"]);
        let server = Scripted::start(move |_| {
            let header = format!("www-authenticate: {header}");
            answer("402 Payment Required", &[header], "")
        });
        let told = self.peer.fetch("GET", &format!("{}/", server.url));
        match server.credentials() {
            0 => Ok(Cell::fact("not paid")),
            count => Err(format!(
                "{count} credentials for an expired challenge: {told:?}"
            )),
        }
    }

    fn crowd(&self) -> Found {
        let (left, served) = (self.stage.peer_left(), self.stage.served());
        let request = json!({"op": "fetch", "url": self.stage.at("/paid")});
        for told in self.peer.tell_all(vec![request; CROWD]) {
            let told = told?;
            ensure(told["status"] == 200, told)?;
        }
        let crowd = u128::try_from(CROWD).unwrap();
        ensure(
            self.stage.peer_left() + crowd * PRICE == left,
            "not one price each",
        )?;
        let count = self.stage.served() - served;
        ensure(u128::from(count) == crowd, count)?;
        Ok(Cell::yes())
    }

    fn accepts(&self) -> Found {
        let server = Scripted::start(|_| answer("200 OK", &[], "free\n"));
        self.peer.fetch("GET", &format!("{}/", server.url))?;
        let heads = server.heads();
        let sent = heads.first().and_then(|head| field(head, "accept-payment"));
        Ok(match sent {
            Some(value) => Cell::fact(format!("`{value}`")),
            None => Cell::fact("no"),
        })
    }

    fn among(&self, apart: bool) -> Found {
        let ours = self.challenge("/paid");
        let ours = ours.header("www-authenticate").unwrap().to_owned();
        let other = ours.replacen("method=\"ledger\"", "method=\"other\"", 1);
        let basic = "Basic realm=\"a, \\\"b\\\"\"".to_owned();
        let server = Scripted::start(move |head| {
            if wire::has_credential(head) {
                return answer("200 OK", &[], "paid\n");
            }
            let values = [basic.clone(), other.clone(), ours.clone()];
            let fields: Vec<String> = match apart {
                true => values
                    .iter()
                    .map(|value| format!("www-authenticate: {value}"))
                    .collect(),
                false => vec![format!("www-authenticate: {}", values.join(", "))],
            };
            answer("402 Payment Required", &fields, "")
        });
        let told = self.peer.fetch("GET", &format!("{}/", server.url));
        match (&told, server.credentials()) {
            (Ok(told), 1) if told["status"] == 200 => Ok(Cell::yes()),
            _ => Err(format!(
                "{} at {:?}: {told:?}",
                server.credentials(),
                self.who
            )),
        }
    }
}
