"""Records as confluent-kafka's serializers write them, and whether a job landed them field by field.

    formats.py produce WHAT BOOTSTRAP REGISTRY SENT   writes records to the topics, and to SENT what must become of them
    formats.py judge WHAT SENT REPORT                 compares the tables of REPORT (what `run --json` printed) and the
                                                      topic of the dead letters with SENT

WHAT is a job, or records for a job of another name (`JOBS`), such as `protobuf`: trades for crypto-trades-typed in another format.

None of it is the engine's code: PyIceberg reads the tables, confluent-kafka the topic; where each record stands the broker said when
it took it. Exit status 1: something is not as it was sent.
"""

import base64
import datetime
import decimal
import json
import os
import sys
import time
import uuid

import readers

RECORDS = 60
REGISTRY_TIMEOUT_S = 20


EPOCH = datetime.datetime.fromtimestamp(0, datetime.UTC)
# The jobs' own: what is further behind the newest event of its partition is late.
OUT_OF_ORDERNESS = datetime.timedelta(minutes=5)
# Late, but not too late.
LATE_US = 10 * 60 * 1_000_000


def now_us():
    return time.time_ns() // 1000


def event_us(i):
    """The time of the event of a number: now, but of a few ten minutes ago."""
    return now_us() - (LATE_US if i % 20 == 11 else 0)


def moment(us):
    return EPOCH + datetime.timedelta(microseconds=us)


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
        """Returns where the record stands: empty until the topic is flushed, then as the broker said."""
        place = {}

        def delivered(error, message):
            if error:
                self.failed.append(error)
                return
            place.update(topic=message.topic(), partition=message.partition(), offset=message.offset(), timestamp_ms=message.timestamp()[1])

        self.producer.produce(self.name, value, key, partition=0, headers=headers, on_delivery=delivered)
        return place

    def flush(self):
        if self.producer.flush(60) or self.failed:
            raise SystemExit(f"records that `{self.name}` did not take: {self.failed}")


def registry(url):
    from confluent_kafka.schema_registry import SchemaRegistryClient

    # It tries again what was not answered: Apicurio has been seen to never answer one request, and all others.
    return SchemaRegistryClient({"url": url, "timeout": REGISTRY_TIMEOUT_S})


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
        # Duplicates that have a time of their own, as `landed` has them: the watermark moves by them too.
        self.timed = []
        # What the tables besides have: event ids, by the end of the table's name.
        self.routed = {}
        # No record is read before; by default when all of them are sent.
        self.read_after = None
        self.bootstrap = None
        # Of records that do not say their schema.
        self.avro_schema = None

    def land(self, topic, value, row, key=None, headers=None):
        """A record, the first of its id, and the columns of its row."""
        self.landed.append({"place": topic.send(value, key, headers), "row": row})

    def duplicate(self, topic, value, key=None, headers=None):
        topic.send(value, key, headers)
        self.duplicates += 1

    def dead_letter(self, topic, error_type, value, key=b"bad", headers=None):
        self.dead.append({"place": topic.send(value, key, headers), "error_type": error_type, "key": b64(key), "payload": b64(value)})


def bad_binary(sent, topic, good):
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
        "event_time": moment(event_us(i)),
        "sequence": i,
        "book": [{"bid": 1.5, "ask": i / 2}],
    }
    if exchange == "binance":
        record |= {"symbol": "BTCUSDT", "price": f"{67000 + i}.{i:02}", "quantity": decimal.Decimal(i) / 8, "is_buyer_maker": i % 2 == 0}
    else:
        record |= {"pair": "XBT/USD", "price": decimal.Decimal(6_700_000 + i) / 100, "volume": f"0.{i:08}1", "side": [None, "BUY", "SELL"][i % 3]}
    return record


def typed(record):
    """The row of a trade in the table of both exchanges."""
    return {
        "event_id": record["message_id"],
        "event_time": record["event_time"],
        "exchange": record["exchange"],
        "symbol": record.get("symbol", record.get("pair")),
        "price": str(record["price"]),
        "quantity": str(record.get("quantity", record.get("volume"))),
        "side": record.get("side"),
        "is_buyer_maker": record.get("is_buyer_maker"),
        "trade_id": None,
    }


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
        row = {
            "event_id": record["message_id"],
            "event_time": record["event_time"],
            "kafka_key": b64(key),
            "value": b64(value),
            "kafka_headers": {"trace": b64(f"last{i}".encode()), "empty": b64(b""), "none": None} if headers else {},
            "schema_id": int.from_bytes(value[1:5], "big"),
        }
        sent.land(topic, value, row, key, headers)
        if i % 20 == 0:
            sent.duplicate(topic, value, key, headers)
        if i == RECORDS // 2:
            bad_binary(sent, topic, value)
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
            sent.land(topic, value, typed(record))
            if i == 3:
                bad_binary(sent, topic, value)
                wrong = versions[0](record | {"price" if exchange == "binance" else "volume": "cheap"})
                sent.dead_letter(topic, "schema_mismatch", wrong)
        topic.flush()
    return sent


def produce_two_formats(bootstrap, url):
    """One exchange in a topic of Avro, the other in a topic of JSON; a record of each has strayed into the other's."""

    def in_text(value):
        return value.isoformat() if isinstance(value, datetime.datetime) else str(value)

    sent, avro, rows = Sent(), Topic(bootstrap, "typed.avro"), Topic(bootstrap, "typed.rows")
    serialize = avro_serializer(registry(url), avro.name, trade_schema("binance", 2))
    for i in range(RECORDS):
        of_avro, of_rows = trade("binance", i), trade("kraken", i)
        in_avro, as_json = serialize(of_avro), json.dumps(of_rows, default=in_text).encode()
        sent.land(avro, in_avro, typed(of_avro))
        sent.land(rows, as_json, typed(of_rows))
        if i == 7:
            sent.dead_letter(avro, "malformed", as_json)
            sent.dead_letter(rows, "malformed", in_avro)
    avro.flush()
    rows.flush()
    return sent


def produce_avro(bootstrap, _url):
    """Trades without a header, whose schema the job is given."""
    import io

    import fastavro

    schema = trade_schema("kraken", 2)
    parsed = fastavro.parse_schema(schema)

    def serialize(record):
        bytes_of = io.BytesIO()
        fastavro.schemaless_writer(bytes_of, parsed, record)
        return bytes_of.getvalue()

    topic, sent = Topic(bootstrap, "typed.avro"), Sent()
    sent.avro_schema = json.dumps(schema)
    for i in range(RECORDS):
        record = trade("kraken", i)
        value = serialize(record)
        sent.land(topic, value, typed(record), f"key-{i}".encode())
        if i % 20 == 0:
            sent.duplicate(topic, value)
        if i == 30:
            sent.dead_letter(topic, "malformed", b"")
            sent.dead_letter(topic, "malformed", value[:-1])
            sent.dead_letter(topic, "malformed", value + b"\x00")
            sent.dead_letter(topic, "malformed", b'{"message_id": "plain JSON"}')
            sent.dead_letter(topic, "schema_mismatch", serialize(record | {"volume": "cheap"}))
            sent.dead_letter(topic, "missing_event_id", serialize(record | {"message_id": ""}), None)
            sent.dead_letter(topic, "null_value", None)
    topic.flush()
    return sent


def produce_held_back(bootstrap, url):
    """Two schemas, both of them registered before the first record. Says `sent` once those of the first are, and sends those of the
    second when it is told to go on."""
    topic, client, sent = Topic(bootstrap, "typed.held_back"), registry(url), Sent()
    versions = [avro_serializer(client, topic.name, trade_schema("binance", v)) for v in (1, 2)]
    records = [trade("binance", i) for i in range(RECORDS)]
    values = [versions[i // (RECORDS // 2)](record) for i, record in enumerate(records)]
    for i, (record, value) in enumerate(zip(records, values)):
        if i == RECORDS // 2:
            topic.flush()
            sent.read_after = moment(now_us())
            print("sent", flush=True)
            sys.stdin.readline()
        sent.land(topic, value, typed(record))
    topic.flush()
    return sent


def raw_row(id, event_time, value, key=None, headers=()):
    """The row of a record that is kept as it came, and has no header of a registry; of several headers of a name the last counts."""
    return {
        "event_id": id,
        "event_time": event_time,
        "kafka_key": b64(key),
        "value": b64(value),
        "kafka_headers": {name: b64(value) for name, value in headers},
        "schema_id": None,
    }


def produce_peeked_json(bootstrap, _url):
    """The id is the member `id`, the time the member `at`."""
    topic, sent = Topic(bootstrap, "peeked.json"), Sent()
    for i in range(RECORDS):
        event_time, id, key = moment(event_us(i) // 1000 * 1000), str(uuid.uuid4()), f"key-{i}".encode()
        at = event_time.isoformat() if i % 2 else round(event_time.timestamp() * 1000)
        event = {"more": [{"id": "of something else"}, i], "id": id, "at": at, "\u00fc": None}
        value = json.dumps(event, indent=i % 3 or None).encode()
        sent.land(topic, value, raw_row(id, event_time, value, key), key)
        if i % 20 == 7:
            # The same id in other bytes.
            sent.duplicate(topic, value + b" ")
    good = {"id": "bad", "at": now_us() // 1000}
    sent.dead_letter(topic, "malformed", in_json(good)[:-1])
    sent.dead_letter(topic, "malformed", b"")
    sent.dead_letter(topic, "missing_event_id", in_json({"at": good["at"], "event_id": "bad"}))
    sent.dead_letter(topic, "missing_event_time", in_json({"id": "bad"}))
    sent.dead_letter(topic, "schema_mismatch", in_json(good | {"at": "soon"}))
    sent.dead_letter(topic, "null_value", None)
    topic.flush()
    return sent


def produce_peeked_header(bootstrap, _url):
    """The id is the header `id`, the time the header `at`; the value is anything."""
    topic, sent = Topic(bootstrap, "peeked.header"), Sent()
    for i in range(RECORDS):
        event_time, id, value = moment(event_us(i) // 1000 * 1000), str(uuid.uuid4()), bytes([0xFF, i]) * (i + 1)
        at = event_time.isoformat() if i % 2 else str(round(event_time.timestamp() * 1000))
        headers = [("id", b"an earlier one"), ("at", at.encode()), ("id", id.encode())]
        sent.land(topic, value, raw_row(id, event_time, value, None, headers), None, headers)
        if i % 20 == 7:
            sent.duplicate(topic, b"another value", None, headers)
    now = ("at", str(now_us() // 1000).encode())
    for headers, error_type in [
        ([now], "missing_event_id"),
        ([("id", b"a"), ("id", None), now], "missing_event_id"),
        ([("id", b"\xff"), now], "missing_event_id"),
        ([("id", b"a")], "missing_event_time"),
        ([("id", b"a"), ("at", b"soon")], "schema_mismatch"),
    ]:
        sent.dead_letter(topic, error_type, b"\xff", b"bad", headers)
    topic.flush()
    return sent


def produce_peeked_key(bootstrap, _url):
    """The id is the record's key, the time its timestamp; the value is anything."""
    topic, sent = Topic(bootstrap, "peeked.key"), Sent()
    for i in range(RECORDS):
        key, value = str(uuid.uuid4()).encode(), b"\x00" * i + b"\xff"
        sent.land(topic, value, raw_row(key.decode(), None, value, key), key)
        if i % 20 == 7:
            sent.duplicate(topic, b"another value", key)
    sent.dead_letter(topic, "missing_event_id", b"{}", None)
    sent.dead_letter(topic, "missing_event_id", b"{}", b"\xff")
    sent.dead_letter(topic, "null_value", None)
    topic.flush()
    for landed in sent.landed:
        landed["row"]["event_time"] = moment(landed["place"]["timestamp_ms"] * 1000)
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


def proto_file(name, text_of_messages, imports=(), enums=()):
    """A file descriptor, in a pool of its own; `text_of_messages`: {name: (fields, nested messages)}."""
    from google.protobuf import descriptor_pb2

    field_types = descriptor_pb2.FieldDescriptorProto

    def message(proto, name, fields, nested):
        proto.name = name
        for number, (field, kind, *more) in fields.items():
            repeated, optional = "repeated" in more, "optional" in more
            added = proto.field.add(name=field, number=number, label=3 if repeated else 1)
            if kind.startswith("enum "):
                added.type, added.type_name = field_types.TYPE_ENUM, kind.removeprefix("enum ")
            elif kind.startswith("."):
                added.type, added.type_name = field_types.TYPE_MESSAGE, kind
            else:
                added.type = field_types.Type.Value(f"TYPE_{kind.upper()}")
            if optional:
                added.proto3_optional, added.oneof_index = True, len(proto.oneof_decl)
                proto.oneof_decl.add(name=f"_{field}")
        for inner, (inner_fields, inner_nested) in nested.items():
            message(proto.nested_type.add(), inner, inner_fields, inner_nested)

    file = descriptor_pb2.FileDescriptorProto(name=name, package="market", syntax="proto3", dependency=imports)
    for enum, symbols in dict(enums).items():
        added = file.enum_type.add(name=enum)
        for number, symbol in enumerate(symbols):
            added.value.add(name=symbol, number=number)
    for top, (fields, nested) in text_of_messages.items():
        message(file.message_type.add(), top, fields, nested)
    return file


def trade_messages():
    """The classes of `market.Trade` and of `market.Kraken.Trade`, the second message of its file and inside of another."""
    import confluent_kafka.schema_registry.confluent.type.decimal_pb2 as decimal_pb2
    from google.protobuf import descriptor_pool, message_factory, timestamp_pb2, wrappers_pb2

    pool = descriptor_pool.DescriptorPool()
    for known in (timestamp_pb2, wrappers_pb2, decimal_pb2):
        pool.AddSerializedFile(known.DESCRIPTOR.serialized_pb)
    known = [module.DESCRIPTOR.name for module in (timestamp_pb2, wrappers_pb2, decimal_pb2)]
    shared = proto_file("market/side.proto", {"Level": ({1: ("bid", "double"), 2: ("ask", "double")}, {})}, enums={"Side": ["UNKNOWN", "BUY", "SELL"]})
    binance = {
        1: ("message_id", "string"),
        2: ("event_time", ".google.protobuf.Timestamp"),
        3: ("exchange", "string"),
        4: ("symbol", "string"),
        5: ("price", "string"),
        6: ("quantity", ".confluent.type.Decimal"),
        7: ("side", "enum .market.Side", "optional"),
        8: ("is_buyer_maker", "bool"),
        9: ("trade_id", ".google.protobuf.StringValue"),
        20: ("sequence", "int64"),
        200: ("book", ".market.Level", "repeated"),
    }
    kraken = {
        1: ("message_id", "string"),
        2: ("event_time", "int64"),
        3: ("exchange", "string"),
        4: ("pair", "string"),
        5: ("price", ".confluent.type.Decimal"),
        6: ("volume", "string"),
        7: ("side", "enum .market.Side"),
        8: ("is_buyer_maker", "bool", "optional"),
        9: ("trade_id", "string", "optional"),
        10: ("levels", "sint32", "repeated"),
    }
    trades = proto_file("market/trades.proto", {"Trade": (binance, {}), "Kraken": ({}, {"Empty": ({}, {}), "Trade": (kraken, {})})}, [shared.name, *known])
    for file in (shared, trades):
        pool.AddSerializedFile(file.SerializeToString())
    return [message_factory.GetMessageClass(pool.FindMessageTypeByName(name)) for name in ("market.Trade", "market.Kraken.Trade")]


def produce_protobuf(bootstrap, url):
    from confluent_kafka.schema_registry.protobuf import ProtobufSerializer
    from confluent_kafka.serialization import MessageField, SerializationContext

    binance, kraken = trade_messages()
    topic, sent = Topic(bootstrap, "typed.protobuf"), Sent()
    client, context = registry(url), SerializationContext("typed.protobuf", MessageField.VALUE)
    of_binance, of_kraken = (ProtobufSerializer(of, client) for of in (binance, kraken))

    def set_decimal(target, value):
        digits = int(value.scaleb(4))
        target.value, target.precision, target.scale = digits.to_bytes(8, "big", signed=True), 18, 4

    for i in range(RECORDS):
        us = event_us(i)
        id, price, quantity = str(uuid.uuid4()), decimal.Decimal(6_700_000 + i) / 100, decimal.Decimal(i) / 8
        expected = {"event_id": id, "exchange": None, "price": str(price), "quantity": str(quantity)}
        if i % 2:
            record = kraken(message_id=id, event_time=us // 1000, pair="XBT/USD", volume=str(quantity), side=i % 3, levels=[1, -1, i])
            set_decimal(record.price, price)
            us = us // 1000 * 1000
            # Without `optional`, what is not set is the empty string and the first symbol.
            expected |= {"symbol": "XBT/USD", "exchange": "", "side": ["UNKNOWN", "BUY", "SELL"][i % 3], "is_buyer_maker": None, "trade_id": None}
            value = of_kraken(record, context)
        else:
            record = binance(message_id=id, exchange="binance", symbol="BTCUSDT", price=str(price), is_buyer_maker=i % 4 == 0, sequence=i)
            record.event_time.seconds, record.event_time.nanos = us // 1_000_000, us % 1_000_000 * 1000 + 999
            set_decimal(record.quantity, quantity)
            record.book.add(bid=1.5, ask=i)
            if i % 3:
                record.side = i % 3
                record.trade_id.value = f"t{i}"
            symbols = [None, "BUY", "SELL"]
            expected |= {"symbol": "BTCUSDT", "exchange": "binance", "side": symbols[i % 3], "is_buyer_maker": i % 4 == 0, "trade_id": f"t{i}" if i % 3 else None}
            value = of_binance(record, context)
            if i == 30:
                bad_binary(sent, topic, value)
                sent.dead_letter(topic, "malformed", value[:5])
                sent.dead_letter(topic, "malformed", value[:5] + b"\x02\x20" + value[6:])
                sent.dead_letter(topic, "malformed", value + b"\x0b")
                sent.dead_letter(topic, "malformed", value + b"\x0d\x00\x00\x00\x00")
                sent.dead_letter(topic, "missing_event_id", value[:6])
                record.price = "cheap"
                sent.dead_letter(topic, "schema_mismatch", of_binance(record, context))
        assert value[5:6] == (b"\x00" if i % 2 == 0 else b"\x04"), value[:8]
        sent.land(topic, value, expected | {"event_time": moment(us)})
    topic.flush()
    return sent


def produce_csv(bootstrap, _url):
    import csv
    import io

    def row(*cells):
        text = io.StringIO()
        # It quotes a line break only when its own lines end with one.
        csv.writer(text, delimiter=";", lineterminator="\r\n").writerow(cells)
        return text.getvalue().removesuffix("\r\n").encode()

    topic, sent = Topic(bootstrap, "typed.csv"), Sent()
    notes = ["plain", 'he said "no"', "two\nlines", "a;b", "", "\r\n", '"', "\u00fc\u672c"]
    for i in range(RECORDS):
        event_time, id, note = moment(event_us(i)), str(uuid.uuid4()), notes[i % len(notes)]
        price, maker = f"{67000 + i}.{i:02}", [True, False, None][i % 3]
        value = row(id, event_time.isoformat(), "ignored " + note, "BTCUSDT", price, f"-0.{i:03}1", note, {True: "true", False: "F", None: ""}[maker])
        expected = {
            "event_id": id,
            "event_time": event_time,
            "exchange": None,
            "symbol": "BTCUSDT",
            "trade_id": None,
            "price": price,
            "quantity": f"-0.{i:03}1",
            "side": note or None,
            "is_buyer_maker": maker,
        }
        sent.land(topic, value + (b"", b"\n", b"\r\n")[i % 3], expected)
        if i == 7:
            sent.dead_letter(topic, "schema_mismatch", row(id, event_time.isoformat(), "x", "BTCUSDT", price, "1", "BUY"))
            sent.dead_letter(topic, "schema_mismatch", value + b";one more")
            sent.dead_letter(topic, "schema_mismatch", row(id, event_time.isoformat(), "", "BTCUSDT", "cheap", "1", "BUY", ""))
            sent.dead_letter(topic, "malformed", value + b';"not closed')
            sent.dead_letter(topic, "malformed", value + b"\n" + value)
            sent.dead_letter(topic, "missing_event_id", b";" + value.partition(b";")[2])
    topic.flush()
    # Half of it is rows, half is objects: nobody can tell its format.
    mixed = Topic(bootstrap, "typed.mixed")
    for i in range(10):
        mixed.send(b'{"message_id": "a"}' if i % 2 else row("a", "2026-01-01T00:00:00Z", *"bcdefg"))
    mixed.flush()
    return sent


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
        us = event_us(i)
        event_time = moment(us)
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
        row = after or before
        for suffix in BUSINESS[row["event_type"]]:
            sent.routed[suffix].append(row["event_id"])
        millis = lambda ms: moment(ms * 1000)  # noqa: E731
        sent.land(
            topic,
            serialize(change),
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
            },
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
    # No registry gives such an id: it counts them in 31 bits.
    sent.dead_letter(topic, "unknown_schema", b"\x00\xff\x00\x00\x01{}")
    topic.flush()
    return sent


def in_json(record):
    return json.dumps(record).encode()


def send_events(topic, members, serialize=in_json):
    """Events that land; `members` says what the event of a number has besides id and time, and what lands of it."""
    sent = Sent()
    for i in range(RECORDS):
        us, id = event_us(i) // 1000 * 1000, str(uuid.uuid4())
        event_time = moment(us)
        elsewhere = event_time.astimezone(datetime.timezone(datetime.timedelta(hours=-5)))
        written = [event_time.isoformat(), us // 1000, elsewhere.isoformat()][i % 3]
        has, lands = members(i)
        value = serialize({"event_id": id, "event_time": written} | has)
        sent.land(topic, value, {"event_id": id, "event_time": event_time} | lands)
        if i % 20 == 7:
            sent.duplicate(topic, value)
    return sent


def produce_json(bootstrap, name, members):
    topic = Topic(bootstrap, name)
    sent = send_events(topic, members)
    sent.dead_letter(topic, "malformed", b"{")
    sent.dead_letter(topic, "missing_event_id", in_json({"event_time": now_us() // 1000}))
    sent.dead_letter(topic, "missing_event_time", b'{"event_id": "a"}')
    topic.flush()
    return sent


def user_event(i):
    devices = {"iPhone 17": True, "Macintosh": False, "Tablet (Samsung)": True, "ANDROID": True, "tv": False, None: None}
    device = list(devices)[i % len(devices)]
    has = {"event_type": "click", "user_id": f"u{i}", "page": "/\u00fc?a=b", "referrer": None, "device": device, "country": "DE"}
    # What the site itself says of it does not count.
    return has | {"is_mobile": i % 2 == 0}, has | {"is_mobile": devices[device], "session_id": None}


def produce_user(bootstrap, _url):
    return produce_json(bootstrap, "user-events", user_event)


def produce_json_schema(bootstrap, url):
    """Events whose registered JSON Schema refers to another one, and such as their own serializer would refuse."""
    from confluent_kafka.schema_registry import Schema, SchemaReference
    from confluent_kafka.schema_registry.json_schema import JSONSerializer
    from confluent_kafka.serialization import MessageField, SerializationContext

    draft = {"$schema": "http://json-schema.org/draft-07/schema#"}
    client, topic = registry(url), Topic(bootstrap, "typed.json")
    device = draft | {"title": "Device", "type": ["string", "null"], "maxLength": 20}
    client.register_schema("device", Schema(json.dumps(device), "JSON"))
    event = draft | {
        "title": "UserEvent",
        "type": "object",
        "properties": {"event_type": {"enum": ["click", "view"]}, "page": {"type": "string"}, "device": {"$ref": "device.json"}},
        "required": ["event_id", "page"],
    }
    serializer = JSONSerializer(Schema(json.dumps(event), "JSON", [SchemaReference("device.json", "device", 1)]), client)
    context = SerializationContext(topic.name, MessageField.VALUE)
    serialize = lambda record: serializer(record, context)  # noqa: E731
    sent = send_events(topic, user_event, serialize)
    good = {"event_id": "bad", "event_time": now_us() // 1000} | user_event(0)[0]
    header = serialize(good)[:5]
    for violation in [{"event_type": "buy"}, {"device": "x" * 21}, {"page": None}]:
        sent.dead_letter(topic, "schema_mismatch", header + in_json(good | violation))
    del good["page"]
    sent.dead_letter(topic, "schema_mismatch", header + in_json(good))
    sent.dead_letter(topic, "malformed", header + b"{")
    sent.dead_letter(topic, "malformed", in_json(good))
    topic.flush()
    return sent


def produce_bid(bootstrap, _url):
    def members(i):
        price = decimal.Decimal(i * 1_000_003) / 1_000_000
        has = {"auction_id": f"a{i}", "bidder_id": None, "currency": "EUR", "won": [True, False, None][i % 3], "response_time_ms": i}
        written = [float(price), str(price), None][i % 3]
        return has | {"bid_price": written}, has | {"bid_price": None if written is None else price, "campaign_id": None}

    return produce_json(bootstrap, "bid-events", members)


# WHAT: the job that reads it, and who writes it.
JOBS = {
    "crypto-binance": ("crypto-binance", lambda *where: produce_raw("binance", *where)),
    "crypto-kraken": ("crypto-kraken", lambda *where: produce_raw("kraken", *where)),
    "crypto-trades-typed": ("crypto-trades-typed", produce_typed),
    "business-events": ("business-events", produce_business),
    "user-events": ("user-events", produce_user),
    "bid-events": ("bid-events", produce_bid),
    "protobuf": ("crypto-trades-typed", produce_protobuf),
    "json_schema": ("user-events", produce_json_schema),
    "csv": ("crypto-trades-typed", produce_csv),
    "two_formats": ("crypto-trades-typed", produce_two_formats),
    "avro": ("crypto-trades-typed", produce_avro),
    "held_back": ("crypto-trades-typed", produce_held_back),
    "peeked_json": ("crypto-binance", produce_peeked_json),
    "peeked_header": ("crypto-kraken", produce_peeked_header),
    "peeked_key": ("crypto-binance", produce_peeked_key),
}

# The topic of each job's dead letters, or of a WHAT that has one of its own.
DEAD_LETTER_TOPICS = {
    "crypto-binance": "market.crypto.trades.binance.raw-dlq",
    "crypto-kraken": "market.crypto.trades.kraken.raw-dlq",
    "crypto-trades-typed": "market.crypto.trades-dlq",
    "business-events": "raw-business-events-dlq",
    "user-events": "user-events-dlq",
    "bid-events": "bid-events-dlq",
    "peeked_key": "peeked.key-dlq",
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

    return StaticTable.from_metadata(metadata_location, readers.store_properties(os.environ)).scan().to_arrow().to_pylist()


def key_of(place):
    return place["topic"], place["partition"], place["offset"]


def place_columns(place):
    """Where a record stands, as the columns of its row or of its dead letter say it."""
    return {
        "kafka_topic": place["topic"],
        "kafka_partition": place["partition"],
        "kafka_offset": place["offset"],
        "kafka_timestamp": plain(moment(place["timestamp_ms"] * 1000)),
    }


def in_time(read, sent):
    """Whether a moment is one of the run's, which began after the records were sent and has ended."""
    return datetime.datetime.fromisoformat(sent["read_after"]) <= read <= moment(now_us())


def event_time_of(expected):
    return datetime.datetime.fromisoformat(expected["row"]["event_time"])


def watermarks(sent):
    """The watermark that each record is held against: the newest event before it in its partition, less the out-of-orderness. Of
    other duplicates nothing is to be known here: each has the time of one before it."""
    found, newest = {}, {}
    for expected in sorted(sent["landed"] + sent["timed"], key=lambda expected: key_of(expected["place"])):
        *partition, _ = key_of(expected["place"])
        before, event_time = newest.get(tuple(partition)), event_time_of(expected)
        found[key_of(expected["place"])] = None if before is None else before - OUT_OF_ORDERNESS
        newest[tuple(partition)] = event_time if before is None else max(before, event_time)
    return found


def row_columns(expected, watermark):
    """All columns of a row that are the same whenever it is read."""
    is_late = watermark is not None and event_time_of(expected) < watermark
    return expected["row"] | place_columns(expected["place"]) | {"is_late_arrival": is_late, "ingest_watermark": plain(watermark)}


def judge_rows(sent, rows):
    found, wrong = {}, []
    for row in rows:
        if found.setdefault(row["event_id"], row) is not row:
            wrong.append(f"{row['event_id']} landed twice")
    watermark_at = watermarks(sent)
    epochs = {}
    for expected in sorted(sent["landed"], key=lambda expected: key_of(expected["place"])):
        id, place = expected["row"]["event_id"], key_of(expected["place"])
        row = found.pop(id, None)
        if row is None:
            wrong.append(f"{id} did not land")
            continue
        for name, value in row_columns(expected, watermark_at[place]).items():
            read = plain(row[name])
            if name in ("price", "quantity", "bid_price") and value is not None:
                value = plain(decimal.Decimal(value))
            if name == "__before" and value is not None:
                value, read = json.loads(value), json.loads(read)
            if read != value:
                wrong.append(f"{id}, {name}: sent {value!r}, read {read!r}")
        if not in_time(row["ingested_at"], sent):
            wrong.append(f"{id}: it says it was read at {row['ingested_at']}, it was sent by {sent['read_after']}")
        # A partition is read in the order of its offsets, so no record comes in with an earlier epoch than one before it.
        epoch, before = row["ingest_epoch"], epochs.get(place[:2], 1)
        if epoch is None or epoch < before:
            wrong.append(f"{id}: its epoch is {epoch}, after {before}")
        epochs[place[:2]] = epoch or before
    return wrong + [f"{row_id} landed, but was not sent" for row_id in found]


def judge_routed(sent, rows, tables):
    wrong = []
    landed = {row["event_id"]: row for row in rows}
    for suffix, expected in sent["routed"].items():
        rows = rows_of(tables[suffix])
        read = sorted(row["event_id"] for row in rows)
        if read != sorted(expected):
            wrong.append(f"{suffix}: {len(expected)} rows were routed there, {len(read)} are there: expected {sorted(expected)}, read {read}")
        wrong += [f"{suffix}: {row['event_id']} is not as in the first table" for row in rows if landed.get(row["event_id"]) != row]
    return wrong


# As the interface has them; the table has the epoch besides.
LETTER_FIELDS = {
    "original_payload",
    "payload_encoding",
    "error_type",
    "error_message",
    "failed_at",
    "job",
    "kafka_topic",
    "kafka_partition",
    "kafka_offset",
    "kafka_timestamp",
}


def letter_fields(job, expected):
    """All fields of a dead letter that its record determines; table and topic have the same."""
    payload, encoding = None, "utf8"
    if expected["payload"] is not None:
        value = base64.b64decode(expected["payload"])
        try:
            payload = value.decode()
        except UnicodeDecodeError:
            payload, encoding = expected["payload"], "base64"
    own = {"original_payload": payload, "payload_encoding": encoding, "error_type": expected["error_type"], "job": job}
    return own | place_columns(expected["place"])


def judge_letter(job, sent, expected, letter):
    """What is wrong with a dead letter. One of the topic says its moments as text."""

    def time_of(name):
        at = letter[name]
        return datetime.datetime.fromisoformat(at) if isinstance(at, str) else at

    read = letter | {"kafka_timestamp": plain(time_of("kafka_timestamp"))}
    wrong = [f"{name}: expected {value!r}, read {read[name]!r}" for name, value in letter_fields(job, expected).items() if read[name] != value]
    if not letter["error_message"]:
        wrong.append("no error_message")
    if not in_time(time_of("failed_at"), sent):
        wrong.append(f"it says it failed at {letter['failed_at']}, it was sent by {sent['read_after']}")
    return wrong


def judge_letters(job, sent, letters, where):
    """Dead letters against what must be one. Returns what is wrong, and how often each came."""
    expected_at = {key_of(expected["place"]): expected for expected in sent["dead"]}
    wrong, came = [], dict.fromkeys(expected_at, 0)
    for letter in letters:
        place = (letter["kafka_topic"], letter["kafka_partition"], letter["kafka_offset"])
        if place not in expected_at:
            wrong.append(f"{where}: a dead letter of {place}, which should be none: {letter['error_type']}, {letter['error_message']}")
            continue
        came[place] += 1
        found = judge_letter(job, sent, expected_at[place], letter)
        wrong += [f"{where}: the dead letter of {place}: {what} ({letter['error_message']})" for what in found]
    wrong += [f"{where}: no dead letter of {place}, {expected_at[place]['error_type']}" for place, times in came.items() if not times]
    return wrong, came


def judge_letter_table(job, sent, tables):
    letters = rows_of(tables["_dead_letters"]) if "_dead_letters" in tables else []
    wrong, came = judge_letters(job, sent, letters, "table")
    wrong += [f"table: {times} dead letters of {place}" for place, times in came.items() if times > 1]
    return wrong + [f"table: a dead letter without an epoch: {letter}" for letter in letters if not letter["ingest_epoch"]]


def judge_letter_topic(what, job, sent):
    """The topic has each letter at least once: a run that was killed before its commit sends its letters again."""
    topic = DEAD_LETTER_TOPICS.get(what) or DEAD_LETTER_TOPICS[job]
    records, _ = readers.read_topic(sent["bootstrap"], topic)
    letters = [json.loads(record.value) for record in records]
    wrong, _ = judge_letters(job, sent, letters, topic)
    key_at = {key_of(expected["place"]): expected["key"] for expected in sent["dead"]}
    for record, letter in zip(records, letters):
        place = (letter["kafka_topic"], letter["kafka_partition"], letter["kafka_offset"])
        if place in key_at and b64(record.key) != key_at[place]:
            wrong.append(f"{topic}: the dead letter of {place} has the key {record.key!r}, not {key_at[place]!r} (base64)")
        if letter.keys() != LETTER_FIELDS:
            wrong.append(f"{topic}: the dead letter of {place} has the fields {sorted(letter)}")
    return wrong


def judge_account(sent, account):
    watermark_at = watermarks(sent)
    counts = {
        "landed": len(sent["landed"]),
        "duplicates": sent["duplicates"],
        "dead_letters": len(sent["dead"]),
        "dropped": sent["dropped"],
    }
    counts["consumed"] = sum(counts.values())
    counts["late"] = sum(row_columns(of, watermark_at[key_of(of["place"])])["is_late_arrival"] for of in sent["landed"])
    counts["gaps"] = 0
    return [f"{name}: expected {n}, the account says {account[name]}" for name, n in counts.items() if account[name] != n]


def judge(what, sent, report):
    job, _ = JOBS[what]
    first = report["tables"][0]["name"]
    tables = {table["name"].removeprefix(first): table["metadata_location"] for table in report["tables"]}
    rows = rows_of(tables[""])
    wrong = judge_rows(sent, rows) + judge_routed(sent, rows, tables)
    wrong += judge_letter_table(job, sent, tables) + judge_letter_topic(what, job, sent)
    return wrong + judge_account(sent, report["account"])


def main(args):
    match args:
        case ["produce", what, bootstrap, url, path]:
            _, produce = JOBS[what]
            sent = produce(bootstrap, url)
            sent.bootstrap, sent.read_after = bootstrap, sent.read_after or moment(now_us())
            with open(path, "w", encoding="utf-8") as file:
                json.dump(sent.__dict__, file, default=plain)
            return 0
        case ["judge", what, path, report]:
            with open(path, encoding="utf-8") as sent, open(report, encoding="utf-8") as printed:
                wrong = judge(what, json.load(sent), json.load(printed))
            print("\n".join(wrong), file=sys.stderr)
            return 1 if wrong else 0
    print(__doc__, file=sys.stderr)
    return 2


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
