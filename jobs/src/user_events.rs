//! What users did on the site, into `bronze.user_events`.
//!
//! Reads `user-events` (JSON). Guarantee: every event id lands once, late ones flagged; what cannot land goes
//! to `user-events-dlq` and to the table's dead letters with its cause. State: about 27 bytes for each id of
//! the last 24 hours.
//!
//! `is_mobile` is derived from the device; null where the event names none.

use strandline_operators::job::{Derived, Job};
use strandline_operators::schema::Column;
use strandline_operators::schema::ColumnType::{Boolean, String, Timestamptz};

/// What an event says.
const COLUMNS: &[Column] = &[
    Column::required("event_id", String),
    Column::required("event_time", Timestamptz),
    Column::optional("event_type", String),
    Column::optional("user_id", String),
    Column::optional("session_id", String),
    Column::optional("page", String),
    Column::optional("referrer", String),
    Column::optional("device", String),
    Column::optional("is_mobile", Boolean),
    Column::optional("country", String),
];

/// Devices that are held in a hand, as the site's own names and user agents call them.
const MOBILE: [&str; 5] = ["mobile", "phone", "android", "ipad", "tablet"];

fn is_mobile(device: &str) -> bool {
    let device = device.to_lowercase();
    MOBILE.iter().any(|word| device.contains(word))
}

/// The job `user-events`.
pub const USER_EVENTS: Job = Job {
    name: "user-events",
    description: "What users did on the site",
    topics: &["user-events"],
    columns: COLUMNS,
    derived: &[Derived {
        column: "is_mobile",
        from: "device",
        derive: is_mobile,
    }],
    table: "bronze.user_events",
    dead_letter_topic: Some("user-events-dlq"),
    dead_letter_table: Some("bronze.user_events_dead_letters"),
    ..Job::BRONZE
};

#[cfg(test)]
mod tests {
    use super::is_mobile;

    #[test]
    fn phones_and_tablets_are_mobile() {
        for device in ["mobile", "iPhone 17", "Android", "iPad", "Tablet (Samsung)"] {
            assert!(is_mobile(device), "{device}");
        }
        for device in ["desktop", "", "Macintosh", "tv"] {
            assert!(!is_mobile(device), "{device}");
        }
    }
}
