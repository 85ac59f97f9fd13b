//! Files as other engines write them, read by us and by the library, against a filter over the rows.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;

use iceberg::expr::Bind;
use iceberg::scan::FileScanTaskDeleteFile;
use iceberg::spec::{
    DataContentType, DataFileFormat, NestedField, PrimitiveType, Schema as IcebergSchema, Type,
};
use parquet::arrow::{ArrowWriter, PARQUET_FIELD_ID_META_KEY};
use parquet::basic::{Compression, ZstdLevel};
use parquet::file::properties::{EnabledStatistics, WriterProperties};
use proptest::prelude::*;
use strandline_operators::arrow_array::cast::AsArray;
use strandline_operators::arrow_array::types::Int64Type;
use strandline_operators::arrow_array::{
    ArrayRef, Int32Array, Int64Array, StringArray, TimestampMicrosecondArray,
};
use strandline_operators::arrow_schema::{Field, Schema};

use super::super::store::Properties;
use super::*;

const EVENT_ID: i32 = 1;
const EVENT_TIME: i32 = 2;
const TOPIC: i32 = 3;
const EPOCH: i32 = 4;
const WATERMARK: i32 = 5;
const OFFSET: i32 = 6;
/// Ids of a position delete file's columns, from the table specification.
const DELETED_PATH: i32 = 2_147_483_546;
const DELETED_POS: i32 = 2_147_483_545;

const TOPICS: [&str; 3] = ["clicks", "orders", "others"];

/// One row: topic, epoch, event time, watermark. Its offset is its place.
type Row = (usize, i64, i64, Option<i64>);

/// How a file may differ from one of ours.
#[derive(Clone, Debug)]
struct Shape {
    /// The order of the columns, by id.
    order: Vec<i32>,
    /// By how many places the names are moved: a column then has another one's name, as after renames.
    renamed: usize,
    extra_column: bool,
    nullable: bool,
    dictionary: bool,
    statistics: bool,
    compressed: bool,
    row_group_rows: usize,
}

fn schema() -> Arc<IcebergSchema> {
    let required = |id, name: &str, of| NestedField::required(id, name, Type::Primitive(of)).into();
    let optional = |id, name: &str, of| NestedField::optional(id, name, Type::Primitive(of)).into();
    let fields = vec![
        required(EVENT_ID, "event_id", PrimitiveType::String),
        required(EVENT_TIME, "event_time", PrimitiveType::Timestamptz),
        required(TOPIC, "kafka_topic", PrimitiveType::String),
        required(EPOCH, "ingest_epoch", PrimitiveType::Long),
        optional(WATERMARK, "ingest_watermark", PrimitiveType::Timestamptz),
        required(OFFSET, "kafka_offset", PrimitiveType::Long),
    ];
    Arc::new(
        IcebergSchema::builder()
            .with_fields(fields)
            .build()
            .expect("schema"),
    )
}

fn field(id: i32, name: &str, values: &ArrayRef, nullable: bool) -> Field {
    let id = HashMap::from([(PARQUET_FIELD_ID_META_KEY.to_owned(), id.to_string())]);
    Field::new(name, values.data_type().clone(), nullable).with_metadata(id)
}

fn values(id: i32, rows: &[Row]) -> ArrayRef {
    let times = |of: &dyn Fn(&Row) -> Option<i64>| -> ArrayRef {
        let times: TimestampMicrosecondArray = rows.iter().map(of).collect();
        Arc::new(times.with_timezone("UTC"))
    };
    match id {
        EVENT_ID => Arc::new(StringArray::from_iter_values(
            (0..rows.len()).map(|n| format!("id-{n}")),
        )),
        EVENT_TIME => times(&|row| Some(row.2)),
        TOPIC => Arc::new(StringArray::from_iter_values(
            rows.iter().map(|r| TOPICS[r.0]),
        )),
        EPOCH => Arc::new(Int64Array::from_iter_values(rows.iter().map(|r| r.1))),
        WATERMARK => times(&|row| row.3),
        _ => Arc::new(Int64Array::from_iter_values(0..rows.len() as i64)),
    }
}

fn write(path: &Path, columns: Vec<(Field, ArrayRef)>, properties: WriterProperties) {
    let (fields, columns): (Vec<Field>, Vec<ArrayRef>) = columns.into_iter().unzip();
    let schema = Arc::new(Schema::new(fields));
    let batch = RecordBatch::try_new(Arc::clone(&schema), columns).expect("batch");
    let file = std::fs::File::create(path).expect("create");
    let mut writer = ArrowWriter::try_new(file, schema, Some(properties)).expect("writer");
    writer.write(&batch).expect("write");
    writer.close().expect("close");
}

fn write_shaped(path: &Path, rows: &[Row], shape: &Shape) {
    let mut columns = Vec::new();
    for (place, &id) in shape.order.iter().enumerate() {
        let named_after = shape.order[(place + shape.renamed) % shape.order.len()];
        let schema = schema();
        let name = schema.name_by_field_id(named_after).expect("a name");
        let values = values(id, rows);
        let nullable = shape.nullable || id == WATERMARK;
        columns.push((field(id, name, &values, nullable), values));
    }
    if shape.extra_column {
        let values: ArrayRef = Arc::new(Int32Array::from_iter_values(0..rows.len() as i32));
        columns.insert(0, (field(99, "added", &values, true), values));
    }
    let compression = match shape.compressed {
        true => Compression::ZSTD(ZstdLevel::default()),
        false => Compression::UNCOMPRESSED,
    };
    let statistics = match shape.statistics {
        true => EnabledStatistics::Page,
        false => EnabledStatistics::None,
    };
    let properties = WriterProperties::builder()
        .set_dictionary_enabled(shape.dictionary)
        .set_statistics_enabled(statistics)
        .set_compression(compression)
        .set_max_row_group_row_count(Some(shape.row_group_rows));
    write(path, columns, properties.build());
}

fn task(path: &Path, wanted: &Wanted, deletes: Vec<FileScanTaskDeleteFile>) -> FileScanTask {
    let schema = schema();
    let predicate = wanted
        .predicate()
        .map(|predicate| predicate.bind(Arc::clone(&schema), true).expect("bind"));
    let size = std::fs::metadata(path).expect("a file").len();
    FileScanTask::builder()
        .with_file_size_in_bytes(size)
        .with_start(0)
        .with_length(size)
        .with_data_file_path(format!("file://{}", path.display()))
        .with_data_file_format(DataFileFormat::Parquet)
        .with_schema(schema)
        .with_project_field_ids(vec![EVENT_ID, OFFSET, WATERMARK])
        .with_predicate(predicate)
        .with_deletes(deletes)
        .with_case_sensitive(true)
        .build()
}

/// A visitor that notes offsets, and sees that each stands beside its id.
fn note(found: &mut Vec<i64>) -> impl FnMut(&RecordBatch) -> Result<()> {
    |batch| {
        let schema = batch.schema();
        let names: Vec<&str> = schema.fields().iter().map(|f| f.name().as_str()).collect();
        assert_eq!(names, ["event_id", "kafka_offset", "ingest_watermark"]);
        let ids = batch.column(0).as_string::<i32>();
        let offsets = batch.column(1).as_primitive::<Int64Type>();
        for (id, &offset) in ids.iter().zip(offsets.values()) {
            assert_eq!(id, Some(format!("id-{offset}").as_str()));
        }
        found.extend(offsets.values());
        Ok(())
    }
}

fn reading<'a>(blocking: &'a Blocking, wanted: &Wanted) -> Reading<'a> {
    Reading {
        blocking,
        store: Store::with(Properties::default()),
        file_io: FileIO::new_with_fs(),
        name: "bronze.clicks",
        wanted: wanted.clone(),
        has_failed: AtomicBool::new(false),
    }
}

fn directly(file: &FileScanTask, wanted: &Wanted) -> Option<Vec<i64>> {
    let mut found = Vec::new();
    let mut visit = note(&mut found);
    let data = DataFile::open(&Store::with(Properties::default()), file, wanted)?;
    let read = data.read(wanted, &mut |rows| Ok::<(), Failure>(visit(rows)?));
    drop(visit);
    read.map_err(|failure| failure.explain("t", file))
        .expect("read");
    Some(found)
}

fn by_library(blocking: &Blocking, file: &FileScanTask, wanted: &Wanted) -> Vec<i64> {
    let mut found = Vec::new();
    let mut visit: Visitor<'_> = Box::new(note(&mut found));
    let read = reading(blocking, wanted).read_by_library(file.clone(), &mut visit);
    read.expect("read");
    drop(visit);
    found
}

/// As `read_back` does: by us where we can, else by the library.
fn as_it_comes(blocking: &Blocking, file: FileScanTask, wanted: &Wanted) -> Vec<i64> {
    let mut found = Vec::new();
    let (queue, files) = bounded(1);
    queue.send(file).expect("room");
    drop(queue);
    reading(blocking, wanted)
        .read(&files, Box::new(note(&mut found)))
        .expect("read");
    found
}

fn is_wanted(wanted: &Wanted, &(topic, epoch, event_time, watermark): &Row) -> bool {
    (wanted.topics.is_empty() || wanted.topics.iter().any(|of| of == TOPICS[topic]))
        && wanted.epoch_above.is_none_or(|above| epoch > above)
        && wanted
            .alive_after
            .is_none_or(|after| event_time > after || watermark.is_some_and(|w| w > after))
}

fn shape() -> impl Strategy<Value = Shape> {
    let order = vec![EVENT_ID, EVENT_TIME, TOPIC, EPOCH, WATERMARK, OFFSET];
    (
        (Just(order).prop_shuffle(), 0usize..6, 1usize..8),
        (
            any::<bool>(),
            any::<bool>(),
            any::<bool>(),
            any::<bool>(),
            any::<bool>(),
        ),
    )
        .prop_map(|((order, renamed, row_group_rows), flags)| Shape {
            order,
            renamed,
            extra_column: flags.0,
            nullable: flags.1,
            dictionary: flags.2,
            statistics: flags.3,
            compressed: flags.4,
            row_group_rows,
        })
}

fn wanted() -> impl Strategy<Value = Wanted> {
    let topics = proptest::sample::subsequence(TOPICS.to_vec(), 0..3);
    let (epoch, alive) = (
        proptest::option::of(0i64..6),
        proptest::option::of(0i64..20),
    );
    (topics, epoch, alive).prop_map(|(topics, epoch_above, alive_after)| Wanted {
        topics: topics.into_iter().map(str::to_owned).collect(),
        epoch_above,
        alive_after,
        event_time: "event_time".to_owned(),
    })
}

/// Rows that follow one another resemble one another, so that statistics decide about some row groups.
fn rows() -> impl Strategy<Value = Vec<Row>> {
    let row = (0usize..3, 0i64..6, 0i64..20, proptest::option::of(0i64..20));
    let runs = proptest::collection::vec((row, 1usize..9), 1..8);
    runs.prop_map(|runs| {
        let repeated = runs.into_iter().flat_map(|(row, times)| vec![row; times]);
        repeated.collect()
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn a_file_is_read_by_field_id_whatever_its_shape(rows in rows(), shape in shape(), wanted in wanted()) {
        let folder = tempfile::tempdir().expect("folder");
        let path = folder.path().join("data.parquet");
        write_shaped(&path, &rows, &shape);
        let file = task(&path, &wanted, Vec::new());
        let kept = (0..).zip(&rows).filter(|(_, row)| is_wanted(&wanted, row));
        let expected: Vec<i64> = kept.map(|(offset, _)| offset).collect();
        prop_assert_eq!(directly(&file, &wanted), Some(expected.clone()), "read by us");
        let blocking = Blocking::new().expect("runtime");
        prop_assert_eq!(by_library(&blocking, &file, &wanted), expected, "read by the library");
    }
}

fn plain_shape() -> Shape {
    Shape {
        order: vec![EVENT_ID, EVENT_TIME, TOPIC, EPOCH, WATERMARK, OFFSET],
        renamed: 0,
        extra_column: false,
        nullable: false,
        dictionary: false,
        statistics: true,
        compressed: true,
        row_group_rows: 5,
    }
}

#[test]
fn rows_that_others_deleted_by_position_stay_deleted() {
    let folder = tempfile::tempdir().expect("folder");
    let path = folder.path().join("data.parquet");
    write_shaped(&path, &[(0, 1, 1, None); 10], &plain_shape());
    let deleted = folder.path().join("deletes.parquet");
    let location = format!("file://{}", path.display());
    let paths: ArrayRef = Arc::new(StringArray::from(vec![location.as_str(); 2]));
    let places: ArrayRef = Arc::new(Int64Array::from(vec![3, 7]));
    let columns = vec![
        (field(DELETED_PATH, "file_path", &paths, false), paths),
        (field(DELETED_POS, "pos", &places, false), places),
    ];
    write(&deleted, columns, WriterProperties::new());
    let delete = FileScanTaskDeleteFile::builder()
        .with_file_path(format!("file://{}", deleted.display()))
        .with_file_size_in_bytes(std::fs::metadata(&deleted).expect("a file").len())
        .with_file_type(DataContentType::PositionDeletes)
        .with_partition_spec_id(0)
        .build();
    let wanted = Wanted {
        topics: vec!["clicks".to_owned()],
        event_time: "event_time".to_owned(),
        ..Wanted::default()
    };
    let blocking = Blocking::new().expect("runtime");
    let found = as_it_comes(&blocking, task(&path, &wanted, vec![delete]), &wanted);
    assert_eq!(found, [0, 1, 2, 4, 5, 6, 8, 9]);
    let found = as_it_comes(&blocking, task(&path, &wanted, Vec::new()), &wanted);
    assert_eq!(found, (0..10).collect::<Vec<_>>());
}

#[test]
fn a_file_without_field_ids_is_left_to_the_library() {
    let folder = tempfile::tempdir().expect("folder");
    let path = folder.path().join("data.parquet");
    let rows = [(0, 1, 1, None); 10];
    let ids = [EVENT_ID, EVENT_TIME, TOPIC, EPOCH, WATERMARK, OFFSET];
    let columns = ids.map(|id| {
        let values = values(id, &rows);
        let schema = schema();
        let name = schema.name_by_field_id(id).expect("a name");
        let field = Field::new(name, values.data_type().clone(), id == WATERMARK);
        (field, values)
    });
    write(&path, columns.to_vec(), WriterProperties::new());
    let wanted = Wanted {
        event_time: "event_time".to_owned(),
        ..Wanted::default()
    };
    let file = task(&path, &wanted, Vec::new());
    assert_eq!(directly(&file, &wanted), None);
    // The library takes the columns by their position then.
    let blocking = Blocking::new().expect("runtime");
    assert_eq!(
        as_it_comes(&blocking, file, &wanted),
        (0..10).collect::<Vec<_>>()
    );
}
