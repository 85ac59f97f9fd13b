"""Records of growing schemas as Debezium's PostgreSQL connector writes them, for `evolution.py`.

With `debezium_json` Connect's `JsonConverter` puts the schema in front of every change; with `debezium_json_sr` Confluent's
`JsonSchemaConverter` registers a JSON Schema of the envelope. Neither is at hand in Python, so both are written here.
"""

import base64
import json
import struct
import time

FEE_SCALE = 8
DECIMAL = "org.apache.kafka.connect.data.Decimal"
FEE = {"scale": str(FEE_SCALE), "connect.decimal.precision": "20"}
ZONED, MICROS = "io.debezium.time.ZonedTimestamp", "io.debezium.time.MicroTimestamp"

# Of each column of the table: Connect's type, its semantic name and parameters, and the type in JSON Schema.
TYPES = {
    "event_id": ("string", None, None, "string"),
    "event_time": ("string", ZONED, None, "string"),
    "kind": ("string", None, None, "string"),
    "sequence": ("int64", None, None, "integer"),
    "fee": ("bytes", DECIMAL, FEE, "number"),
    "book": ("array", None, None, "array"),
    "note": ("string", "io.debezium.data.Enum", {"allowed": "A,B"}, "string"),
    "seen": ("int64", MICROS, None, "integer"),
}


def compact(value):
    """As Connect writes it, without a space."""
    return json.dumps(value, separators=(",", ":"))


def connect_field(name):
    kind, semantic, parameters, _ = TYPES[name]
    field = {"type": kind, "optional": True}
    if kind == "array":
        field["items"] = {"type": "double", "optional": False}
    if semantic:
        field |= {"name": semantic, "version": 1}
    if parameters:
        field["parameters"] = parameters
    return field | {"field": name}


def connect_schema(names):
    row = {"type": "struct", "fields": [connect_field(name) for name in names], "optional": True, "name": "shop.public.evolving.Value"}
    source = {"type": "struct", "fields": [{"type": "string", "optional": False, "field": "db"}], "optional": False, "field": "source"}
    fields = [row | {"field": "before"}, row | {"field": "after"}, source]
    fields += [{"type": "string", "optional": False, "field": "op"}, {"type": "int64", "optional": True, "field": "ts_ms"}]
    return {"type": "struct", "fields": fields, "optional": False, "name": "shop.public.evolving.Envelope", "version": 2}


def optional(index, of):
    return {"connect.index": index, "oneOf": [{"type": "null"}, of]}


def json_property(name):
    kind, semantic, parameters, written_as = TYPES[name]
    of = {"type": written_as}
    if kind != written_as:
        of["connect.type"] = kind
    if semantic:
        of |= {"title": semantic, "connect.version": 1}
    if parameters:
        of["connect.parameters"] = parameters
    return of


def json_schema(names):
    properties = {name: optional(index, json_property(name)) for index, name in enumerate(names)}
    row = {"type": "object", "title": "shop.public.evolving.Value", "properties": properties}
    source = {"type": "object", "properties": {"db": {"type": "string"}}}
    envelope = {"before": optional(0, row), "after": optional(1, row), "source": source, "op": {"type": "string"}}
    envelope["ts_ms"] = optional(4, {"type": "integer", "connect.type": "int64"})
    # Apicurio wants the draft said.
    draft = "http://json-schema.org/draft-07/schema#"
    return {"$schema": draft, "type": "object", "title": "shop.public.evolving.Envelope", "properties": envelope}


def unscaled(value):
    """A decimal as Connect writes it: base64 of the unscaled integer's bytes."""
    number = int(value.scaleb(FEE_SCALE))
    return base64.b64encode(number.to_bytes(number.bit_length() // 8 + 1, "big", signed=True)).decode()


def change(row, decimal):
    if "fee" in row:
        row = row | {"fee": decimal(row["fee"])}
    return {"before": None, "after": row, "source": {"db": "shop"}, "op": "c", "ts_ms": time.time_ns() // 1_000_000}


def serializer(form, client, topic, names):
    """What makes a record of a row whose table has these columns."""
    if form == "debezium_json":
        schema = compact(connect_schema(names))
        return lambda row: f'{{"schema":{schema},"payload":{compact(change(row, unscaled))}}}'.encode()
    from confluent_kafka.schema_registry import Schema

    id = client.register_schema(f"{topic}-value", Schema(json.dumps(json_schema(names)), "JSON"))
    header = b"\x00" + struct.pack(">I", id)
    # With `decimal.format: NUMERIC`; all fees are eighths, which floats hold.
    return lambda row: header + compact(change(row, float)).encode()
