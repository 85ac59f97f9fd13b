"""What Debezium really wrote, and whether a job landed it as PostgreSQL has it.

    debezium.py produce VARIANT FORMAT BOOTSTRAP REGISTRY   writes the records of `tests/debezium/recorded/VARIANT.jsonl`
                                                            to topics of their own; prints these topics
    debezium.py judge VARIANT FORMAT REPORT                 compares the tables of REPORT (what `run --json` printed) with
                                                            `tests/debezium/recorded/postgres.jsonl`

FORMAT is `debezium_json`, or `debezium_json_sr`: then the schema registry's header is put in front. None of it is the
engine's code: PyIceberg reads the tables. Exit status 1: something is not as PostgreSQL has it.
"""

import base64
import datetime
import decimal
import json
import struct
import sys
from pathlib import Path

from formats import Topic, registry, rows_of

RECORDED = Path(__file__).parent.parent / "debezium" / "recorded"
TABLES = ("full_rows", "keyed_rows", "keyless_rows")
# Debezium's microseconds: a month has 30.4375 days.
INTERVALS = {"1 day 02:03:04": 93_784_000_000, "-1 mons": -2_629_800_000_000}
JSON = ("c_json", "c_jsonb", "c_integers", "c_texts")
EPOCH = datetime.datetime.fromtimestamp(0, datetime.UTC)


def lines(name):
    return [json.loads(line) for line in (RECORDED / f"{name}.jsonl").read_text(encoding="utf-8").splitlines()]


def topic_name(record, form):
    return f"{form}.{record['topic']}"


def produce(variant, form, bootstrap, url):
    header, topics = b"", {}
    if form.endswith("_sr"):
        from confluent_kafka.schema_registry import Schema

        # Apicurio wants the draft said.
        schema = Schema('{"$schema": "http://json-schema.org/draft-07/schema#", "type": "object"}', "JSON")
        id = registry(url).register_schema(f"{form}.{variant}-value", schema)
        header = b"\x00" + struct.pack(">I", id)
    for record in lines(variant):
        name = topic_name(record, form)
        topic = topics.get(name) or topics.setdefault(name, Topic(bootstrap, name))
        value = record["value"]
        topic.send(None if value is None else header + value.encode(), record["key"])
    for topic in topics.values():
        topic.flush()
    print(", ".join(topics), end="")


def is_same(column, found, expected):
    """Whether the table's value is what PostgreSQL says, which is text."""
    if found is None or expected is None:
        return found is expected
    if column == "c_interval":
        return found == INTERVALS[expected]
    if column in JSON:
        return json.loads(found) == json.loads(expected)
    if column == "c_timetz":
        return found.removesuffix("Z") == expected.removesuffix("+00")
    if column == "c_toast":
        return f"{len(found)}:{found[:32]}:{found[-32:]}" == expected
    match found:
        case bool():
            return str(found).lower() == expected
        case float():
            return found == float(expected)
        case decimal.Decimal():
            return found == decimal.Decimal(expected)
        case datetime.datetime():
            return found == datetime.datetime.fromisoformat(expected).replace(tzinfo=found.tzinfo)
        case datetime.time() | datetime.date():
            return found == type(found).fromisoformat(expected)
        case bytes():
            return found.hex() == expected
        case _:
            return str(found) == expected


def said(record):
    """What a record says of its change."""
    value = json.loads(record["value"])
    value = value.get("payload", value)
    if "source" in value:
        source, before = value["source"], value["before"]
        return source["lsn"], value["ts_ms"], source["ts_ms"], before
    return value["__lsn"], value["__ts_ms"], value["__source_ts_ms"], None


def judge_table(variant, table, records, rows, wrong):
    """The rows of one table of PostgreSQL's, and the records they are from."""
    # `ExtractNewRecordState` has no row to make of a truncation, and drops it.
    changes = [c for c in lines("postgres") if c["table"] == table and not (variant == "unwrapped" and c["op"] == "t")]
    records = [record for record in records if record["value"] is not None]
    if not len(rows) == len(changes) == len(records):
        wrong.append(f"{table}: {len(rows)} rows of {len(records)} records, PostgreSQL has {len(changes)} changes")
        return
    for place, (row, change, record) in enumerate(zip(rows, changes, records)):
        where = f"{table}, change {place} ({change['op']})"
        lsn, ts_ms, source_ts_ms, before = said(record)
        at = lambda ms: EPOCH + datetime.timedelta(milliseconds=ms)  # noqa: E731
        facts = {
            "kafka_offset": record["offset"],
            "event_time": at(source_ts_ms),
            "__op": change["op"],
            "__table": table,
            "__schema": "public",
            "__db": "postgres",
            "__deleted": change["op"] == "d",
            "__lsn": lsn,
            "__ts_ms": at(ts_ms),
            "__source_ts_ms": at(source_ts_ms),
        }
        wrong += [f"{where}: {name} is {row[name]!r}, recorded was {fact!r}" for name, fact in facts.items() if row[name] != fact]
        if (None if row["__before"] is None else json.loads(row["__before"])) != before:
            wrong.append(f"{where}: __before is {row['__before']}, recorded was {before}")
        unavailable = json.loads(row["__unavailable"] or "[]")
        if unavailable not in ([], ["c_toast"]):
            wrong.append(f"{where}: {unavailable} should be available")
        of_key_only = change["op"] == "d" and table == "keyed_rows"
        expected = change["row"] or {}
        for column in (name for name in row if name in ("id", "a", "b") or name.startswith("c_")):
            is_null = column in unavailable or (of_key_only and column != "id")
            value = None if is_null else expected.get(column)
            if not is_same(column, row[column], value):
                wrong.append(f"{where}: {column} is {row[column]!r}, PostgreSQL has {value!r}")


def judge(variant, form, report):
    wrong = []
    tables = [rows_of(table["metadata_location"]) for table in report["tables"]]
    rows, letters = tables
    by_topic = {}
    for record in lines(variant):
        by_topic.setdefault(topic_name(record, form), []).append(record)
    landed = 0
    for table in TABLES:
        topic = f"{form}.{variant}.public.{table}"
        of_topic = sorted((row for row in rows if row["kafka_topic"] == topic), key=lambda row: row["kafka_offset"])
        landed += len(of_topic)
        judge_table(variant, table, by_topic[topic], of_topic, wrong)
    if landed != len(rows) or len({row["event_id"] for row in rows}) != len(rows):
        wrong.append(f"{len(rows)} rows, {landed} of the tables' topics, {len({row['event_id'] for row in rows})} ids")

    # A message that the database's log holds is no change of a row.
    def payload(letter):
        text = letter["original_payload"]
        text = base64.b64decode(text) if letter["payload_encoding"] == "base64" else text.encode()
        return text[5:].decode() if form.endswith("_sr") else text.decode()

    messages = by_topic[f"{form}.{variant}.message"]
    if [(letter["error_type"], payload(letter)) for letter in letters] != [("schema_mismatch", record["value"]) for record in messages]:
        wrong.append(f"dead letters: {letters}")
    consumed = sum(map(len, by_topic.values()))
    counts = {"consumed": consumed, "landed": len(rows), "duplicates": 0, "dead_letters": len(messages)}
    counts["dropped"] = consumed - len(rows) - len(messages)
    account = report["account"]
    wrong += [f"{name}: expected {n}, the account says {account[name]}" for name, n in counts.items() if account[name] != n]
    return wrong


def main(args):
    match args:
        case ["produce", variant, form, bootstrap, url]:
            produce(variant, form, bootstrap, url)
            return 0
        case ["judge", variant, form, report]:
            wrong = judge(variant, form, json.loads(Path(report).read_text(encoding="utf-8")))
            print("\n".join(wrong), file=sys.stderr)
            return 1 if wrong else 0
    print(__doc__, file=sys.stderr)
    return 2


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
