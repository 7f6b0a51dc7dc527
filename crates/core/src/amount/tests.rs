use super::*;
use alloc::{boxed::Box, vec::Vec};
use proptest::prelude::*;

fn usd() -> Currency {
    Currency::new("usd", 6).unwrap()
}

fn character(offset: usize, found: char) -> AmountError {
    AmountError::Character { offset, found }
}

#[test]
fn wire_amounts_are_digits_without_needless_zeros_within_the_width() {
    let too_large = |bits| AmountError::TooLarge { bits };
    let table: &[(&str, u8, Result<u128, AmountError>)] = &[
        ("0", 64, Ok(0)),
        ("1", 1, Ok(1)),
        ("10000", 64, Ok(10_000)),
        ("18446744073709551615", 64, Ok(u128::from(u64::MAX))),
        ("18446744073709551616", 64, Err(too_large(64))),
        ("9223372036854775808", 63, Err(too_large(63))),
        (
            "340282366920938463463374607431768211455",
            128,
            Ok(u128::MAX),
        ),
        (
            "340282366920938463463374607431768211456",
            128,
            Err(too_large(128)),
        ),
        (
            "9999999999999999999999999999999999999999",
            255,
            Err(too_large(128)),
        ),
        ("0", 0, Ok(0)),
        ("1", 0, Err(too_large(0))),
        ("", 64, Err(AmountError::Empty)),
        ("00", 64, Err(AmountError::LeadingZero)),
        ("01", 64, Err(AmountError::LeadingZero)),
        ("-1", 64, Err(character(0, '-'))),
        ("+1", 64, Err(character(0, '+'))),
        ("1.0", 64, Err(character(1, '.'))),
        ("1e3", 64, Err(character(1, 'e'))),
        (" 1", 64, Err(character(0, ' '))),
        ("1 ", 64, Err(character(1, ' '))),
        ("1\n", 64, Err(character(1, '\n'))),
        ("1_000", 64, Err(character(1, '_'))),
        ("1,000", 64, Err(character(1, ','))),
        ("0x10", 64, Err(character(1, 'x'))),
        ("１", 64, Err(character(0, '１'))),
        ("1\u{0}", 64, Err(character(1, '\u{0}'))),
        ("\u{0661}", 64, Err(character(0, '\u{0661}'))),
    ];
    for (text, bits, expected) in table {
        assert_eq!(&parse_base_units(text, *bits), expected, "{text:?}");
    }
}

#[test]
fn a_megabyte_of_digits_is_refused() {
    let text = "9".repeat(1 << 20);
    let refused = Err(AmountError::TooLarge { bits: 128 });
    assert_eq!(parse_base_units(&text, 128), refused);
    assert_eq!(
        usd().parse_decimal(&text),
        Err(AmountError::TooLarge { bits: 128 })
    );
}

#[test]
fn human_decimals_convert_exactly_or_fail() {
    let too_many = |decimals| AmountError::TooManyDecimals {
        decimals,
        decimals_max: 6,
    };
    let too_large = Err(AmountError::TooLarge { bits: 128 });
    let table: &[(&str, Result<u128, AmountError>)] = &[
        ("0", Ok(0)),
        ("0.0", Ok(0)),
        ("0.01", Ok(10_000)),
        ("0.000001", Ok(1)),
        ("1", Ok(1_000_000)),
        ("1.5", Ok(1_500_000)),
        ("10.000000", Ok(10_000_000)),
        ("340282366920938463463374607431768.211455", Ok(u128::MAX)),
        (
            "340282366920938463463374607431768.211456",
            too_large.clone(),
        ),
        ("340282366920938463463374607431769", too_large),
        ("", Err(AmountError::Empty)),
        (".", Err(AmountError::Point { offset: 0 })),
        (".5", Err(AmountError::Point { offset: 0 })),
        ("5.", Err(AmountError::Point { offset: 1 })),
        ("0.0000001", Err(too_many(7))),
        ("0.0100000", Err(too_many(7))),
        ("1.2.3", Err(character(3, '.'))),
        ("1..2", Err(character(2, '.'))),
        ("01", Err(AmountError::LeadingZero)),
        ("00.1", Err(AmountError::LeadingZero)),
        ("-0.01", Err(character(0, '-'))),
        ("+0.01", Err(character(0, '+'))),
        ("0.-1", Err(character(2, '-'))),
        ("1e2", Err(character(1, 'e'))),
        ("1.0e2", Err(character(3, 'e'))),
        ("1.0 ", Err(character(3, ' '))),
        ("1,5", Err(character(1, ','))),
        ("NaN", Err(character(0, 'N'))),
        ("1.٣", Err(character(2, '٣'))),
    ];
    for (text, expected) in table {
        let read = usd().parse_decimal(text).map(|amount| amount.units());
        assert_eq!(&read, expected, "{text:?}");
    }
}

#[test]
fn a_currency_without_decimals_takes_no_fraction() {
    let jpy = Currency::new("jpy", 0).unwrap();
    assert_eq!(jpy.parse_decimal("5").unwrap().units(), 5);
    let refused = AmountError::TooManyDecimals {
        decimals: 1,
        decimals_max: 0,
    };
    assert_eq!(jpy.parse_decimal("5.0"), Err(refused));
}

#[test]
fn amounts_print_for_people_with_at_least_two_decimals_where_there_are_two() {
    let table: &[(&str, u8, u128, &str)] = &[
        ("usd", 6, 0, "0.00 USD"),
        ("usd", 6, 10_000, "0.01 USD"),
        ("usd", 6, 1, "0.000001 USD"),
        ("usd", 6, 1_500_000, "1.50 USD"),
        ("usd", 6, 1_000_000, "1.00 USD"),
        ("usd", 6, 123_456_789, "123.456789 USD"),
        ("usd", 2, 5, "0.05 USD"),
        ("jpy", 0, 500, "500 JPY"),
        ("mru", 1, 15, "1.5 MRU"),
        ("mru", 1, 10, "1.0 MRU"),
        ("USDC", 6, 1_000, "0.001 USDC"),
        ("x0y", 2, 1, "0.01 x0y"),
        (
            "EPjFWdd5AufqSSqeM2qN1xzybapC8G4w",
            2,
            1,
            "0.01 EPjFWdd5AufqSSqeM2qN1xzybapC8G4w",
        ),
        ("wei", 38, 1, "0.00000000000000000000000000000000000001 WEI"),
        (
            "wei",
            38,
            u128::MAX,
            "3.40282366920938463463374607431768211455 WEI",
        ),
    ];
    for (code, decimals, units, expected) in table {
        let amount = Currency::new(code, *decimals).unwrap().units(*units);
        assert_eq!(&amount.to_string(), expected);
    }
}

#[test]
fn human_amounts_name_their_currency_in_any_case() {
    let lookup = |code: &str| (code == "usd").then(usd);
    for text in ["0.01 USD", "0.01 usd", "0.01 Usd"] {
        assert_eq!(Amount::parse_human(text, lookup), Ok(usd().units(10_000)));
    }
    let unknown = |code: &str| AmountError::UnknownCurrency { code: code.into() };
    let table: &[(&str, AmountError)] = &[
        ("", AmountError::NoCurrency),
        ("0.01", AmountError::NoCurrency),
        ("0.01USD", AmountError::NoCurrency),
        ("0.01 ", AmountError::NoCurrency),
        ("0.01 eur", unknown("eur")),
        ("0.01  usd", unknown(" usd")),
        ("0.01\tusd", AmountError::NoCurrency),
        ("0.01 usd ", unknown("usd ")),
        (" usd", AmountError::Empty),
        ("USD 0.01", unknown("0.01")),
        ("-1 usd", character(0, '-')),
    ];
    for (text, expected) in table {
        assert_eq!(
            &Amount::parse_human(text, lookup).unwrap_err(),
            expected,
            "{text:?}"
        );
    }
    let long = alloc::format!("{} usd", "0".repeat(HUMAN_AMOUNT_BYTES_MAX));
    let refused = AmountError::TooLong { bytes: long.len() };
    assert_eq!(Amount::parse_human(&long, lookup), Err(refused));
}

#[test]
fn a_lookup_that_answers_another_currency_is_not_believed() {
    let read = Amount::parse_human("1 eur", |_| Some(usd()));
    assert_eq!(
        read,
        Err(AmountError::UnknownCurrency { code: "eur".into() })
    );
}

#[test]
fn a_token_id_keeps_its_case_in_the_lookup() {
    let token = Currency::new("So11AbC", 9).unwrap();
    let lookup = |code: &str| (code == token.code()).then(|| token.clone());
    assert_eq!(
        Amount::parse_human("1 So11AbC", lookup),
        Ok(token.units(1_000_000_000))
    );
}

#[test]
fn currency_codes_are_visible_ascii_without_a_bar() {
    let long = "x".repeat(CURRENCY_BYTES_MAX + 1);
    let table: &[(&str, u8, Result<(), CurrencyError>)] = &[
        ("usd", 6, Ok(())),
        ("0x20c0000000000000000000000000000000000000", 6, Ok(())),
        (&long[1..], 38, Ok(())),
        ("", 6, Err(CurrencyError::Empty)),
        (&long, 6, Err(CurrencyError::TooLong { bytes: 129 })),
        ("us d", 6, Err(CurrencyError::Character { offset: 2 })),
        ("us|d", 6, Err(CurrencyError::Character { offset: 2 })),
        ("usd\n", 6, Err(CurrencyError::Character { offset: 3 })),
        ("€", 6, Err(CurrencyError::Character { offset: 0 })),
        ("usd\u{7f}", 6, Err(CurrencyError::Character { offset: 3 })),
        ("usd", 39, Err(CurrencyError::Decimals { decimals: 39 })),
    ];
    for (code, decimals, expected) in table {
        let made = Currency::new(code, *decimals).map(|_| ());
        assert_eq!(&made, expected, "{code:?}");
    }
}

#[test]
fn two_currencies_neither_add_nor_compare() {
    let left = usd().units(1);
    for other in [
        Currency::new("eur", 6).unwrap(),
        Currency::new("usd", 2).unwrap(),
    ] {
        let right = other.units(1);
        let refused = AmountError::CurrencyMismatch {
            left: usd(),
            right: other,
        };
        assert_eq!(left.checked_add(&right), Err(refused.clone()));
        assert_eq!(left.checked_sub(&right), Err(refused.clone()));
        assert_eq!(left.compare(&right), Err(refused));
    }
}

#[test]
fn arithmetic_beyond_the_range_is_an_error() {
    let most = usd().units(u128::MAX);
    let one = usd().units(1);
    assert_eq!(most.checked_add(&one), Err(AmountError::Overflow));
    assert_eq!(most.checked_mul(2), Err(AmountError::Overflow));
    assert_eq!(one.checked_sub(&most), Err(AmountError::Negative));
    assert_eq!(most.checked_mul(0), Ok(usd().zero()));
    assert_eq!(most.checked_add(&usd().zero()), Ok(most));
}

#[test]
fn messages_do_not_pass_on_control_characters() {
    let refusals: Vec<Box<dyn core::error::Error>> = Vec::from([
        Box::from(parse_base_units("1\u{1b}[2J", 64).unwrap_err()),
        Box::from(parse_base_units("\u{202e}1", 64).unwrap_err()),
        Box::from(Amount::parse_human("1 \u{1b}[2J", |_| None).unwrap_err()),
    ]);
    for refusal in refusals {
        let message = refusal.to_string();
        assert!(
            message.chars().all(|c| !c.is_control() && c != '\u{202e}'),
            "{message:?}"
        );
    }
}

proptest! {
    #[test]
    fn printing_and_reading_base_units_is_the_identity(units: u128) {
        prop_assert_eq!(parse_base_units(&usd().units(units).to_wire(), 128), Ok(units));
    }

    #[test]
    fn whatever_reads_as_base_units_prints_as_it_stood(text in "[0-9]{1,42}", bits in 1..=128_u8) {
        if let Ok(units) = parse_base_units(&text, bits) {
            prop_assert_eq!(usd().units(units).to_wire(), text);
            prop_assert!(128 - units.leading_zeros() <= u32::from(bits));
        }
    }

    #[test]
    fn printing_and_reading_for_people_is_the_identity(units: u128, decimals in 0..=38_u8) {
        let currency = Currency::new("usd", decimals).unwrap();
        let amount = currency.units(units);
        prop_assert_eq!(currency.parse_decimal(&amount.to_decimal()), Ok(amount.clone()));
        let lookup = |code: &str| (code == "usd").then(|| currency.clone());
        prop_assert_eq!(Amount::parse_human(&amount.to_string(), lookup), Ok(amount));
    }

    #[test]
    fn any_text_is_read_or_refused(text: String, decimals in 0..=38_u8) {
        let currency = Currency::new("usd", decimals).unwrap();
        if let Ok(amount) = currency.parse_decimal(&text) {
            prop_assert_eq!(currency.parse_decimal(&amount.to_decimal()), Ok(amount));
        }
        let _ = parse_base_units(&text, decimals);
        let _ = Amount::parse_human(&text, |_| Some(currency.clone()));
        let _ = Currency::new(&text, decimals);
    }

    #[test]
    fn sums_commute_and_subtraction_undoes_them(left: u128, right: u128) {
        let (left, right) = (usd().units(left), usd().units(right));
        let sum = left.checked_add(&right);
        prop_assert_eq!(&sum, &right.checked_add(&left));
        match sum {
            Ok(sum) => {
                prop_assert_eq!(sum.checked_sub(&right), Ok(left.clone()));
                prop_assert_ne!(sum.compare(&left), Ok(Ordering::Less));
            }
            Err(error) => prop_assert_eq!(error, AmountError::Overflow),
        }
    }

    #[test]
    fn a_product_is_the_repeated_sum(units in 0..=u128::MAX / 8, count in 0..8_u128) {
        let amount = usd().units(units);
        let mut sum = usd().zero();
        for _ in 0..count {
            sum = sum.checked_add(&amount).unwrap();
        }
        prop_assert_eq!(amount.checked_mul(count), Ok(sum));
    }

    #[test]
    fn the_order_of_amounts_is_that_of_their_units(left: u128, right: u128) {
        let order = usd().units(left).compare(&usd().units(right));
        prop_assert_eq!(order, Ok(left.cmp(&right)));
    }
}
