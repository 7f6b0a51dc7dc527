//! Buckets never give more than their rate, nobody gains by filling the table, and the client's own
//! word about its address is not believed.

use std::collections::HashMap;

use http::HeaderValue;
use proptest::prelude::*;

use super::*;

fn rate(per_second: u32, burst: u32) -> Rate {
    Rate::new(per_second, burst).unwrap()
}

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn asking(source: Source, wants: Wants) -> Asking {
    Asking {
        source,
        route: None,
        wants,
    }
}

fn v4(last: u32) -> Source {
    Source::V4(last.into())
}

proptest! {
    #[test]
    fn a_bucket_gives_at_most_its_burst_and_what_flows_in(
        per_second in 1_u32..2_000,
        burst in 1_u32..50,
        pauses in prop::collection::vec(0_u64..50_000_000, 1..300),
    ) {
        let rate = rate(per_second, burst);
        let mut bucket = Bucket::default();
        let mut now = 0;
        let mut given = 0_u128;
        for pause in pauses {
            now += pause;
            match bucket.take(Duration::from_nanos(now), rate) {
                Ok(()) => given += 1,
                Err(wait) => {
                    // Waiting for as long as it says is enough, and a nanosecond less is not.
                    let mut copy = bucket;
                    let at = Duration::from_nanos(now) + wait;
                    prop_assert!(bucket.look(at, rate).is_ok());
                    prop_assert!(copy.take(at - Duration::from_nanos(1), rate).is_err());
                }
            }
            let flown_in = u128::from(now) * u128::from(per_second) / 1_000_000_000;
            prop_assert!(given <= u128::from(burst) + flown_in);
        }
    }

    #[test]
    fn a_bucket_that_rested_is_full_and_no_fuller(burst in 1_u32..50, hours in 1_u64..1_000) {
        let rate = rate(1, burst);
        let mut bucket = Bucket::default();
        while bucket.take(Duration::ZERO, rate).is_ok() {}
        let later = Duration::from_secs(hours * 3600);
        let given = std::iter::from_fn(|| bucket.take(later, rate).ok()).count();
        prop_assert_eq!(given, usize::try_from(burst).unwrap());
    }

    #[test]
    fn the_table_is_bounded_and_forgets_no_debt(
        asks in prop::collection::vec((0_u32..500, 0_u64..20), 1..600),
    ) {
        let rate = rate(10, 3);
        let max = 64;
        let sources = Sources::new(max);
        let mut now = Duration::ZERO;
        let mut given: HashMap<u32, Vec<Duration>> = HashMap::new();
        for (source, pause_ms) in asks {
            now += Duration::from_millis(pause_ms);
            let key = table::Key::new(v4(source), Limit::Source, 0);
            if sources.take(now, key, rate).is_ok() {
                given.entry(source).or_default().push(now);
            }
            prop_assert!(sources.len() <= max.div_ceil(SHARDS) * SHARDS);
        }
        // Whatever the others did, each source got at most its burst and what flowed in, from its
        // own bucket and from the one that newcomers share.
        for times in given.values() {
            for (first, from) in times.iter().enumerate() {
                for (last, to) in times.iter().enumerate().skip(first) {
                    let flown_in = (*to - *from).as_millis() / 100;
                    let most = 2 * (3 + flown_in + 1);
                    prop_assert!(u128::try_from(last - first + 1).unwrap() <= most);
                }
            }
        }
    }

    #[test]
    fn no_header_makes_an_untrusted_peer_somebody_else(text in "\\PC{0,60}") {
        let mut headers = HeaderMap::new();
        if let Ok(value) = HeaderValue::from_str(&text) {
            headers.insert("x-forwarded-for", value);
        }
        let trusted = [IpBlock::parse("10.0.0.0/8").unwrap()];
        let peer = ip("192.0.2.1");
        prop_assert_eq!(source::of(Some(peer), &headers, &trusted), Source::of(peer));
    }
}

#[test]
fn a_full_table_gives_newcomers_one_bucket_together() {
    let limits = Limits::new(Rules {
        per_source: Some(rate(1, 2)),
        sources_max: 1,
        ..Rules::default()
    });
    let take = |source| {
        let asking = asking(v4(source), Wants::Free);
        limits.admit(Duration::ZERO, &asking).is_ok()
    };
    // One bucket and one shared bucket in each shard: at most two tokens each.
    let given = (0..10_000).filter(|source| take(*source)).count();
    assert!(limits.remembered() <= SHARDS);
    assert!(given <= SHARDS * 2 * 2, "{given}");
    // What was spent stays spent, however many others came.
    assert!(!take(0) || !take(0) || !take(0));
}

#[test]
fn each_limit_is_named_with_the_time_to_wait() {
    let one = Some(rate(1, 1));
    let none = Rules::default;
    let now = Duration::from_secs(5);
    let table = [
        (
            Rules {
                per_source: one,
                sources_max: 1000,
                ..none()
            },
            Limit::Source,
        ),
        (
            Rules {
                total: one,
                sources_max: 1000,
                ..none()
            },
            Limit::Total,
        ),
        (
            Rules {
                challenges_per_source: one,
                sources_max: 1000,
                ..none()
            },
            Limit::Challenges,
        ),
    ];
    for (rules, limit) in table {
        let limits = Limits::new(rules);
        let asking = asking(v4(1), Wants::Challenges);
        assert_eq!(limits.admit(now, &asking), Ok(()));
        let refused = limits.admit(now, &asking).unwrap_err();
        assert_eq!((refused.limit, refused.retry_after_seconds()), (limit, 1));
        assert_eq!(limits.admit(now + Duration::from_secs(1), &asking), Ok(()));
    }
}

#[test]
fn a_flood_of_one_source_takes_nothing_from_the_others() {
    let limits = Limits::new(Rules {
        per_source: Some(rate(1, 5)),
        total: Some(rate(1, 20)),
        sources_max: 1000,
        ..Rules::default()
    });
    let flood = asking(v4(1), Wants::Free);
    let passed = (0..1000).filter(|_| limits.admit(Duration::ZERO, &flood).is_ok());
    assert_eq!(passed.count(), 5);
    let other = asking(v4(2), Wants::Free);
    assert_eq!(limits.admit(Duration::ZERO, &other), Ok(()));
}

#[test]
fn a_paid_request_has_a_bucket_to_itself() {
    let limits = Limits::new(Rules {
        per_source: Some(rate(1, 2)),
        challenges_per_source: Some(rate(1, 1)),
        sources_max: 1000,
        ..Rules::default()
    });
    let unpaid = asking(v4(1), Wants::Challenges);
    let paid = asking(v4(1), Wants::Delivery);
    while limits.admit(Duration::ZERO, &unpaid).is_ok() {}
    assert!(limits.admit(Duration::ZERO, &paid).is_err());
    assert_eq!(limits.admit_paid(Duration::ZERO, v4(1)), Ok(()));
    assert_eq!(limits.admit_paid(Duration::ZERO, v4(1)), Ok(()));
    let refused = limits.admit_paid(Duration::ZERO, v4(1)).unwrap_err();
    assert_eq!(refused.limit, Limit::Paid);
}

#[test]
fn bad_credentials_are_no_way_around_the_limit_of_challenges() {
    let limits = Limits::new(Rules {
        challenges_per_source: Some(rate(1, 3)),
        sources_max: 1000,
        ..Rules::default()
    });
    let bad = asking(v4(1), Wants::Delivery);
    for _ in 0..3 {
        assert_eq!(limits.admit(Duration::ZERO, &bad), Ok(()));
        limits.challenged(Duration::ZERO, v4(1));
    }
    let refused = limits.admit(Duration::ZERO, &bad).unwrap_err();
    assert_eq!(refused.limit, Limit::Challenges);
}

#[test]
fn routes_have_buckets_of_their_own() {
    let limits = Limits::new(Rules {
        sources_max: 1000,
        ..Rules::default()
    });
    let on = |number| Asking {
        route: Some((number, rate(1, 1))),
        ..asking(v4(1), Wants::Free)
    };
    assert!(!limits.any());
    assert_eq!(limits.admit(Duration::ZERO, &on(1)), Ok(()));
    let refused = limits.admit(Duration::ZERO, &on(1)).unwrap_err();
    assert_eq!(refused.limit, Limit::Route);
    assert_eq!(limits.admit(Duration::ZERO, &on(2)), Ok(()));
}

#[test]
fn ipv6_counts_by_network_and_ipv4_in_ipv6_is_ipv4() {
    let same = [
        ("2001:db8::1", "2001:db8::ffff:1"),
        ("::ffff:192.0.2.1", "192.0.2.1"),
    ];
    for (one, other) in same {
        assert_eq!(Source::of(ip(one)), Source::of(ip(other)));
    }
    assert_ne!(
        Source::of(ip("2001:db8::1")),
        Source::of(ip("2001:db8:0:1::1"))
    );
}

#[test]
fn the_rightmost_address_that_is_no_trusted_proxy_counts() {
    let trusted = ["10.0.0.0/8", "2001:db8:1::/48"].map(|text| IpBlock::parse(text).unwrap());
    // The peer, the field lines, and who counts.
    let table: &[(&str, &[&str], &str)] = &[
        ("10.0.0.1", &["203.0.113.9"], "203.0.113.9"),
        ("10.0.0.1", &["198.51.100.1, 203.0.113.9"], "203.0.113.9"),
        (
            "10.0.0.1",
            &["198.51.100.1", "203.0.113.9, 10.0.0.2"],
            "203.0.113.9",
        ),
        ("10.0.0.1", &["203.0.113.9:4711"], "203.0.113.9"),
        ("2001:db8:1::5", &["[2001:db8:2::1]:80"], "2001:db8:2::1"),
        ("2001:db8:1::5", &["[2001:db8:2::1]"], "2001:db8:2::1"),
        ("10.0.0.1", &["203.0.113.9, unknown"], "10.0.0.1"),
        ("10.0.0.1", &["203.0.113.9, unknown, 10.0.0.2"], "10.0.0.2"),
        ("10.0.0.1", &[], "10.0.0.1"),
        ("10.0.0.1", &["10.0.0.3, 10.0.0.2"], "10.0.0.3"),
        ("192.0.2.1", &["203.0.113.9"], "192.0.2.1"),
    ];
    for (peer, lines, counts) in table {
        let mut headers = HeaderMap::new();
        for line in *lines {
            headers.append("x-forwarded-for", HeaderValue::from_static(line));
        }
        let source = source::of(Some(ip(peer)), &headers, &trusted);
        assert_eq!(source, Source::of(ip(counts)), "{peer} {lines:?}");
    }
    assert_eq!(source::of(None, &HeaderMap::new(), &trusted), Source::Local);
}

#[test]
fn rates_outside_their_bounds_are_refused() {
    assert_eq!(Rate::new(0, 1), None);
    assert_eq!(Rate::new(1, 0), None);
    assert_eq!(Rate::new(Rate::PER_SECOND_MAX + 1, 1), None);
    assert_eq!(Rate::new(1, Rate::BURST_MAX + 1), None);
    let fastest = rate(Rate::PER_SECOND_MAX, Rate::BURST_MAX);
    assert_eq!(
        (fastest.per_second(), fastest.burst()),
        (1_000_000, 10_000_000)
    );
}
