use super::*;
use stiver_core::{
    Amount, Currency,
    challenge::Params,
    json::{EncodedObject, Object},
    name::{ChallengeId, IntentName, MethodName, Realm},
};
use stiver_method::{
    BoxFuture,
    artefact::{Artefact, Lookup, RailUnavailable},
    payer::{CallKey, PayError, Proof, Unpayable},
};

/// Reads `{"a":"10","c":"usd"}` and pays nothing: choosing never signs.
struct Reader {
    name: MethodName,
    intents: [IntentName; 1],
}

impl Payer for Reader {
    fn name(&self) -> &MethodName {
        &self.name
    }
    fn intents(&self) -> &[IntentName] {
        &self.intents
    }
    fn policy_view(&self, challenge: &Challenge) -> Result<PolicyView, Unpayable> {
        let value = challenge.params.request.object().to_value();
        let text = |key| value.get(key).and_then(|value| value.as_str());
        let (Some(units), Some(code)) = (text("a"), text("c")) else {
            return Err(Unpayable::Malformed("no price".into()));
        };
        let units = stiver_core::amount::parse_base_units(units, 128)
            .map_err(|error| Unpayable::Malformed(error.to_string()))?;
        Ok(PolicyView {
            amount: Currency::new(code, 6).unwrap().units(units),
            payee: "p".into(),
            network: "n".into(),
            expires: None,
        })
    }
    fn prepare<'a>(
        &'a self,
        _: &'a Challenge,
        _: Timestamp,
        _: CallKey,
    ) -> BoxFuture<'a, Result<Artefact, PayError>> {
        panic!("choosing never signs")
    }
    fn execute<'a>(&'a self, _: &'a Artefact) -> BoxFuture<'a, Result<Proof, PayError>> {
        panic!("choosing never pays")
    }
    fn lookup<'a>(&'a self, _: &'a Artefact) -> BoxFuture<'a, Result<Lookup, RailUnavailable>> {
        panic!("choosing never asks a rail")
    }
}

fn payers(names: &[&str]) -> Vec<Arc<dyn Payer>> {
    names
        .iter()
        .map(|name| {
            let reader = Reader {
                name: MethodName::new(name).unwrap(),
                intents: [IntentName::charge()],
            };
            let payer: Arc<dyn Payer> = Arc::new(reader);
            payer
        })
        .collect()
}

fn challenge(method: &str, units: &str, currency: &str) -> Challenge {
    let request = format!(r#"{{"a":"{units}","c":"{currency}"}}"#);
    Challenge {
        id: ChallengeId::new("id").unwrap(),
        params: Params::new(
            Realm::new("shop").unwrap(),
            MethodName::new(method).unwrap(),
            IntentName::charge(),
            EncodedObject::encode(&Object::parse(request.as_bytes()).unwrap()),
        ),
    }
}

fn chosen(names: &[&str], offers: &[(&str, &str, &str)]) -> (Vec<Amount>, Vec<Unusable>) {
    let payers = payers(names);
    let origin = Origin::of(&"https://a.example".parse().unwrap()).unwrap();
    let challenges = offers.iter().map(|(m, a, c)| Ok(challenge(m, a, c)));
    let asked = Asked {
        origin: &origin,
        body: &Bytes::new(),
        payers: &payers,
        now: Timestamp::from_millis(0),
    };
    let (offers, reasons) = choose(challenges.collect(), &asked);
    (offers.into_iter().map(|o| o.view.amount).collect(), reasons)
}

fn codes(amounts: &[Amount]) -> Vec<String> {
    amounts
        .iter()
        .map(|amount| format!("{}{}", amount.units(), amount.currency().code()))
        .collect()
}

#[test]
fn the_preferred_method_comes_first_whatever_its_price() {
    let offers = [("b", "1", "usd"), ("a", "9", "usd")];
    let (amounts, _) = chosen(&["a", "b"], &offers);
    assert_eq!(codes(&amounts), ["9usd", "1usd"]);
}

#[test]
fn the_cheaper_of_one_currency_comes_first_and_currencies_keep_the_servers_order() {
    let offers = [
        ("a", "5", "usd"),
        ("a", "1", "eur"),
        ("a", "3", "usd"),
        ("a", "3", "usd"),
        ("a", "2", "eur"),
    ];
    let (amounts, _) = chosen(&["a"], &offers);
    assert_eq!(codes(&amounts), ["3usd", "3usd", "5usd", "1eur", "2eur"]);
}

#[test]
fn what_cannot_be_paid_is_told_one_by_one() {
    let offers = [("x", "1", "usd"), ("a", "01", "usd"), ("a", "-1", "usd")];
    let (amounts, reasons) = chosen(&["a"], &offers);
    assert!(amounts.is_empty());
    assert!(matches!(reasons[0], Unusable::Method(_)));
    assert!(matches!(reasons[1], Unusable::Unpayable { .. }));
    assert!(matches!(reasons[2], Unusable::Unpayable { .. }));
}

#[test]
fn a_challenge_counts_as_expired_a_margin_before_it_is() {
    let payers = payers(&["a"]);
    let origin = Origin::of(&"https://a.example".parse().unwrap()).unwrap();
    let margin = u64::try_from(limits::EXPIRY_MARGIN.as_millis()).unwrap();
    let at = Timestamp::from_millis(1_000_000);
    for (left, usable) in [(margin + 1, true), (margin, false), (0, false)] {
        let mut challenge = challenge("a", "1", "usd");
        challenge.params.expires = Some(stiver_core::challenge::Expires::at(at));
        let asked = Asked {
            origin: &origin,
            body: &Bytes::new(),
            payers: &payers,
            now: Timestamp::from_millis(1_000_000 - left),
        };
        let (offers, reasons) = choose(vec![Ok(challenge)], &asked);
        assert_eq!(offers.len(), usize::from(usable), "{left} ms left");
        let expired = matches!(reasons.first(), Some(Unusable::Expired { .. }));
        assert_eq!(expired, !usable);
    }
}

#[test]
fn accept_payment_weighs_the_payers_in_order() {
    let names = ["a", "b", "c", "d", "e", "f", "g", "h", "i", "j", "k", "l"];
    let accept = accept_payment(None, &payers(&names)).unwrap();
    let weights: Vec<u16> = names
        .iter()
        .map(|name| {
            let method = MethodName::new(name).unwrap();
            accept.weight(&method, &IntentName::charge()).unwrap()
        })
        .collect();
    assert_eq!(weights[..3], [1000, 900, 800]);
    assert!(weights.is_sorted_by(|a, b| a >= b));
    assert_eq!(weights.last(), Some(&100));
}
