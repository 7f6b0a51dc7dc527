//! Problem details from a server, and ours as a client reads them.
#![no_main]

use libfuzzer_sys::fuzz_target;
use stiver_core::{
    Problem,
    problem::{ProblemKind, ReceivedProblem},
};

fuzz_target!(|data: &[u8]| {
    if let Ok(problem) = ReceivedProblem::parse(data) {
        assert_eq!(problem.kind, ProblemKind::from_type_uri(&problem.type_uri));
    }
    let Some((&first, rest)) = data.split_first() else {
        return;
    };
    let Some(detail) = stiver_fuzz::text(rest) else {
        return;
    };
    let kind = ProblemKind::ALL[usize::from(first) % ProblemKind::ALL.len()];
    let json = Problem::new(kind, detail).to_json();
    if let Ok(received) = ReceivedProblem::parse(json.as_bytes()) {
        assert_eq!(received.kind, Some(kind));
        assert_eq!(received.status, Some(kind.status()));
        assert_eq!(received.detail.as_deref(), Some(detail));
    } else {
        assert!(
            json.len() > stiver_core::limits::JSON_BYTES_MAX,
            "own problem refused"
        );
    }
});
