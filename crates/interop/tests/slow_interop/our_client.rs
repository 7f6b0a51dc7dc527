//! Our client pays their server: `stiver get`, and the library in one question.

use serde_json::Value;
use stiver_core::{Challenge, Credential, base64url};
use stiver_interop::matrix::{Cell, Section};

use crate::{
    library::Payer,
    stage::{Done, Implementation, PRICE, Peer, Stage},
    wire::{Reply, ask, get},
};

/// What one question finds.
type Found = Result<Cell, String>;

/// How many processes pay at once.
const CROWD: usize = 4;

/// The seed of the library's payer.
const LIBRARY_SEED: u8 = 31;

const NO_DIGEST: &str = "mppx makes no digests of bodies on the server: the challenge for a `POST` \
                         binds its terms only.";
const NO_BODY_KEY: &str = "An `Idempotency-Key` means nothing to this server: the second request \
                           is another one, and our client pays for what it asks.";
const SAME_ID: &str = "An id is made of the challenge's terms and nothing random: two payers of \
                       one page whose challenges expire at the same instant have the same id, and \
                       only one of them is served by a server that counts each id once.";
const UNFILTERED: &str = "It offers all its methods whatever `Accept-Payment` says.";

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
    section.ask("tells the price in a dry run, and pays nothing", || {
        pair.dry_run()
    });
    section.ask("reads a description with quotes", || pair.described());
    section.ask("without money", || pair.poor());
    pair.stage.fund_wallet();
    section.ask("pays, and gets the page", || pair.pays());
    section.ask("checks the ledger's signature on the receipt", || {
        pair.receipt()
    });
    section.ask("`HEAD` of a priced page", || pair.head());
    section.ask("`POST` with a body", || pair.post());
    section.ask("the body is bound by its digest", || pair.bound());
    section.ask("an expired challenge", || pair.expired());
    section.ask("ours among several challenges", || pair.several());
    section.ask("`Idempotency-Key` repeated", || pair.idempotent());
    section.ask("four processes at once", || pair.crowd());
    section.ask("two challenges that expire together", || pair.ids());
    section.ask("`Accept-Payment` for another method", || pair.accepts());
    let payer = pair.payer();
    section.ask("the library pays, and gets the page", || {
        pair.library(&payer)
    });
    section.ask("our credential sent again", || pair.replayed(&payer));
    section.ask("our credential with its signature altered", || {
        pair.altered(&payer)
    });
    section.ask("our credential with its challenge altered", || {
        pair.forged(&payer)
    });
    section.ask("our credential cut short", || pair.cut(&payer));
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

fn json(done: &Done) -> Result<Value, String> {
    serde_json::from_str(&done.out).map_err(|error| format!("{error}: {done:?}"))
}

impl Pair {
    fn at(&self, path: &str) -> String {
        format!("{}{path}", self.peer.url)
    }

    /// `stiver get`, with a limit that allows one price.
    fn get(&self, more: &[&str]) -> Done {
        let args = ["--json", "get", "--max-amount", "0.001 USD"];
        self.stage.stiver(&[&args[..], more].concat())
    }

    /// Pays one price, and gives what was told.
    fn paid(&self, more: &[&str]) -> Result<Value, String> {
        let earned = self.stage.peer_earned();
        let done = self.get(more);
        ensure(done.code == 0, &done)?;
        let told = json(&done)?;
        ensure(told["status"] == 200, &told)?;
        let now = self.stage.peer_earned();
        ensure(now == earned + PRICE, (earned, now))?;
        Ok(told)
    }

    fn free(&self) -> Found {
        let told = json(&self.get(&[&self.at("/free")]))?;
        ensure(told["body"] == "free\n" && told["payment"].is_null(), &told)?;
        Ok(Cell::yes())
    }

    fn dry_run(&self) -> Found {
        let done = self.get(&["--dry-run", &self.at("/paid")]);
        ensure(done.code == 10, &done)?;
        let told = json(&done)?;
        let offer = &told["offers"][0];
        ensure(offer["amount"] == PRICE.to_string(), &told)?;
        ensure(self.stage.peer_earned() == 0, "it paid")?;
        Ok(Cell::yes())
    }

    fn described(&self) -> Found {
        let told = json(&self.get(&["--dry-run", &self.at("/described")]))?;
        let text = &told["offers"][0]["description"];
        ensure(text == "a \"quoted\" \\ reading", &told)?;
        Ok(Cell::yes())
    }

    fn poor(&self) -> Found {
        let done = self.get(&[&self.at("/paid")]);
        ensure(done.code != 0 && self.stage.peer_earned() == 0, &done)?;
        Ok(Cell::fact(format!("not paid, exit {}", done.code)))
    }

    fn pays(&self) -> Found {
        let told = self.paid(&[&self.at("/paid")])?;
        ensure(told["body"] == "paid\n", &told)?;
        Ok(Cell::yes())
    }

    /// The wallet has joined the ledger, and so refuses what is not signed by its key.
    fn receipt(&self) -> Found {
        let earned = self.stage.peer_earned();
        let url = self.at("/paid");
        let done = self
            .stage
            .stiver(&["get", "--max-amount", "0.001 USD", &url]);
        ensure(done.code == 0 && done.err.contains("tr_"), &done)?;
        ensure(
            !done.err.contains("warning") && !done.err.contains("Fault"),
            &done,
        )?;
        ensure(self.stage.peer_earned() == earned + PRICE, &done)?;
        Ok(Cell::yes())
    }

    fn head(&self) -> Found {
        let earned = self.stage.peer_earned();
        let done = self.get(&["-X", "HEAD", &self.at("/paid")]);
        let paid = self.stage.peer_earned() - earned;
        Ok(match (done.code, paid) {
            (0, PRICE) => Cell::fact("paid, no body"),
            (code, 0) => Cell::fact(format!("not paid, exit {code}")),
            _ => return Err(format!("{paid}: {done:?}")),
        })
    }

    fn post(&self) -> Found {
        self.paid(&["-d", "a body", &self.at("/paid")])?;
        Ok(Cell::yes())
    }

    fn bound(&self) -> Found {
        if self.who == Implementation::Mppx {
            let reply = ask("POST", &self.at("/paid"), &[], "a body");
            let header = reply.header("www-authenticate").unwrap_or_default();
            ensure(!header.contains("digest="), header)?;
            return Ok(Cell::differs("no", NO_DIGEST));
        }
        let reply = ask("POST", &self.at("/bound"), &[], "a body");
        let header = reply.header("www-authenticate").unwrap_or_default();
        ensure(header.contains("digest=\"sha-256="), header)?;
        self.paid(&["-d", "a body", &self.at("/bound")])?;
        Ok(Cell::yes())
    }

    fn expired(&self) -> Found {
        let earned = self.stage.peer_earned();
        let done = self.get(&[&self.at("/expired")]);
        ensure(done.code != 0 && self.stage.peer_earned() == earned, &done)?;
        Ok(Cell::fact(format!("not paid, exit {}", done.code)))
    }

    fn several(&self) -> Found {
        let reply = get(&self.at("/several"), &[]);
        let fields = reply.fields("www-authenticate");
        let shape = match fields.len() {
            1 => "one field",
            2 => "a field each",
            _ => return Err(format!("{fields:?}")),
        };
        ensure(fields.concat().matches("method=\"").count() == 2, &fields)?;
        self.paid(&[&self.at("/several")])?;
        Ok(Cell::fact(format!("yes ({shape})")))
    }

    fn idempotent(&self) -> Found {
        let url = self.at("/paid");
        let request = [
            "-H",
            "Idempotency-Key: \"once\"",
            "-d",
            "a body",
            url.as_str(),
        ];
        self.paid(&request)?;
        let earned = self.stage.peer_earned();
        let again = self.get(&request);
        ensure(again.code == 0, &again)?;
        match self.stage.peer_earned() - earned {
            PRICE => Ok(Cell::differs("paid again", NO_BODY_KEY)),
            0 => Ok(Cell::fact("same answer, paid once")),
            paid => Err(format!("{paid}: {again:?}")),
        }
    }

    fn crowd(&self) -> Found {
        let earned = self.stage.peer_earned();
        let url = self.at("/paid");
        let args = ["--json", "get", "--max-amount", "0.001 USD", url.as_str()];
        for done in self.stage.stiver_at_once(&args, CROWD) {
            ensure(done.code == 0, &done)?;
        }
        let paid = self.stage.peer_earned() - earned;
        ensure(paid == u128::try_from(CROWD).unwrap() * PRICE, paid)?;
        Ok(Cell::yes())
    }

    fn ids(&self) -> Found {
        let id = || {
            let reply = get(&self.at("/fixed"), &[]);
            let challenge = challenge(&reply)?;
            Ok::<_, String>(challenge.id.as_str().to_owned())
        };
        Ok(match id()? == id()? {
            true => Cell::differs("one id", SAME_ID),
            false => Cell::fact("two ids"),
        })
    }

    fn accepts(&self) -> Found {
        let reply = get(&self.at("/several"), &[("accept-payment", "ledger/charge")]);
        let offered = reply.fields("www-authenticate").concat();
        match (reply.status, offered.matches("method=\"").count()) {
            (402, 1) => Ok(Cell::fact("filters its offers")),
            (402, 2) => Ok(Cell::differs("offers all", UNFILTERED)),
            _ => Err(format!("{reply:?}")),
        }
    }

    fn payer(&self) -> Payer {
        let key = self.stage.funded_key(LIBRARY_SEED);
        let reply = get(&self.at("/paid"), &[]);
        let challenge = challenge(&reply).unwrap();
        Payer::new(key, &challenge)
    }

    fn library(&self, payer: &Payer) -> Found {
        let earned = self.stage.peer_earned();
        let (status, body, receipt) = payer.fetch(&self.at("/paid"))?;
        ensure((status, body.as_str()) == (200, "paid\n"), (status, body))?;
        ensure(receipt.starts_with("tr_"), receipt)?;
        ensure(self.stage.peer_earned() == earned + PRICE, "not one price")?;
        Ok(Cell::yes())
    }

    /// A credential for the priced page, as JSON.
    fn credential(&self, payer: &Payer) -> Result<Credential, String> {
        payer.credential(challenge(&get(&self.at("/paid"), &[]))?)
    }

    /// What the server says of a credential that it must refuse.
    fn refuses(&self, header: &str) -> Found {
        let earned = self.stage.peer_earned();
        let reply = get(&self.at("/paid"), &[("authorization", header)]);
        ensure(reply.status != 200, &reply)?;
        ensure(self.stage.peer_earned() == earned, "it took the money")?;
        Ok(Cell::fact(reply.problem()))
    }

    fn replayed(&self, payer: &Payer) -> Found {
        let header = self.credential(payer)?.to_header();
        let first = get(&self.at("/paid"), &[("authorization", &header)]);
        ensure(first.status == 200, &first)?;
        self.refuses(&header)
    }

    /// The credential with one change to its JSON.
    fn changed(&self, payer: &Payer, change: impl FnOnce(&mut Value)) -> Result<String, String> {
        let header = self.credential(payer)?.to_header();
        let token = header.split_once(' ').unwrap().1;
        let json = base64url::decode(token.as_bytes()).unwrap();
        let mut value: Value = serde_json::from_slice(&json).unwrap();
        change(&mut value);
        let token = base64url::encode(value.to_string().as_bytes());
        Ok(format!("Payment {token}"))
    }

    fn altered(&self, payer: &Payer) -> Found {
        let header = self.changed(payer, |value| {
            let signature = value["payload"]["signature"].as_str().unwrap();
            let other = if signature.starts_with('A') { "B" } else { "A" };
            value["payload"]["signature"] = format!("{other}{}", &signature[1..]).into();
        })?;
        self.refuses(&header)
    }

    fn forged(&self, payer: &Payer) -> Found {
        let header = self.changed(payer, |value| {
            value["challenge"]["expires"] = "2030-01-01T00:00:00Z".into();
        })?;
        self.refuses(&header)
    }

    fn cut(&self, payer: &Payer) -> Found {
        let header = self.credential(payer)?.to_header();
        self.refuses(&header[..header.len() / 2])
    }
}

/// The challenge of the ledger method in a reply.
fn challenge(reply: &Reply) -> Result<Challenge, String> {
    let fields = reply.fields("www-authenticate");
    let found = Challenge::parse_all(fields.iter().map(|field| field.as_bytes()));
    let mut readable = found.into_iter().filter_map(Result::ok);
    let ours = readable.find(|found| found.params.method.as_str() == "ledger");
    ours.ok_or_else(|| format!("{reply:?}"))
}
