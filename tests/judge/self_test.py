"""The judge judges itself: a table that is right passes, and each way of being wrong is found.

With STRANDLINE_STACK (as `cargo xtask test` sets it) the readers are tested too, against the real broker
and the real catalog.
"""

import base64
import copy
import datetime
import json
import os
import random
import subprocess
import sys
import tempfile
import unittest
import uuid
from collections import Counter
from pathlib import Path

import numpy as np

import model
import once
import readers
import stream
import verdict
from model import HOUR_US, MINUTE_US, Record, Settings, expect

T0_MS = 1_700_000_000_000
SETTINGS = Settings()


def event(id, minutes=0.0, **fields):
    """The bytes of an event `minutes` after T0."""
    return json.dumps({"event_id": id, "event_time": T0_MS + int(minutes * 60_000), **fields}).encode()


def log(*values, partition=0, timestamp_ms=T0_MS):
    """A partition that holds these values."""
    return [Record("t", partition, offset, timestamp_ms, b"k", value) for offset, value in enumerate(values)]


def right_rows(expectation, winners=()):
    """The rows of a table that is right."""
    rows = [row for place, row in expectation.landed.items()]
    rows += [contest.candidates[place] for contest in expectation.contested for place in contest.candidates if place in winners]
    return [row_of(row) for row in rows]


def row_of(row):
    record = row.record
    return {
        **row.values,
        "is_late_arrival": row.watermark is not None and row.event_time < row.watermark,
        "kafka_topic": record.topic,
        "kafka_partition": record.partition,
        "kafka_offset": record.offset,
        "kafka_timestamp": record.timestamp_ms * 1000,
        "ingest_watermark": row.watermark,
    }


def right_letters(expectation):
    return [letter_of(record, error_type) for _, (record, error_type) in sorted(expectation.dead.items())]


def letter_of(record, error_type):
    try:
        payload, encoding = None if record.value is None else record.value.decode(), "utf8"
    except UnicodeDecodeError:
        payload, encoding = base64.b64encode(record.value).decode(), "base64"
    return {
        "original_payload": payload,
        "payload_encoding": encoding,
        "error_type": error_type,
        "error_message": "why",
        "kafka_topic": record.topic,
        "kafka_partition": record.partition,
        "kafka_offset": record.offset,
    }


# Watermarks of the partition: none, -5 min, +25, +25, +25, +25 ...
SAMPLE = log(
    event("a"),
    event("b", 30),
    event("late", 20, user_id="u", input_value=7, response_time_ms=1),
    event("a", 30),
    event("too late", -40),
    b"not json",
    b"\xff\xfe",
    None,
    event("c", 31),
)


class TheModel(unittest.TestCase):
    def error_types(self, *values, **place):
        expectation = expect(log(*values, **place), SETTINGS)
        return [expectation.dead.get(("t", 0, offset), (None, "lands"))[1] for offset in range(len(values))]

    def test_judges_a_partition_in_the_order_of_its_offsets(self):
        expectation = expect(reversed(SAMPLE), SETTINGS)
        self.assertEqual([place[2] for place in expectation.landed], [0, 1, 2, 8])
        self.assertEqual(
            {place[2]: kind for place, (_, kind) in expectation.dead.items()},
            {4: "too_late", 5: "malformed", 6: "malformed", 7: "null_value"},
        )
        self.assertEqual(expectation.duplicates, 1)
        self.assertEqual([row.late for row in expectation.landed.values()], [False, False, True, False])
        watermarks = [row.watermark for row in expectation.landed.values()]
        start = T0_MS * 1000
        self.assertEqual(watermarks, [None, start - 5 * MINUTE_US, start + 25 * MINUTE_US, start + 25 * MINUTE_US])

    def test_late_and_too_late_begin_just_behind_the_line(self):
        line = 25  # minutes: the watermark after an event at 30
        kinds = self.error_types(event("a", 30), event("b", line - 60), event("c", line - 60.001))
        self.assertEqual(kinds, ["lands", "lands", "too_late"])
        rows = expect(log(event("a", 30), event("b", line), event("c", line - 0.001)), SETTINGS).landed
        self.assertEqual([row.late for row in rows.values()], [False, False, True])

    def test_an_id_of_a_row_that_did_not_land_is_not_remembered(self):
        expectation = expect(log(event("a", 60), event("b", -6), event("b", 60), event("b", -6)), SETTINGS)
        self.assertEqual([place[2] for place in expectation.landed], [0, 2])
        self.assertEqual(([place[2] for place in expectation.dead], expectation.duplicates), ([1], 1))

    def test_a_dead_letter_does_not_move_the_watermark(self):
        expectation = expect(log(event("a"), event("b", 61), event("c", -4)), SETTINGS)
        self.assertEqual(expectation.dead[("t", 0, 1)][1], "future_event_time")
        self.assertFalse(expectation.landed[("t", 0, 2)].late)

    def test_an_id_is_known_for_its_ttl_and_the_edge_is_not_decided(self):
        day = 24 * 60
        far = T0_MS + 10 * 86_400_000
        forgotten = expect(log(event("a"), event("b", 2 * day), event("a", 2 * day), timestamp_ms=far), SETTINGS)
        self.assertEqual((len(forgotten.landed), forgotten.undecided), (3, []))
        edge = expect(log(event("a"), event("b", day), event("a", day), timestamp_ms=far), SETTINGS)
        self.assertEqual(len(edge.undecided), 1)

    def test_malformed_is_whatever_is_not_one_json_document(self):
        deep = lambda levels: b'{"event_id":"x","event_time":%d,"z":%s}' % (T0_MS, b"[" * levels + b"]" * levels)
        values = [
            b"", b" ", b"{", b'{"event_id":"a"', event("a") + b"x", event("a") + b"{}", b"\xef\xbb\xbf" + event("a"),
            b'{"event_id":"a","event_id":"b"}', b'{"x":1,"\\u0078":2}', b'{"event_id":"\xff"}', b'{"x":NaN}', b'{"x":01}',
            b'{"x":"\x01"}', b'{"x":"\\ud800"}', b'{"x":"\\udc00\\ud800"}', b"{'x':1}", deep(64), b"[" * 100_000,
        ]  # fmt: skip
        self.assertEqual(self.error_types(*values), ["malformed"] * len(values))
        good = [
            b" " + event("a") + b"\n", deep(63), event("\U0001f600"), event("b", z={"x": 1}),
            b'{"event_id":"\\\\ud800","event_time":%d,"z":{"k":1,"k":2},"y":"[[[{{{","w":%s}' % (T0_MS, b"9" * 5000),
        ]  # fmt: skip
        self.assertEqual(self.error_types(*good), ["lands"] * len(good))

    def test_a_field_that_does_not_fit_its_column_is_a_schema_mismatch(self):
        base = {"event_id": "a", "event_time": T0_MS}
        wrong = [
            {"event_id": 1}, {"event_type": 1}, {"input_value": "1"}, {"input_value": 1.0}, {"input_value": True},
            {"input_value": 2**31}, {"response_time_ms": "1"}, {"event_time": 1.5}, {"event_time": "1700000000000"},
            {"event_time": True}, {"event_time": 10**30}, {"event_time": "2026-02-29T00:00:00Z"}, {"event_time": ""},
            {"event_time": "2026-01-01"}, {"event_time": "2026-01-01T24:00:00Z"}, {"event_time": "0000-01-01T00:00:00Z"},
            {"event_time": "2026-01-01T00:00:60Z"}, {"source": []}, {"response_time_ms": {}},
        ]  # fmt: skip
        values = [json.dumps({**base, **fields}).encode() for fields in wrong]
        values += [b"[]", b"1", b'"x"', b"null", b'{"event_id":"a","event_time":1,"response_time_ms":1e999}']
        self.assertEqual(self.error_types(*values), ["schema_mismatch"] * len(values))

    def test_the_rest_of_the_precedence(self):
        def of(**fields):
            return self.error_types(json.dumps(fields).encode())[0]

        self.assertEqual(of(event_time="x"), "schema_mismatch")
        self.assertEqual(of(), "missing_event_id")
        self.assertEqual(of(event_id="", event_time=T0_MS), "missing_event_id")
        self.assertEqual(of(event_id=None), "missing_event_id")
        self.assertEqual(of(event_id="a"), "missing_event_time")
        self.assertEqual(of(event_id="a", event_time=None), "missing_event_time")
        self.assertEqual(of(event_id="a", event_time=-1), "too_late")
        self.assertEqual(of(event_id="a", event_time="0001-01-01T00:00:00Z"), "too_late")
        self.assertEqual(of(event_id="a", event_time="9999-12-31T23:59:59Z"), "future_event_time")
        self.assertEqual(self.error_types(b" " * (SETTINGS.max_record_bytes + 1)), ["too_large"])
        self.assertEqual(self.error_types(b" " * SETTINGS.max_record_bytes), ["malformed"])

    def test_event_times_as_text(self):
        for text, micros in [
            ("1970-01-01T00:00:00Z", 0),
            ("2000-03-01t00:00:00", 951_868_800_000_000),
            ("2000-02-29 12:00:00.5z", 951_825_600_500_000),
            ("2026-01-01T01:00:00.123456789+01:00", 1_767_225_600_123_456),
            ("2025-12-31T22:30:00,1-0130", 1_767_225_600_100_000),
            ("2026-01-01T00:00", 1_767_225_600_000_000),
            ("2026-01-01T02:00+02", 1_767_225_600_000_000),
            ("2026-01-01T00:00:00.", None),
            ("2026-1-01T00:00:00Z", None),
            ("2026-01-01T00:00:00Z ", None),
            ("٢026-01-01T00:00:00Z", None),
        ]:
            self.assertEqual(model.iso_micros(text), micros, text)


class TheVerdict(unittest.TestCase):
    """Every defect that a table can have, made on purpose."""

    def found(self, spoil, records=SAMPLE, winners=()):
        expectation = expect(records, SETTINGS)
        rows, letters = right_rows(expectation, winners), right_letters(expectation)
        account = {"consumed": 9, "landed": 4, "late": 1, "duplicates": 1, "dead_letters": 4, "dropped": 0, "gaps": 0}
        spoil(rows, letters, account)
        if records is not SAMPLE:
            account = None
        report, differences = verdict.judge(expectation, SETTINGS, rows, letters, account=account, gaps=0)
        self.assertEqual(bool(differences), bool(report["differences"]))
        self.assertTrue(str(differences) or not differences)
        return set(differences.kinds)

    def finds(self, kind, spoil, **more):
        kinds = self.found(spoil, **more)
        self.assertIn(kind, kinds)

    def test_what_is_right_passes(self):
        self.assertEqual(self.found(lambda rows, letters, account: None), set())

    def test_a_lost_row(self):
        for i in range(4):
            self.finds("a row is missing", lambda rows, *_: rows.pop(i))

    def test_a_doubled_row(self):
        for i in range(4):
            self.finds("a record landed twice", lambda rows, *_: rows.append(dict(rows[i])))

    def test_a_row_that_somebody_deleted(self):
        expectation = expect(SAMPLE, SETTINGS)
        rows, letters = right_rows(expectation), right_letters(expectation)
        account = {"consumed": 9, "landed": 4, "late": 1, "duplicates": 1, "dead_letters": 4, "dropped": 0, "gaps": 0}
        for i in range(4):
            place = tuple(rows[i][name] for name in ("kafka_topic", "kafka_partition", "kafka_offset"))
            kinds = lambda rows: set(  # noqa: E731
                verdict.judge(expectation, SETTINGS, rows, letters, account=account, gaps=0, deleted={place})[1].kinds
            )
            self.assertEqual(kinds(rows[:i] + rows[i + 1 :]), set())
            self.assertIn("a deleted row is back", kinds(rows))

    def test_a_wrong_late_flag(self):
        for i in range(4):
            self.finds("is_late_arrival is wrong", lambda rows, *_: rows[i].update(is_late_arrival=not rows[i]["is_late_arrival"]))

    def test_a_wrong_value_anywhere(self):
        names = ["event_time", "ingest_watermark", "kafka_timestamp", "user_id", "input_value", "response_time_ms", "event_id"]
        for name in names:
            self.finds(f"{name} is wrong", lambda rows, *_: rows[2].update({name: -1}))

    def test_a_column_that_is_not_there(self):
        self.finds("a column is missing", lambda rows, *_: rows[0].pop("source"))

    def test_a_duplicate_that_landed(self):
        def spoil(rows, *_):
            rows.append({**rows[0], "kafka_offset": 3})

        self.finds("an id landed twice", spoil)
        self.finds("a row that must not be there", spoil)

    def test_the_second_copy_instead_of_the_first(self):
        self.finds("a row is missing", lambda rows, *_: rows[0].update(kafka_offset=3))

    def test_a_dead_letter_that_landed(self):
        self.finds("a row that must not be there", lambda rows, *_: rows.append({**rows[0], "event_id": "x", "kafka_offset": 4}))

    def test_dead_letters(self):
        self.finds("a dead letter is missing", lambda _, letters, __: letters.pop())
        self.finds("a dead letter stands in the table twice", lambda _, letters, __: letters.append(letters[0]))
        self.finds("a dead letter's error_type is wrong", lambda _, letters, __: letters[0].update(error_type="malformed"))
        self.finds("a dead letter without error_message", lambda _, letters, __: letters[0].update(error_message=""))
        self.finds("a dead letter that must not be there", lambda _, letters, __: letters[0].update(kafka_offset=0))
        kind = "a dead letter's payload is wrong"
        for i in range(4):
            self.finds(kind, lambda _, letters, __: letters[i].update(original_payload="other"))
            self.finds(kind, lambda _, letters, __: letters[i].update(original_payload="bm90IGpzb24=", payload_encoding="base64"))
        self.finds(kind, lambda _, letters, __: letters[0].update(original_payload=None))

    def test_the_account(self):
        for name in ["consumed", "landed", "late", "duplicates", "dead_letters", "dropped", "gaps"]:
            self.finds("the account is wrong", lambda _, __, account: account.update({name: account[name] + 1}))

    def test_the_topic_of_dead_letters(self):
        expectation = expect(SAMPLE, SETTINGS)

        def kinds(spoil):
            letters = right_letters(expectation)
            records = [Record("d", 0, i, T0_MS, b"k", json.dumps(letter).encode()) for i, letter in enumerate(letters)]
            spoil(records)
            _, differences = verdict.judge(expectation, SETTINGS, right_rows(expectation), topic_letters=records)
            return set(differences.kinds)

        self.assertEqual(kinds(lambda records: records.append(records[0])), set(), "at least once is enough")
        self.assertEqual(kinds(lambda records: records.pop()), {"a dead letter is missing in the topic"})
        wrong_key = Record("d", 0, 9, T0_MS, b"other", json.dumps(right_letters(expectation)[0]).encode())
        self.assertEqual(kinds(lambda records: records.append(wrong_key)), {"a dead letter's key is wrong"})
        noise = Record("d", 0, 9, T0_MS, b"k", b"{}")
        self.assertEqual(kinds(lambda records: records.append(noise)), {"a record of the dead-letter topic is no dead letter"})

    def test_either_copy_may_land_when_they_are_in_different_partitions(self):
        both = log(event("a")) + log(event("a"), partition=1)
        places = [("t", 0, 0), ("t", 1, 0)]
        nothing = lambda *_: None  # noqa: E731
        for winner in places:
            self.assertEqual(self.found(nothing, records=both, winners=[winner]), set())
        self.assertEqual(self.found(nothing, records=both, winners=places), {"an id landed twice"})
        self.assertEqual(self.found(nothing, records=both), {"a row is missing"})

    def test_only_the_first_copy_of_a_partition_may_land(self):
        records = log(event("a"), event("a")) + log(event("a"), partition=1)
        expectation = expect(records, SETTINGS)
        self.assertEqual(set(expectation.contested[0].candidates), {("t", 0, 0), ("t", 1, 0)})

    def test_a_too_late_copy_of_another_partition_may_be_either(self):
        records = log(event("x", 60), event("a", -6), event("a", 60)) + log(event("a", 60), partition=1)
        expectation = expect(records, SETTINGS)
        letter = letter_of(records[1], "too_late")

        def kinds(winner, letters):
            rows = right_rows(expectation, [winner])
            return set(verdict.judge(expectation, SETTINGS, rows, letters)[1].kinds)

        self.assertEqual(kinds(("t", 1, 0), []), set())
        self.assertEqual(kinds(("t", 1, 0), [letter]), set())
        self.assertEqual(kinds(("t", 0, 2), [letter]), set())
        self.assertEqual(kinds(("t", 0, 2), []), {"a dead letter is missing"}, "it was read before the one that landed")

    def test_what_cannot_be_decided_is_not_passed(self):
        records = log(event("a"), event("b", 24 * 60), event("a", 24 * 60), timestamp_ms=T0_MS + 10 * 86_400_000)
        self.assertIn("the model cannot decide", self.found(lambda *_: None, records=records))


def plain_event(number, minutes):
    """An event in the form that the stream knows; its time as text or as a number."""
    ms = T0_MS + int(minutes * 60_000)
    when = datetime.datetime.fromtimestamp(ms / 1000, datetime.timezone.utc)
    time = ms if number % 3 == 0 else f'"{when:%Y-%m-%dT%H:%M:%S}.{ms % 1000:03}Z"'
    id = uuid.UUID(int=number * 0x9E3779B97F4A7C15F39CC0605CEDC835 % 2**128)
    return (
        f'{{"event_id":"{id}","event_type":"conversion","event_time":{time},"user_id":"user-1","session_id":"0a",'
        f'"input_value":7,"roman_numeral":"VII","response_time_ms":12,"source":"web"}}'
    ).encode()


def random_log(rng, partition):
    """Copies, late, too late, malformed and foreign events; an id stays in its partition."""
    values = []
    for number in range(3000):
        clock = number / 60
        behind = rng.choice([0, 0, 0, 0.5, 6, 30, 80, 200])
        kind = rng.random()
        if kind < 0.15 and values:
            values.append(rng.choice(values[-200:]))
        elif kind < 0.2:
            values.append(rng.choice([None, b"", b"{", b"\xff", plain_event(1, 0)[:-3], b'{"event_id":"x"}', event("x", 10_000)]))
        elif kind < 0.3:
            values.append(event(f"other-{partition}-{rng.randrange(number + 1)}", clock - behind, input_value=rng.choice([1, "1"])))
        else:
            values.append(plain_event(partition << 20 | rng.randrange(number + 1), clock - behind))
    return log(*values, partition=partition)


class Growth(unittest.TestCase):
    """Snapshots and their manifests."""

    def found(self, *snapshots):
        return set(verdict.check_growth(list(enumerate(snapshots))).kinds)

    def test_a_merge_that_keeps_everything_is_right(self):
        self.assertEqual(self.found({"a": ["1"]}, {"a": ["1"], "b": ["2"]}, {"ab": ["1", "2"], "c": ["3"]}), set())

    def test_each_way_of_being_wrong_is_found(self):
        self.assertEqual(self.found({"a": ["1"], "b": ["2"]}, {"b": ["2"]}), {"a data file is lost"})
        self.assertEqual(self.found({"a": ["1"], "ab": ["1", "2"]}), {"a data file stands twice"})
        self.assertEqual(self.found({"a": None, "b": ["2"]}), {"a manifest is gone"})


class TheStream(unittest.TestCase):
    """Must come to the model's own verdict."""

    def setUp(self):
        seed = random.randrange(2**32)
        print(f"the stream's records from seed {seed}", file=sys.stderr)
        rng = random.Random(seed)
        self.records = [record for partition in range(3) for record in random_log(rng, partition)]
        self.expectation = expect(self.records, SETTINGS)
        self.letters = right_letters(self.expectation)
        self.rows = right_rows(self.expectation)
        for row in self.rows:
            row["kafka_topic"] = "t"

    def found(self, rows):
        partitions = {}
        for r in self.records:
            of = partitions.setdefault(r.partition, stream.Partition(SETTINGS))
            of.add(r.topic, r.partition, r.offset, r.timestamp_ms, r.key, r.value)
        ends = {n: 1 + max(r.offset for r in self.records if r.partition == n) for n in partitions}
        ranges = {number: (0, end) for number, end in ends.items()}
        column = lambda name: [row[name] for row in rows]  # noqa: E731
        marks = [stream.NO_WATERMARK if mark is None else mark for mark in column("ingest_watermark")]
        batch = (
            set(column("kafka_topic")),
            np.array(column("kafka_partition")),
            np.array(column("kafka_offset")),
            np.frombuffer(b"".join(map(stream.short_id, column("event_id"))), np.uint64).reshape(-1, 2),
            np.array(column("event_time")),
            np.array(column("is_late_arrival")),
            np.array(marks),
        )
        return stream.compare("t", partitions, ranges, [batch], self.letters, None)

    def test_comes_to_the_same_verdict_as_the_model(self):
        self.assertEqual(self.expectation.undecided, [])
        self.assertTrue(len({kind for _, kind in self.expectation.dead.values()}) >= 6 and self.expectation.duplicates)
        report, differences = self.found(self.rows)
        self.assertFalse(differences, str(differences))
        self.assertEqual(report["landed"], len(self.expectation.landed))
        self.assertEqual(report["late"], sum(row.late for row in self.expectation.landed.values()))
        self.assertEqual(report["duplicates"], self.expectation.duplicates)
        self.assertEqual(sum(report["dead_letters"].values()), len(self.expectation.dead))

    def finds(self, kind, spoil):
        rows = [dict(row) for row in self.rows]
        spoil(rows)
        _, differences = self.found(rows)
        self.assertIn(kind, differences.kinds)

    def test_each_way_of_being_wrong_is_found(self):
        fates = {place[1:] for place in self.expectation.landed}
        duplicate = next(r for r in self.records if r.place[1:] not in fates and r.place not in self.expectation.dead)
        self.finds("a row is missing", lambda rows: rows.pop(17))
        self.finds("a record landed twice", lambda rows: rows.append(rows[17]))
        self.finds("is_late_arrival is wrong", lambda rows: rows[17].update(is_late_arrival=not rows[17]["is_late_arrival"]))
        self.finds("event_time is wrong", lambda rows: rows[17].update(event_time=5))
        self.finds("ingest_watermark is wrong", lambda rows: rows[17].update(ingest_watermark=5))
        self.finds("event_id is wrong", lambda rows: rows[17].update(event_id="other"))
        self.finds("a row that must not be there", lambda rows: rows[17].update(kafka_offset=duplicate.offset, kafka_partition=duplicate.partition))
        self.finds("a row that must not be there", lambda rows: rows[17].update(kafka_offset=3000))
        self.finds("a row that must not be there", lambda rows: rows[17].update(kafka_partition=7))
        self.finds("a row that must not be there", lambda rows: rows[17].update(kafka_topic="u"))
        self.letters.pop()
        self.finds("a dead letter is missing", lambda rows: None)

    def test_copies_in_several_partitions_are_refused(self):
        for partition in range(2):
            self.records += log(*[None] * 3000, plain_event(5, 50), partition=partition)[3000:]
        self.finds("the model cannot decide", lambda rows: None)


class Once(unittest.TestCase):
    """The verdict on an engine without an account."""

    def setUp(self):
        seed = random.randrange(2**32)
        print(f"the records to land once from seed {seed}", file=sys.stderr)
        rng = random.Random(seed)
        self.records = [record for partition in range(3) for record in random_log(rng, partition)]
        expectation = expect(self.records, SETTINGS)
        self.rows = right_rows(expectation)
        for row in self.rows:
            row["ingested_at"] = T0_MS * 1000 + row["kafka_offset"]
        self.letters = [record.value or b"" for record, _ in expectation.dead.values()]
        self.too_late = [record.value for record, kind in expectation.dead.values() if kind == "too_late"]
        # A row none of whose id's copies is a dead letter.
        dead = b"".join(self.letters)
        self.at = next(at for at, row in enumerate(self.rows) if row["event_id"].encode() not in dead)

    def found(self, spoil=lambda rows, letters: None):
        rows, letters = [dict(row) for row in self.rows], list(self.letters)
        spoil(rows, letters)
        letters, records, partitions = Counter(letters), Counter(), {}
        for r in self.records:
            of = partitions.setdefault(r.partition, once.Partition(SETTINGS, letters, records))
            of.add(r.topic, r.partition, r.offset, r.timestamp_ms, r.key, r.value)
        ranges = {n: (0, 1 + max(r.offset for r in self.records if r.partition == n)) for n in partitions}
        batches = [stream.origin_columns(batch_of(part)) for part in (rows[:1000], rows[1000:])]
        return once.compare("t", partitions, ranges, batches, letters, records, SETTINGS)

    def finds(self, kind, spoil, count=1):
        report, differences = self.found(spoil)
        self.assertEqual({kind: count}, {kind: known["count"] for kind, known in differences.kinds.items()})
        return report

    def row_of(self, letter):
        """A row of a record that is a dead letter by the model; its time is not known to it."""
        record = next(r for r in self.records if r.value == letter)
        place = {"kafka_topic": "t", "kafka_partition": record.partition, "kafka_offset": record.offset}
        return {**self.rows[0], **place}

    def test_what_is_right_passes(self):
        report, differences = self.found()
        self.assertFalse(differences, str(differences))
        self.assertTrue(self.too_late and len(self.letters) > len(self.too_late))
        counts = (report["records"], report["rows"], report["landed_ids"], report["letters"], report["letters_too_many"])
        self.assertEqual(counts, (9000, len(self.rows), len(self.rows), len(self.letters), 0))

    def test_a_lost_row(self):
        self.finds("an id is lost", lambda rows, _: rows.pop(self.at))

    def test_a_row_that_is_a_dead_letter_instead_is_none_that_is_lost(self):
        row = self.rows[self.at]
        place = (row["kafka_partition"], row["kafka_offset"])
        value = next(r.value for r in self.records if (r.partition, r.offset) == place)
        _, differences = self.found(lambda rows, letters: (rows.pop(self.at), letters.append(value)))
        self.assertFalse(differences, str(differences))

    def test_a_record_that_landed_twice(self):
        self.finds("a record landed twice", lambda rows, _: rows.append(rows[self.at]))

    def test_an_id_that_landed_twice(self):
        landed = {(row["kafka_partition"], row["kafka_offset"]) for row in self.rows}
        ids = {row["event_id"]: row for row in self.rows}
        for r in self.records:
            known = stream.PLAIN.fullmatch(r.value or b"")
            row = known and ids.get(json.loads(r.value)["event_id"])
            if row and (r.partition, r.offset) not in landed and stream.plain_time(known) == row["event_time"]:
                break
        copy = {**row, "kafka_offset": r.offset}
        self.finds("an id landed twice", lambda rows, _: rows.append(copy))

    def test_a_row_that_does_not_say_what_its_record_says(self):
        other = str(uuid.uuid4())
        self.finds("event_id is wrong", lambda rows, _: rows[self.at].update(event_id=other))
        self.finds("event_time is wrong", lambda rows, _: rows[self.at].update(event_time=5))

    def test_a_row_of_no_record(self):
        for place in ({"kafka_offset": 3000}, {"kafka_partition": 7}):
            self.finds("a row of no record", lambda rows, _: rows.append({**rows[self.at], **place}))
        self.finds("a row of no record", lambda rows, _: rows[self.at].update(kafka_topic="u"))

    def test_a_lost_dead_letter(self):
        invalid = next(letter for letter in self.letters if letter not in self.too_late)
        self.finds("a dead letter is missing", lambda _, letters: letters.remove(invalid))
        alone = next(r for r in self.letters if r in self.too_late and self.letters.count(r) == 1 and self.is_lost_without(r))
        self.finds("an id is lost", lambda _, letters: letters.remove(alone))

    def is_lost_without(self, letter):
        id = json.loads(letter)["event_id"]
        return not any(row["event_id"] == id for row in self.rows) and sum(id.encode() in other for other in self.letters) == 1

    def test_a_dead_letter_too_many_is_counted(self):
        report, differences = self.found(lambda _, letters: letters.append(b"{"))
        self.assertFalse(differences, str(differences))
        self.assertEqual(report["letters_too_many"], 1)

    def test_a_dead_letter_of_no_record(self):
        self.finds("a dead letter of no record", lambda _, letters: letters.append(b"nobody's"))

    def test_an_invalid_record_that_landed_is_neither_lost_nor_doubled(self):
        values = [b'{"event_id":"\xff","event_time":%d}' % T0_MS, b'{"event_id":"x","event_id":"y","event_time":%d}' % T0_MS]
        self.records += log(*[None] * 3000, *values, partition=2)[3000:]
        rows = [self.row_of(value) for value in values]
        rows[0]["event_id"], rows[1]["event_id"] = b"\xff", "y"
        self.finds("a row of an invalid record", lambda all, _: all.extend(rows), 2)
        self.finds("a dead letter is missing", lambda all, letters: None, 2)
        both = lambda all, letters: (all.append(rows[0]), letters.append(values[1]))  # noqa: E731
        self.finds("a row of an invalid record", both)

    def test_an_event_from_before_1970_is_only_too_late(self):
        value = event("old")[:-1].replace(str(T0_MS).encode(), b'"0001-01-01T00:00:00.000Z"') + b"}"
        self.records += log(*[None] * 3000, value, partition=2)[3000:]
        row = {**self.row_of(value), "event_id": "old", "event_time": model.iso_micros("0001-01-01T00:00:00.000Z")}
        for spoil in (lambda _, letters: letters.append(value), lambda rows, _: rows.append(row)):
            _, differences = self.found(spoil)
            self.assertFalse(differences, str(differences))
        self.finds("an id is lost", lambda *_: None)

    def test_a_table_that_was_written_for_longer_than_ids_are_remembered_is_refused(self):
        self.finds("the model cannot decide", lambda rows, _: rows[self.at].update(ingested_at=T0_MS * 1000 + 25 * HOUR_US))


def batch_of(rows):
    """A batch as Parquet is read: its ids are in a column of text, be they text or not."""
    import pyarrow as pa

    column = lambda name, type: pa.array([row[name] for row in rows], type)  # noqa: E731
    ids = pa.array([id if isinstance(id, bytes) else id.encode() for id in (row["event_id"] for row in rows)], pa.binary())
    columns = {
        "kafka_topic": column("kafka_topic", pa.string()),
        "kafka_partition": column("kafka_partition", pa.int32()),
        "kafka_offset": column("kafka_offset", pa.int64()),
        "event_id": pa.StringArray.from_buffers(len(ids), *ids.buffers()[1:]),
        "event_time": column("event_time", pa.timestamp("us", "UTC")),
        "ingested_at": column("ingested_at", pa.timestamp("us", "UTC")),
    }
    return pa.RecordBatch.from_pydict(columns)


class Parquet(unittest.TestCase):
    def test_text_that_is_not_utf_8_is_read_as_it_is(self):
        import pyarrow as pa
        import pyarrow.parquet as parquet

        row = {"kafka_topic": "t", "kafka_partition": 0, "kafka_offset": 7, "event_id": b"a\xff", "event_time": 5, "ingested_at": 6}
        with tempfile.TemporaryDirectory() as folder:
            parquet.write_table(pa.Table.from_batches([batch_of([row])]), f"{folder}/file", store_schema=False)
            (batch,) = readers.parquet_batches([f"{folder}/file"], stream.ORIGIN)
            topics, partition, offset, ids, time, read = stream.origin_columns(batch)
        self.assertEqual((topics, *partition, *offset, *time, *read), ({"t"}, 0, 7, 5, 6))
        self.assertEqual(ids.tobytes(), stream.short_id("a\udcff"))


@unittest.skipUnless(os.environ.get("STRANDLINE_STACK"), "needs the stack: cargo xtask test")
class TheReaders(unittest.TestCase):
    """The whole program against the real broker and catalogs, on tables that PyIceberg wrote."""

    @classmethod
    def setUpClass(cls):
        with open(os.environ["STRANDLINE_STACK"], encoding="utf-8") as file:
            cls.stack = json.load(file)
        cls.bootstrap = cls.stack["kafka"]["bootstrap_servers"]
        cls.topic = f"judge-{uuid.uuid4().hex}"
        cls.produce()
        cls.records, cls.gaps = readers.read_topic(cls.bootstrap, cls.topic)

    @classmethod
    def produce(cls):
        """The sample in partition 0, and a transaction that was aborted and one that was not in partition 1."""
        from confluent_kafka import Producer
        from confluent_kafka.admin import AdminClient, NewTopic

        admin = AdminClient({"bootstrap.servers": cls.bootstrap})
        admin.create_topics([NewTopic(cls.topic, 3, 1)])[cls.topic].result(30)
        producer = Producer({"bootstrap.servers": cls.bootstrap, "transactional.id": cls.topic})
        producer.init_transactions(60)
        for partition, values, commit in [(0, [r.value for r in SAMPLE], True), (1, [event("gone")], False), (1, [event("d")], True)]:
            producer.begin_transaction()
            for value in values:
                producer.produce(cls.topic, value, b"k", partition, timestamp=T0_MS)
            producer.flush(30)
            producer.commit_transaction(30) if commit else producer.abort_transaction(30)

    def test_the_topic_is_read_as_committed(self):
        sample = [Record(cls_topic, r.partition, r.offset, r.timestamp_ms, r.key, r.value) for cls_topic, r in ((self.topic, r) for r in SAMPLE)]
        self.assertEqual([r for r in self.records if r.partition == 0], sample)
        self.assertEqual([r.value for r in self.records if r.partition == 1], [event("d")])
        self.assertEqual(self.gaps, 4, "one record of the aborted transaction and three markers")

    def catalogs(self):
        """Both kinds of catalog: as PyIceberg opens them for writing, and as the judge is told of them."""
        from pyiceberg.catalog.rest import RestCatalog
        from pyiceberg.catalog.sql import SqlCatalog

        folder = self.enterContext(tempfile.TemporaryDirectory())
        sql = SqlCatalog("strandline", uri=f"sqlite:///{folder}/catalog.db", warehouse=f"file://{folder}/warehouse")
        yield sql, ["--catalog-uri", f"sqlite://{folder}/catalog.db"]
        uri = self.stack["rest"]["uri"]
        yield RestCatalog("rest", uri=uri), ["--rest", uri]

    def write(self, catalog, namespace):
        import pyarrow as pa

        expectation = expect(self.records, SETTINGS)
        timestamp = pa.timestamp("us", "UTC")
        types = {"string": pa.string(), "int": pa.int32(), "double": pa.float64(), "timestamptz": timestamp}
        fields = [(column.name, types[column.type]) for column in SETTINGS.columns]
        fields += [
            ("is_late_arrival", pa.bool_()), ("kafka_topic", pa.string()), ("kafka_partition", pa.int32()),
            ("kafka_offset", pa.int64()), ("kafka_timestamp", timestamp), ("ingest_watermark", timestamp),
        ]  # fmt: skip
        rows = pa.Table.from_pylist(right_rows(expectation), pa.schema(fields))
        names = ["original_payload", "payload_encoding", "error_type", "error_message", "kafka_topic"]
        fields = [(name, pa.string()) for name in names] + [("kafka_partition", pa.int32()), ("kafka_offset", pa.int64())]
        letters = pa.Table.from_pylist(right_letters(expectation), pa.schema(fields))
        catalog.create_namespace(namespace)
        for name, content in ((f"{namespace}.events", rows), (f"{namespace}.letters", letters)):
            catalog.create_table(name, content.schema).append(content)

    def judge(self, *args):
        judge = Path(__file__).with_name("judge.py")
        return subprocess.run([sys.executable, judge, *args], capture_output=True, text=True, timeout=300)

    def test_tables_are_judged_through_both_catalogs(self):
        for catalog, where in self.catalogs():
            namespace = f"judge_{uuid.uuid4().hex}"
            self.write(catalog, namespace)
            events = ["events", *where, "--topic", self.topic, "--bootstrap", self.bootstrap]
            events += ["--table", f"{namespace}.events", "--dead-letters", f"{namespace}.letters"]
            both = ["readers", *where, "--table", f"{namespace}.events"]
            both += ["--compare", "kafka_partition,kafka_offset,event_id,is_late_arrival"]
            for args in (events, both):
                right = self.judge(*args)
                self.assertEqual(right.returncode, 0, right.stderr)
                self.assertTrue(json.loads(right.stdout)["ok"])
            catalog.load_table(f"{namespace}.events").delete("event_id == 'b'")
            wrong = self.judge(*events)
            self.assertEqual(wrong.returncode, 1, wrong.stderr)
            self.assertIn("a row is missing: 1", wrong.stderr)
            unreadable = self.judge(*events, "--table", f"{namespace}.nothing")
            self.assertEqual(unreadable.returncode, 3, unreadable.stderr)


if __name__ == "__main__":
    unittest.main(verbosity=1)
