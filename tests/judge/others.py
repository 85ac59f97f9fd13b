"""Others at the table: what writers and maintainers who know nothing of the engine do to its tables.

    others.py --rest URI --table NAMESPACE.TABLE OPERATION[=ARGUMENT] ...

The operations are done in their order, each one again when somebody else's commit comes first. Prints one
JSON object: operation -> what it did. Exit status 0; anything else is a failure of the operation itself.
"""

import argparse
import itertools
import json
import os
import sys
import time
import uuid
from datetime import datetime, timedelta, timezone

import pyarrow as pa
import pyarrow.parquet as pq
from pyiceberg.exceptions import CommitFailedException
from pyiceberg.io.pyarrow import _dataframe_to_data_files
from pyiceberg.manifest import (
    DataFile,
    DataFileContent,
    FileFormat,
    ManifestContent,
    ManifestEntry,
    ManifestEntryStatus,
    ManifestWriterV2,
)
from pyiceberg.partitioning import PartitionSpec
from pyiceberg.schema import Schema
from pyiceberg.table.snapshots import Operation
from pyiceberg.table.update.snapshot import _FastAppendFiles
from pyiceberg.transforms import IdentityTransform
from pyiceberg.types import StringType

import readers

PATIENCE_S = 120
JOB = "roman-numerals"
PROGRESS = f"strandline.progress.{JOB}"
# A day that the tests' events fall on.
EVENT_TIME = datetime(2025, 6, 1, 12, tzinfo=timezone.utc)


class Others:
    def __init__(self, args):
        self.args = args
        self.catalog = readers.open_catalog(args)

    @property
    def table(self):
        return readers.load_table(self.catalog, self.args.table)

    def persistently(self, change):
        """Does `change(table)`, again as long as others come first."""
        end = time.monotonic() + PATIENCE_S
        while True:
            try:
                return change(self.table)
            except CommitFailedException:
                if time.monotonic() > end:
                    raise

    # Rows -------------------------------------------------------------------------------------------------

    def append(self, rows, ids=None):
        def change(table):
            table.append(self.rows_of_others(table, int(rows), ids))

        self.persistently(change)

    def append_ids(self, ids):
        """Rows of somebody else's that have ids of events which the job is yet to read."""
        ids = ids.split(",")
        self.append(len(ids), ids)

    def append_as(self, where):
        """A row that says it is of TOPIC@OFFSET, partition 0."""
        topic, offset = where.split("@")

        def change(table):
            row = self.rows_of_others(table, 1)
            for name, value in (("kafka_topic", topic), ("kafka_offset", int(offset))):
                place = row.schema.get_field_index(name)
                row = row.set_column(place, row.schema.field(place), pa.array([value], row.schema.field(place).type))
            table.append(row)

        self.persistently(change)

    def rows_of_others(self, table, count, ids=None):
        schema = table.schema().as_arrow()
        columns = []
        for field in schema:
            name, kind = field.name, field.type
            if name == "event_id":
                values = ids or [f"other-{uuid.uuid4()}" for _ in range(count)]
            elif name == "kafka_topic":
                values = [self.args.others] * count
            elif name == "kafka_offset":
                values = list(range(count))
            elif field.nullable:
                values = [None] * count
            elif pa.types.is_timestamp(kind):
                values = [EVENT_TIME] * count
            elif pa.types.is_boolean(kind):
                values = [False] * count
            elif pa.types.is_integer(kind):
                values = [0] * count
            else:
                values = ["x"] * count
            columns.append(pa.array(values, kind))
        return pa.Table.from_arrays(columns, schema=schema)

    def delete(self, offsets):
        """Deletes the rows of partition 0 before an offset, by copying the files' other rows."""
        where = f"kafka_partition = 0 and kafka_offset < {int(offsets)} and kafka_topic != '{self.args.others}'"

        def change(table):
            deleted = places(table.scan(row_filter=where).to_arrow())
            table.delete(where)
            return deleted

        return self.persistently(change)

    def delete_positions(self, rows):
        """Deletes the first rows of a data file by a file of positions, as Spark and Trino do."""

        def change(table):
            task = next(t for t in table.scan(row_filter=f"kafka_topic != '{self.args.others}'").plan_files())
            file = task.file
            count = min(int(rows), file.record_count)
            with table.io.new_input(file.file_path).open() as source:
                deleted = places(pq.read_table(source).slice(0, count))
            path = f"{table.location()}/data/others-{uuid.uuid4()}-deletes.parquet"
            field = lambda name, kind, id: pa.field(name, kind, False, {"PARQUET:field_id": str(id)})  # noqa: E731
            schema = pa.schema([field("file_path", pa.string(), 2147483546), field("pos", pa.int64(), 2147483545)])
            output = table.io.new_output(path)
            with output.create() as sink:
                pq.write_table(pa.table([[file.file_path] * count, list(range(count))], schema=schema), sink)
            deletes = DataFile.from_args(
                content=DataFileContent.POSITION_DELETES,
                file_path=path,
                file_format=FileFormat.PARQUET,
                partition=file.partition,
                record_count=count,
                file_size_in_bytes=len(output),
                column_sizes={},
                value_counts={},
                null_value_counts={},
                nan_value_counts={},
                lower_bounds={},
                upper_bounds={},
                key_metadata=None,
                split_offsets=None,
                equality_ids=None,
                sort_order_id=None,
            )
            deletes.spec_id = file.spec_id
            with table.transaction() as transaction:
                with RowDelta(Operation.OVERWRITE, transaction, table.io) as delta:
                    delta.append_data_file(deletes)
            return deleted

        return self.persistently(change)

    # Maintenance ------------------------------------------------------------------------------------------

    def compact(self, _):
        """Rewrites all data files that are there now; what is appended meanwhile stays."""
        table = self.table
        scan = table.scan(snapshot_id=table.current_snapshot().snapshot_id)
        old = [task.file for task in scan.plan_files()]
        new = list(_dataframe_to_data_files(table.metadata, scan.to_arrow(), table.io))

        def change(table):
            with table.transaction() as transaction:
                with transaction.update_snapshot().overwrite() as overwrite:
                    for file in old:
                        overwrite.delete_data_file(file)
                    for file in new:
                        overwrite.append_data_file(file)

        self.persistently(change)
        return {"files": [len(old), len(new)]}

    def merge_manifests(self, _):
        """Appends a row and merges all manifests into one."""
        properties = {"commit.manifest-merge.enabled": "true", "commit.manifest.min-count-to-merge": "2"}
        self.persistently(lambda table: table.transaction().set_properties(properties).commit_transaction())
        self.append(1)
        self.persistently(lambda table: table.transaction().remove_properties(*properties).commit_transaction())

    def expire(self, _):
        """Expires every snapshot but the current one, and those of branches and tags."""
        tomorrow = datetime.now() + timedelta(days=1)

        def change(table):
            before = len(table.metadata.snapshots)
            table.maintenance.expire_snapshots().older_than(tomorrow).commit()
            return before

        before = self.persistently(change)
        return {"snapshots": [before, len(self.table.metadata.snapshots)]}

    def orphans(self, older_than_s):
        """Removes every file below the table's location that no version of it refers to."""
        table = self.table
        referenced = {table.metadata_location, *(log.metadata_file for log in table.metadata.metadata_log)}
        for snapshot in table.metadata.snapshots:
            referenced.add(snapshot.manifest_list)
            for manifest in snapshot.manifests(table.io):
                referenced.add(manifest.manifest_path)
                entries = manifest.fetch_manifest_entry(table.io)
                referenced.update(entry.data_file.file_path for entry in entries)
        referenced = {local(path) for path in referenced}
        removed = []
        for folder, _, names in os.walk(local(table.location())):
            for path in (os.path.join(folder, name) for name in names):
                if path not in referenced and time.time() - os.stat(path).st_mtime > float(older_than_s):
                    os.remove(path)
                    removed.append(os.path.basename(path))
        return removed

    # Columns and partitions -------------------------------------------------------------------------------

    def schema(self, change, **options):
        def update(table):
            with table.update_schema(**options) as schema:
                change(schema)

        self.persistently(update)

    def add_column(self, name):
        self.schema(lambda schema: schema.add_column(name, StringType()))

    def require_column(self, name):
        add = lambda schema: schema.add_column(name, StringType(), required=True)  # noqa: E731
        self.schema(add, allow_incompatible_changes=True)

    def rename_column(self, names):
        self.schema(lambda schema: schema.rename_column(*names.split(":")))

    def drop_column(self, name):
        self.schema(lambda schema: schema.delete_column(name), allow_incompatible_changes=True)

    def partition_by(self, name):
        def change(table):
            with table.update_spec() as spec:
                spec.add_field(name, IdentityTransform(), f"{name}_itself")

        self.persistently(change)

    def partition_no_more_by(self, name):
        def change(table):
            with table.update_spec() as spec:
                spec.remove_field(f"{name}_itself")

        self.persistently(change)

    # History ----------------------------------------------------------------------------------------------

    def branch(self, name):
        """Appends a row on a branch, made when missing."""

        def change(table):
            if name not in table.metadata.refs:
                table.manage_snapshots().create_branch(table.current_snapshot().snapshot_id, name).commit()
            table = self.table
            table.append(self.rows_of_others(table, 1), branch=name)

        self.persistently(change)

    def roll_back(self, commits):
        def change(table):
            snapshot = table.current_snapshot()
            for _ in range(int(commits)):
                snapshot = table.snapshot_by_id(snapshot.parent_snapshot_id)
            table.manage_snapshots().rollback_to_snapshot(snapshot.snapshot_id).commit()

        self.persistently(change)

    def roll_forward(self, _):
        def change(table):
            newest = max(table.metadata.snapshots, key=lambda snapshot: snapshot.sequence_number)
            table.manage_snapshots().set_current_snapshot(newest.snapshot_id).commit()

        self.persistently(change)

    def drop(self, _):
        location = self.table.metadata_location
        self.catalog.drop_table(self.args.table)
        return location

    def register(self, location):
        self.catalog.register_table(self.args.table, location)

    def recreate(self, order):
        """Drops the table and makes it again, its columns in the same order or the other way round."""
        table = self.table
        location = table.metadata_location
        fields = list(table.schema().fields)
        if order == "reversed":
            fields.reverse()
        schema = Schema(*fields)
        spec = PartitionSpec(*table.spec().fields)
        self.catalog.drop_table(self.args.table)
        self.catalog.create_table(self.args.table, schema, partition_spec=spec)
        return location

    # Progress ---------------------------------------------------------------------------------------------

    def unset_progress(self, _):
        self.persistently(lambda table: table.transaction().remove_properties(PROGRESS).commit_transaction())

    def unset_mark(self, _):
        """Removes what a secondary table says of the job."""

        def change(table):
            marks = [name for name in table.properties if name.startswith(f"strandline.secondary.{JOB}.")]
            table.transaction().remove_properties(*marks).commit_transaction()
            return marks

        return self.persistently(change)

    def set_back_progress(self, versions):
        """Sets the progress to what it was that many versions of it ago."""
        known = self.versions_of_progress()
        value = known[-1 - int(versions)]
        self.persistently(lambda table: table.transaction().set_properties({PROGRESS: value}).commit_transaction())

    def restore_progress(self, _):
        value = self.versions_of_progress()[-1]
        self.persistently(lambda table: table.transaction().set_properties({PROGRESS: value}).commit_transaction())

    def versions_of_progress(self):
        """All that the metadata files still say, the newest last."""
        table = self.table
        locations = [log.metadata_file for log in table.metadata.metadata_log] + [table.metadata_location]
        values = set()
        for location in locations:
            with open(local(location), encoding="utf-8") as file:
                values.add(json.load(file)["properties"].get(PROGRESS))
        return sorted(values - {None}, key=lambda value: json.loads(value)["sequence_number"])

    def await_commits(self, count):
        """Waits until the job has committed that often. Says so first: then it is worth feeding it."""
        print("awaiting", file=sys.stderr, flush=True)
        end = time.monotonic() + PATIENCE_S
        while not self.is_there():
            self.sleep_until(end, "the job has not made it")
        seen = {self.table.properties.get(PROGRESS)}
        while len(seen) <= int(count):
            self.sleep_until(end, f"{len(seen) - 1} commits of the job")
            seen.add(self.table.properties.get(PROGRESS))

    def is_there(self):
        try:
            return self.table is not None
        except readers.Unreadable:
            return False

    def sleep_until(self, end, so_far):
        """A pause before the next look; fails after the end."""
        if time.monotonic() > end:
            raise TimeoutError(f"{self.args.table}: {so_far} in {PATIENCE_S} s")
        time.sleep(0.05)


class DeletesWriter(ManifestWriterV2):
    def content(self):
        return ManifestContent.DELETES

    @property
    def _meta(self):
        return {**super()._meta, "content": "deletes"}


class RowDelta(_FastAppendFiles):
    """A snapshot that adds delete files; PyIceberg writes none itself."""

    def _manifests(self):
        metadata = self._transaction.table_metadata
        output = self.new_manifest_output()
        writer = DeletesWriter(metadata.spec(), metadata.schema(), output, self._snapshot_id, self._compression)
        with writer:
            for file in self._added_data_files:
                entry = ManifestEntry.from_args(
                    status=ManifestEntryStatus.ADDED,
                    snapshot_id=self._snapshot_id,
                    sequence_number=None,
                    file_sequence_number=None,
                    data_file=file,
                )
                writer.add(entry)
        return [writer.to_manifest_file(), *self._existing_manifests()]


def places(rows):
    columns = [rows.column(name).to_pylist() for name in ("kafka_topic", "kafka_partition", "kafka_offset")]
    return list(itertools.starmap(lambda *place: list(place), zip(*columns, strict=True)))


def local(location):
    return "/" + location.removeprefix("file:").lstrip("/")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--table", required=True)
    parser.add_argument("--others", default="others", metavar="TOPIC", help="what their rows say for kafka_topic")
    catalog = parser.add_mutually_exclusive_group(required=True)
    catalog.add_argument("--catalog-uri")
    catalog.add_argument("--rest")
    parser.add_argument("--catalog-name", default="strandline")
    parser.add_argument("--warehouse")
    parser.add_argument("operations", nargs="+")
    args = parser.parse_args()
    others, done = Others(args), {}
    for operation in args.operations:
        name, _, argument = operation.partition("=")
        done[name] = getattr(others, name.replace("-", "_"))(argument)
        print(f"{operation}: {done[name]}", file=sys.stderr)
    print(json.dumps(done))


if __name__ == "__main__":
    main()
