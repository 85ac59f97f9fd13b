"""Compares what landed with what the model expects."""

import base64
import json
from collections import Counter

EXAMPLES = 10


class Differences:
    """Differences by kind: all counted, a few shown."""

    def __init__(self):
        self.kinds = {}

    def add(self, kind, example):
        known = self.kinds.setdefault(kind, {"count": 0, "examples": []})
        known["count"] += 1
        if len(known["examples"]) < EXAMPLES:
            known["examples"].append(example)

    def __bool__(self):
        return bool(self.kinds)

    def __str__(self):
        lines = []
        for kind, known in self.kinds.items():
            lines.append(f"{kind}: {known['count']}")
            lines.extend(f"    {example}" for example in known["examples"])
            if known["count"] > len(known["examples"]):
                lines.append(f"    ... and {known['count'] - len(known['examples'])} more")
        return "\n".join(lines)


def judge(expectation, settings, rows, letters=None, topic_letters=None, account=None, gaps=None, deleted=()):
    """Compares; returns the report and the differences.

    rows, letters: of the tables, as dictionaries, timestamps in microseconds. topic_letters: Records of the
    dead-letter topic. account: as the engine printed it. Whatever is None is not compared. deleted: places
    whose rows had landed and were deleted since, by somebody else: they must not be there any more.
    """
    differences = Differences()
    for reason in expectation.undecided:
        differences.add("the model cannot decide", reason)
    seen, late = check_rows(expectation, settings, rows, differences, deleted)
    winners = check_contests(expectation, seen, differences)
    certain, possible = dead_letters_of(expectation, winners)
    dead = certain  # as far as is known without a dead-letter table
    if letters is not None:
        dead = check_letters(certain, possible, letters, differences)
    if topic_letters is not None:
        check_topic_letters(certain, possible, topic_letters, differences)

    contested_copies = sum(contest.copies for contest in expectation.contested)
    dead_contested = sum(1 for place in dead if place not in expectation.dead)
    report = {
        "consumed": expectation.consumed,
        "landed": len(seen),
        "late": late,
        "duplicates": expectation.duplicates + contested_copies - len(winners) - dead_contested,
        "dead_letters": dict(Counter(kind for _, kind in dead.values())),
        "dropped": expectation.dropped,
        "gaps": gaps,
        "contested_ids": len(expectation.contested),
    }
    if account is not None:
        # Without the dead-letter table only the sum of these two is certain for contested ids.
        own = {**report, "dead_letters": len(dead)}
        names = ["consumed", "landed", "late", "dropped"] + (["gaps"] if gaps is not None else [])
        if letters is not None or not possible:
            names += ["duplicates", "dead_letters"]
        check_account(account, {name: own[name] for name in names}, differences)
    report["differences"] = differences.kinds
    return report, differences


def check_account(account, counted, differences):
    """The account that a run printed, against what was counted."""
    for name, count in counted.items():
        if account.get(name) != count:
            differences.add("the account is wrong", f"{name}: it says {account.get(name)}, counted {count}")


def check_rows(expectation, settings, rows, differences, deleted):
    """Every row against the row it must be. Returns the places seen, and how many rows are late."""
    contested = {place: row for contest in expectation.contested for place, row in contest.candidates.items()}
    seen, ids, late = set(), {}, 0
    for row in rows:
        place = (row["kafka_topic"], row["kafka_partition"], row["kafka_offset"])
        if place in seen:
            differences.add("a record landed twice", place)
        seen.add(place)
        if settings.id is not None:
            other = ids.setdefault(row[settings.id], place)
            if other != place:
                differences.add("an id landed twice", f"{row[settings.id]!r} from {other} and {place}")
        late += bool(row["is_late_arrival"])
        expected = expectation.landed.get(place) or contested.get(place)
        if expected is None:
            why = expectation.dead.get(place)
            said = f"must be a dead letter, {why[1]}" if why else "must not land (a duplicate, dropped, or in no topic)"
            differences.add("a row that must not be there", f"{place}: {said}")
            continue
        check_row(expected, row, place, differences)
    for place in deleted:
        if place in seen:
            differences.add("a deleted row is back", place)
        row = expectation.landed.get(place) or contested.get(place)
        late += bool(row and row.late)
    seen |= set(deleted)
    for place in expectation.landed.keys() - seen:
        differences.add("a row is missing", place)
    return seen, late


def check_row(expected, row, place, differences):
    timestamp_ms = expected.record.timestamp_ms
    facts = {
        "is_late_arrival": expected.late,
        "ingest_watermark": expected.watermark,
        "kafka_timestamp": None if timestamp_ms is None else timestamp_ms * 1000,
        **expected.values,
    }
    for name, value in facts.items():
        if name not in row:
            differences.add("a column is missing", name)
        elif row[name] != value:
            differences.add(f"{name} is wrong", f"{place}: it is {row[name]!r}, must be {value!r}")


def check_contests(expectation, seen, differences):
    """Exactly one candidate of each contested id has landed. Returns their places, by id."""
    winners = {}
    for contest in expectation.contested:
        landed = [place for place in contest.candidates if place in seen]
        if contest.candidates and not landed:
            differences.add("a row is missing", f"id {contest.id!r}, any of {list(contest.candidates)}")
        if landed:
            winners[contest.id] = landed[0]  # a second one is an id that landed twice
    return winners


def dead_letters_of(expectation, winners):
    """Places that must be dead letters, and those that may: a too late copy in another partition than the
    one that landed is a duplicate if it was read after that one."""
    certain, possible = dict(expectation.dead), {}
    for contest in expectation.contested:
        winner = winners.get(contest.id)
        for place, (record, candidate) in contest.too_late_before.items():
            is_certain = winner is None or candidate == winner
            (certain if is_certain else possible)[place] = (record, "too_late")
    return certain, possible


def check_letters(certain, possible, letters, differences):
    """The dead-letter table. Returns place -> (Record, error type) of the dead letters that are right."""
    seen = {}
    for letter in letters:
        place = (letter["kafka_topic"], letter["kafka_partition"], letter["kafka_offset"])
        if place in seen:
            differences.add("a dead letter stands in the table twice", place)
        expected = certain.get(place) or possible.get(place)
        if expected is None:
            differences.add("a dead letter that must not be there", f"{place}: {letter['error_type']}")
            continue
        seen[place] = expected
        check_letter(expected, letter, place, "the table", differences)
    for place in certain.keys() - seen.keys():
        differences.add("a dead letter is missing", f"{place}: {certain[place][1]}")
    return seen


def check_topic_letters(certain, possible, records, differences):
    """The dead-letter topic: at least once each."""
    seen = set()
    for record in records:
        try:
            letter = json.loads(record.value)
            place = (letter["kafka_topic"], letter["kafka_partition"], letter["kafka_offset"])
        except (TypeError, ValueError, KeyError) as error:
            differences.add("a record of the dead-letter topic is no dead letter", f"{record.place}: {error!r}")
            continue
        seen.add(place)
        expected = certain.get(place) or possible.get(place)
        if expected is None:
            differences.add("a dead letter that must not be in the topic", f"{place}: {letter.get('error_type')}")
            continue
        check_letter(expected, letter, place, "the topic", differences)
        if record.key != expected[0].key:
            differences.add("a dead letter's key is wrong", f"{place}: it is {record.key!r}, must be {expected[0].key!r}")
    for place in certain.keys() - seen:
        differences.add("a dead letter is missing in the topic", f"{place}: {certain[place][1]}")


def check_letter(expected, letter, place, where, differences):
    record, error_type = expected
    if letter.get("error_type") != error_type:
        differences.add("a dead letter's error_type is wrong", f"{place}: it is {letter.get('error_type')}, must be {error_type}")
    if not letter.get("error_message"):
        differences.add("a dead letter without error_message", f"{place} in {where}")
    if payload_of(letter) != record.value:
        differences.add("a dead letter's payload is wrong", f"{place} in {where}: {letter.get('original_payload')!r:.200}")


def payload_of(letter):
    """The original bytes; a string that no payload is equal to, when they cannot be told."""
    text, encoding = letter.get("original_payload"), letter.get("payload_encoding")
    if text is None:
        return None
    if encoding == "utf8":
        return text.encode("utf-8", "surrogatepass")
    try:
        payload = base64.b64decode(text, validate=True)
        payload.decode("utf-8")
    except UnicodeDecodeError:
        return payload if encoding == "base64" else "unknown encoding"
    except ValueError:
        return "not base64"
    return "base64 though it is UTF-8"


def check_growth(snapshots):
    """Whether each snapshot of a table to which nobody but appends has all data files of those before it, once; as
    `readers.manifests_of` gives them. Returns the differences."""
    differences, before = Differences(), set()
    for id, manifests in snapshots:
        for path in (path for path, files in manifests.items() if files is None):
            differences.add("a manifest is gone", f"{path} of snapshot {id}")
        files = Counter(file for files in manifests.values() for file in files or ())
        for file in (file for file, count in files.items() if count > 1):
            differences.add("a data file stands twice", f"{file} in snapshot {id}")
        for file in before - files.keys():
            differences.add("a data file is lost", f"{file} from snapshot {id} on")
        before = set(files)
    return differences
