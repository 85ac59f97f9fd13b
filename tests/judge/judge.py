"""The judge: says whether a table is what it must be, with no code of the engine's.

    judge.py events   topic, table and dead letters against a naive model
    judge.py stream   the same for tens of millions of records (stream.py says what is left out)
    judge.py once     only whether each event landed once, for an engine without an account: Flink's job
    judge.py readers  DuckDB and PyIceberg read the same table
    judge.py manifests  whether each snapshot of a table that only grows has all that those before it have, once

Prints a JSON report on stdout. Exit status 0: as it must be; 1: not, with the differences on stderr;
2: usage; 3: something cannot be read.
"""

import argparse
import gc
import json
import sys
from collections import Counter

import model
import readers
import verdict


def main(argv=None):
    args = command_line().parse_args(argv)
    gc.disable()  # millions of records that all stay, and no cycles: collecting costs a third of the time
    try:
        report, failure = args.judge(args)
    except readers.Unreadable as error:
        print(f"error: {error}", file=sys.stderr)
        return 3
    print(json.dumps({"ok": not failure, **report}, default=str))
    if failure:
        print(f"the judge finds:\n{failure}", file=sys.stderr)
        return 1
    return 0


def settings_of(args):
    return model.Settings(
        columns=model.columns_of(args.columns),
        id=None if args.no_dedup else args.id,
        event_time=args.event_time,
        out_of_orderness_us=int(args.out_of_orderness_s * model.SECOND_US),
        max_future_skew_us=int(args.max_future_skew_s * model.SECOND_US),
        allowed_lateness_us=int(args.allowed_lateness_s * model.SECOND_US),
        too_late=args.too_late,
        ttl_us=int(args.ttl_s * model.SECOND_US),
        max_record_bytes=args.max_record_bytes,
    )


def judge_stream(args):
    import stream

    settings = settings_of(args)
    if settings.id is None or settings.too_late != "dead_letter" or args.records:
        raise readers.Unreadable("`stream` judges topics with deduplication whose too late records are dead letters")
    report, differences = stream.judge(args, settings)
    if args.account:
        with open(args.account, encoding="utf-8") as file:
            account = json.load(file)["account"]
        names = ["consumed", "landed", "late", "duplicates", "dropped", "gaps"]
        counted = {name: report[name] for name in names}
        counted["dead_letters"] = sum(report["dead_letters"].values())
        verdict.check_account(account, counted, differences)
    report["differences"] = differences.kinds
    return report, differences


def judge_once(args):
    import once

    report, differences = once.judge(args, model.Settings(ttl_us=int(args.ttl_s * model.SECOND_US)))
    report["differences"] = differences.kinds
    return report, differences


def judge_events(args):
    settings = settings_of(args)
    if args.records:
        records, gaps = readers.read_record_file(args.records), None
    else:
        records, gaps = readers.read_topic(args.bootstrap, args.topic)
    tag = None
    if args.savepoint:
        with open(args.savepoint, encoding="utf-8") as file:
            savepoint = json.load(file)
        tag, gaps = savepoint["savepoint"], None
        ends = {(topic, int(p)): end for topic, of in savepoint["offsets"].items() for p, end in of.items()}
        records = [r for r in records if r.offset < ends.get((r.topic, r.partition), 0)]
    expectation = model.expect(records, settings)
    catalog = readers.open_catalog(args)
    table = readers.load_table(catalog, args.table)
    letters = topic_letters = account = None
    if args.dead_letters:
        # A secondary table with no rows gets no commit, but exists.
        letters = readers.rows_of(readers.load_table(catalog, args.dead_letters), tag)
    if args.dead_letter_topic:
        topic_letters, _ = readers.read_topic(args.bootstrap, args.dead_letter_topic)
    if args.account:
        with open(args.account, encoding="utf-8") as file:
            account = json.load(file)["account"]
    deleted = set()
    if args.deleted:
        with open(args.deleted, encoding="utf-8") as file:
            deleted = {tuple(place) for place in json.load(file)}
    rows = (row for row in readers.rows_of(table, tag) if row["kafka_topic"] != args.others)
    report, differences = verdict.judge(
        expectation, settings, rows, letters, topic_letters, account, gaps, deleted
    )
    return report, differences


def judge_readers(args):
    table = readers.load_table(readers.open_catalog(args), args.table)
    columns = args.compare.split(",")
    by_pyiceberg = Counter(tuple(row[name] for name in columns) for row in readers.rows_of(table))
    by_duckdb = Counter(readers.read_with_duckdb(table.metadata_location, columns))
    differences = verdict.Differences()
    for row in (by_pyiceberg - by_duckdb).elements():
        differences.add("a row that only PyIceberg sees", row)
    for row in (by_duckdb - by_pyiceberg).elements():
        differences.add("a row that only DuckDB sees", row)
    rows = {"pyiceberg": by_pyiceberg.total(), "duckdb": by_duckdb.total()}
    return {"rows": rows, "differences": differences.kinds}, differences


def judge_manifests(args):
    snapshots = readers.manifests_of(readers.load_table(readers.open_catalog(args), args.table))
    report = [{"snapshot_id": id, "manifests": list(manifests)} for id, manifests in snapshots]
    return {"snapshots": report}, verdict.check_growth(snapshots)


def command_line():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    modes = parser.add_subparsers(required=True, metavar="MODE")

    events = modes.add_parser("events", help="topic, table and dead letters against a naive model")
    add_events(events)
    events.set_defaults(judge=judge_events)
    stream = modes.add_parser("stream", help="the same for tens of millions of records")
    add_events(stream)
    stream.set_defaults(judge=judge_stream)

    once = modes.add_parser("once", help="only whether each event landed once, for an engine without an account")
    add_catalog(once)
    once.add_argument("--topic", required=True)
    once.add_argument("--bootstrap", required=True, help="Kafka's bootstrap servers")
    once.add_argument("--dead-letter-topic", required=True, metavar="TOPIC")
    once.add_argument("--ttl-s", type=float, default=86_400)
    once.set_defaults(judge=judge_once)

    both = modes.add_parser("readers", help="DuckDB and PyIceberg read the same table")
    add_catalog(both)
    both.add_argument("--compare", default="kafka_topic,kafka_partition,kafka_offset", help="columns, no timestamps")
    both.set_defaults(judge=judge_readers)

    manifests = modes.add_parser("manifests", help="whether each snapshot has all files of those before it, once")
    add_catalog(manifests)
    manifests.set_defaults(judge=judge_manifests)
    return parser


def add_events(events):
    add_catalog(events)
    events.add_argument("--topic")
    events.add_argument("--bootstrap", help="Kafka's bootstrap servers")
    events.add_argument("--records", metavar="FILE", help="records as JSON lines, instead of a topic")
    events.add_argument("--dead-letters", metavar="TABLE")
    events.add_argument("--dead-letter-topic", metavar="TOPIC")
    events.add_argument("--savepoint", metavar="FILE", help="what `savepoint --json` printed: its tags and offsets")
    events.add_argument("--account", metavar="FILE", help="what `--json` printed, to be compared too")
    events.add_argument("--others", metavar="TOPIC", help="rows that say so are somebody else's: not judged")
    events.add_argument("--deleted", metavar="FILE", help="places (JSON) whose rows somebody deleted")
    events.add_argument("--columns", default=model.ROMAN_NUMERALS, help="name:type,name:type! (! is required)")
    events.add_argument("--id", default="event_id")
    events.add_argument("--no-dedup", action="store_true")
    events.add_argument("--event-time", default="event_time")
    events.add_argument("--out-of-orderness-s", type=float, default=300)
    events.add_argument("--max-future-skew-s", type=float, default=3600)
    events.add_argument("--allowed-lateness-s", type=float, default=3600)
    events.add_argument("--too-late", choices=["dead_letter", "land", "drop"], default="dead_letter")
    events.add_argument("--ttl-s", type=float, default=86_400)
    events.add_argument("--max-record-bytes", type=int, default=8 << 20)


def add_catalog(parser):
    parser.add_argument("--table", required=True, metavar="NAMESPACE.TABLE")
    catalog = parser.add_mutually_exclusive_group(required=True)
    catalog.add_argument("--catalog-uri", metavar="sqlite://PATH", help="an SQL catalog")
    catalog.add_argument("--rest", metavar="URI", help="a REST catalog")
    parser.add_argument("--catalog-name", default="strandline", help="the SQL catalog's name in its database")
    parser.add_argument("--warehouse")


if __name__ == "__main__":
    sys.exit(main())
