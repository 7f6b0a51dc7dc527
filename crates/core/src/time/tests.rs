use super::*;
use proptest::prelude::*;

#[test]
fn date_times_are_read_strictly() {
    use TimestampError::{BeforeEpoch, Syntax, TooLate};
    let noon = 1_736_942_700_000;
    let table: &[(&str, Result<u64, TimestampError>)] = &[
        ("2025-01-15T12:05:00Z", Ok(noon)),
        ("2025-01-15t12:05:00z", Ok(noon)),
        ("2025-01-15T12:05:00.000Z", Ok(noon)),
        ("2025-01-15T12:05:00.5Z", Ok(noon + 500)),
        ("2025-01-15T12:05:00.123999999999Z", Ok(noon + 123)),
        ("2025-01-15T13:05:00+01:00", Ok(noon)),
        ("2025-01-15T06:35:00-05:30", Ok(noon)),
        ("2025-01-15T12:05:00-00:00", Ok(noon)),
        ("1970-01-01T00:00:00Z", Ok(0)),
        ("1970-01-01T00:30:00+00:30", Ok(0)),
        ("2024-02-29T00:00:00Z", Ok(1_709_164_800_000)),
        ("9999-12-31T23:59:59.999Z", Ok(Timestamp::MAX.as_millis())),
        ("1969-12-31T23:59:59.999Z", Err(BeforeEpoch)),
        ("1970-01-01T00:00:00+00:01", Err(BeforeEpoch)),
        ("0000-01-01T00:00:00Z", Err(BeforeEpoch)),
        ("9999-12-31T23:59:59-00:01", Err(TooLate)),
        ("", Err(Syntax)),
        ("2025-01-15", Err(Syntax)),
        ("2025-01-15T12:05:00", Err(Syntax)),
        ("2025-01-15T12:05Z", Err(Syntax)),
        ("2025-01-15 12:05:00Z", Err(Syntax)),
        ("2025-01-15_12:05:00Z", Err(Syntax)),
        ("2025-01-15T12:05:00 Z", Err(Syntax)),
        (" 2025-01-15T12:05:00Z", Err(Syntax)),
        ("2025-01-15T12:05:00Z ", Err(Syntax)),
        ("2025-01-15T12:05:00Z\n", Err(Syntax)),
        ("2025-01-15T12:05:00ZZ", Err(Syntax)),
        ("2025-01-15T12:05:00.Z", Err(Syntax)),
        ("2025-01-15T12:05:00,5Z", Err(Syntax)),
        ("2025-01-15T12:05:00+0100", Err(Syntax)),
        ("2025-01-15T12:05:00+01", Err(Syntax)),
        ("2025-01-15T12:05:00+24:00", Err(Syntax)),
        ("2025-01-15T12:05:00+01:60", Err(Syntax)),
        ("2025-01-15T12:05:00\u{2212}01:00", Err(Syntax)),
        ("2025-1-15T12:05:00Z", Err(Syntax)),
        ("+2025-01-15T12:05:00Z", Err(Syntax)),
        ("-2025-01-15T12:05:00Z", Err(Syntax)),
        ("12025-01-15T12:05:00Z", Err(Syntax)),
        ("2025-00-15T12:05:00Z", Err(Syntax)),
        ("2025-13-15T12:05:00Z", Err(Syntax)),
        ("2025-02-29T12:05:00Z", Err(Syntax)),
        ("2025-04-31T12:05:00Z", Err(Syntax)),
        ("2025-01-00T12:05:00Z", Err(Syntax)),
        ("2025-01-15T24:00:00Z", Err(Syntax)),
        ("2025-01-15T12:60:00Z", Err(Syntax)),
        ("2025-01-15T12:05:61Z", Err(Syntax)),
        ("２025-01-15T12:05:00Z", Err(Syntax)),
        ("2025-W03-3T12:05:00Z", Err(Syntax)),
        ("1736942700", Err(Syntax)),
    ];
    for (text, expected) in table {
        let read = Timestamp::parse_rfc3339(text).map(Timestamp::as_millis);
        assert_eq!(&read, expected, "{text:?}");
    }
}

#[test]
fn a_leap_second_is_the_last_millisecond_before_it() {
    let last = Timestamp::parse_rfc3339("2016-12-31T23:59:59.999Z");
    assert!(last.is_ok());
    for text in [
        "2016-12-31T23:59:60Z",
        "2016-12-31T23:59:60.7Z",
        "2017-01-01T00:59:60+01:00",
        "2016-12-31T15:59:60-08:00",
    ] {
        assert_eq!(Timestamp::parse_rfc3339(text), last, "{text}");
    }
}

#[test]
fn a_sixtieth_second_elsewhere_is_refused() {
    for text in [
        "2025-01-15T12:05:60Z",
        "2025-01-15T23:59:60Z",
        "2016-12-31T23:59:60+01:00",
    ] {
        assert_eq!(
            Timestamp::parse_rfc3339(text),
            Err(TimestampError::Syntax),
            "{text}"
        );
    }
}

#[test]
fn milliseconds_are_printed_only_when_there_are_some() {
    let table = [
        (0, "1970-01-01T00:00:00Z"),
        (7, "1970-01-01T00:00:00.007Z"),
        (1_736_942_700_000, "2025-01-15T12:05:00Z"),
        (1_736_942_700_120, "2025-01-15T12:05:00.120Z"),
        (u64::MAX, "9999-12-31T23:59:59.999Z"),
    ];
    for (millis, expected) in table {
        assert_eq!(Timestamp::from_millis(millis).to_rfc3339(), expected);
    }
}

#[test]
fn arithmetic_stays_within_the_range() {
    assert_eq!(Timestamp::MAX.plus_millis(1), Timestamp::MAX);
    assert_eq!(Timestamp::EPOCH.plus_millis(u64::MAX), Timestamp::MAX);
    assert_eq!(Timestamp::EPOCH.minus_millis(1), Timestamp::EPOCH);
    assert_eq!(Timestamp::EPOCH.millis_since(Timestamp::MAX), 0);
    assert_eq!(
        Timestamp::from_millis(5).millis_since(Timestamp::from_millis(2)),
        3
    );
}

proptest! {
    #[test]
    fn printing_and_reading_is_the_identity(millis in 0..=Timestamp::MAX.as_millis()) {
        let at = Timestamp::from_millis(millis);
        prop_assert_eq!(Timestamp::parse_rfc3339(&at.to_rfc3339()), Ok(at));
    }

    #[test]
    fn the_text_sorts_as_the_instants_do_within_whole_seconds(
        left in 0..=Timestamp::MAX.as_millis() / 1000,
        right in 0..=Timestamp::MAX.as_millis() / 1000,
    ) {
        let text = |seconds: u64| Timestamp::from_millis(seconds * 1000).to_rfc3339();
        prop_assert_eq!(left.cmp(&right), text(left).cmp(&text(right)));
    }

    #[test]
    fn any_text_is_read_or_refused(text: String) {
        let _ = Timestamp::parse_rfc3339(&text);
    }

    #[test]
    fn whatever_looks_like_a_date_time_reads_back_from_its_print(
        text in concat!(
            "[0-9]{4}-[01][0-9]-[0-3][0-9][Tt][0-2][0-9]:[0-6][0-9]:[0-6][0-9]",
            "(\\.[0-9]{1,12})?(Z|z|[+-][0-2][0-9]:[0-6][0-9])",
        )
    ) {
        if let Ok(at) = Timestamp::parse_rfc3339(&text) {
            prop_assert_eq!(Timestamp::parse_rfc3339(&at.to_rfc3339()), Ok(at));
            prop_assert!(at <= Timestamp::MAX);
        }
    }
}
