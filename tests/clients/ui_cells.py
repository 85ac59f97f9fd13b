"""What the page is to show of a status, and what it does show: cell by cell, as text.

Formatted here by other means than the page's, whose mistakes would otherwise be expected.
"""

import json
from decimal import ROUND_FLOOR, ROUND_HALF_UP, Decimal
from itertools import zip_longest

NOTHING = "–"


def count(n):
    if n is None:
        return NOTHING
    return f"{int((Decimal(n) + Decimal('0.5')).to_integral_value(ROUND_FLOOR)):,}"


def tenths(n):
    return str(Decimal(n).quantize(Decimal("0.1"), ROUND_HALF_UP))


def size(n):
    if n < 1024:
        return f"{Decimal(n).quantize(Decimal(1), ROUND_HALF_UP)} B"
    for unit in ["KiB", "MiB", "GiB", "TiB"]:
        n /= 1024
        if n < 1024 or unit == "TiB":
            return f"{tenths(n)} {unit}"


def ms(n):
    if n is None:
        return NOTHING
    return f"{count(n)} ms" if n < 10_000 else f"{tenths(n / 1000)} s"


def seconds(n):
    if n is None:
        return NOTHING
    return f"{tenths(n)} s" if n < 120 else f"{count(n / 60)} min"


def clock(time):
    """`2026-11-23T08:06:42.123456Z`, to the millisecond."""
    return f"{time[:10]} {time[11:23]}Z" if time else NOTHING


def table(heads, rows, none):
    return [heads, *rows] if rows else [[none]]


def name_of(partition):
    return f"{partition['topic']}[{partition['partition']}]"


def pairs(account):
    names = ["consumed", "landed", "of them late", "duplicates", "dead letters", "dropped", "gaps"]
    keys = ["consumed", "landed", "late", "duplicates", "dead_letters", "dropped", "gaps"]
    return [[name, count(account[key])] for name, key in zip(names, keys)]


def balance(account):
    rest = sum(account[part] for part in ["landed", "duplicates", "dead_letters", "dropped"])
    is_even = account["consumed"] == rest
    return ["" if is_even else "bad",
            f"consumed {'=' if is_even else 'IS NOT'} landed + duplicates + dead letters + dropped"]


def figures(status):
    rates, freshness, watermark, epochs = (status[part] for part in ["rates", "freshness", "watermark", "epochs"])
    return [
        ["lag", f"{count(status['lag'])} records"],
        ["read", f"{count(rates['read'])}/s, {size(rates['bytes'])}/s"],
        ["freshness p50 / p99", f"{ms(freshness['p50_ms'])} / {ms(freshness['p99_ms'])}"],
        ["watermark", clock(watermark["time"])],
        ["behind the clock", seconds(watermark["lag_seconds"])],
        ["held by", watermark["held_by"] or NOTHING],
        ["epochs in flight", count(epochs["in_flight"])],
        ["commit under way", "no" if epochs["committing"] is None else ms(epochs["committing_ms"])],
        ["ids known", count(status["dedup"]["entries"])],
        *([f"memory: {part}", size(n)] for part, n in status["memory"].items()),
    ]


def partition_row(p):
    word = "idle" if p["idle"] else "holds the watermark" if p["holds_watermark"] else ""
    worker = "" if p["worker"] is None else str(p["worker"])
    return [name_of(p), worker, count(p["committed"]), count(p["next"]), count(p["end"]), count(p["lag"]),
            clock(p["watermark"]), word]


def commit_row(c):
    generation, n = divmod(c["epoch"], 2**32)
    return [clock(c["at"]), f"{generation}.{n}", ms(c["duration_ms"]), count(c["rows"]), count(c["files"]),
            size(c["bytes"]), c["snapshot_id"] or ""]


def letter_row(letter):
    payload = letter["original_payload"]
    if payload is None:
        payload = "null"
    elif letter["payload_cut"]:
        payload += f" … ({size(letter['payload_bytes'])})"
    source = f"{letter['kafka_topic']}[{letter['kafka_partition']}] {letter['kafka_offset']}"
    return [clock(letter["failed_at"]), source, letter["error_type"], letter["error_message"], payload]


def setting_row(setting):
    value = setting["value"]
    if not isinstance(value, str):
        value = json.dumps(value, separators=(",", ":"), ensure_ascii=False)
    return [setting["key"], value, setting["origin"]]


def expected(status, settings):
    """What the page is to show, by the parts of the page."""
    state, letters = status["state"], status["dead_letters"]
    generation = f", generation {status['generation']}" if status["generation"] else ""
    is_stalled = any(finding["severity"] == "stalled" for finding in status["findings"])
    kinds = ", ".join(f"{kind} {count(n)}" for kind, n in letters["by_type"].items())
    return {
        "title": f"{'! ' if is_stalled else ''}{status['job']} {state} – Strandline",
        "job": status["job"],
        "state": f"{state}{generation}, since {clock(status['started_at'])}, processes {len(status['processes'])}, "
                 f"workers {len(status['workers'])}, version {status['version']}",
        "findings": [[f["severity"], f["message"], f"Next: {f['hint']}"] for f in status["findings"]],
        "dataflow": [[o["pressure"], o["name"], f"{count(o['rate'])} {o['unit']}/s", f"{count(o['waiting'])} wait",
                      o["says"] or "keeps up"] for o in status["operators"]],
        "account": pairs(status["account"]),
        "balance": balance(status["account"]),
        "figures": figures(status),
        "partitions": table(["partition", "worker", "committed", "read", "end", "lag", "watermark", ""],
                            [partition_row(p) for p in status["partitions"]], "none is known yet"),
        "marked": [name_of(p) for p in status["partitions"] if p["holds_watermark"]],
        "commits": table(["at", "epoch", "took", "rows", "files", "size", "snapshot"],
                         [commit_row(c) for c in status["commits"]["last"]], "none yet"),
        "letter counts": f"Since the last start: {kinds}." if kinds else "",
        "letters": table(["at", "from", "cause", "message", "payload"],
                         [letter_row(letter) for letter in letters["samples"]], "none since the last start"),
        "restarts": table(["at", "had run", "cause"], [[clock(r["at"]), seconds(r["ran_seconds"]), r["cause"]]
                                                       for r in status["restarts"]["last"]], "none"),
        "settings": table(["key", "value", "from"], [setting_row(setting) for setting in settings], "none"),
        "buttons": [state != "ended"] * 3,
        "out of sight": [],
    }


SHOWN = """
    const all = (selector, within = document) => [...within.querySelectorAll(selector)];
    const text = (element) => element.textContent;
    const id = (name) => document.getElementById(name);
    const texts = (element) => [...element.children].map(text);
    const table = (name) => all('caption, tr', id(name)).map((row) => row.matches('tr') ? texts(row) : [text(row)]);
    const list = (name) => all('dt', id(name)).map((dt) => [text(dt), text(dt.nextElementSibling)]);
    const plain = getComputedStyle(document.body).color;
    const details = document.querySelector('details'), was = details.open;
    details.open = true;
    const shown = {
      title: document.title, job: text(id('job')), state: text(id('state')),
      findings: all('li', id('findings')).map((li) => [li.className, text(li.firstChild), text(li.lastChild)]),
      dataflow: all('li', id('flow')).map((li) => [li.className, ...texts(li)]),
      account: list('account'), balance: [id('balance').className, text(id('balance'))], figures: list('figures'),
      partitions: table('partitions'),
      marked: all('#partitions td:first-child').filter((td) => getComputedStyle(td).color !== plain).map(text),
      commits: table('commits'), 'letter counts': text(id('letter-counts')), letters: table('letters'),
      restarts: table('restarts'), settings: table('settings'),
      buttons: all('#commands button').map((button) => !button.disabled),
      'out of sight': all(`main h3, #job, #state, #findings li, #findings small, #flow li, #flow li *, dl *, #balance,
        .scroll th, .scroll td, .chart canvas`).filter((element) =>
          !element.checkVisibility({ checkOpacity: true, checkVisibilityCSS: true })).map(text),
    };
    details.open = was;
"""


def differences(said, shown):
    """Where the page shows something else than was said; lists row by row."""
    for part in said | shown:
        one, other = said.get(part), shown.get(part)
        if one == other:
            continue
        is_list = isinstance(one, list) and isinstance(other, list)
        for i, (a, b) in enumerate(zip_longest(one, other) if is_list else [(one, other)]):
            if a != b:
                yield f"{part}, row {i}: shown is {b!r:.600}, and it should be {a!r:.600}"


def number_of(cells):
    return sum(map(number_of, cells)) if isinstance(cells, list) else 1
