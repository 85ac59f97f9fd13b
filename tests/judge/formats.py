"""Records as confluent-kafka's serializers write them, and whether a job landed them field by field.

    formats.py produce WHAT BOOTSTRAP REGISTRY SENT   writes records to the topics, and to SENT what must become of them
    formats.py judge WHAT SENT REPORT                 compares the tables of REPORT (what `run --json` printed) with SENT

WHAT is a job, or `protobuf`, `csv` or `two_formats`: trades for the job crypto-trades-typed in another format, or in two.

None of it is the engine's code: PyIceberg reads the tables. Exit status 1: something is not as it was sent.
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
        # What the tables besides have: event ids, by the end of the table's name.
        self.routed = {}

    def dead_letter(self, topic, error_type, value, key=b"bad"):
        topic.send(value, key)
        self.dead.append([error_type, b64(value)])


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
            bad_binary(sent, topic, value)
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
                bad_binary(sent, topic, value)
                wrong = versions[0](record | {"price" if exchange == "binance" else "volume": "cheap"})
                sent.dead_letter(topic, "schema_mismatch", wrong)
            sent.landed.append(landed_trade(exchange, record))
        topic.flush()
    return sent


def landed_trade(exchange, record):
    """The row that a trade must become."""
    return {
        "event_id": record["message_id"],
        "event_time": record["event_time"],
        "exchange": exchange,
        "symbol": record.get("symbol", record.get("pair")),
        "price": str(record["price"]),
        "quantity": str(record.get("quantity", record.get("volume"))),
        "side": record.get("side"),
        "is_buyer_maker": record.get("is_buyer_maker"),
        "trade_id": None,
    }


def produce_two_formats(bootstrap, url):
    """One exchange in a topic of Avro, the other in a topic of JSON; a record of each has strayed into the other's."""

    def in_text(value):
        return value.isoformat() if isinstance(value, datetime.datetime) else str(value)

    sent, avro, rows = Sent(), Topic(bootstrap, "typed.avro"), Topic(bootstrap, "typed.rows")
    serialize = avro_serializer(registry(url), avro.name, trade_schema("binance", 2))
    for i in range(RECORDS):
        of_avro, of_rows = trade("binance", i), trade("kraken", i)
        in_avro, in_json = serialize(of_avro), json.dumps(of_rows, default=in_text).encode()
        avro.send(in_avro)
        rows.send(in_json)
        if i == 7:
            sent.dead_letter(avro, "malformed", in_json)
            sent.dead_letter(rows, "malformed", in_avro)
        sent.landed += [landed_trade("binance", of_avro), landed_trade("kraken", of_rows)]
    avro.flush()
    rows.flush()
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
        us = now_us()
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
        topic.send(value)
        sent.landed.append(expected | {"event_time": datetime.datetime.fromtimestamp(0, datetime.UTC) + datetime.timedelta(microseconds=us)})
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
        us, id, note = now_us(), str(uuid.uuid4()), notes[i % len(notes)]
        event_time = datetime.datetime.fromtimestamp(0, datetime.UTC) + datetime.timedelta(microseconds=us)
        price, maker = f"{67000 + i}.{i:02}", [True, False, None][i % 3]
        value = row(id, event_time.isoformat(), "ignored " + note, "BTCUSDT", price, f"-0.{i:03}1", note, {True: "true", False: "F", None: ""}[maker])
        topic.send(value + (b"", b"\n", b"\r\n")[i % 3])
        if i == 7:
            sent.dead_letter(topic, "schema_mismatch", row(id, event_time.isoformat(), "x", "BTCUSDT", price, "1", "BUY"))
            sent.dead_letter(topic, "schema_mismatch", value + b";one more")
            sent.dead_letter(topic, "schema_mismatch", row(id, event_time.isoformat(), "", "BTCUSDT", "cheap", "1", "BUY", ""))
            sent.dead_letter(topic, "malformed", value + b';"not closed')
            sent.dead_letter(topic, "malformed", value + b"\n" + value)
            sent.dead_letter(topic, "missing_event_id", b";" + value.partition(b";")[2])
        sent.landed.append(
            {
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
        )
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
        us, id = now_us() // 1000 * 1000, str(uuid.uuid4())
        event_time = datetime.datetime.fromtimestamp(0, datetime.UTC) + datetime.timedelta(microseconds=us)
        elsewhere = event_time.astimezone(datetime.timezone(datetime.timedelta(hours=-5)))
        written = [event_time.isoformat(), us // 1000, elsewhere.isoformat()][i % 3]
        has, lands = members(i)
        value = serialize({"event_id": id, "event_time": written} | has)
        topic.send(value)
        if i % 20 == 7:
            topic.send(value)
            sent.duplicates += 1
        sent.landed.append({"event_id": id, "event_time": event_time} | lands)
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


JOBS = {
    "crypto-binance": lambda *where: produce_raw("binance", *where),
    "crypto-kraken": lambda *where: produce_raw("kraken", *where),
    "crypto-trades-typed": produce_typed,
    "business-events": produce_business,
    "user-events": produce_user,
    "bid-events": produce_bid,
    "protobuf": produce_protobuf,
    "json_schema": produce_json_schema,
    "csv": produce_csv,
    "two_formats": produce_two_formats,
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


def judge(job, sent, report):
    first = report["tables"][0]["name"]
    tables = {table["name"].removeprefix(first): table["metadata_location"] for table in report["tables"]}
    found = {}
    wrong = []
    for row in rows_of(tables[""]):
        if found.setdefault(row["event_id"], row) is not row:
            wrong.append(f"{row['event_id']} landed twice")
    for expected in sent["landed"]:
        row = found.pop(expected["event_id"], None)
        if row is None:
            wrong.append(f"{expected['event_id']} did not land")
            continue
        for name, value in expected.items():
            read = plain(row[name])
            if name in ("price", "quantity", "bid_price") and value is not None:
                value = plain(decimal.Decimal(value))
            if name == "__before" and value is not None:
                value, read = json.loads(value), json.loads(read)
            if read != value:
                wrong.append(f"{expected['event_id']}, {name}: sent {value!r}, read {read!r}")
    wrong += [f"{row_id} landed, but was not sent" for row_id in found]
    landed = {row["event_id"]: row for row in rows_of(tables[""])}
    for suffix, expected in sent["routed"].items():
        rows = rows_of(tables[suffix])
        read = sorted(row["event_id"] for row in rows)
        if read != sorted(expected):
            wrong.append(f"{suffix}: {len(expected)} rows were routed there, {len(read)} are there: expected {sorted(expected)}, read {read}")
        wrong += [f"{suffix}: {row['event_id']} is not as in the first table" for row in rows if landed.get(row["event_id"]) != row]

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
