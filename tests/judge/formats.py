"""Records as confluent-kafka's serializers write them, and whether a job landed them field by field.

    formats.py produce JOB BOOTSTRAP REGISTRY SENT   writes records to the job's topics, and to SENT what must become of them
    formats.py judge JOB SENT REPORT                 compares the tables of REPORT (what `run --json` printed) with SENT

None of it is the engine's code: PyIceberg reads the tables. Exit status 1: something is not as it was sent.
"""

import base64
import datetime
import decimal
import json
import sys
import time
import uuid

RECORDS = 60


def now_us():
    return time.time_ns() // 1000


class Topic:
    """A topic of one partition, written in order, so that offsets are known."""

    def __init__(self, bootstrap, name):
        from confluent_kafka import Producer
        from confluent_kafka.admin import AdminClient, NewTopic

        admin = AdminClient({"bootstrap.servers": bootstrap})
        for created in admin.create_topics([NewTopic(name, 1, 1)]).values():
            created.result(60)
        self.name = name
        self.producer = Producer({"bootstrap.servers": bootstrap, "enable.idempotence": True})
        self.failed = []

    def send(self, value, key=None, headers=None):
        self.producer.produce(
            self.name, value, key, partition=0, headers=headers, on_delivery=lambda e, _: self.failed.append(e) if e else None
        )

    def flush(self):
        if self.producer.flush(60) or self.failed:
            raise SystemExit(f"records that `{self.name}` did not take: {self.failed}")


def registry(url):
    from confluent_kafka.schema_registry import SchemaRegistryClient

    return SchemaRegistryClient({"url": url})


def avro_serializer(client, topic, schema):
    from confluent_kafka.schema_registry.avro import AvroSerializer
    from confluent_kafka.serialization import MessageField, SerializationContext

    serializer = AvroSerializer(client, json.dumps(schema))
    context = SerializationContext(topic, MessageField.VALUE)
    return lambda record: serializer(record, context)


def b64(value):
    return None if value is None else base64.b64encode(value).decode()


class Sent:
    """What must become of what was sent."""

    def __init__(self):
        self.landed, self.dead, self.duplicates, self.dropped = [], [], 0, 0
        # What the tables besides have: event ids, by the end of the table's name.
        self.routed = {}

    def dead_letter(self, topic, error_type, value, key=b"bad"):
        topic.send(value, key)
        self.dead.append([error_type, b64(value)])


def bad_avro(sent, topic, good):
    """What networks and other producers do to a record with a header."""
    sent.dead_letter(topic, "malformed", b"\x01" + good[1:])
    sent.dead_letter(topic, "malformed", good[:3])
    sent.dead_letter(topic, "malformed", good[:-1])
    sent.dead_letter(topic, "malformed", good + b"\x00")
    sent.dead_letter(topic, "malformed", b"")
    sent.dead_letter(topic, "malformed", b'{"message_id": "plain JSON"}')
    sent.dead_letter(topic, "unknown_schema", b"\x00\x7f\x00\x00\x01" + good[5:])
    sent.dead_letter(topic, "null_value", None)


# Jobs -------------------------------------------------------------------------------------------------

MONEY = {"type": "bytes", "logicalType": "decimal", "precision": 20, "scale": 8}
SIDE = {"type": "enum", "name": "Side", "symbols": ["BUY", "SELL"]}


def trade_schema(exchange, version):
    fields = [
        {"name": "message_id", "type": "string"},
        {"name": "exchange", "type": "string"},
        {"name": "event_time", "type": {"type": "long", "logicalType": "timestamp-micros"}},
    ]
    if exchange == "binance":
        fields += [
            {"name": "symbol", "type": "string"},
            {"name": "price", "type": "string"},
            {"name": "quantity", "type": MONEY},
            {"name": "is_buyer_maker", "type": "boolean"},
        ]
    else:
        fields += [
            {"name": "pair", "type": "string"},
            {"name": "price", "type": MONEY},
            {"name": "volume", "type": "string"},
            {"name": "side", "type": ["null", SIDE], "default": None},
        ]
    if version == 2:
        fields.insert(1, {"name": "sequence", "type": ["null", "long"], "default": None})
        fields.append({"name": "book", "type": {"type": "array", "items": {"type": "map", "values": "double"}}, "default": []})
    return {"type": "record", "name": f"Trade{exchange.title()}", "namespace": "market", "fields": fields}


def trade(exchange, i):
    record = {
        "message_id": str(uuid.uuid4()),
        "exchange": exchange,
        "event_time": datetime.datetime.fromtimestamp(0, datetime.UTC) + datetime.timedelta(microseconds=now_us()),
        "sequence": i,
        "book": [{"bid": 1.5, "ask": i / 2}],
    }
    if exchange == "binance":
        record |= {"symbol": "BTCUSDT", "price": f"{67000 + i}.{i:02}", "quantity": decimal.Decimal(i) / 8, "is_buyer_maker": i % 2 == 0}
    else:
        record |= {"pair": "XBT/USD", "price": decimal.Decimal(6_700_000 + i) / 100, "volume": f"0.{i:08}1", "side": [None, "BUY", "SELL"][i % 3]}
    return record


def produce_raw(exchange, bootstrap, url):
    topic = Topic(bootstrap, f"market.crypto.trades.{exchange}.raw")
    client, sent = registry(url), Sent()
    versions = [avro_serializer(client, topic.name, trade_schema(exchange, v)) for v in (1, 2)]
    value = None
    for i in range(RECORDS):
        record = trade(exchange, i)
        value = versions[i % 2](record)
        key = None if i % 7 == 0 else f"key-{i}".encode() + b"\xff"
        headers = [("trace", f"t{i}".encode()), ("empty", b""), ("none", None), ("trace", f"last{i}".encode())] if i % 3 else None
        topic.send(value, key, headers)
        if i % 20 == 0:
            topic.send(value, key, headers)
            sent.duplicates += 1
        if i == RECORDS // 2:
            bad_avro(sent, topic, value)
        sent.landed.append(
            {
                "event_id": record["message_id"],
                "event_time": record["event_time"],
                "kafka_key": b64(key),
                "value": b64(value),
                "kafka_headers": {"trace": b64(f"last{i}".encode()), "empty": b64(b""), "none": None} if headers else {},
                "schema_id": int.from_bytes(value[1:5], "big"),
            }
        )
    topic.flush()
    return sent


def produce_typed(bootstrap, url):
    client, sent = registry(url), Sent()
    for exchange in ("binance", "kraken"):
        topic = Topic(bootstrap, f"typed.{exchange}")
        versions = [avro_serializer(client, topic.name, trade_schema(exchange, v)) for v in (1, 2)]
        for i in range(RECORDS):
            record = trade(exchange, i)
            value = versions[i % 2](record)
            topic.send(value)
            if i == 3:
                bad_avro(sent, topic, value)
                wrong = versions[0](record | {"price" if exchange == "binance" else "volume": "cheap"})
                sent.dead_letter(topic, "schema_mismatch", wrong)
            sent.landed.append(
                {
                    "event_id": record["message_id"],
                    "message_id": record["message_id"],
                    "event_time": record["event_time"],
                    "exchange": exchange,
                    "symbol": record.get("symbol", record.get("pair")),
                    "price": str(record["price"]),
                    "quantity": str(record.get("quantity", record.get("volume"))),
                    "side": record.get("side"),
                    "is_buyer_maker": record.get("is_buyer_maker"),
                    "trade_id": None,
                }
            )
        topic.flush()
    return sent


# Event types, and the tables that each goes to besides the first.
BUSINESS = {
    "order.placed": ["_orders"],
    "payment.captured": ["_payments"],
    "payment.refunded": ["_orders", "_payments"],
    "shipment.sent": ["_shipments"],
    "customer.moved": ["_customers"],
    "orders": [],
    "stock.counted": [],
}


def produce_business(bootstrap, url):
    from confluent_kafka.schema_registry.json_schema import JSONSerializer
    from confluent_kafka.serialization import MessageField, SerializationContext

    topic = Topic(bootstrap, "raw-business-events")
    serializer = JSONSerializer(json.dumps({"$schema": "http://json-schema.org/draft-07/schema#", "title": "Change", "type": "object"}), registry(url))
    context = SerializationContext(topic.name, MessageField.VALUE)
    serialize = lambda record: serializer(record, context)  # noqa: E731
    sent = Sent()
    sent.routed = {suffix: [] for suffixes in BUSINESS.values() for suffix in suffixes}
    kinds = list(BUSINESS)
    for i in range(RECORDS):
        us = now_us()
        event_time = datetime.datetime.fromtimestamp(0, datetime.UTC) + datetime.timedelta(microseconds=us)
        event = {"event_id": str(uuid.uuid4()), "event_type": kinds[i % len(kinds)], "event_time": event_time.isoformat(), "payload": json.dumps({"i": i})}
        op = "cudr"[i % 4]
        old = event | {"payload": "{}"}
        before, after = (None, event) if op in "cr" else (old, event) if op == "u" else (old, None)
        change = {
            "before": before,
            "after": after,
            "source": {"connector": "postgresql", "db": "shop", "schema": "public", "table": "outbox", "lsn": 1000 + i, "ts_ms": us // 1000},
            "op": op,
            "ts_ms": us // 1000 + 5,
        }
        value = serialize(change)
        topic.send(value)
        row = after or before
        for suffix in BUSINESS[row["event_type"]]:
            sent.routed[suffix].append(row["event_id"])
        millis = lambda ms: datetime.datetime.fromtimestamp(0, datetime.UTC) + datetime.timedelta(milliseconds=ms)  # noqa: E731
        sent.landed.append(
            {name: row.get(name) for name in ("event_id", "event_type", "payload")}
            | {
                "event_time": event_time,
                "__op": op,
                "__table": "outbox",
                "__schema": "public",
                "__lsn": 1000 + i,
                "__ts_ms": millis(us // 1000 + 5),
                "__source_ts_ms": millis(us // 1000),
                "__deleted": op == "d",
                "__unavailable": None,
                "__before": None if before is None else json.dumps(before, separators=(",", ":")),
            }
        )
        if op == "d":
            topic.send(None, b"key")
            sent.dropped += 1
    topic.send(serialize({"ts_ms": 5}))
    sent.dropped += 1
    sent.dead_letter(topic, "malformed", b'{"op": "c"}')
    sent.dead_letter(topic, "malformed", serialize({"op": "c"})[:-1])
    sent.dead_letter(topic, "null_value", serialize({"schema": {}, "payload": None}))
    sent.dead_letter(topic, "schema_mismatch", serialize({"op": "c", "after": None, "before": None}))
    sent.dead_letter(topic, "unknown_schema", b"\x00\x7f\x00\x00\x01{}")
    topic.flush()
    return sent


JOBS = {
    "crypto-binance": lambda *where: produce_raw("binance", *where),
    "crypto-kraken": lambda *where: produce_raw("kraken", *where),
    "crypto-trades-typed": produce_typed,
    "business-events": produce_business,
}


# Judging ----------------------------------------------------------------------------------------------


def plain(value):
    """A value as JSON has it, so that what was sent and what was read are of one kind."""
    if isinstance(value, bytes):
        return b64(value)
    if isinstance(value, datetime.datetime):
        return value.astimezone(datetime.UTC).isoformat()
    if isinstance(value, decimal.Decimal):
        return str(value.normalize())
    if isinstance(value, list):  # a map
        return {name: plain(of) for name, of in value}
    if isinstance(value, dict):
        return {name: plain(of) for name, of in value.items()}
    return value


def rows_of(metadata_location):
    from pyiceberg.table import StaticTable

    return StaticTable.from_metadata(metadata_location).scan().to_arrow().to_pylist()


def judge(job, sent, report):
    first = report["tables"][0]["name"]
    tables = {table["name"].removeprefix(first): table["metadata_location"] for table in report["tables"]}
    found = {}
    wrong = []
    key = "message_id" if job == "crypto-trades-typed" else "event_id"
    for row in rows_of(tables[""]):
        if found.setdefault(row[key], row) is not row:
            wrong.append(f"{row[key]} landed twice")
    for expected in sent["landed"]:
        row = found.pop(expected["event_id"], None)
        if row is None:
            wrong.append(f"{expected['event_id']} did not land")
            continue
        for name, value in expected.items():
            if name == "event_id" and key != name:
                continue
            read = plain(row[name])
            if name in ("price", "quantity") and value is not None:
                value = plain(decimal.Decimal(value))
            if name == "__before" and value is not None:
                value, read = json.loads(value), json.loads(read)
            if read != value:
                wrong.append(f"{expected['event_id']}, {name}: sent {value!r}, read {read!r}")
    wrong += [f"{row_id} landed, but was not sent" for row_id in found]
    landed = {row[key]: row for row in rows_of(tables[""])}
    for suffix, expected in sent["routed"].items():
        rows = rows_of(tables[suffix])
        read = sorted(row[key] for row in rows)
        if read != sorted(expected):
            wrong.append(f"{suffix}: {len(expected)} rows were routed there, {len(read)} are there: expected {sorted(expected)}, read {read}")
        wrong += [f"{suffix}: {row[key]} is not as in the first table" for row in rows if landed.get(row[key]) != row]

    def payload(row):
        text = row["original_payload"]
        return text if row["payload_encoding"] == "base64" or text is None else b64(text.encode())

    letters = rows_of(tables["_dead_letters"]) if "_dead_letters" in tables else []
    read = sorted([row["error_type"], payload(row) or "null"] for row in letters)
    expected = sorted([error_type, value or "null"] for error_type, value in sent["dead"])
    if read != expected:
        wrong.append(f"dead letters: expected\n  {expected}\nread\n  {read}\n" + "\n".join(row["error_message"] for row in letters))
    account = report["account"]
    counts = {
        "landed": len(sent["landed"]),
        "duplicates": sent["duplicates"],
        "dead_letters": len(sent["dead"]),
        "dropped": sent["dropped"],
    }
    counts["consumed"] = sum(counts.values())
    wrong += [f"{name}: expected {n}, the account says {account[name]}" for name, n in counts.items() if account[name] != n]
    return wrong


def main(args):
    match args:
        case ["produce", job, bootstrap, url, path]:
            sent = JOBS[job](bootstrap, url)
            with open(path, "w", encoding="utf-8") as file:
                json.dump(sent.__dict__, file, default=plain)
            return 0
        case ["judge", job, path, report]:
            with open(path, encoding="utf-8") as sent, open(report, encoding="utf-8") as printed:
                wrong = judge(job, json.load(sent), json.load(printed))
            print("\n".join(wrong), file=sys.stderr)
            return 1 if wrong else 0
    print(__doc__, file=sys.stderr)
    return 2


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
