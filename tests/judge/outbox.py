"""What Debezium really wrote of an outbox, and whether the shipped job `business-events` landed it as PostgreSQL has it.

    outbox.py produce VARIANT BOOTSTRAP REGISTRY SENT   writes the records of `tests/debezium/recorded/VARIANT.jsonl` to the
                                                        job's topic, the schema registry's header in front, and to SENT
                                                        what must become of them
    outbox.py judge SENT REPORT                         compares the tables of REPORT (what `run --json` printed) and the
                                                        topic of the dead letters with SENT

The rows are those that PostgreSQL itself says it had (`tests/debezium/recorded/outbox_postgres.jsonl`); only positions
and times of changes are Debezium's word. Of several changes with one event id the first lands. None of it is the
engine's code. Exit status 1: something is not as it must be.
"""

import datetime
import json
import re
import struct
import sys
from collections import Counter
from pathlib import Path

import formats
from debezium import lines
from formats import BUSINESS, Sent, Topic, moment, now_us, registry, rows_of

JOB = "business-events"
TOPIC = "raw-business-events"
# Of whose deleted rows PostgreSQL logs the key alone.
KEY_ONLY = "outbox"
TABLES = (KEY_ONLY, "outbox_full")
# The job's own: what is further behind the watermark is not landed.
ALLOWED_LATENESS = datetime.timedelta(hours=1)
SUFFIXES = {suffix for suffixes in BUSINESS.values() for suffix in suffixes}


def change_of(value):
    """What a record says, without Connect's wrapper."""
    said = json.loads(value)
    return said["payload"] if said.keys() == {"schema", "payload"} else said


def kind_of(said):
    match said:
        case None:
            return "tombstone"
        case {"op": "m"}:
            return "message"
        case {"op": _}:
            return "change"
        case {"status": _}:
            return "transaction marker"
    return "heartbeat"


def moment_of(text):
    return datetime.datetime.fromisoformat(text).replace(tzinfo=datetime.UTC)


def former_row(change):
    """`before`, as Debezium must write it by what PostgreSQL says; null where its log does not have it."""
    before = change["before"]
    if change["table"] == KEY_ONLY:
        if change["op"] != "d":
            return None
        # Debezium's own word for a time that must not be null.
        return dict.fromkeys(before) | {"event_id": before["event_id"], "event_time": "1970-01-01T00:00:00Z"}
    if before is None:
        return None
    time = before["event_time"]
    micros = time and (moment_of(time) - formats.EPOCH) // datetime.timedelta(microseconds=1)
    return before | {"key": int(before["key"]), "event_time": micros}


def row_of(change, said):
    """The row of a change in the job's table; its id is none where the row has none of its own."""
    row = change["row"] or {}
    if change["op"] == "d" and change["table"] == KEY_ONLY:
        row = {"event_id": row["event_id"]}
    source_time, before = moment(said["source"]["ts_ms"] * 1000), former_row(change)
    landed = {name: row.get(name) for name in ("event_type", "aggregate_type", "aggregate_id", "payload")}
    landed |= dict.fromkeys(change["unavailable"])
    return landed | {
        "event_id": row.get("event_id") or None,
        "event_time": moment_of(row["event_time"]) if row.get("event_time") else source_time,
        "__op": change["op"],
        "__table": change["table"],
        "__schema": "public",
        "__ts_ms": moment(said["ts_ms"] * 1000),
        "__source_ts_ms": source_time,
        "__lsn": said["source"]["lsn"],
        "__deleted": change["op"] == "d",
        "__before": before and json.dumps(before),
        "__unavailable": json.dumps(change["unavailable"]) if change["unavailable"] else None,
    }


def send(variant, topic, header):
    """Writes the records. Returns what must become of them."""
    sent, kinds, ids, newest = Sent(), Counter(), set(), None
    records = [(record, record["value"] and change_of(record["value"])) for record in lines(variant)]
    has_snapshot = any(said and said.get("op") == "r" for _, said in records)
    changes = {
        table: iter([c for c in lines("outbox_postgres") if c["table"] == table and (has_snapshot or c["op"] != "r")]) for table in TABLES
    }
    for record, said in records:
        value = None if record["value"] is None else header + record["value"].encode()
        key = None if record["key"] is None else record["key"].encode()
        kind = kind_of(said)
        kinds[kind] += 1
        if kind == "message":
            # It is no change of a row.
            sent.dead_letter(topic, "schema_mismatch", value, key)
            continue
        if kind != "change":
            topic.send(value, key)
            sent.dropped += 1
            continue
        row = row_of(next(changes[said["source"]["table"]]), said)
        id, event_time = row["event_id"], row["event_time"]
        watermark = newest and newest - formats.OUT_OF_ORDERNESS
        newest = max(newest or event_time, event_time)
        if id in ids:
            sent.timed.append({"place": topic.send(value, key), "row": {"event_time": event_time}})
            sent.duplicates += 1
            kinds["duplicate"] += 1
        elif watermark and event_time < watermark - ALLOWED_LATENESS:
            sent.dead_letter(topic, "too_late", value, key)
            kinds["too late"] += 1
        else:
            sent.land(topic, value, row, key)
            ids |= {id} - {None}
            kinds[f"landed {row['__op']}"] += 1
    topic.flush()
    left = [change for of_table in changes.values() for change in of_table]
    if left:
        raise SystemExit(f"{variant}: PostgreSQL has changes of which there is no record: {left}")
    expected = {"tombstone", "heartbeat", "transaction marker", "message", "duplicate", "too late"}
    expected |= {f"landed {op}" for op in ("rcudt" if has_snapshot else "cudt")}
    if kinds.keys() != expected | {"change"}:
        raise SystemExit(f"{variant}: recorded were {dict(kinds)}, expected are {sorted(expected)}")
    return sent


def produce(variant, bootstrap, url):
    from confluent_kafka.schema_registry import Schema

    # Apicurio wants the draft said.
    schema = Schema('{"$schema": "http://json-schema.org/draft-07/schema#", "type": "object"}', "JSON")
    id = registry(url).register_schema(f"{TOPIC}-value", schema)
    sent = send(variant, Topic(bootstrap, TOPIC), b"\x00" + struct.pack(">I", id))
    sent.bootstrap, sent.read_after = bootstrap, moment(now_us())
    return sent


def take_ids(sent, rows):
    """Gives each expected row without an id the one that it landed with. Returns which of these are not the change's own:
    table, position, operation and a hash."""
    wrong, landed = [], {row["kafka_offset"]: row["event_id"] for row in rows}
    for expected in sent["landed"]:
        row, offset = expected["row"], expected["place"]["offset"]
        if row["event_id"] is None:
            row["event_id"] = id = landed.get(offset)
            change = re.escape(f"postgres.public.{row['__table']}:{row['__lsn']}:{row['__op']}:")
            if not re.fullmatch(change + "[0-9a-f]{32}", id or ""):
                wrong.append(f"the change at {offset} has no id of its row, and landed with {id!r}")
    return wrong


def judge(sent, report):
    wrong = take_ids(sent, rows_of(report["tables"][0]["metadata_location"]))
    sent["routed"] = {suffix: [] for suffix in SUFFIXES}
    for expected in sent["landed"]:
        kind = expected["row"]["event_type"]
        for suffix in BUSINESS[kind] if kind else []:
            sent["routed"][suffix].append(expected["row"]["event_id"])
    wrong += [f"no event is for {suffix}" for suffix, ids in sent["routed"].items() if not ids]
    return wrong + formats.judge(JOB, sent, report)


def main(args):
    match args:
        case ["produce", variant, bootstrap, url, path]:
            sent = produce(variant, bootstrap, url)
            Path(path).write_text(json.dumps(sent.__dict__, default=formats.plain), encoding="utf-8")
            return 0
        case ["judge", path, report]:
            wrong = judge(*(json.loads(Path(file).read_text(encoding="utf-8")) for file in (path, report)))
            print("\n".join(wrong), file=sys.stderr)
            return 1 if wrong else 0
    print(__doc__, file=sys.stderr)
    return 2


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
