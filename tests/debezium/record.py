"""Records what Debezium really writes: one PostgreSQL, one workload, a connector for each way to configure it.

    cargo xtask stack up --only kafka
    python tests/debezium/record.py --kafka HOST:PORT --connect LIB --plugins PLUGINS \
        --postgres /usr/lib/postgresql/15/bin

LIB holds the jars of org.apache.kafka:connect-runtime (with log4j-slf4j-impl), PLUGINS the unpacked connector
(io.debezium:debezium-connector-postgres, tar.gz, classifier `plugin`). Everything else it starts itself, in a temporary
folder, and ends. PostgreSQL refuses to run as root, so root starts it as `nobody`. It takes about two minutes.

It writes, beside itself, `recorded/VARIANT.jsonl` (every record of the variant's topics, as it came, in the order of
topic and offset; bytes that are no UTF-8 as base64), and `recorded/postgres.jsonl` (what PostgreSQL itself says of the
rows of every change, as canonical text: times in UTC, bytes in hexadecimal). `operators/tests/debezium.rs` holds the one
against the other. `record_outbox.py` records the table that the job `business-events` is for.
"""

import argparse
import base64
import json
import os
import shutil
import subprocess
import tempfile
import time
import urllib.error
import urllib.request
from pathlib import Path

from confluent_kafka import Consumer, TopicPartition
from confluent_kafka.admin import AdminClient

DEBEZIUM = "3.6.3.Final"
PATIENCE_S = 120
TABLES = ("full_rows", "keyed_rows", "keyless_rows")
# The row that is inserted last: a variant that has it in every table has everything.
LAST_ID = 999

WITH_SCHEMAS = {"value.converter.schemas.enable": "true"}
# What each variant departs from `COMMON` in.
VARIANTS = {
    "schemas": WITH_SCHEMAS | {"provide.transaction.metadata": "true", "heartbeat.interval.ms": "500"},
    "schemas_string_connect": WITH_SCHEMAS | {"decimal.handling.mode": "string", "time.precision.mode": "connect"},
    "plain": {"provide.transaction.metadata": "true", "heartbeat.interval.ms": "500"},
    "string_connect": {"decimal.handling.mode": "string", "time.precision.mode": "connect"},
    "adaptive_time_microseconds": {"time.precision.mode": "adaptive_time_microseconds"},
    "microseconds": {"time.precision.mode": "microseconds"},
    "nanoseconds": {"time.precision.mode": "nanoseconds"},
    "isostring": {"time.precision.mode": "isostring"},
    "unwrapped": {
        "transforms": "unwrap",
        "transforms.unwrap.type": "io.debezium.transforms.ExtractNewRecordState",
        "transforms.unwrap.delete.tombstone.handling.mode": "rewrite-with-tombstone",
        "transforms.unwrap.add.fields": "op,table,schema,db,lsn,ts_ms,source.ts_ms",
    },
}

COLUMNS = """
    id integer PRIMARY KEY, c_boolean boolean, c_smallint smallint, c_integer integer, c_bigint bigint,
    c_real real, c_double double precision, c_numeric numeric(18, 4), c_numeric_free numeric,
    c_text text, c_varchar varchar(20), c_char char(5), c_bytea bytea, c_uuid uuid, c_json json, c_jsonb jsonb,
    c_date date, c_time time, c_time_3 time(3), c_timetz timetz, c_timestamp timestamp, c_timestamp_3 timestamp(3),
    c_timestamptz timestamptz, c_interval interval, c_integers integer[], c_texts text[], c_toast text
"""

# Each column as one canonical text, null for null.
CANONICAL = {
    "c_char": "rpad(c_char::text, 5)",
    "c_bytea": "encode(c_bytea, 'hex')",
    "c_json": "c_json::jsonb::text",
    "c_timetz": "(c_timetz AT TIME ZONE 'UTC')::text",
    "c_timestamptz": "(c_timestamptz AT TIME ZONE 'UTC')::text",
    "c_integers": "array_to_json(c_integers)::text",
    "c_texts": "array_to_json(c_texts)::text",
    "c_toast": "length(c_toast) || ':' || left(c_toast, 32) || ':' || right(c_toast, 32)",
}

USUAL = """true, -32768, 2147483647, 9223372036854775807, 1.5, 0.1, 12345678901234.5678, 3.14159265358979323846,
    'Grüße, "\\", 漢字, 🦀', 'varchar', 'ab', '\\x00ff10de', '6f1b2c3d-0000-4000-8000-00000000000a', '{"a": [1, null]}',
    '{"b": 2}', '2026-03-31', '12:34:56.789012', '12:34:56.789', '12:34:56+02', '2026-03-31 12:34:56.789012',
    '2026-03-31 12:34:56.789', '2026-03-31 12:34:56.789012+02', '1 day 02:03:04', '{1,NULL,3}', '{a,"b c",NULL}'"""
# Before 1970 and before the epoch of PostgreSQL (2000), negative, empty, and at the ends of what is.
EDGES = """false, 32767, -2147483648, -9223372036854775808, -0.0, 1e300, -0.0001, -1e15, '', '', '', '', NULL, '""', 'null',
    '1901-12-13', '00:00:00', '23:59:59.999', '23:59:59.999999-12', '1969-12-31 23:59:59.999999',
    '1969-12-31 23:59:59.999', '1899-12-31 23:59:59.000001+00', '-1 mon', '{}', '{}'"""
NULLS = ", ".join(["NULL"] * 25)


def long_text(seed):
    """Longer than a page takes, so that PostgreSQL stores it apart (TOAST)."""
    return f"(SELECT string_agg(md5(i::text || '{seed}'), '') FROM generate_series(1, 70) i)"


def workload(table):
    """The changes made while the connectors stream: operation and statement."""
    if table == "keyless_rows":
        return [
            ("c", "INSERT INTO keyless_rows VALUES ('same', 1), ('same', 1)"),
            ("u", "UPDATE keyless_rows SET b = 2 WHERE a = 'snapshot'"),
            ("d", "DELETE FROM keyless_rows WHERE a = 'snapshot'"),
            ("t", "TRUNCATE keyless_rows"),
            ("c", f"INSERT INTO keyless_rows VALUES ('last', {LAST_ID})"),
        ]
    return [
        ("c", f"INSERT INTO {table} VALUES (10, {USUAL}, {long_text(10)})"),
        ("c", f"INSERT INTO {table} VALUES (11, {EDGES}, '')"),
        ("c", f"INSERT INTO {table} VALUES (12, {NULLS}, NULL)"),
        ("u", f"UPDATE {table} SET c_integer = 7 WHERE id = 10"),
        ("u", f"UPDATE {table} SET c_toast = {long_text(11)}, c_text = NULL WHERE id = 10"),
        ("u", f"UPDATE {table} SET c_numeric = 99.99, c_timestamp = '2026-04-01' WHERE id = 1"),
        # Of the primary key: Debezium makes a delete, a tombstone and a create of it.
        ("dc", f"UPDATE {table} SET id = 13 WHERE id = 12"),
        ("d", f"DELETE FROM {table} WHERE id = 11"),
        ("d", f"DELETE FROM {table} WHERE id = 10"),
        ("t", f"TRUNCATE {table}"),
        ("c", f"INSERT INTO {table} VALUES ({LAST_ID}, {USUAL}, NULL)"),
    ]


class Postgres:
    def __init__(self, binaries, folder, port):
        self.binaries, self.data, self.port = Path(binaries), folder / "postgres", port
        self.data.mkdir()
        if os.getuid() == 0:
            folder.chmod(0o755)
            shutil.chown(self.data, "nobody")
        self.data.chmod(0o700)
        self.as_server("initdb", "-D", str(self.data), "-U", "postgres", "--auth=trust", "-N")
        options = (f"-p {port} -c listen_addresses=127.0.0.1 -c unix_socket_directories={self.data} -c wal_level=logical "
                   "-c max_replication_slots=20 -c max_wal_senders=20 -c fsync=off -c shared_buffers=64MB")
        self.as_server("pg_ctl", "-D", str(self.data), "-w", "-l", str(self.data / "log"), "-o", options, "start")

    def as_server(self, program, *arguments):
        command = [str(self.binaries / program), *arguments]
        if os.getuid() == 0:
            command = ["runuser", "-u", "nobody", "--", *command]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)

    def say(self, *statements):
        command = [str(self.binaries / "psql"), "-h", "127.0.0.1", "-p", str(self.port), "-U", "postgres", "-qAtX",
                   "-v", "ON_ERROR_STOP=1"]
        for statement in ("SET timezone = 'UTC'", *statements):
            command += ["-c", statement]
        done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
        return done.stdout.splitlines()

    def stop(self):
        self.as_server("pg_ctl", "-D", str(self.data), "-m", "fast", "stop")


class Connect:
    def __init__(self, lib, plugins, kafka, folder, port):
        self.address = f"http://127.0.0.1:{port}"
        log = folder / "log4j2.xml"
        log.write_text('<Configuration><Appenders><Console name="C"/></Appenders><Loggers><Root level="WARN">'
                       '<AppenderRef ref="C"/></Root></Loggers></Configuration>')
        settings = {
            "bootstrap.servers": kafka, "group.id": "connect", "listeners": self.address,
            "config.storage.topic": "connect-configs", "offset.storage.topic": "connect-offsets",
            "status.storage.topic": "connect-status", "config.storage.replication.factor": 1,
            "offset.storage.replication.factor": 1, "status.storage.replication.factor": 1,
            "offset.storage.partitions": 1, "status.storage.partitions": 1,
            "key.converter": "org.apache.kafka.connect.json.JsonConverter",
            "value.converter": "org.apache.kafka.connect.json.JsonConverter",
            "key.converter.schemas.enable": "false", "offset.flush.interval.ms": 1000, "plugin.path": plugins,
            "plugin.discovery": "service_load",
        }
        properties = folder / "connect.properties"
        properties.write_text("".join(f"{name}={value}\n" for name, value in settings.items()))
        self.process = subprocess.Popen(
            ["java", "-Xmx768m", "-XX:+UseSerialGC", f"-Dlog4j2.configurationFile={log}", "-cp", f"{lib}/*",
             "org.apache.kafka.connect.cli.ConnectDistributed", str(properties)],
            stdout=(folder / "connect.log").open("w"), stderr=subprocess.STDOUT)

    def ask(self, path, body=None):
        request = urllib.request.Request(f"{self.address}{path}", method="PUT" if body else "GET",
                                         data=body and json.dumps(body).encode(),
                                         headers={"Content-Type": "application/json"})
        try:
            with urllib.request.urlopen(request, timeout=60) as answer:
                return json.load(answer)
        except urllib.error.HTTPError as error:
            if body:
                raise SystemExit(f"Connect refuses {path}: {error.read().decode()}") from error
            raise

    def wait(self):
        def answers():
            try:
                return self.ask("/connectors") is not None
            except (OSError, urllib.error.URLError):
                return False
        wait_for(answers, "Connect answers")

    def stop(self):
        self.process.terminate()
        self.process.wait(60)


def wait_for(condition, what):
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        if time.monotonic() > deadline:
            raise SystemExit(f"waited {PATIENCE_S} s until {what}")
        time.sleep(0.2)


def read_all(kafka, topics):
    """Every record of the topics, from their beginning to their end."""
    consumer = Consumer({"bootstrap.servers": kafka, "group.id": "recorder", "enable.auto.commit": False})
    records = []
    for topic in sorted(topics):
        start, end = consumer.get_watermark_offsets(TopicPartition(topic, 0), timeout=30)
        consumer.assign([TopicPartition(topic, 0, start)])
        while start < end:
            record = consumer.poll(30)
            if record is None or record.error():
                raise SystemExit(f"cannot read {topic}: {record and record.error()}")
            records.append(record)
            start = record.offset() + 1
    consumer.close()
    return records


def bytes_as_json(data):
    if data is None:
        return None
    try:
        return data.decode()
    except UnicodeDecodeError:
        return {"base64": base64.b64encode(data).decode()}


def as_json(record):
    return {
        "topic": record.topic(), "offset": record.offset(), "timestamp": record.timestamp()[1],
        "key": bytes_as_json(record.key()), "value": bytes_as_json(record.value()),
    }


def column_names(postgres, table):
    return postgres.say("SELECT column_name FROM information_schema.columns "
                        f"WHERE table_name = '{table}' ORDER BY ordinal_position")


def canonical_rows(postgres, table, names, canonical, order="1::text"):
    """What PostgreSQL says of the rows of a table: of each column a text, as `canonical` makes it."""
    pairs = ", ".join(f"'{name}', {canonical.get(name, name + '::text')}" for name in names)
    return [json.loads(line) for line in
            postgres.say(f"SELECT json_build_object({pairs}) FROM {table} ORDER BY {order}")]


def start_connectors(postgres, connect, variants):
    """Starts a connector for each variant; when it returns, all of them stream."""
    connect.wait()
    for name, own in variants.items():
        config = {
            "connector.class": "io.debezium.connector.postgresql.PostgresConnector", "plugin.name": "pgoutput",
            "database.hostname": "127.0.0.1", "database.port": str(postgres.port), "database.user": "postgres",
            "database.password": "postgres", "database.dbname": "postgres", "topic.prefix": name,
            "slot.name": f"slot_{name}", "publication.name": f"publication_{name}", "skipped.operations": "none",
            "topic.creation.enable": "true", "topic.creation.default.replication.factor": "1",
            "topic.creation.default.partitions": "1", "schema.name.adjustment.mode": "avro",
            "key.converter": "org.apache.kafka.connect.json.JsonConverter", "key.converter.schemas.enable": "false",
            "value.converter": "org.apache.kafka.connect.json.JsonConverter", "value.converter.schemas.enable": "false",
        } | own
        connect.ask(f"/connectors/{name}/config", config)

    def streams():
        done = postgres.say("SELECT count(*) FROM pg_replication_slots WHERE active")
        for name in variants:
            try:
                status = connect.ask(f"/connectors/{name}/status")
            except urllib.error.HTTPError:
                return False
            for task in status["tasks"]:
                if task["state"] == "FAILED":
                    raise SystemExit(f"{name}: {task['trace']}")
        return done == [str(len(variants))]
    wait_for(streams, "every connector streams")


def write_lines(path, values):
    path.write_text("".join(json.dumps(value, ensure_ascii=False) + "\n" for value in values))


def write_versions(path, postgres):
    path.write_text(f"Debezium {DEBEZIUM} (PostgreSQL connector), Kafka Connect 4.3.1, "
                    f"PostgreSQL {postgres.say('SHOW server_version')[0]}\n")


def run(description, record):
    """The program: starts PostgreSQL and Connect, has `record` do its work, and ends them."""
    parser = argparse.ArgumentParser(description=description)
    for name in ("kafka", "connect", "plugins", "postgres"):
        parser.add_argument(f"--{name}", required=True)
    parser.add_argument("--out", default=str(Path(__file__).parent / "recorded"))
    options = parser.parse_args()
    out, folder = Path(options.out), Path(tempfile.mkdtemp(prefix="debezium-"))
    out.mkdir(exist_ok=True)
    postgres = Postgres(options.postgres, folder, 25432)
    connect = Connect(options.connect, options.plugins, options.kafka, folder, 28083)
    try:
        record(postgres, connect, options.kafka, out)
    finally:
        connect.stop()
        postgres.stop()
    shutil.rmtree(folder)


def record(postgres, connect, kafka, out):
    postgres.say(
        f"CREATE TABLE full_rows ({COLUMNS})", "ALTER TABLE full_rows REPLICA IDENTITY FULL",
        f"CREATE TABLE keyed_rows ({COLUMNS})",
        *(f"ALTER TABLE {table} ALTER c_toast SET STORAGE EXTERNAL" for table in TABLES[:2]),
        "CREATE TABLE keyless_rows (a text, b integer)", "ALTER TABLE keyless_rows REPLICA IDENTITY FULL",
        *(f"INSERT INTO {table} VALUES (1, {USUAL}, {long_text(1)}), (2, {EDGES}, ''), (3, {NULLS}, NULL)"
          for table in TABLES[:2]),
        "INSERT INTO keyless_rows VALUES ('snapshot', 1)")
    names = {table: column_names(postgres, table) for table in TABLES}
    expected = []

    def rows(table):
        return canonical_rows(postgres, table, names[table], CANONICAL)

    def note(operation, table, row):
        expected.append({"op": operation, "table": table, "row": row})

    for table in TABLES:
        for row in rows(table):
            note("r", table, row)
    start_connectors(postgres, connect, VARIANTS)

    for table in TABLES:
        for operation, statement in workload(table):
            before = rows(table)
            postgres.say(statement)
            after = rows(table)
            gone = [row for row in before if row not in after]
            new = [row for row in after if row not in before]
            if operation == "t":
                note("t", table, None)
            elif operation == "dc":
                note("d", table, gone[0])
                note("c", table, new[0])
            elif operation == "d":
                note("d", table, gone[0])
            elif table == "keyless_rows" and len(after) - len(before) == 2:
                note("c", table, new[0])
                note("c", table, new[0])
            else:
                note(operation, table, new[0])
    postgres.say("SELECT pg_logical_emit_message(true, 'prefix', 'content')")

    admin = AdminClient({"bootstrap.servers": kafka})

    def topics_of(name):
        return [topic for topic in admin.list_topics(timeout=30).topics
                if topic.startswith(f"{name}.") or topic == f"__debezium-heartbeat.{name}"]

    def ends_with_last(name):
        topics = [f"{name}.public.{table}" for table in TABLES]
        if not set(topics) <= set(topics_of(name)):
            return False
        last = {record.topic(): record.value() for record in read_all(kafka, topics)}
        return all(value is not None and b"999" in value for value in last.values()) and len(last) == 3
    for name in VARIANTS:
        wait_for(lambda: ends_with_last(name), f"{name} has everything")
    # Heartbeats and the markers of transactions follow.
    wait_for(lambda: "__debezium-heartbeat.plain" in topics_of("plain"), "there are heartbeats")
    for name in VARIANTS:
        records = [as_json(record) for record in read_all(kafka, topics_of(name))]
        write_lines(out / f"{name}.jsonl", records)
        print(f"{name}: {len(records)} records")
    write_lines(out / "postgres.jsonl", expected)
    write_versions(out / "VERSIONS", postgres)


if __name__ == "__main__":
    run(__doc__.split("\n", 1)[0], record)
