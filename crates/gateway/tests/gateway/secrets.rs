//! Whatever an operator or a client sees, none of it holds a byte of what pays or signs.

use stiver_core::{Credential, base64url};

use crate::common::{ROUTES, Reply, World, get, logs, paid, post, upstream::Upstream, with};

/// Shortest run of bytes that counts as a leak.
const LEAK_BYTES: usize = 12;
const UPSTREAM_PASSWORD: &str = "kV9-upstream-password-7Qz-in-a-header";
const IDEMPOTENCY_KEY: &str = "kW8-idempotency-key-of-this-very-test";

/// What must not be seen, in each form it could be seen in.
#[derive(Default)]
struct Secrets(Vec<Vec<u8>>);

impl Secrets {
    /// As it stands, and, where it is base64url, what it says, raw and in hexadecimal digits.
    fn text(&mut self, text: &str) {
        self.0.push(text.as_bytes().to_vec());
        if let Ok(bytes) = base64url::decode(text.as_bytes()) {
            self.bytes(&bytes);
        }
    }

    fn bytes(&mut self, bytes: &[u8]) {
        let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        self.0.push(bytes.to_vec());
        self.0.push(hex.into_bytes());
    }

    /// The token, and the signature in it.
    fn credential(&mut self, value: &str) {
        let token = value.strip_prefix("Payment ").unwrap();
        self.0.push(token.as_bytes().to_vec());
        let credential = Credential::parse(token.as_bytes()).unwrap();
        // What else is in the proof, the order with its ids, is in the books too.
        let signature = credential.payload.members()["signature"].as_str();
        self.text(signature.unwrap());
    }

    fn receipt(&mut self, reply: &Reply) {
        if let Some(receipt) = reply.header("payment-receipt") {
            self.0.push(receipt.as_bytes().to_vec());
        }
    }

    #[track_caller]
    fn are_not_in(&self, what: &str, seen: &[u8]) {
        for secret in &self.0 {
            for part in secret.chunks_exact(LEAK_BYTES) {
                let leaks = seen.windows(LEAK_BYTES).any(|window| window == part);
                let part = String::from_utf8_lossy(part);
                assert!(!leaks, "{part:?} of a secret is in {what}");
            }
        }
    }
}

async fn world() -> World {
    let upstream = Upstream::start().await;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("password");
    std::fs::write(&file, UPSTREAM_PASSWORD).unwrap();
    let more = format!(
        "[metrics]\nlisten = \"127.0.0.1:0\"\n[limits]\n\
         challenges_per_source = {{ per_second = 1000, burst = 16 }}\n\
         [upstreams.guarded]\nurl = \"http://{}\"\n\
         set_headers = {{ Authorization = {{ file = {:?}, prefix = \"Bearer \" }} }}\n",
        upstream.address,
        file.to_str().unwrap(),
    );
    let routes = ROUTES.replace("[[route]]\n", "[[route]]\nupstream = \"guarded\"\n");
    let denied = "path = \"/denied/**\"";
    let routes = routes.replace(&format!("upstream = \"guarded\"\n{denied}"), denied);
    World::configured(upstream, &more, &routes).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_that_is_seen_holds_what_pays_or_signs() {
    let world = world().await;
    let mut secrets = Secrets::default();
    secrets.text(UPSTREAM_PASSWORD);
    secrets.text(IDEMPOTENCY_KEY);
    for file in [
        world.secret_file(),
        world.config.payee_key_file(),
        world.config.issuer_key_file(),
    ] {
        let text = std::fs::read_to_string(file).unwrap();
        secrets.text(text.split_whitespace().last().unwrap());
    }
    let mut bodies = Vec::new();
    let keyed = |request| with(request, "idempotency-key", IDEMPOTENCY_KEY);
    for broken in [false, true] {
        world.upstream.set_broken(broken);
        for path in ["/v1/order", "/v1/refund", "/v1/keep"] {
            let credential = world.pay(keyed(post(path, "x"))).await;
            secrets.credential(&credential);
            let altered = credential.replace(&credential[60..70], "AAAAAAAAAA");
            for request in [
                keyed(paid(post(path, "x"), &credential)),
                keyed(paid(post(path, "x"), &credential)),
                // Another body, another path, no path, a free one, a denied one.
                paid(post(path, "y"), &credential),
                paid(get("/v1/reading"), &credential),
                paid(get("/nowhere"), &credential),
                paid(get("/free/a"), &credential),
                paid(get("/denied/a"), &credential),
                // Altered, cut, twice, in the other field, beside a password.
                paid(post(path, "x"), &altered),
                paid(post(path, "x"), &credential[..credential.len() - 3]),
                paid(paid(post(path, "x"), &credential), &credential),
                with(post(path, "x"), "payment-authorization", &credential),
            ] {
                let reply = world.ask(request).await;
                secrets.receipt(&reply);
                bodies.extend_from_slice(&reply.body);
            }
        }
    }
    let forwarded = world.upstream.seen();
    let password = format!("Bearer {UPSTREAM_PASSWORD}");
    assert!(
        forwarded
            .iter()
            .any(|seen| seen.headers["authorization"] == password.as_str())
    );
    assert!(secrets.0.len() > 30, "there is something to look for");
    secrets.are_not_in("a body", &bodies);
    look_everywhere(&world, &secrets).await;
}

async fn look_everywhere(world: &World, secrets: &Secrets) {
    let account = world.payer.account();
    for target in [
        "/v1/status".to_owned(),
        "/v1/books".to_owned(),
        "/v1/accounts".to_owned(),
        format!("/v1/statement?account={account}"),
    ] {
        let seen = world.admin(&target).await.to_string();
        assert!(seen.len() > 20);
        secrets.are_not_in(&target, seen.as_bytes());
    }
    for target in ["/metrics", "/readyz", "/healthz"] {
        let (_, seen) = world.observe(target).await;
        secrets.are_not_in(target, seen.as_bytes());
    }
    let logs = logs::text();
    for word in [
        "delivered",
        "refunded",
        "the payment is kept",
        "stiver_gateway::access",
    ] {
        assert!(logs.contains(word), "{word} is told");
    }
    secrets.are_not_in("the log", logs.as_bytes());
}
