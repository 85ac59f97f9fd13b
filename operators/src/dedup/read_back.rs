//! Which rows a restart reads back from the table, and what it makes of them.

use std::time::Duration;

use arrow_array::cast::AsArray;
use arrow_array::types::TimestampMicrosecondType;
use arrow_array::{Array, RecordBatch};

use super::expiry::{Retention, first_live_bucket};
use super::hash::hash_strings;
use super::shares::IdsByShare;
use crate::error::{Error, Result};
use crate::io::StoredId;
use crate::progress::Progress;
use crate::time::{Epoch, EventTime};

/// An id lives to the end of its hour.
const HOUR: Duration = Duration::from_secs(3600);

/// Which rows of the table are wanted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ReadBack {
    /// Rows of epochs after this one.
    pub epoch_above: Option<Epoch>,
    /// Rows whose own times, event time or watermark, are after this one.
    pub alive_after: Option<EventTime>,
}

/// What the stores lack of the table that `progress` describes, given the epochs up to which each of them
/// is complete; `None` when they have all.
pub fn missing(
    complete: impl IntoIterator<Item = Option<Epoch>>,
    progress: &Progress,
    retention: Retention,
) -> Option<ReadBack> {
    let up_to = progress.epoch?;
    let complete: Option<Vec<Epoch>> = complete.into_iter().collect();
    let oldest = complete.and_then(|epochs| epochs.into_iter().min());
    if oldest == Some(up_to) {
        return None;
    }
    // Rows above a marker are few and may come from a partition far behind the watermark, whose ids live
    // longer than the row's own times say.
    let alive_after = match oldest {
        Some(_) => None,
        None => progress
            .watermark
            .map(|w| w.minus(micros(retention.ttl)).minus(micros(HOUR))),
    };
    Some(ReadBack {
        epoch_above: oldest,
        alive_after,
    })
}

fn micros(duration: Duration) -> i64 {
    i64::try_from(duration.as_micros()).unwrap_or(i64::MAX)
}

/// The ids of rows that were read back: of each its key (string), event time and `ingest_watermark`, in this
/// order. They go into `shares`.
///
/// What lies above a marker gets the expiry that the judge gives an id that lands now, so that one of a
/// lagging partition does not expire at birth. After the loss of the whole state the row alone says when an
/// id expires: an id from a partition that was more than the TTL behind the watermark is then forgotten.
///
/// # Errors
/// Columns of other types.
pub fn gather_ids(
    rows: &RecordBatch,
    wanted: ReadBack,
    progress: &Progress,
    retention: Retention,
    shares: &mut IdsByShare,
) -> Result<()> {
    let unexpected =
        || Error::internal("the table gave columns of other types than it was created with");
    let column = |place: usize| rows.columns().get(place).ok_or_else(unexpected);
    let times = |place: usize| {
        column(place)?
            .as_primitive_opt::<TimestampMicrosecondType>()
            .ok_or_else(unexpected)
    };
    let ids = column(0)?.as_string_opt::<i32>().ok_or_else(unexpected)?;
    let (event_times, watermarks) = (times(1)?, times(2)?);
    let earliest = match (wanted.epoch_above, progress.watermark) {
        (Some(_), Some(watermark)) => {
            first_live_bucket(watermark).saturating_add(retention.ttl_hours())
        }
        _ => 0,
    };
    let hashes = hash_strings(ids, progress.hash_seed);
    for (row, hash) in hashes.into_iter().enumerate() {
        let watermark = watermarks
            .is_valid(row)
            .then(|| EventTime(watermarks.value(row)));
        let bucket = retention.bucket(EventTime(event_times.value(row)), watermark);
        shares.push(StoredId {
            bucket: bucket.max(earliest),
            hash,
        });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::job::Job;

    fn retention() -> Retention {
        Retention::of(&Job::BRONZE.settings()).expect("deduplicates")
    }

    fn progress(epoch: Option<u64>) -> Progress {
        let mut progress = Progress::new("job", "uuid", 1, "");
        progress.epoch = epoch.map(Epoch);
        progress.watermark = Some(EventTime(1_700_000_000_000_000));
        progress
    }

    #[test]
    fn what_every_store_has_is_not_read_again() {
        let complete = [Some(Epoch(7)), Some(Epoch(7))];
        assert_eq!(missing(complete, &progress(Some(7)), retention()), None);
        assert_eq!(missing([None], &progress(None), retention()), None);
    }

    #[test]
    fn the_store_that_is_behind_decides() {
        let wanted = missing(
            [Some(Epoch(7)), Some(Epoch(5))],
            &progress(Some(7)),
            retention(),
        );
        let expected = ReadBack {
            epoch_above: Some(Epoch(5)),
            alive_after: None,
        };
        assert_eq!(wanted, Some(expected));
    }

    #[test]
    fn without_a_store_every_row_is_read_whose_id_may_live() {
        let wanted = missing([Some(Epoch(7)), None], &progress(Some(7)), retention());
        let hours = 3_600_000_000 * 25;
        let expected = ReadBack {
            epoch_above: None,
            alive_after: Some(EventTime(1_700_000_000_000_000 - hours)),
        };
        assert_eq!(wanted, Some(expected));
    }
}
