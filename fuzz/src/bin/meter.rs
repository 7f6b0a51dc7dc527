//! Prices and units as text: what is read is exact, and charging loses nothing.
#![no_main]

use libfuzzer_sys::fuzz_target;
use stiver_channel::meter::{Carry, Price, Unit};
use stiver_core::Currency;

fuzz_target!(|data: &[u8]| {
    let Some((numbers, text)) = data.split_first_chunk::<18>() else {
        return;
    };
    let Some(text) = stiver_fuzz::text(text) else {
        return;
    };
    if let Ok(unit) = text.parse::<Unit>() {
        assert_eq!(unit.as_str(), text);
    }
    let [decimals, cut, rest @ ..] = numbers;
    let (per, quantity) = rest.split_at(8);
    let per = u64::from_be_bytes(per.try_into().expect("eight bytes"));
    let quantity = u64::from_be_bytes(quantity.try_into().expect("eight bytes"));
    let currency = Currency::new("usd", decimals % 39).expect("a good currency");
    let Ok(price) = Price::parse(text, &currency, per) else {
        return;
    };
    if let Ok(amount) = currency.parse_decimal(text) {
        let same = Price::new(amount.units(), per).expect("per is not zero");
        assert_eq!(price, same);
    }
    let Ok(whole) = price.charge(quantity, Carry::default()) else {
        return;
    };
    // In two parts it costs the same.
    let first = quantity / (u64::from(*cut) + 1);
    let one = price.charge(first, Carry::default()).expect("it is less");
    let kept = Carry::restore(one.carry.parts(), one.carry.of()).expect("a fraction");
    let two = price.charge(quantity - first, kept).expect("it is less");
    assert_eq!(one.units + two.units, whole.units);
    assert_eq!(two.carry, whole.carry);
    assert!(
        price
            .most(quantity)
            .map_or(true, |most| most >= whole.units)
    );
});
