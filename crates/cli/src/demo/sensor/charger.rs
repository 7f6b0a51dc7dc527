//! Posts that charge cars. The cable is simulated: each event says what the post sells, and what
//! flowed, which a car sees on an instrument of its own.

use std::time::Duration;

use axum::{extract::Path, response::Response};
use serde_json::json;

use super::feed;

/// How long a step takes. A kilowatt-hour takes a second here, and not minutes.
const PACE: Duration = Duration::from_millis(10);
/// What a step sells, watt-hours.
const STEP_WH: u32 = 10;
/// What flows in a step of a post whose meter is right, milliwatt-hours.
const RIGHT_MWH: u32 = 10_000;
/// What flows in a step of a post whose meter runs five in a hundred too fast.
const FAST_MWH: u32 = 9_524;

/// A segment of so many steps, at a post: `right` or `fast`.
pub(super) async fn segment(Path((post, steps, _segment)): Path<(String, u32, u32)>) -> Response {
    let flows = if post == "fast" { FAST_MWH } else { RIGHT_MWH };
    let mut sold = (1..=steps).map(|step| STEP_WH.saturating_mul(step));
    feed::events(PACE, move || {
        let total = sold.next()?;
        let event = json!({"sold_wh": STEP_WH, "total_wh": total, "cable_mwh": flows});
        Some(event.to_string())
    })
}
