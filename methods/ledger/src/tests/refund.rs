//! Giving money back.

use std::time::Duration;

use stiver_ledger::order::SignedOrder;
use stiver_method::{
    artefact::{Artefact, ExecuteError, Lookup, RefusalKind, Settled},
    payee::{PayeeCharge, RefundError, RefundRequest},
};

use super::setup::{ALICE, SHOP, Setup, usd};

fn paid(setup: &Setup) -> Settled {
    let payer = setup.payer(ALICE, None);
    let credential = setup.pay(&payer, &setup.challenge(1), 1);
    let plan = setup.precheck(&credential).unwrap();
    setup.run(setup.payee.execute(&plan.artefact)).unwrap()
}

fn refund(
    setup: &Setup,
    settled: &Settled,
    units: u128,
    key: u8,
) -> Result<Result<Settled, ExecuteError>, RefundError> {
    let amount = usd().units(units);
    let artefact = setup.run(setup.payee.prepare_refund(RefundRequest {
        settled,
        amount: &amount,
        reason: "the upstream failed\n",
        key: [key; 16],
        now: setup.now(),
    }))?;
    Ok(setup.run(setup.payee.execute(&artefact)))
}

#[test]
fn a_refund_goes_back_to_who_paid_and_says_what_it_refunds() {
    let setup = Setup::new();
    let settled = paid(&setup);
    let refunded = refund(&setup, &settled, 4_000, 1).unwrap().unwrap();
    let member = |name: &str| {
        let member = refunded.receipt.iter().find(|(key, _)| key == name);
        member
            .and_then(|(_, value)| value.as_str())
            .map(str::to_owned)
    };
    assert_eq!(member("refundOf"), Some(settled.reference.clone()));
    assert_eq!(member("reason").as_deref(), Some("the upstream failed"));
    assert_eq!(setup.available(ALICE), 994_000);
    assert_eq!(setup.available(SHOP), 1_006_000);
}

#[test]
fn two_refunds_of_one_key_are_one_refund() {
    let setup = Setup::new();
    let settled = paid(&setup);
    let first = refund(&setup, &settled, 4_000, 1).unwrap();
    assert_eq!(refund(&setup, &settled, 4_000, 1).unwrap(), first);
    // Prepared again later, it is another order with the same nonce.
    setup.simulation.clock.advance(Duration::from_secs(1));
    let Err(ExecuteError::Refused(refusal)) = refund(&setup, &settled, 4_000, 1).unwrap() else {
        panic!("refunded twice");
    };
    assert_eq!(refusal.kind, RefusalKind::AlreadyUsed);
    assert_eq!(setup.available(ALICE), 994_000);
}

#[test]
fn refunds_are_bounded_by_what_was_paid_and_by_the_window() {
    let setup = Setup::new();
    let settled = paid(&setup);
    for (units, why) in [(0, "zero"), (10_001, "more than was paid")] {
        let refused = refund(&setup, &settled, units, 1);
        assert!(matches!(refused, Err(RefundError::Refused(_))), "{why}");
    }
    assert!(refund(&setup, &settled, 6_000, 2).unwrap().is_ok());
    let over = refund(&setup, &settled, 4_001, 3).unwrap();
    let Err(ExecuteError::Refused(refusal)) = over else {
        panic!("refunded more than was paid");
    };
    assert_eq!(refusal.detail, "at most 4000 base units are left to refund");
    for _ in 0..9 {
        // Log time follows the clock by a day at a time.
        setup
            .simulation
            .clock
            .advance(Duration::from_secs(24 * 3600));
        setup.run(setup.embedded.ledger().time()).unwrap();
    }
    let late = refund(&setup, &settled, 1, 4).unwrap();
    let Err(ExecuteError::Refused(refusal)) = late else {
        panic!("refunded after the window");
    };
    assert!(refusal.detail.contains("refund window"), "{refusal}");
}

#[test]
fn a_refund_that_never_reached_the_ledger_can_be_looked_up() {
    let setup = Setup::new();
    let settled = paid(&setup);
    let amount = usd().units(1);
    let artefact = setup.run(setup.payee.prepare_refund(RefundRequest {
        settled: &settled,
        amount: &amount,
        reason: "",
        key: [1; 16],
        now: setup.now(),
    }));
    let artefact = artefact.unwrap();
    assert_eq!(
        setup.run(setup.payee.lookup(&artefact)),
        Ok(Lookup::Pending)
    );
    setup
        .simulation
        .clock
        .advance(Duration::from_secs(12 * 3600));
    let lookup = setup.run(setup.payee.lookup(&artefact)).unwrap();
    assert!(matches!(lookup, Lookup::Never(never) if never.kind == RefusalKind::Expired));
}

fn prepared(setup: &Setup, settled: &Settled, key: u8) -> Artefact {
    let amount = usd().units(4_000);
    let refund = RefundRequest {
        settled,
        amount: &amount,
        reason: "delivery failed",
        key: [key; 16],
        now: setup.now(),
    };
    setup.run(setup.payee.prepare_refund(refund)).unwrap()
}

fn lifetime() -> Duration {
    Duration::from_millis(crate::REFUND_LIFETIME_MS)
}

#[test]
fn a_refund_that_lapsed_is_prepared_again_and_only_the_new_one_lands() {
    let setup = Setup::new();
    let settled = paid(&setup);
    let lapsed = prepared(&setup, &settled, 1);
    setup.simulation.clock.advance(lifetime());
    let again = prepared(&setup, &settled, 1);
    let order = |artefact: &Artefact| {
        let signed = SignedOrder::from_bytes(&artefact.bytes).unwrap();
        signed.order().clone()
    };
    assert_eq!(order(&again).nonce, order(&lapsed).nonce);
    assert_eq!(again.rail_key, lapsed.rail_key);
    let fresh = setup.now().plus_millis(crate::REFUND_LIFETIME_MS);
    assert_eq!(order(&again).expires, fresh);
    assert_eq!(setup.run(setup.payee.lookup(&again)), Ok(Lookup::Pending));

    // `Never` is true: what lapsed is refused from then on, before and after the new one.
    let is_never = |lookup| {
        matches!(lookup, Ok(Lookup::Never(never))
            if [RefusalKind::Expired, RefusalKind::AlreadyUsed].contains(&never.kind))
    };
    assert!(is_never(setup.run(setup.payee.lookup(&lapsed))));
    let refused = setup.run(setup.payee.execute(&lapsed));
    assert!(matches!(refused, Err(ExecuteError::Refused(_))));
    let refund = setup.run(setup.payee.execute(&again)).unwrap();
    assert!(is_never(setup.run(setup.payee.lookup(&lapsed))));
    let refused = setup.run(setup.payee.execute(&lapsed));
    assert!(matches!(refused, Err(ExecuteError::Refused(_))));
    let done = setup.run(setup.payee.lookup(&again));
    assert_eq!(done, Ok(Lookup::Done(Box::new(refund))));
    assert_eq!(setup.available(ALICE), 994_000);
    assert_eq!(setup.available(SHOP), 1_006_000);
}

#[test]
fn a_refund_that_landed_unheard_is_found_and_never_made_again() {
    let setup = Setup::new();
    let settled = paid(&setup);
    let first = prepared(&setup, &settled, 1);
    let landed = setup.run(setup.payee.execute(&first)).unwrap();
    for days in [0, 1, 9] {
        setup.simulation.clock.advance(lifetime());
        for _ in 0..days {
            // Log time follows the clock by a day at a time.
            setup.simulation.clock.advance(2 * lifetime());
            setup.run(setup.embedded.ledger().time()).unwrap();
        }
        let again = prepared(&setup, &settled, 1);
        let refused = setup.run(setup.payee.execute(&again));
        assert!(
            matches!(refused, Err(ExecuteError::Refused(_))),
            "{refused:?} after {days} days"
        );
        let found = setup.run(setup.payee.lookup(&first));
        assert_eq!(found, Ok(Lookup::Done(Box::new(landed.clone()))));
        let other = setup.run(setup.payee.lookup(&again));
        assert!(!matches!(other, Ok(Lookup::Done(_))), "{other:?}");
        assert_eq!(setup.available(ALICE), 994_000);
    }
}

#[test]
fn a_payment_of_another_method_is_not_refunded_here() {
    let setup = Setup::new();
    let mut settled = paid(&setup);
    settled.reference = "pi_123".to_owned();
    let refused = refund(&setup, &settled, 1, 1);
    assert!(matches!(refused, Err(RefundError::Refused(_))));
}
