"""Records of growing schemas, and whether the columns that each adds have what was sent.

    evolution.py produce FORMAT VERSIONS BOOTSTRAP REGISTRY TOPIC SENT   writes records of these versions of the schema (`1,2`), and
                                                                         adds to SENT what must become of them
    evolution.py judge SENT REPORT                                       compares the tables of REPORT with SENT

FORMAT is `avro_sr`, `json_sr` or `protobuf_sr`, as confluent-kafka's serializers write them, or `debezium_json` or `debezium_json_sr`.
Exit status 1: something is not as it was sent.
"""

import datetime
import decimal
import json
import sys
import uuid
from pathlib import Path

import evolution_debezium
from formats import now_us, plain, proto_file, registry, rows_of

RECORDS = 60
PARTITIONS = 4
EPOCH = datetime.datetime.fromtimestamp(0, datetime.UTC)
MICROS = {"type": "long", "logicalType": "timestamp-micros"}
FEE = {"type": "bytes", "logicalType": "decimal", "precision": 20, "scale": 8}

# What each version adds: name, Avro's type, JSON Schema's type.
FIELDS = {
    1: [("event_id", "string", {"type": "string"}), ("event_time", MICROS, {"type": "string", "format": "date-time"}), ("kind", "string", {"type": "string"})],
    2: [
        ("sequence", ["null", "long"], {"type": ["null", "integer"]}),
        ("fee", FEE, {"type": "number"}),
        ("book", {"type": "array", "items": "double"}, {"type": "array"}),
    ],
    3: [
        ("note", {"type": "enum", "name": "Note", "symbols": ["A", "B"]}, {"enum": ["A", "B"]}),
        ("seen", MICROS, {"type": "string", "format": "date-time"}),
    ],
}
# The same as Protobuf's fields, by number.
STAMP = ".google.protobuf.Timestamp"
PROTOBUF_FIELDS = {
    1: {1: ("event_id", "string"), 2: ("event_time", STAMP), 3: ("kind", "string")},
    2: {4: ("sequence", "int64", "optional"), 5: ("fee", "double", "optional"), 6: ("book", "double", "repeated")},
    3: {7: ("note", "enum .market.Note", "optional"), 8: ("seen", STAMP)},
}
NOTES = ["NONE", "A", "B"]
# Of a type that no column has.
LEFT_OUT = "book"


def fields(version):
    return [field for v in range(1, version + 1) for field in FIELDS[v]]


def protobuf_message(version):
    """The class of a version's message."""
    from google.protobuf import descriptor_pool, message_factory, timestamp_pb2

    pool = descriptor_pool.DescriptorPool()
    known = timestamp_pb2.DESCRIPTOR
    pool.AddSerializedFile(known.serialized_pb)
    fields = {number: field for v in range(1, version + 1) for number, field in PROTOBUF_FIELDS[v].items()}
    file = proto_file("market/evolving.proto", {"Event": (fields, {})}, [known.name], {"Note": NOTES})
    pool.AddSerializedFile(file.SerializeToString())
    return message_factory.GetMessageClass(pool.FindMessageTypeByName("market.Event"))


def fill(message, record):
    """The message, with what of the record is not null."""
    for name, value in record.items():
        if isinstance(value, datetime.datetime):
            getattr(message, name).FromDatetime(value)
        elif isinstance(value, list):
            getattr(message, name).extend(value)
        elif name == "note":
            message.note = NOTES.index(value)
        elif value is not None:
            setattr(message, name, value)
    return message


def serializer(form, client, topic, version):
    from confluent_kafka.serialization import MessageField, SerializationContext

    if form.startswith("debezium"):
        return evolution_debezium.serializer(form, client, topic, [name for name, _, _ in fields(version)])
    if form == "protobuf_sr":
        from confluent_kafka.schema_registry.protobuf import ProtobufSerializer

        message = protobuf_message(version)
        of_message = ProtobufSerializer(message, client)
        serialize = lambda record, context: of_message(fill(message(), record), context)
    elif form == "avro_sr":
        from confluent_kafka.schema_registry.avro import AvroSerializer

        schema = {"type": "record", "name": "Event", "fields": [{"name": name, "type": avro} for name, avro, _ in fields(version)]}
        serialize = AvroSerializer(client, json.dumps(schema))
    else:
        from confluent_kafka.schema_registry.json_schema import JSONSerializer

        schema = {"$schema": "http://json-schema.org/draft-07/schema#", "title": "Event", "type": "object",
                  "properties": {name: of for name, _, of in fields(version)}}
        serialize = JSONSerializer(json.dumps(schema), client)
    context = SerializationContext(topic, MessageField.VALUE)
    return lambda record: serialize(record, context)


def event(form, version, i):
    us = now_us()
    at = EPOCH + datetime.timedelta(microseconds=us)
    is_debezium = form.startswith("debezium")
    time = at.isoformat() if form == "json_sr" or is_debezium else at
    seen = us if is_debezium else time
    # Only a schema within the record says what an integer counts.
    read_back = us if form == "debezium_json_sr" else at
    whole = {
        "event_id": str(uuid.uuid4()), "event_time": time, "kind": "big" if i % 3 == 0 else "small",
        "sequence": None if i % 5 == 0 else i, "fee": decimal.Decimal(i) / 8 if form == "avro_sr" or is_debezium else i / 8,
        "book": [1.5, i], "note": "AB"[i % 2], "seen": seen,
    }
    record = {name: whole[name] for name, _, _ in fields(version)}
    expected = {name: record.get(name) for v in FIELDS for name, _, _ in FIELDS[v] if name != LEFT_OUT}
    return record, expected | {"event_time": at, "seen": read_back if "seen" in record else None}


def produce(form, versions, bootstrap, url, topic, path):
    from confluent_kafka import Producer

    client, failed = registry(url), []
    producer = Producer({"bootstrap.servers": bootstrap, "enable.idempotence": True})
    serializers = {version: serializer(form, client, topic, version) for version in versions}
    path = Path(path)
    sent = json.loads(path.read_text(encoding="utf-8")) if path.exists() else []
    for i in range(RECORDS):
        version = versions[i % len(versions)]
        record, expected = event(form, version, i)
        producer.produce(topic, serializers[version](record), partition=i % PARTITIONS, on_delivery=lambda e, _: failed.append(e) if e else None)
        sent.append(expected)
    if producer.flush(60) or failed:
        raise SystemExit(f"records that `{topic}` did not take: {failed}")
    path.write_text(json.dumps(sent, default=plain), encoding="utf-8")


def in_utc(value):
    """A time without a zone is one of UTC, as Debezium writes it."""
    is_local = isinstance(value, datetime.datetime) and value.tzinfo is None
    return value.replace(tzinfo=datetime.UTC) if is_local else value


def judge(sent, report):
    wrong = []
    by_id = {row["event_id"]: row for row in sent}
    for table in report["tables"]:
        name = table["name"]
        rows = rows_of(table["metadata_location"])
        if name.endswith("_dead_letters"):
            wrong += [f"a dead letter: {row}" for row in rows]
            continue
        expected = {id for id, row in by_id.items() if not name.endswith("_big") or row["kind"] == "big"}
        found = [row["event_id"] for row in rows]
        if sorted(found) != sorted(expected):
            wrong.append(f"{name}: {len(found)} rows ({len(set(found))} ids), {len(expected)} were sent to it")
        for row in rows:
            if LEFT_OUT in row:
                wrong.append(f"{name}: there is a column `{LEFT_OUT}`")
            for column, value in by_id.get(row["event_id"], {}).items():
                read = plain(in_utc(row.get(column)))
                if isinstance(row.get(column), decimal.Decimal):
                    value = plain(decimal.Decimal(value))
                if column not in row or read != value:
                    wrong.append(f"{name}, {row['event_id']}: {column} is {read!r}, sent was {value!r}")
    account = report["account"]
    if (account["consumed"], account["landed"]) != (len(sent), len(sent)):
        wrong.append(f"{len(sent)} were sent, the account says {account}")
    return wrong


def main(args):
    match args:
        case ["produce", form, versions, bootstrap, url, topic, path]:
            produce(form, [int(version) for version in versions.split(",")], bootstrap, url, topic, path)
            return 0
        case ["judge", path, report]:
            wrong = judge(json.loads(Path(path).read_text(encoding="utf-8")), json.loads(Path(report).read_text(encoding="utf-8")))
            print("\n".join(wrong), file=sys.stderr)
            return 1 if wrong else 0
    print(__doc__, file=sys.stderr)
    return 2


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
