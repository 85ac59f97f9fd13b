//! Which rows are read back, said three times: to the library, of a row group by its statistics, of a row.

use iceberg::expr::{Predicate, Reference};
use iceberg::spec::{Datum, Schema};
use parquet::file::metadata::{ColumnChunkMetaData, RowGroupMetaData};
use parquet::file::statistics::Statistics;
use strandline_operators::arrow_array::cast::AsArray;
use strandline_operators::arrow_array::types::{Int64Type, TimestampMicrosecondType};
use strandline_operators::arrow_array::{ArrayRef, BooleanArray};

/// The rows that are wanted. Each condition that is there must hold.
#[derive(Clone, Debug, Default)]
pub(super) struct Wanted {
    /// `kafka_topic` is one of these; empty: it may be anything.
    pub topics: Vec<String>,
    /// `ingest_epoch` is above this.
    pub epoch_above: Option<i64>,
    /// The event time or `ingest_watermark` is after this, in microseconds.
    pub alive_after: Option<i64>,
    /// The name of the event time's column.
    pub event_time: String,
}

/// The field ids of the columns that the conditions look at.
#[derive(Clone, Copy, Debug)]
pub(super) struct Fields {
    pub topic: i32,
    pub epoch: i32,
    pub event_time: i32,
    pub watermark: i32,
}

impl Fields {
    pub(super) fn all(self) -> [i32; 4] {
        [self.topic, self.epoch, self.event_time, self.watermark]
    }
}

/// The conditions that the statistics of a row group leave open: its rows are looked at.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Open {
    topic: bool,
    epoch: bool,
    alive: bool,
}

/// What the statistics say of a condition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Rows {
    All,
    None,
    Some,
}

impl Wanted {
    /// The same to the library, which prunes files by it.
    pub(super) fn predicate(&self) -> Option<Predicate> {
        let topics = (!self.topics.is_empty()).then(|| super::is_of_topics(self.topics.iter()));
        let epoch = self
            .epoch_above
            .map(|epoch| Reference::new("ingest_epoch").greater_than(Datum::long(epoch)));
        let alive = self.alive_after.map(|time| {
            let time = Datum::timestamptz_micros(time);
            let by_event = Reference::new(&self.event_time).greater_than(time.clone());
            by_event.or(Reference::new("ingest_watermark").greater_than(time))
        });
        let all = [topics, epoch, alive].into_iter().flatten();
        all.reduce(Predicate::and)
    }

    /// The columns by their ids; `None` when the schema lacks one.
    pub(super) fn fields(&self, schema: &Schema) -> Option<Fields> {
        Some(Fields {
            topic: schema.field_id_by_name("kafka_topic")?,
            epoch: schema.field_id_by_name("ingest_epoch")?,
            event_time: schema.field_id_by_name(&self.event_time)?,
            watermark: schema.field_id_by_name("ingest_watermark")?,
        })
    }

    /// What is open of a row group; `None` when none of its rows is wanted. `leaf` gives a field's column.
    pub(super) fn open_of(
        &self,
        group: &RowGroupMetaData,
        fields: Fields,
        leaf: impl Fn(i32) -> Option<usize>,
    ) -> Option<Open> {
        let chunk = |field| leaf(field).and_then(|leaf| group.columns().get(leaf));
        let topic = match self.topics.is_empty() {
            true => Rows::All,
            false => of_texts(chunk(fields.topic), &self.topics),
        };
        let above = |field, bound| of_longs(chunk(field), bound);
        let epoch = self
            .epoch_above
            .map_or(Rows::All, |epoch| above(fields.epoch, epoch));
        let alive = self.alive_after.map_or(Rows::All, |time| {
            match (
                above(fields.event_time, time),
                above(fields.watermark, time),
            ) {
                (Rows::All, _) | (_, Rows::All) => Rows::All,
                (Rows::None, Rows::None) => Rows::None,
                _ => Rows::Some,
            }
        });
        if [topic, epoch, alive].contains(&Rows::None) {
            return None;
        }
        Some(Open {
            topic: topic == Rows::Some,
            epoch: epoch == Rows::Some,
            alive: alive == Rows::Some,
        })
    }

    /// The rows of a batch that are wanted; `None`: all. `column` gives a field's values, and `None` where they
    /// are of another type than the table's.
    pub(super) fn rows<'a>(
        &self,
        open: Open,
        fields: Fields,
        column: impl Fn(i32) -> Option<&'a ArrayRef>,
    ) -> Option<Result<BooleanArray, UnexpectedType>> {
        if open == Open::default() {
            return None;
        }
        Some(self.filter(open, fields, column).ok_or(UnexpectedType))
    }

    fn filter<'a>(
        &self,
        open: Open,
        fields: Fields,
        column: impl Fn(i32) -> Option<&'a ArrayRef>,
    ) -> Option<BooleanArray> {
        let mut wanted: Option<Vec<bool>> = None;
        let mut and = |more: Vec<bool>| match &mut wanted {
            Some(wanted) => wanted.iter_mut().zip(more).for_each(|(w, m)| *w &= m),
            None => wanted = Some(more),
        };
        if open.topic {
            let topics = column(fields.topic)?.as_string_opt::<i32>()?;
            let of_job =
                |topic: Option<&str>| topic.is_some_and(|t| self.topics.iter().any(|of| of == t));
            and(topics.iter().map(of_job).collect());
        }
        if let Some(above) = self.epoch_above.filter(|_| open.epoch) {
            let epochs = column(fields.epoch)?.as_primitive_opt::<Int64Type>()?;
            and(epochs
                .iter()
                .map(|e| e.is_some_and(|e| e > above))
                .collect());
        }
        if let Some(after) = self.alive_after.filter(|_| open.alive) {
            let times = |field| column(field)?.as_primitive_opt::<TimestampMicrosecondType>();
            let (events, watermarks) = (times(fields.event_time)?, times(fields.watermark)?);
            let is_after = |time: Option<i64>| time.is_some_and(|time| time > after);
            let both = events.iter().zip(watermarks.iter());
            and(both.map(|(e, w)| is_after(e) || is_after(w)).collect());
        }
        wanted.map(BooleanArray::from)
    }

    /// The fields that must be read for what is open.
    pub(super) fn needed(&self, open: Open, fields: Fields) -> Vec<i32> {
        let mut needed = Vec::new();
        if open.topic {
            needed.push(fields.topic);
        }
        if open.epoch {
            needed.push(fields.epoch);
        }
        if open.alive {
            needed.extend([fields.event_time, fields.watermark]);
        }
        needed
    }
}

/// A column of a file is not what its schema says.
#[derive(Debug)]
pub(super) struct UnexpectedType;

/// The statistics, when they tell that no value is null.
fn without_nulls(chunk: &ColumnChunkMetaData) -> Option<&Statistics> {
    let never_null = chunk.column_descr().max_def_level() == 0;
    let statistics = chunk.statistics()?;
    (never_null || statistics.null_count_opt() == Some(0)).then_some(statistics)
}

/// Whether the values are above `bound`. Nulls never are.
fn of_longs(chunk: Option<&ColumnChunkMetaData>, bound: i64) -> Rows {
    let Some(chunk) = chunk else {
        return Rows::Some;
    };
    let bounds = |statistics: &Statistics| match statistics {
        Statistics::Int64(longs) => Some((*longs.min_opt()?, *longs.max_opt()?)),
        _ => None,
    };
    let Some((min, max)) = chunk.statistics().and_then(bounds) else {
        return Rows::Some;
    };
    match () {
        () if max <= bound => Rows::None,
        () if min > bound && without_nulls(chunk).is_some() => Rows::All,
        () => Rows::Some,
    }
}

/// Whether the values are among `wanted`: decided where all of them are one and the same.
fn of_texts(chunk: Option<&ColumnChunkMetaData>, wanted: &[String]) -> Rows {
    let Some(Statistics::ByteArray(texts)) = chunk.and_then(without_nulls) else {
        return Rows::Some;
    };
    // Bounds may be cut short.
    let is_exact = texts.min_is_exact() && texts.max_is_exact();
    match (texts.min_opt(), texts.max_opt()) {
        (Some(min), Some(max)) if is_exact && min == max => {
            match wanted.iter().any(|of| of.as_bytes() == min.data()) {
                true => Rows::All,
                false => Rows::None,
            }
        }
        _ => Rows::Some,
    }
}
