"""Records what Debezium really writes of the outbox tables that the shipped job `business-events` is for.

    python tests/debezium/record_outbox.py ...      arguments and all else as `record.py` has them

There are two tables. `outbox` is as outboxes are: the event's id is the primary key, and PostgreSQL logs no more of a
deleted row. `outbox_full` has a key of its own and `REPLICA IDENTITY FULL`; its events may lack an id or a time, and the
same id may come twice. The connector puts the changes of both, its heartbeats, its transaction markers and a logical
decoding message into one topic, as the job reads one.

It writes `recorded/VARIANT.jsonl`, and `recorded/outbox_postgres.jsonl`: what PostgreSQL itself says of the row of every
change and of the row before it, and which columns its log leaves out, each table's in the order of the changes
(`OUTBOX_VERSIONS` says of what). `tests/judge/outbox.py` holds the tables of the job against it.
"""

from confluent_kafka.admin import AdminClient

from record import (WITH_SCHEMAS, as_json, canonical_rows, column_names, read_all, run, start_connectors, wait_for,
                    write_lines, write_versions)

TABLES = ("outbox", "outbox_full")
# The payload of the row that is inserted last.
LAST = "the last"
ONE_TOPIC = {
    "transforms": "route", "transforms.route.type": "org.apache.kafka.connect.transforms.RegexRouter",
    "transforms.route.regex": ".*", "heartbeat.interval.ms": "500", "provide.transaction.metadata": "true",
}
VARIANTS = {
    "outbox": ONE_TOPIC | WITH_SCHEMAS | {"transforms.route.replacement": "outbox"},
    # It reads no row that is there when it starts, so that an update or a delete is the first that is heard of one.
    "outbox_plain": ONE_TOPIC | {"transforms.route.replacement": "outbox_plain", "snapshot.mode": "no_data"},
}
# Each column is one text, null for null; times are in UTC, with all of their digits.
CANONICAL = {"event_time": "to_char(event_time, 'YYYY-MM-DD HH24:MI:SS.US')"}


def id_of(number):
    return f"00000000-0000-4000-8000-{number:012}"


def event(number, kind, age="0 s", payload="'{\"total\": \"12.50\"}'"):
    """A row of `outbox`."""
    subject = "NULL" if kind is None else f"'{kind.split('.')[0]}'"
    kind = "NULL" if kind is None else f"'{kind}'"
    return f"('{id_of(number)}', {kind}, clock_timestamp() - interval '{age}', {subject}, '{number}', {payload})"


def full_event(key, id, kind, time="clock_timestamp()", payload="'{\"a\": [1, null],  \"b\": \"\"}'"):
    """A row of `outbox_full`."""
    id = "NULL" if id is None else f"'{id}'"
    return f"({key}, {id}, '{kind}', {time}, '{kind.split('.')[0]}', NULL, {payload})"


# Longer than a page takes, so that PostgreSQL stores it apart (TOAST).
LONG = "(SELECT json_object_agg(i, md5(i::text)) FROM generate_series(1, 90) i)"

# What is there when the connectors start. Of `outbox_full`: ids that are missing, so that a position stands for them.
FIRST_ROWS = {
    "outbox": [event(1, "order.placed"), event(2, "payment.captured")],
    "outbox_full": [full_event(21, None, "shipment.sent"), full_event(22, None, "customer.moved"),
                    full_event(23, "full-23", "order.placed")],
}

# The changes made while the connectors stream: operation, table and statement.
WORKLOAD = [
    ("c", "outbox", "INSERT INTO outbox VALUES " + ", ".join([
        event(31, "order.placed", payload="'{\"text\": \"Grüße, \\\"\\\\, 漢字, 🦀\"}'"),
        event(32, "payment.captured", payload=LONG), event(33, "payment.refunded", payload="'null'"),
        event(34, "shipment.sent", payload="'\"text\"'"), event(35, "customer.moved", payload="NULL"),
        # Of none of the subjects, and of none at all.
        event(36, "stock.counted"), event(37, "orders"), event(38, None),
    ])),
    # Behind the others by so much that it is late, and by more than a late event may be.
    ("c", "outbox", f"INSERT INTO outbox VALUES {event(39, 'order.placed', '10 min')}"),
    ("c", "outbox", f"INSERT INTO outbox VALUES {event(40, 'order.placed', '2 h')}"),
    ("u", "outbox", f"UPDATE outbox SET payload = '{{}}' WHERE event_id = '{id_of(31)}'"),
    ("u", "outbox", f"UPDATE outbox SET aggregate_id = 'other' WHERE event_id = '{id_of(1)}'"),
    # Of the primary key: Debezium makes a delete, a tombstone and a create of it, and does not hear of the long payload.
    ("dc", "outbox", f"UPDATE outbox SET event_id = '{id_of(41)}' WHERE event_id = '{id_of(32)}'"),
    ("d", "outbox", f"DELETE FROM outbox WHERE event_id = '{id_of(33)}'"),
    ("d", "outbox", f"DELETE FROM outbox WHERE event_id = '{id_of(2)}'"),
    ("c", "outbox_full", "INSERT INTO outbox_full VALUES " + ", ".join([
        full_event(51, "full-51", "order.placed"), full_event(52, None, "payment.refunded"),
        full_event(53, "", "shipment.sent"), full_event(54, "full-54", "customer.moved", "NULL"),
        full_event(55, "full-55", "payment.captured", payload=LONG),
    ])),
    ("u", "outbox_full", "UPDATE outbox_full SET payload = '{}' WHERE key = 52"),
    ("u", "outbox_full", "UPDATE outbox_full SET event_type = 'order.placed' WHERE key = 54"),
    ("u", "outbox_full", "UPDATE outbox_full SET aggregate_id = 'a' WHERE key = 21"),
    ("u", "outbox_full", "UPDATE outbox_full SET event_id = 'full-61' WHERE key = 55"),
    ("c", "outbox_full", f"INSERT INTO outbox_full VALUES {full_event(56, 'full-51', 'order.placed')}"),
    ("d", "outbox_full", "DELETE FROM outbox_full WHERE key = 52"),
    ("d", "outbox_full", "DELETE FROM outbox_full WHERE key = 23"),
    ("t", "outbox", "TRUNCATE outbox"),
    ("t", "outbox_full", "TRUNCATE outbox_full"),
    ("c", "outbox", f"INSERT INTO outbox VALUES {event(42, 'order.placed')}"),
    ("c", "outbox_full", "INSERT INTO outbox_full VALUES "
                         + full_event(57, "full-57", "payment.captured", payload=f"'\"{LAST}\"'")),
]


def record(postgres, connect, kafka, out):
    postgres.say(
        "CREATE TABLE outbox (event_id uuid PRIMARY KEY, event_type text, event_time timestamptz NOT NULL, "
        "aggregate_type text, aggregate_id text, payload jsonb)",
        "CREATE TABLE outbox_full (key bigint PRIMARY KEY, event_id text, event_type varchar(40), event_time timestamp, "
        "aggregate_type varchar(40), aggregate_id varchar(40), payload json)",
        "ALTER TABLE outbox_full REPLICA IDENTITY FULL",
        *(f"ALTER TABLE {table} ALTER payload SET STORAGE EXTERNAL" for table in TABLES),
        *(f"INSERT INTO {table} VALUES {', '.join(FIRST_ROWS[table])}" for table in TABLES))
    names = {table: column_names(postgres, table) for table in TABLES}
    expected = []

    def rows(table):
        return canonical_rows(postgres, table, names[table], CANONICAL)

    def note(operation, table, row, before=None, unavailable=()):
        expected.append({"op": operation, "table": table, "row": row, "before": before, "unavailable": unavailable})

    for table in TABLES:
        for row in rows(table):
            note("r", table, row)
    start_connectors(postgres, connect, VARIANTS)

    for operation, table, statement in WORKLOAD:
        before = rows(table)
        postgres.say(statement)
        after = rows(table)
        gone = [row for row in before if row not in after]
        new = [row for row in after if row not in before]
        match operation:
            case "t":
                note("t", table, None)
            case "dc":
                note("d", table, gone[0], gone[0])
                # What is stored apart and was not changed is not in the log.
                note("c", table, new[0], unavailable=["payload"])
            case "d":
                note("d", table, gone[0], gone[0])
            case "u":
                note("u", table, new[0], gone[0])
            case "c":
                for row in new:
                    note("c", table, row)
    postgres.say("SELECT pg_logical_emit_message(true, 'prefix', 'content')")

    admin = AdminClient({"bootstrap.servers": kafka})

    def is_complete(name):
        """Whether a heartbeat follows the message, which follows the last row."""
        if name not in admin.list_topics(timeout=30).topics:
            return False
        came = [record.value() or b"" for record in read_all(kafka, [name])]
        after_last = next((came[place:] for place, value in enumerate(came) if LAST.encode() in value), [])
        is_message = [b'"message":{' in value for value in after_last]
        return True in is_message and any(b'"ts_ms"' in value and b'"op"' not in value and b'"status"' not in value
                                          for value in after_last[is_message.index(True):])

    for name in VARIANTS:
        wait_for(lambda: is_complete(name), f"{name} has everything")
        records = [as_json(record) for record in read_all(kafka, [name])]
        write_lines(out / f"{name}.jsonl", records)
        print(f"{name}: {len(records)} records")
    write_lines(out / "outbox_postgres.jsonl", expected)
    write_versions(out / "OUTBOX_VERSIONS", postgres)


if __name__ == "__main__":
    run(__doc__.split("\n", 1)[0], record)
