"""The same verdict for tens of millions of records: columns instead of objects.

Every record of the topic is read once; a record in the plain form of the generator is decoded by one
expression, any other by the model itself. What is kept of a record is its offset, time, watermark and id
(40 bytes). Ids with copies in several partitions, and copies near their expiry, are refused, not guessed at.
Compared are coordinates, ids, times, late flags, watermarks, dead letters and the account; not the rest of
a row's columns, as the model does.
"""

import hashlib
import re
from array import array
from collections import Counter

import numpy as np

import model
import readers
import verdict
from model import Record, Rejected

NO_WATERMARK = -(2**62)
# Bits of what a record must have become.
NOTHING, LANDED, LATE, DUPLICATE, DEAD = range(5)
FILES_AT_A_TIME = 2000
ORIGIN = ["kafka_topic", "kafka_partition", "kafka_offset", "event_id", "event_time", "ingested_at"]

PLAIN = re.compile(
    rb'\{"event_id":"([0-9a-f]{8})-([0-9a-f]{4})-([0-9a-f]{4})-([0-9a-f]{4})-([0-9a-f]{12})",'
    rb'"event_type":"[a-z]*","event_time":(?:([1-9]\d{12})|"(\d{4}-\d\d-\d\d)T([01]\d|2[0-3]):([0-5]\d):([0-5]\d)\.(\d{3})Z"),'
    rb'"user_id":"[a-z0-9-]*","session_id":"[a-z0-9-]*","input_value":(?:0|[1-9]\d{0,8}),"roman_numeral":"[A-Z]*",'
    rb'"response_time_ms":(?:0|[1-9]\d{0,8}),"source":"[a-z]*"\}'
)
UUID = re.compile("[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")
DAYS = {}


def plain_time(match):
    """The event time of a match of PLAIN; None for a day that is none."""
    millis = match[6]
    if millis is not None:
        return int(millis) * 1000
    day = DAYS.get(match[7])
    if day is None:
        day = DAYS[match[7]] = model.iso_micros(match[7].decode() + "T00:00:00Z") or -1
    if day < 0:
        return None
    return day + ((int(match[8]) * 60 + int(match[9])) * 60 + int(match[10])) * 1_000_000 + int(match[11]) * 1000


def plain(value, timestamp_ms, settings):
    """Event time and id of a record in the plain form; None for any other, and for one from the future."""
    match = PLAIN.fullmatch(value) if value is not None and len(value) <= settings.max_record_bytes else None
    time = plain_time(match) if match is not None else None
    if time is None or (timestamp_ms is not None and time > timestamp_ms * 1000 + settings.max_future_skew_us):
        return None
    return time, bytes.fromhex(b"".join(match.group(1, 2, 3, 4, 5)).decode())


def short_id(id):
    """16 bytes for an id: the digits of a UUID, a hash of anything else."""
    if UUID.fullmatch(id):
        return bytes.fromhex(id.replace("-", ""))
    return hashlib.blake2b(id.encode("utf-8", "surrogatepass"), digest_size=16).digest()


class Partition:
    """What the records of a partition must become. Records come in the order of their offsets."""

    def __init__(self, settings):
        self.settings = settings
        self.consumed = 0
        self.newest = None
        self.offsets, self.times, self.watermarks = array("q"), array("q"), array("q")
        self.ids = bytearray()
        self.dead = {}  # offset -> (Record, error type)
        self.behind = {}  # offset -> Record: too late, so a dead letter unless it is a duplicate

    def add(self, topic, partition, offset, timestamp_ms, key, value):
        settings = self.settings
        self.consumed += 1
        known = plain(value, timestamp_ms, settings)
        if known is not None:
            time, id = known
        else:
            record = Record(topic, partition, offset, timestamp_ms, key, value)
            try:
                values = model.decode(record, settings)
            except Rejected as rejected:
                self.dead[offset] = (record, rejected.error_type)
                return
            time, id = values[settings.event_time], short_id(values[settings.id])
        newest = self.newest
        watermark = NO_WATERMARK if newest is None else newest - settings.out_of_orderness_us
        if newest is None or time > newest:
            self.newest = time
        if time < watermark - settings.allowed_lateness_us:
            self.behind[offset] = Record(topic, partition, offset, timestamp_ms, key, value)
        self.offsets.append(offset)
        self.times.append(time)
        self.watermarks.append(watermark)
        self.ids += id

    def decide(self, start, end):
        """Fills `fate`, by offset from `start`. Returns reasons why it cannot be decided."""
        settings = self.settings
        self.start, self.length = start, end - start
        offsets = np.frombuffer(self.offsets, np.int64) if self.offsets else np.empty(0, np.int64)
        times = np.frombuffer(self.times, np.int64) if self.times else np.empty(0, np.int64)
        marks = np.frombuffer(self.watermarks, np.int64) if self.watermarks else np.empty(0, np.int64)
        ids = np.frombuffer(bytes(self.ids), np.uint64).reshape(-1, 2)
        too_late = times < marks - settings.allowed_lateness_us

        order = np.lexsort((offsets, ids[:, 0], ids[:, 1]))
        sorted_ids = ids[order]
        new = np.ones(len(order), bool)
        new[1:] = (sorted_ids[1:] != sorted_ids[:-1]).any(axis=1)
        group = np.cumsum(new) - 1
        # The first copy of each id that is not too late lands.
        places = np.arange(len(order))
        timely = ~too_late[order]
        first = np.full(group[-1] + 1 if len(group) else 0, len(order))
        np.minimum.at(first, group[timely], places[timely])
        lander = first[group] if len(group) else places
        lands, copy = places == lander, places > lander

        expiry = np.maximum(times, marks) + settings.ttl_us
        now = np.where(marks == NO_WATERMARK, times, marks)
        distance = expiry[order][lander[copy]] - now[order][copy]
        blur = min(model.EXPIRY_BLUR_US, settings.ttl_us / 2)
        undecided = int((distance < blur).sum())

        late = (times < marks)[order]
        fate = np.select([lands & late, lands, copy], [LATE, LANDED, DUPLICATE], DEAD).astype(np.uint8)
        at = offsets[order] - start
        self.fate = np.zeros(self.length, np.uint8)
        self.fate[at] = fate
        self.time = np.zeros(self.length, np.int64)
        self.time[offsets - start] = times
        self.watermark = np.full(self.length, NO_WATERMARK)
        self.watermark[offsets - start] = marks
        self.id = np.zeros((self.length, 2), np.uint64)
        self.id[offsets - start] = ids
        for offset, (_, _) in self.dead.items():
            self.fate[offset - start] = DEAD
        for offset, record in self.behind.items():
            if self.fate[offset - start] == DEAD:
                self.dead[offset] = (record, "too_late")
        self.landed_ids = sorted_ids[lands]
        # The columns are there twice by now.
        del self.offsets, self.times, self.watermarks, self.ids
        return [f"{undecided} copies are too close to the expiry of their ids"] if undecided else []


def judge(args, settings):
    """Reads everything and compares; returns the report and the differences."""
    partitions, ends = read_topic(args.bootstrap, args.topic, lambda: Partition(settings))
    catalog = readers.open_catalog(args)
    letters = readers.rows_of(readers.load_table(catalog, args.dead_letters)) if args.dead_letters else None
    topic_letters = readers.read_topic(args.bootstrap, args.dead_letter_topic)[0] if args.dead_letter_topic else None
    batches = rows_of(readers.load_table(catalog, args.table))
    return compare(args.topic, partitions, ends, batches, letters, topic_letters)


def read_topic(bootstrap, topic, new_partition):
    """The partitions of a topic, their records added to new ones, and of each its first and its next offset."""
    partitions = {}
    reading = readers.stream_topic(bootstrap, topic)
    while True:
        try:
            messages = next(reading)
        except StopIteration as end:
            ranges = end.value
            return {p: partitions.get(p) or new_partition() for p in ranges}, ranges
        for message in messages:
            number = message.partition()
            partition = partitions.get(number)
            if partition is None:
                partition = partitions[number] = new_partition()
            kind, timestamp = message.timestamp()
            partition.add(topic, number, message.offset(), timestamp if kind else None, message.key(), message.value())


def rows_of(table):
    """Batches of rows as arrays: topic, partition, offset, id, time, late, watermark. By DuckDB."""
    import duckdb

    paths = readers.data_files(table)
    connection = duckdb.connect()
    for at in range(0, len(paths), FILES_AT_A_TIME):
        rows = connection.execute(
            "select kafka_topic, kafka_partition, kafka_offset, event_id, epoch_us(event_time), is_late_arrival,"
            f" coalesce(epoch_us(ingest_watermark), {NO_WATERMARK}) from read_parquet(?, hive_partitioning=false)",
            [paths[at : at + FILES_AT_A_TIME]],
        ).to_arrow_table()
        for batch in rows.to_batches():
            topic, partition, offset, id, time, late, watermark = batch.columns
            ids = b"".join(map(short_id, id.to_pylist()))
            yield (
                set(topic.unique().to_pylist()),
                partition.to_numpy(zero_copy_only=False),
                offset.to_numpy(zero_copy_only=False),
                np.frombuffer(ids, np.uint64).reshape(-1, 2),
                time.to_numpy(zero_copy_only=False),
                late.to_numpy(zero_copy_only=False),
                watermark.to_numpy(zero_copy_only=False),
            )


def origins_of(table):
    """Batches of rows as arrays: topics, partition, offset, id, event time, time of reading. Not by DuckDB, which refuses text
    that is not UTF-8."""
    return map(origin_columns, readers.parquet_batches(readers.data_files(table), ORIGIN))


def origin_columns(batch):
    """A batch as arrays."""
    import pyarrow as pa

    topic, partition, offset, id, *times = (batch.column(name) for name in ORIGIN)
    ids = (text.decode("utf-8", "surrogateescape") for text in id.cast(pa.binary()).to_pylist())
    ids = np.frombuffer(b"".join(map(short_id, ids)), np.uint64).reshape(-1, 2)
    times = [time.cast(pa.timestamp("us", "UTC")).cast(pa.int64()).to_numpy() for time in times]
    return set(topic.unique().to_pylist()), partition.to_numpy(), offset.to_numpy(), ids, *times


def compare(topic, partitions, ranges, batches, letters, topic_letters):
    differences = verdict.Differences()
    for number, partition in partitions.items():
        for reason in partition.decide(*ranges[number]):
            differences.add("the model cannot decide", f"partition {number}: {reason}")
        partition.seen = np.zeros(partition.length, np.uint16)
    check_contests(partitions, differences)
    rows = late = 0
    for batch in batches:
        rows += len(batch[1])
        late += int(batch[5].sum())
        check_rows(topic, partitions, batch, differences)
    for number, partition in partitions.items():
        must = (partition.fate == LANDED) | (partition.fate == LATE)
        examples(differences, "a row is missing", topic, number, partition, must & (partition.seen == 0))
        examples(differences, "a record landed twice", topic, number, partition, partition.seen > 1)
        wrong = ~must & (partition.seen > 0)
        examples(differences, "a row that must not be there", topic, number, partition, wrong)
    dead = {(topic, n, offset): fate for n, p in partitions.items() for offset, fate in p.dead.items()}
    if letters is not None:
        verdict.check_letters(dead, {}, letters, differences)
    if topic_letters is not None:
        verdict.check_topic_letters(dead, {}, topic_letters, differences)
    consumed = sum(p.consumed for p in partitions.values())
    report = {
        "consumed": consumed,
        "landed": int(sum((p.seen > 0).sum() for p in partitions.values())),
        "rows": rows,
        "late": late,
        "duplicates": int(sum((p.fate == DUPLICATE).sum() for p in partitions.values())),
        "dead_letters": dict(Counter(kind for _, kind in dead.values())),
        "dropped": 0,
        "gaps": sum(p.length for p in partitions.values()) - consumed,
    }
    return report, differences


def check_contests(partitions, differences):
    """No id has landed in two partitions: which would be the copy would depend on the order of reading."""
    ids = np.concatenate([p.landed_ids for p in partitions.values()] or [np.empty((0, 2), np.uint64)])
    ids = ids[np.lexsort((ids[:, 0], ids[:, 1]))]
    contested = int((ids[1:] == ids[:-1]).all(axis=1).sum())
    if contested:
        differences.add("the model cannot decide", f"{contested} ids have copies in several partitions")
    for partition in partitions.values():
        del partition.landed_ids


def check_rows(topic, partitions, batch, differences):
    topics, numbers, offsets, ids, times, late, watermarks = batch
    for other in topics - {topic}:
        differences.add("a row that must not be there", f"of topic {other!r}")
    for number in np.unique(numbers):
        partition = partitions.get(int(number))
        of = numbers == number
        at = offsets[of] - (partition.start if partition else 0)
        inside = (at >= 0) & (at < partition.length) if partition else np.zeros(len(at), bool)
        for outside in at[~inside][: verdict.EXAMPLES]:
            differences.add("a row that must not be there", f"{(topic, int(number), int(outside))}: no such offset")
        at = at[inside]
        if not len(at):
            continue
        np.add.at(partition.seen, at, 1)
        facts = {
            "event_id": (ids[of][inside] != partition.id[at]).any(axis=1),
            "event_time": times[of][inside] != partition.time[at],
            "is_late_arrival": late[of][inside].astype(bool) != (partition.fate[at] == LATE),
            "ingest_watermark": watermarks[of][inside] != partition.watermark[at],
        }
        landed = (partition.fate[at] == LANDED) | (partition.fate[at] == LATE)
        for name, wrong in facts.items():
            for place in at[wrong & landed]:
                differences.add(f"{name} is wrong", (topic, int(number), int(place) + partition.start))


def examples(differences, kind, topic, number, partition, wrong):
    for place in np.flatnonzero(wrong):
        differences.add(kind, (topic, number, int(place) + partition.start))
