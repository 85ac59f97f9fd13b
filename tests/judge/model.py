"""What should have landed, by a model that is too simple to be wrong.

One loop over the records of each partition, in offset order; a dictionary for the ids; no batches, no
threads, no code of the engine's. The rules are those of INTERFACES section 3 and DESIGN section 3.
"""

import datetime
import json
import re
from dataclasses import dataclass, field

SECOND_US = 1_000_000
MINUTE_US = 60 * SECOND_US
HOUR_US = 60 * MINUTE_US

# Copies of an id closer than this to its expiry are not decided here: the engine forgets by the hour.
EXPIRY_BLUR_US = 2 * HOUR_US

ROMAN_NUMERALS = (
    "event_id:string!,event_type:string,event_time:timestamptz!,user_id:string,session_id:string,"
    "input_value:int,roman_numeral:string,response_time_ms:double,source:string"
)


@dataclass(frozen=True, slots=True)
class Record:
    """One Kafka message."""

    topic: str
    partition: int
    offset: int
    timestamp_ms: int | None
    key: bytes | None
    value: bytes | None

    @property
    def place(self):
        return (self.topic, self.partition, self.offset)


@dataclass(frozen=True)
class Column:
    name: str
    type: str
    required: bool


def columns_of(text):
    """Columns from `name:type,name:type!`, where `!` means required."""
    columns = []
    for part in text.split(","):
        name, kind = part.split(":")
        columns.append(Column(name, kind.rstrip("!"), kind.endswith("!")))
    return tuple(columns)


@dataclass(frozen=True)
class Settings:
    """What the job says, in microseconds."""

    columns: tuple = columns_of(ROMAN_NUMERALS)
    id: str | None = "event_id"  # None: no deduplication
    event_time: str = "event_time"
    out_of_orderness_us: int = 5 * MINUTE_US
    max_future_skew_us: int = HOUR_US
    allowed_lateness_us: int = HOUR_US
    too_late: str = "dead_letter"  # dead_letter | land | drop
    ttl_us: int = 24 * HOUR_US
    max_record_bytes: int = 8 << 20


@dataclass(frozen=True, slots=True)
class Row:
    """A row that a record becomes if it lands."""

    record: Record
    values: dict
    event_time: int
    watermark: int | None  # its partition's, when it was judged

    @property
    def late(self):
        return self.watermark is not None and self.event_time < self.watermark


@dataclass
class Expectation:
    """What a table, a dead-letter table and an account must show."""

    landed: dict = field(default_factory=dict)  # place -> Row: must be in the table
    dead: dict = field(default_factory=dict)  # place -> (Record, error type): must be a dead letter
    # Ids with copies in several partitions: which copy lands depends on which was read first.
    contested: list = field(default_factory=list)
    consumed: int = 0
    duplicates: int = 0  # besides those of contested ids
    dropped: int = 0
    undecided: list = field(default_factory=list)  # what this model refuses to decide, and why


@dataclass
class Contest:
    """The copies of one id that stand in several partitions."""

    id: str
    candidates: dict  # place -> Row: the first copy of each partition that is not too late
    too_late_before: dict  # place -> (Record, place of its partition's candidate or None)
    copies: int


class Rejected(Exception):
    """The record is a dead letter, whatever its id."""

    def __init__(self, error_type):
        super().__init__(error_type)
        self.error_type = error_type


def expect(records, settings):
    """What becomes of `records`, which may come in any order."""
    expectation = Expectation()
    by_partition = {}
    for record in records:
        by_partition.setdefault((record.topic, record.partition), []).append(record)

    copies = {}  # id -> [(Row, too late)], each partition's in offset order
    for partition in sorted(by_partition):
        max_event_time = None
        for record in sorted(by_partition[partition], key=lambda record: record.offset):
            expectation.consumed += 1
            watermark = None if max_event_time is None else max_event_time - settings.out_of_orderness_us
            try:
                values = decode(record, settings)
            except Rejected as rejected:
                expectation.dead[record.place] = (record, rejected.error_type)
                continue
            event_time = values[settings.event_time]
            row = Row(record, values, event_time, watermark)
            max_event_time = event_time if max_event_time is None else max(max_event_time, event_time)
            too_late = watermark is not None and event_time < watermark - settings.allowed_lateness_us
            if settings.id is None:
                judge_alone(expectation, settings, row, too_late)
            else:
                copies.setdefault(values[settings.id], []).append((row, too_late))

    for id, rows in copies.items():
        if len({(row.record.topic, row.record.partition) for row, _ in rows}) == 1:
            judge_copies_of_one_partition(expectation, settings, id, rows)
        else:
            judge_contest(expectation, settings, id, rows)
    return expectation


def judge_alone(expectation, settings, row, too_late):
    """A row whose id is not known. Returns whether it lands."""
    if not too_late or settings.too_late == "land":
        expectation.landed[row.record.place] = row
        return True
    if settings.too_late == "drop":
        expectation.dropped += 1
    else:
        expectation.dead[row.record.place] = (row.record, "too_late")
    return False


def judge_copies_of_one_partition(expectation, settings, id, rows):
    expiry = None
    for row, too_late in rows:
        if expiry is not None and is_remembered(expectation, settings, id, row, expiry):
            expectation.duplicates += 1
        elif judge_alone(expectation, settings, row, too_late):
            expiry = expiry_of(row, settings)


def judge_contest(expectation, settings, id, rows):
    candidates = {}
    too_late_before = []
    open_partitions = {}
    for row, too_late in rows:
        partition = (row.record.topic, row.record.partition)
        if partition in open_partitions:
            continue  # a duplicate for certain: this partition alone has offered the id before
        if too_late and settings.too_late != "land":
            too_late_before.append((partition, row.record))
        else:
            candidates[row.record.place] = row
            open_partitions[partition] = row.record.place
    for row, _ in rows:
        for candidate in candidates.values():
            if not is_remembered(expectation, settings, id, row, expiry_of(candidate, settings)):
                expectation.undecided.append(f"id {id!r} has copies in several partitions further apart than its TTL")
    if too_late_before and settings.too_late == "drop":
        expectation.undecided.append(f"id {id!r} has copies in several partitions, of which some may be dropped")
    expectation.contested.append(
        Contest(
            id,
            candidates,
            {record.place: (record, open_partitions.get(partition)) for partition, record in too_late_before},
            len(rows),
        )
    )


def expiry_of(row, settings):
    return max(row.event_time, row.event_time if row.watermark is None else row.watermark) + settings.ttl_us


def is_remembered(expectation, settings, id, row, expiry):
    """Whether an id that expires at `expiry` is still known when `row` is judged."""
    watermark = row.event_time if row.watermark is None else row.watermark
    if abs(watermark - expiry) < min(EXPIRY_BLUR_US, settings.ttl_us / 2):
        expectation.undecided.append(f"id {id!r} at {row.record.place} is too close to its expiry")
    return watermark <= expiry


# Decoding ---------------------------------------------------------------------------------------------

MAX_DEPTH = 64
INT_RANGE = (-(2**31), 2**31 - 1)
LONG_RANGE = (-(2**63), 2**63 - 1)


def decode(record, settings):
    """The values of a record's columns, or Rejected, by the documented precedence."""
    if record.value is None:
        raise Rejected("null_value")
    if len(record.value) > settings.max_record_bytes:
        raise Rejected("too_large")
    document = parse(record.value)
    if not isinstance(document, Object):
        raise Rejected("schema_mismatch")
    values = {}
    for column in settings.columns:
        value = document.get(column.name)
        values[column.name] = None if value is None else convert(value, column.type)
        special = column.name in (settings.id, settings.event_time)
        if value is None and column.required and not special:
            raise Rejected("schema_mismatch")
    if settings.id is not None and not values[settings.id]:
        raise Rejected("missing_event_id")
    event_time = values[settings.event_time]
    if event_time is None:
        raise Rejected("missing_event_time")
    if event_time < 0:
        raise Rejected("too_late")
    if record.timestamp_ms is not None and event_time > record.timestamp_ms * 1000 + settings.max_future_skew_us:
        raise Rejected("future_event_time")
    return values


class Object(dict):
    """A JSON object, which remembers whether a key stood in it twice."""

    def __init__(self, pairs):
        super().__init__(pairs)
        self.has_duplicate_key = len(self) != len(pairs)


class OutOfRange:
    """A number that no column can hold."""


def parse(value):
    try:
        text = value.decode("utf-8")
        if text.count("[") + text.count("{") > MAX_DEPTH and depth(text) > MAX_DEPTH:
            raise Rejected("malformed")
        document = PARSER.decode(text)
        if isinstance(document, Object) and document.has_duplicate_key:
            raise Rejected("malformed")
        if has_unpaired_surrogate(text):
            raise Rejected("malformed")
        return document
    except ValueError as error:  # JSONDecodeError and both Unicode errors are ValueErrors
        raise Rejected("malformed") from error


def no_constant(name):
    raise ValueError(f"{name} is not JSON")


# The largest double has 309 digits. (Python refuses to convert integers of more than 4300.)
PARSER = json.JSONDecoder(
    object_pairs_hook=Object,
    parse_constant=no_constant,
    parse_int=lambda digits: int(digits) if len(digits) <= 310 else OutOfRange(),
)

ESCAPE = re.compile(r"\\(?:u([0-9a-fA-F]{4})|.)", re.DOTALL)


def has_unpaired_surrogate(text):
    """Whether valid JSON names half of a surrogate pair by an escape."""
    if "\\u" not in text:
        return False
    high_ended = None  # where the escape of a first half ended
    for match in ESCAPE.finditer(text):
        unit = int(match[1], 16) if match[1] else 0
        is_low = 0xDC00 <= unit <= 0xDFFF
        if is_low != (high_ended is not None) or (is_low and high_ended != match.start()):
            return True
        high_ended = match.end() if 0xD800 <= unit <= 0xDBFF else None
    return high_ended is not None


STRING_OR_BRACKET = re.compile(r'"(?:[^"\\]|\\.)*"|[\[{]|[\]}]', re.DOTALL)


def depth(text):
    deepest = now = 0
    for match in STRING_OR_BRACKET.finditer(text):
        if match[0] in "[{":
            now += 1
            deepest = max(deepest, now)
        elif match[0] in "]}":
            now -= 1
    return deepest


def convert(value, kind):
    """A JSON value as a column's value. Timestamps become microseconds since 1970."""
    if kind == "string" and isinstance(value, str):
        return value
    if kind == "boolean" and isinstance(value, bool):
        return value
    is_integer = isinstance(value, int) and not isinstance(value, bool)
    for integer, (low, high) in (("int", INT_RANGE), ("long", LONG_RANGE)):
        if kind == integer and is_integer and low <= value <= high:
            return value
    if kind == "double" and (is_integer or isinstance(value, float)):
        try:
            number = float(value)
        except OverflowError:
            raise Rejected("schema_mismatch") from None
        if abs(number) != float("inf"):
            return number
    if kind == "timestamptz":
        micros = value * 1000 if is_integer else iso_micros(value) if isinstance(value, str) else None
        if micros is not None and LONG_RANGE[0] <= micros <= LONG_RANGE[1]:
            return micros
    raise Rejected("schema_mismatch")


ISO_8601 = re.compile(
    r"(\d{4})-(\d\d)-(\d\d)[Tt ](\d\d):(\d\d)(?::(\d\d)(?:[.,](\d{1,9}))?)?(?:[Zz]|([+-])(\d\d)(?::?(\d\d))?)?",
    re.ASCII,
)
EPOCH = datetime.date(1970, 1, 1).toordinal()


def iso_micros(text):
    """Microseconds since 1970 of an ISO-8601 date and time; None when it is none."""
    match = ISO_8601.fullmatch(text)
    if match is None:
        return None
    year, month, day, hour, minute, second = (int(match[i] or 0) for i in range(1, 7))
    if hour > 23 or minute > 59 or second > 59:  # a leap second too: 1970's seconds do not count it
        return None
    try:
        days = datetime.date(year, month, day).toordinal() - EPOCH
    except ValueError:
        return None
    micros = ((days * 24 + hour) * 60 + minute) * MINUTE_US + second * SECOND_US
    if match[7]:
        micros += int(match[7][:6].ljust(6, "0"))
    if match[8]:
        hours, minutes = int(match[9]), int(match[10] or 0)
        if hours > 23 or minutes > 59:
            return None
        offset = (hours * 60 + minutes) * MINUTE_US
        micros += -offset if match[8] == "+" else offset
    return micros
