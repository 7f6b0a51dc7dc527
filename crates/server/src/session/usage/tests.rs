use http::HeaderValue;
use proptest::prelude::*;
use stiver_channel::meter::REPORT_UNITS_MAX;

use super::*;

fn units() -> Vec<Unit> {
    let names = ["token", "kWh", "event", "image"];
    names.iter().map(|name| name.parse().unwrap()).collect()
}

#[test]
fn reports_add_up_and_totals_only_grow() {
    let reported = Reported::new(units());
    let usage = reported.reporter();
    usage.report("token", Quantity::whole(3)).unwrap();
    usage.report("token", Quantity::whole(4)).unwrap();
    usage.report_total("kWh", Quantity::new(5, 1)).unwrap();
    usage.report_total("kWh", Quantity::new(75, 2)).unwrap();
    let back = usage.report_total("kWh", Quantity::new(5, 1));
    assert_eq!(back, Err(ReportError::Backwards));
    assert_eq!(reported.due()[..4], [7, 750_000_000, 0, 0]);
}

#[test]
fn what_is_no_report_changes_nothing() {
    let reported = Reported::new(units());
    let usage = reported.reporter();
    let over = Quantity::whole(REPORT_UNITS_MAX + 1);
    for (unit, quantity, error) in [
        ("event", Quantity::whole(1), ReportError::NotReported),
        ("second", Quantity::whole(1), ReportError::NotReported),
        ("token", Quantity::new(5, 1), QuantityError::TooFine.into()),
        ("token", over, QuantityError::TooLarge.into()),
        ("image", over, QuantityError::TooLarge.into()),
    ] {
        assert_eq!(usage.report(unit, quantity), Err(error), "{unit}");
    }
    assert_eq!(reported.due(), Each::default());
    // Eighteen billion kilowatt-hours in all are more than is counted.
    let most = Quantity::whole(REPORT_UNITS_MAX);
    let mut taken = 0;
    while usage.report("kWh", most).is_ok() {
        taken += 1;
    }
    assert_eq!(taken, 18);
    drop(reported);
    let late = usage.report("token", Quantity::whole(1));
    assert_eq!(late, Err(ReportError::Ended));
}

#[test]
fn a_body_says_totals_or_what_is_added_and_what_goes_back_is_ignored() {
    let (total, kwh) = (UsageSource::json("/kwh").unwrap(), Unit::KilowattHour);
    let adds = UsageSource::json("/wh").unwrap().adds().scaled_down(3);
    let (mut in_all, mut added) = (0, 0);
    for (json, after, sum) in [
        (r#"{"kwh":0.5,"wh":250}"#, 500_000_000, 250_000_000),
        (r#"{"kwh":"0.75","wh":"250"}"#, 750_000_000, 500_000_000),
        (r#"{"kwh":0.25,"wh":0.5}"#, 750_000_000, 500_500_000),
        (r#"{"kwh":-1,"wh":-1}"#, 750_000_000, 500_500_000),
        (r#"{"kwh":1e3,"wh":1e3}"#, 750_000_000, 500_500_000),
        (r#"{"kwh":1000000001}"#, 750_000_000, 500_500_000),
        (r#"{"kwh":null}"#, 750_000_000, 500_500_000),
        (r#"{"kwh":1}"#, 1_000_000_000, 500_500_000),
    ] {
        total.look_in(json.as_bytes(), &kwh, &mut in_all);
        adds.look_in(json.as_bytes(), &kwh, &mut added);
        assert_eq!((in_all, added), (after, sum), "{json}");
    }
}

#[test]
fn fields_are_read_once_and_whole() {
    let name = HeaderName::from_static("x-usage-tokens");
    let source = UsageSource::header(name.clone());
    let read = |lines: &[&'static str]| {
        let mut fields = HeaderMap::new();
        for line in lines {
            fields.append(&name, HeaderValue::from_static(line));
        }
        let mut due = 0;
        source.look_in_header(&fields, &Unit::Token, &mut due);
        source.look_in_trailers(&fields, &Unit::Token, &mut due);
        due
    };
    assert_eq!(read(&["12"]), 12);
    assert_eq!(read(&[" 12 "]), 12);
    for wrong in [
        &["-1"][..],
        &["1.5"],
        &["0x1"],
        &["01"],
        &[""],
        &["1", "2"],
        &[],
    ] {
        assert_eq!(read(wrong), 0, "{wrong:?}");
    }
}

proptest! {
    #[test]
    fn whatever_a_document_says_a_total_never_falls(
        documents in prop::collection::vec(
            prop_oneof![
                "[ -~]{0,20}",
                "\\{\"n\":\"?-?[0-9]{0,12}(\\.[0-9]{0,10})?(e[0-9])?\"?\\}",
            ],
            0..20,
        ),
    ) {
        let source = UsageSource::json("/n").unwrap();
        let mut due = 0;
        for document in documents {
            let before = due;
            source.look_in(document.as_bytes(), &Unit::KilowattHour, &mut due);
            prop_assert!(due >= before);
            prop_assert!(due <= REPORT_UNITS_MAX * 1_000_000_000);
        }
    }
}
