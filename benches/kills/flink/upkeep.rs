//! What Strandline does to its table in its own commits, and a service beside the job to Flink's: it expires snapshots.
//! Without that, thousands of commits would make the metadata file grow to megabytes, which each further commit writes anew.

use serde_json::{Value, json};

use crate::harness::reader::ask;

/// Snapshots kept, as many as Strandline keeps.
const SNAPSHOTS_KEPT: usize = 100;
/// Snapshots above that before they are expired, together.
const EXPIRED_TOGETHER: usize = 100;

/// Expires the oldest snapshots, if there are many. Files stay where they are.
pub fn expire(catalog: &str, table: &str) {
    let Some(answer) = ask(catalog, table, None) else {
        return;
    };
    let metadata = &answer["metadata"];
    let snapshots = metadata["snapshots"].as_array();
    let mut snapshots: Vec<(i64, i64)> = snapshots
        .into_iter()
        .flatten()
        .filter_map(|snapshot: &Value| {
            let id = snapshot["snapshot-id"].as_i64()?;
            Some((snapshot["sequence-number"].as_i64()?, id))
        })
        .collect();
    if snapshots.len() < SNAPSHOTS_KEPT + EXPIRED_TOGETHER {
        return;
    }
    snapshots.sort_unstable();
    snapshots.truncate(snapshots.len() - SNAPSHOTS_KEPT);
    let expired: Vec<i64> = snapshots.into_iter().map(|(_, id)| id).collect();
    // The next time does what is refused now.
    ask(
        catalog,
        table,
        Some(&json!({
            "requirements": [{"type": "assert-table-uuid", "uuid": metadata["table-uuid"]}],
            "updates": [{"action": "remove-snapshots", "snapshot-ids": expired}],
        })),
    );
}
