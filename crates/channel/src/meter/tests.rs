use super::*;
use alloc::{format, string::ToString as _, vec::Vec};
use proptest::prelude::*;
use stiver_core::Currency;

fn usd() -> Currency {
    Currency::new("usd", 6).unwrap()
}

fn price(text: &str, per: u64) -> Price {
    Price::parse(text, &usd(), per).unwrap()
}

fn parts(price: Price) -> (u128, u64) {
    (price.units(), price.per())
}

#[test]
fn decimal_prices_become_exact_fractions_of_base_units() {
    for (text, per, expected) in [
        ("0", 1, (0, 1)),
        ("0.000002", 1, (2, 1)),
        ("1", 1, (1_000_000, 1)),
        ("0.0000005", 1, (1, 2)),
        ("0.0000003", 1, (3, 10)),
        ("0.15", 1000, (150, 1)),
        ("0.002", 1024, (125, 64)),
        ("0.30", 3_600_000, (1, 12)),
        ("0.10", 3, (100_000, 3)),
        ("2.50000000000000000000", 1, (2_500_000, 1)),
        (
            "0.0000000000000000000000005",
            1,
            (1, 2_000_000_000_000_000_000),
        ),
    ] {
        assert_eq!(parts(price(text, per)), expected, "{text} per {per}");
    }
}

#[test]
fn prices_that_are_none_or_do_not_fit_are_refused() {
    let refused = |text: &str, per| Price::parse(text, &usd(), per).unwrap_err();
    for text in [
        "", ".", "1.", ".1", "01", "00.1", "-1", "+1", "1e3", "1 ", "1,0", "1.2.3", "１",
    ] {
        assert_eq!(refused(text, 1), PriceError::Syntax, "{text}");
    }
    assert_eq!(refused("1", 0), PriceError::PerNothing);
    let long = "1".repeat(79);
    assert_eq!(refused(&long, 1), PriceError::TooLong { bytes: 79 });
    assert_eq!(refused(&long[..40], 1), PriceError::TooLarge);
    let fine = format!("0.{}1", "0".repeat(26));
    assert_eq!(refused(&fine, 1), PriceError::TooFine);
    assert_eq!(refused("0.0000001", u64::MAX), PriceError::TooFine);
}

#[test]
fn a_price_below_one_base_unit_is_paid_in_full_over_time() {
    let price = price("0.0000003", 1);
    let mut carry = Carry::default();
    let mut paid = Vec::new();
    for _ in 0..10 {
        let metered = price.charge(1, carry).unwrap();
        paid.push(metered.units);
        carry = metered.carry;
    }
    assert_eq!(paid, [0, 0, 0, 1, 0, 0, 1, 0, 0, 1]);
    assert_eq!(carry.parts(), 0);
}

#[test]
fn a_carry_is_kept_and_restored_and_follows_a_new_price() {
    let third = Price::new(1, 3).unwrap();
    let carry = third.charge(2, Carry::default()).unwrap().carry;
    let kept = Carry::restore(carry.parts(), carry.of()).unwrap();
    assert_eq!(kept, carry);
    // Two thirds are four sixths, exactly, and one half at most in halves.
    let sixth = Price::new(1, 6).unwrap();
    assert_eq!(sixth.charge(2, carry).unwrap().units, 1);
    let half = Price::new(1, 2).unwrap();
    let metered = half.charge(0, carry).unwrap();
    assert_eq!((metered.carry.parts(), metered.carry.of()), (1, 2));
    let (parts, of) = (3, 3);
    let whole = Carry::restore(parts, of);
    assert_eq!(whole, Err(PriceError::NoFraction { parts, of }));
    assert!(Carry::restore(0, 0).is_err());
}

#[test]
fn what_is_more_than_an_amount_is_an_error() {
    let dear = Price::new(u128::MAX, 1).unwrap();
    assert_eq!(dear.charge(1, Carry::default()).unwrap().units, u128::MAX);
    let over = dear.charge(2, Carry::default());
    assert_eq!(over, Err(PriceError::TooLarge));
    assert_eq!(dear.most(2), Err(PriceError::TooLarge));
    let tab = Tab::new([
        Meter::new("a", Unit::Request, dear).unwrap(),
        Meter::new("b", Unit::Request, dear).unwrap(),
    ]);
    let readings = ["a", "b"].map(|meter| Reading { meter, quantity: 1 });
    let tab = tab.unwrap();
    let error = TabError::Price(PriceError::TooLarge);
    assert_eq!(tab.charge(&readings), Err(error));
    assert_eq!(tab.most(&readings), Err(error));
}

#[test]
fn several_meters_are_charged_together_and_carry_each_its_own() {
    let mut tab = Tab::new([
        Meter::new("energy", Unit::KilowattHour, price("0.301234", 1000)).unwrap(),
        Meter::new("time", Unit::Second, price("0.02", 60)).unwrap(),
    ])
    .unwrap();
    let readings = [
        Reading {
            meter: "energy",
            quantity: 7,
        },
        Reading {
            meter: "time",
            quantity: 1,
        },
    ];
    let total = tab.charge(&readings).unwrap();
    // 2108.638 for the energy, 333.333... for the time.
    assert_eq!(total.units, 2108 + 333);
    assert_eq!(tab.most(&readings).unwrap(), 2109 + 334);
    // Nothing is carried before it is paid.
    assert_eq!(tab.charge(&readings).unwrap(), total);
    tab.commit(&total);
    let carries: Vec<_> = tab
        .carries()
        .map(|(id, carry)| (id, carry.parts(), carry.of()))
        .collect();
    assert_eq!(carries, [("energy", 319, 500), ("time", 1, 3)]);
    // A new price in the next segment.
    tab.set_price("energy", price("0.4", 1000)).unwrap();
    let next = tab.charge(&readings[..1]).unwrap();
    assert_eq!(next.units, 2800);
    let unknown = Reading {
        meter: "water",
        quantity: 1,
    };
    assert_eq!(tab.charge(&[unknown]), Err(TabError::Unknown));
    assert_eq!(tab.most(&[unknown]), Err(TabError::Unknown));
    assert!(tab.restore("water", Carry::default()).is_err());
    tab.restore("time", Carry::default()).unwrap();
}

#[test]
fn meters_are_told_apart_and_are_not_too_many() {
    let meter = |id: &str| Meter::new(id, Unit::Token, price("1", 1)).unwrap();
    assert_eq!(Tab::new([meter("a"), meter("a")]), Err(TabError::Twice));
    let many = (0..=METERS_MAX).map(|n| meter(&format!("m{n}")));
    assert_eq!(Tab::new(many), Err(TabError::TooMany));
    for id in ["", "A", "1a", "a b", "a|b", "é"] {
        assert!(Meter::new(id, Unit::Token, price("1", 1)).is_err(), "{id}");
    }
}

#[test]
fn units_read_back_and_others_are_refused() {
    for text in [
        "request",
        "byte",
        "second",
        "millisecond",
        "token",
        "kWh",
        "image",
    ] {
        let unit: Unit = text.parse().unwrap();
        assert_eq!(unit.to_string(), text);
        assert_eq!(matches!(unit, Unit::Custom(_)), text == "image");
    }
    for text in ["", "KWH", "-a", "a\n"] {
        assert!(text.parse::<Unit>().is_err(), "{text:?}");
    }
    assert_eq!(
        "a".repeat(33).parse::<Unit>(),
        Err(UnitError::TooLong { bytes: 33 })
    );
}

proptest! {
    #[test]
    fn however_it_is_cut_the_same_is_paid(
        units in 0_u128..1_000_000_000_000,
        per in 1_u64..1_000_000_000,
        readings in prop::collection::vec(0_u64..1_000_000_000, 0..50),
    ) {
        let price = Price::new(units, per).unwrap();
        let mut carry = Carry::default();
        let mut paid = 0;
        let mut all = 0_u128;
        for quantity in readings {
            let most = price.most(quantity).unwrap();
            let metered = price.charge(quantity, carry).unwrap();
            prop_assert!(metered.units <= most);
            prop_assert!(metered.carry.parts() < metered.carry.of());
            carry = metered.carry;
            paid += metered.units;
            all += u128::from(quantity);
            prop_assert_eq!(paid, all * units / u128::from(per));
        }
    }

    #[test]
    fn the_quantity_that_is_covered_costs_no_more_and_one_more_may(
        units in 1_u128..1_000_000_000,
        per in 1_u64..1_000_000,
        paid in 0_u128..1_000_000_000,
    ) {
        let price = Price::new(units, per).unwrap();
        let covered = price.covered(paid);
        prop_assert!(price.most(covered).unwrap() <= paid);
        prop_assert!(price.most(covered + 1).unwrap() > paid);
    }

    #[test]
    fn an_amount_of_a_currency_is_the_same_as_a_price(units in 0_u128..u128::MAX / 10) {
        let text = usd().units(units).to_decimal();
        prop_assert_eq!(parts(price(&text, 1)), (units, 1));
    }

    #[test]
    fn any_text_is_a_price_or_not_and_any_numbers_are_charged_or_not(
        text in "[0-9.]{0,90}",
        per in any::<u64>(),
        quantity in any::<u64>(),
        carried in any::<(u64, u64)>(),
    ) {
        if let Ok(price) = Price::parse(&text, &usd(), per) {
            let carry = Carry::restore(carried.0, carried.1).unwrap_or_default();
            if let Ok(metered) = price.charge(quantity, carry) {
                prop_assert!(price.most(quantity).map_or(true, |most| metered.units <= most));
            }
            prop_assert!(price.most(price.covered(5)).map_or(true, |most| most <= 5));
        }
    }
}
