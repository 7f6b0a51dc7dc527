//! Money: base units from the wire, decimals from people.
#![no_main]

use libfuzzer_sys::fuzz_target;
use stiver_core::{Amount, Currency, amount::parse_base_units};

fuzz_target!(|data: &[u8]| {
    let Some((&first, rest)) = data.split_first() else {
        return;
    };
    let Some(text) = stiver_fuzz::text(rest) else {
        return;
    };
    let bits = first % 128 + 1;
    match parse_base_units(text, bits) {
        Ok(units) => {
            assert_eq!(units.to_string(), text, "one number has one text");
            assert!(bits == 128 || units >> bits == 0, "wider than {bits} bits");
        }
        Err(_) => {
            let units = text
                .parse::<u128>()
                .ok()
                .filter(|units| units.to_string() == text);
            assert!(
                units.is_none_or(|units| bits < 128 && units >> bits > 0),
                "refused {text}"
            );
        }
    }
    let currency = Currency::new("usd", first % 39).expect("up to 38 decimals are allowed");
    if let Ok(amount) = currency.parse_decimal(text) {
        assert_eq!(
            currency.parse_decimal(&amount.to_decimal()),
            Ok(amount.clone())
        );
        assert_eq!(parse_base_units(&amount.to_wire(), 128), Ok(amount.units()));
    }
    let lookup = |code: &str| (code == "usd").then(|| currency.clone());
    if let Ok(amount) = Amount::parse_human(text, lookup) {
        assert_eq!(Amount::parse_human(&amount.to_string(), lookup), Ok(amount));
    }
    let _ = Currency::new(text, first);
});
