"""Reads topics with confluent-kafka and tables with PyIceberg or DuckDB. None of it is the engine's."""

import base64
import json
import os
import time

from model import Record

# A broker that gives nothing for this long, before the end of a partition, has failed.
SILENCE_LIMIT_S = 60


class Unreadable(Exception):
    """Something outside cannot be read; not a verdict."""


# Topics -----------------------------------------------------------------------------------------------


def read_topic(bootstrap, topic):
    """All committed records of a topic, and how many offsets of it hold none."""
    records = []
    reading = stream_topic(bootstrap, topic)
    while True:
        try:
            messages = next(reading)
        except StopIteration as end:
            return records, sum(end - start for start, end in end.value.values()) - len(records)
        for message in messages:
            kind, timestamp = message.timestamp()
            place = (topic, message.partition(), message.offset())
            records.append(Record(*place, timestamp if kind else None, message.key(), message.value()))


def stream_topic(bootstrap, topic):
    """Yields the committed messages of a topic, many at a time; each partition's in the order of their
    offsets. Returns the first and the next offset of each partition."""
    from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaError, TopicPartition

    consumer = Consumer(
        {
            "bootstrap.servers": bootstrap,
            "group.id": "strandline-judge",
            "enable.auto.commit": False,
            "isolation.level": "read_committed",
            "auto.offset.reset": "error",
            "enable.partition.eof": True,
            "fetch.message.max.bytes": 32 << 20,
            "fetch.wait.max.ms": 50,
        }
    )
    try:
        metadata = consumer.list_topics(topic, timeout=30).topics[topic]
        if metadata.error is not None:
            raise Unreadable(f"cannot read topic `{topic}` at {bootstrap}: {metadata.error}")
        consumer.assign([TopicPartition(topic, p, OFFSET_BEGINNING) for p in metadata.partitions])
        ends = {}
        heard = time.monotonic()
        while len(ends) < len(metadata.partitions):
            messages = consumer.consume(10_000, timeout=0.1)  # waits that long for the last of them
            if messages:
                heard = time.monotonic()
            elif time.monotonic() - heard > SILENCE_LIMIT_S:
                raise Unreadable(f"topic `{topic}` at {bootstrap} was silent for {SILENCE_LIMIT_S} s before its end")
            records = [message for message in messages if message.error() is None]
            for message in messages if len(records) < len(messages) else ():
                error = message.error()
                if error is None:
                    continue
                if error.code() != KafkaError._PARTITION_EOF:
                    raise Unreadable(f"cannot read topic `{topic}` at {bootstrap}: {error}")
                ends[message.partition()] = message.offset()
            yield records
        starts = {p: consumer.get_watermark_offsets(TopicPartition(topic, p), timeout=30)[0] for p in ends}
        return {p: (starts[p], ends[p]) for p in sorted(ends)}
    finally:
        consumer.close()


def read_record_file(path):
    """Records from a file of JSON lines: topic, partition, offset, timestamp_ms, key and value in base64."""
    decode = lambda text: None if text is None else base64.b64decode(text, validate=True)  # noqa: E731
    records = []
    with open(path, encoding="utf-8") as lines:
        for line in lines:
            r = json.loads(line)
            place = (r["topic"], r["partition"], r["offset"])
            records.append(Record(*place, r["timestamp_ms"], decode(r["key"]), decode(r["value"])))
    return records


# Tables -----------------------------------------------------------------------------------------------


def store_properties(environment):
    """PyIceberg's way into the object store that the environment names."""
    names = {
        "s3.endpoint": "AWS_ENDPOINT_URL",
        "s3.region": "AWS_REGION",
        "s3.access-key-id": "AWS_ACCESS_KEY_ID",
        "s3.secret-access-key": "AWS_SECRET_ACCESS_KEY",
    }
    return {name: environment[variable] for name, variable in names.items() if variable in environment}


def open_catalog(args):
    """The catalog that the command line names: REST, or the SQL catalog in an SQLite file."""
    from pyiceberg.catalog.rest import RestCatalog
    from pyiceberg.catalog.sql import SqlCatalog

    more = store_properties(os.environ) | ({"warehouse": args.warehouse} if args.warehouse else {})
    if args.rest:
        return RestCatalog("rest", uri=args.rest, **more)
    path = args.catalog_uri.removeprefix("sqlite:").split("?")[0]
    path = path.removeprefix("//") if not path.startswith("////") else path[3:]
    if not os.path.isfile(path):
        raise Unreadable(f"there is no catalog `{path}`")
    return SqlCatalog(args.catalog_name, uri=f"sqlite:///{os.path.abspath(path)}", init_catalog_tables="false", **more)


def load_table(catalog, name):
    from pyiceberg.exceptions import NoSuchTableError

    try:
        return catalog.load_table(name)
    except NoSuchTableError as error:
        raise Unreadable(f"there is no table `{name}`: {error}") from error


def rows_of(table, tag=None):
    """The rows of a table, or of one of its tags, as dictionaries; timestamps as microseconds."""
    scan = table.scan()
    if tag is not None:
        snapshot = table.snapshot_by_name(tag)
        if snapshot is None:
            raise Unreadable(f"table `{table.name()}` has no tag `{tag}`")
        scan = table.scan(snapshot_id=snapshot.snapshot_id)
    for batch in scan.to_arrow_batch_reader():
        yield from rows_of_batch(batch)


def rows_of_batch(batch):
    import pyarrow as pa

    columns = []
    for column in batch.columns:
        if pa.types.is_timestamp(column.type):
            column = column.cast(pa.timestamp("us", column.type.tz)).cast(pa.int64())
        columns.append(column.to_pylist())
    names = batch.schema.names
    for values in zip(*columns, strict=True):
        yield dict(zip(names, values, strict=True))


def data_files(table):
    """The paths of a table's data files on this machine, as PyIceberg plans to read them."""
    tasks = list(table.scan().plan_files())
    if any(task.delete_files for task in tasks):
        raise Unreadable("the table has delete files, which this mode does not read")
    paths = [task.file.file_path.removeprefix("file:") for task in tasks]
    return ["/" + path.lstrip("/") for path in paths]


def manifests_of(table):
    """The snapshots that the table keeps, oldest first: (id, {path of a manifest: its data files}). None instead of the
    files of a manifest that is gone."""
    files, snapshots = {}, []
    for snapshot in sorted(table.snapshots(), key=lambda snapshot: snapshot.sequence_number):
        paths = {manifest.manifest_path: manifest for manifest in snapshot.manifests(table.io)}
        for path in paths.keys() - files.keys():
            try:
                entries = paths[path].fetch_manifest_entry(table.io)
                files[path] = [entry.data_file.file_path for entry in entries]
            except FileNotFoundError:
                files[path] = None
        snapshots.append((snapshot.snapshot_id, {path: files[path] for path in paths}))
    return snapshots


def parquet_batches(paths, columns):
    """Those columns of Parquet files, in batches; texts as they are in the files, be they UTF-8 or not."""
    import pyarrow.parquet as parquet

    for path in paths:
        yield from parquet.ParquetFile(path).iter_batches(columns=columns)


def s3_secret(environment):
    """The same for DuckDB."""
    scheme, host = environment["AWS_ENDPOINT_URL"].split("://")
    given = {
        "key_id": environment["AWS_ACCESS_KEY_ID"],
        "secret": environment["AWS_SECRET_ACCESS_KEY"],
        "region": environment["AWS_REGION"],
        "endpoint": host,
        "url_style": "path",
    }
    quoted = ", ".join(f"{name} '{value}'" for name, value in given.items())
    return f"create secret (type s3, {quoted}, use_ssl {str(scheme == 'https').lower()})"


def read_with_duckdb(metadata_location, columns):
    """Those columns of a table, as tuples, by DuckDB."""
    import duckdb
    from duckdb_extensions import import_extension

    connection = duckdb.connect()
    for extension in ("avro", "httpfs", "iceberg"):
        import_extension(extension)
        connection.execute(f"LOAD {extension}")
    if metadata_location.startswith("s3"):
        connection.execute(s3_secret(os.environ))
    path = metadata_location.removeprefix("file:")
    path = "/" + path.lstrip("/") if path.startswith("/") else path
    names = ", ".join(f'"{name}"' for name in columns)
    return connection.execute(f"select {names} from iceberg_scan(?)", [path]).fetchall()
