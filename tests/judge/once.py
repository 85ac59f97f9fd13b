"""Has each event landed once? For an engine without an account, whose dead letters are bytes alone: Flink's job of `benches/`.

The id of a valid record must be a row's, or the bytes of one of its records must be among the dead letters: as too late, which
depends on the watermark of Flink's tasks and is not judged, nor is whether a row is late. A record that the model calls
invalid must be a dead letter. Flink's parser takes two kinds of those that the generator makes, ids that are not UTF-8 and
members that stand twice; and, before there is a watermark, times before 1970, which are valid here and only too late. Rows
of invalid records are a kind of their own, neither lost nor doubled.

Dead letters are sent at least once and do not say where they come from, so their bytes must tell; those of null are none. One
too many is counted, is no difference, and may hide that another one of the same bytes is missing.
Ids are forgotten 24 hours after they were read, by the clock: a table that was written for longer is refused.
"""

import uuid
from array import array
from collections import Counter

import numpy as np

import model
import readers
import stream
import verdict

NOTHING, VALID, INVALID = range(3)


def decode(record, settings):
    """Event time and short id of a record; None when the model calls it invalid."""
    try:
        values = model.decode(record, settings)
        return values[settings.event_time], stream.short_id(values[settings.id])
    except model.Rejected as rejected:
        if rejected.error_type != "too_late":
            return None
        document = model.parse(record.value)
        return model.convert(document[settings.event_time], "timestamptz"), stream.short_id(document[settings.id])


class Partition:
    """Its records. `letters` are the dead letters; `records` counts the records with their bytes, of all partitions."""

    def __init__(self, settings, letters, records):
        self.settings, self.letters, self.records = settings, letters, records
        self.offsets, self.times, self.ids, self.are_letters = array("q"), array("q"), bytearray(), bytearray()
        self.invalid = {}  # offset -> bytes

    def add(self, topic, partition, offset, timestamp_ms, key, value):
        payload = value or b""
        is_letter = payload in self.letters
        if is_letter:
            self.records[payload] += 1
        known = stream.plain(value, timestamp_ms, self.settings)
        known = known or decode(model.Record(topic, partition, offset, timestamp_ms, key, value), self.settings)
        if known is None:
            self.invalid[offset] = payload
        else:
            self.offsets.append(offset)
            self.times.append(known[0])
            self.ids += known[1]
            self.are_letters.append(is_letter)

    def arrange(self, start, end):
        """Columns by the offset from `start`."""
        self.start, self.length = start, end - start
        at = np.array(self.offsets, np.int64) - start
        self.kind, self.seen = np.zeros(self.length, np.uint8), np.zeros(self.length, np.uint16)
        self.kind[at], self.kind[np.array(list(self.invalid), np.int64) - start] = VALID, INVALID
        self.time, self.id = np.zeros(self.length, np.int64), np.zeros((self.length, 2), np.uint64)
        self.time[at], self.id[at] = self.times, np.frombuffer(bytes(self.ids), np.uint64).reshape(-1, 2)
        self.is_letter = np.zeros(self.length, bool)
        self.is_letter[at] = np.frombuffer(bytes(self.are_letters), bool)
        del self.offsets, self.times, self.ids, self.are_letters
        return self


def judge(args, settings):
    """Reads everything and compares; returns the report and the differences."""
    letters = Counter(letter.value or b"" for letter in readers.read_topic(args.bootstrap, args.dead_letter_topic)[0])
    records = Counter()
    partitions, ranges = stream.read_topic(args.bootstrap, args.topic, lambda: Partition(settings, letters, records))
    batches = stream.origins_of(readers.load_table(readers.open_catalog(args), args.table))
    return compare(args.topic, partitions, ranges, batches, letters, records, settings)


def compare(topic, partitions, ranges, batches, letters, records, settings):
    differences, rows, read = verdict.Differences(), 0, []
    for number, partition in partitions.items():
        partition.arrange(*ranges[number])
    for batch in batches:
        rows += len(batch[1])
        read += [batch[5].min(), batch[5].max()]
        check_rows(topic, partitions, batch, differences)
    if read and max(read) - min(read) >= settings.ttl_us:
        differences.add("the model cannot decide", "the rows were read over a longer time than ids are remembered")
    for number, partition in partitions.items():
        stream.examples(differences, "a record landed twice", topic, number, partition, partition.seen > 1)
        wrong = (partition.kind == INVALID) & (partition.seen > 0)
        stream.examples(differences, "a row of an invalid record", topic, number, partition, wrong)
    ids = check_ids(partitions.values(), differences)
    invalid = Counter(p.invalid[at] for p in partitions.values() for at in p.invalid if not p.seen[at - p.start])
    for payload, count in invalid.items():
        for _ in range(count - letters[payload]):
            differences.add("a dead letter is missing", repr(payload[:200]))
    for payload in letters.keys() - records.keys():
        differences.add("a dead letter of no record", repr(payload[:200]))
    report = {
        "records": int(sum((p.kind != NOTHING).sum() for p in partitions.values())),
        "invalid_records": sum(len(p.invalid) for p in partitions.values()),
        **{"rows": rows, **ids, "letters": letters.total()},
        "letters_too_many": sum(max(0, letters[payload] - count) for payload, count in records.items()),
    }
    return report, differences


def check_rows(topic, partitions, batch, differences):
    topics, numbers, offsets, ids, times, _ = batch
    for other in topics - {topic}:
        differences.add("a row of no record", f"of topic {other!r}")
    for number in np.unique(numbers).tolist():
        partition = partitions.get(number) or Partition(None, {}, {}).arrange(0, 0)
        of = numbers == number
        places = offsets[of] - partition.start
        known = (places >= 0) & (places < partition.length)
        known[known] = partition.kind[places[known]] != NOTHING
        for offset in offsets[of][~known].tolist():
            differences.add("a row of no record", (topic, number, offset))
        at, row_ids, row_times = places[known], ids[of][known], times[of][known]
        np.add.at(partition.seen, at, 1)
        valid = partition.kind[at] == VALID
        partition.id[at[~valid]] = row_ids[~valid]
        wrong = {"event_id": (row_ids != partition.id[at]).any(axis=1), "event_time": row_times != partition.time[at]}
        for name, is_wrong in wrong.items():
            for place in at[is_wrong & valid].tolist():
                differences.add(f"{name} is wrong", (topic, number, place + partition.start))


def check_ids(partitions, differences):
    """Each id of a valid record or a row: how often it landed, and whether it is a dead letter. Returns the counts."""
    chosen = [(p, (p.kind == VALID) | (p.seen > 0)) for p in partitions]
    ids = np.concatenate([p.id[of] for p, of in chosen])
    order = np.lexsort((ids[:, 0], ids[:, 1]))
    ids = ids[order]
    starts = np.flatnonzero(np.append(True, (ids[1:] != ids[:-1]).any(axis=1))[: len(ids)])
    landed = np.add.reduceat(np.concatenate([p.seen[of] > 0 for p, of in chosen])[order].astype(np.uint32), starts)
    dead = np.maximum.reduceat(np.concatenate([p.is_letter[of] for p, of in chosen])[order], starts)
    for kind, found in (("an id landed twice", landed > 1), ("an id is lost", (landed == 0) & ~dead)):
        for place in starts[found]:
            differences.add(kind, str(uuid.UUID(bytes=ids[place].tobytes())))
    landed = landed > 0
    return {"ids": len(starts), "landed_ids": int(landed.sum()), "ids_landed_and_dead": int((landed & dead).sum())}
