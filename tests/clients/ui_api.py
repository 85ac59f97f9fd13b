"""Whether the page shows what the API says.

The job runs meanwhile, so that every number moves: compared is the page with the very publication that it has drawn.
Each is told apart by its moment (`at`), and comes both by the stream of the page and from `/api/v1/jobs/JOB`.
"""

import copy
import datetime
import json
import urllib.request

import ui_cells
from browsing import wait

JOB = "roman-numerals"
# Points that the page keeps.
POINTS = 900
# Events in a row that the page is compared with: one alone might be the only one that it ever draws.
EVENTS = 3

# Keeps what the page gets, at the moment at which it gets it: nothing runs between the two but the page's own reading, so
# that a script which comes later finds the page as drawn of the last event.
RECORDER = r"""(() => {
  const fetched = window.fetch.bind(window);
  const got = window.got = { event: null, points: [] };
  const take = (lines) => {
    const data = lines.split('\n').filter((line) => line.startsWith('data:')).map((line) => line.slice(5)).join('\n');
    if (!data) return;
    got.event = data;
    got.points.push(JSON.parse(data).point);
  };
  const recorded = (reader) => {
    const decoder = new TextDecoder();
    let unread = '';
    return new ReadableStream({
      async pull(controller) {
        const { done, value } = await reader.read();
        if (done) return controller.close();
        const events = (unread + decoder.decode(value, { stream: true })).split('\n\n');
        unread = events.pop();
        events.forEach(take);
        controller.enqueue(value);
      },
      cancel: (reason) => reader.cancel(reason),
    }, { highWaterMark: 0 });
  };
  window.fetch = async (...asked) => {
    const answer = await fetched(...asked);
    const path = new URL(asked[0], location.href).pathname;
    if (answer.ok && path.endsWith('/events')) return new Response(recorded(answer.body.getReader()), answer);
    if (!answer.ok || !path.endsWith('/history')) return answer;
    const text = await answer.text();
    got.points.push(...JSON.parse(text).points);
    return new Response(text, answer);
  };
})()"""

# As a person reads a chart: what its legend says where the pointer is. Then the pointer is gone again.
LEGENDS = """
    const [share] = arguments;
    const legends = ['freshness', 'rate'].map((id) => {
      const over = document.querySelector(`#${id} .u-over`), box = over.getBoundingClientRect();
      // Whole, as a browser takes it; rounded up, so that the end is the end.
      const at = { clientX: Math.ceil(box.left + box.width * share), clientY: Math.ceil(box.top + 9), movementX: 1 };
      over.dispatchEvent(new MouseEvent('mousemove', at));
      const legend = [...document.querySelectorAll(`#${id} .u-series`)].map((row) =>
        [row.querySelector('.u-label').textContent, row.querySelector('.u-value').textContent]);
      over.dispatchEvent(new MouseEvent('mouseleave', at));
      return legend;
    });
    return [...legends, points.t.at(-1)];
"""


def record(driver):
    """Before the page is opened."""
    driver.execute_cdp_cmd("Page.addScriptToEvaluateOnNewDocument", {"source": RECORDER})


def ask(url, path=""):
    with urllib.request.urlopen(f"{url}api/v1/jobs/{JOB}{path}") as answer:
        return json.load(answer)


def look(driver):
    """The event that the page has drawn last, and the page, both at one moment."""
    # As text, so that no number passes through a browser's.
    event, shown = driver.execute_script(f"{ui_cells.SHOWN} return [got.event, JSON.stringify(shown)]")
    return event and json.loads(event), json.loads(shown)


def is_the_same(what, said, shown):
    found = list(ui_cells.differences(said, shown))
    assert not found, f"{what}: the page does not show what the API says:\n" + "\n".join(found)


def has_something_of_everything(status):
    """Whether a comparison would notice that something is missing, or is its neighbour."""
    account, freshness, letters = status["account"], status["freshness"], status["dead_letters"]["samples"]
    return (status["state"] == "running"
            and min(account[part] for part in ["consumed", "landed", "duplicates", "dead_letters"]) > 0
            and len({account[part] for part in ["consumed", "landed", "duplicates", "dead_letters"]}) == 4
            and ui_cells.ms(freshness["p50_ms"]) != ui_cells.ms(freshness["p99_ms"])
            and len(status["operators"]) == 5 and all(operator["rate"] >= 1 for operator in status["operators"])
            and len(status["partitions"]) == 4 and all(p["watermark"] for p in status["partitions"])
            and [p["holds_watermark"] for p in status["partitions"]].count(True) == 1
            and all(commit["snapshot_id"] for commit in status["commits"]["last"][:2])
            and len(status["commits"]["last"]) > 1
            and any(letter["original_payload"] for letter in letters)
            and len(status["restarts"]["last"]) == 1 and status["watermark"]["held_by"])


def shows_what_the_api_says(driver, url):
    """Every cell of the page; gives the last status that it was compared with."""
    settings, said, compared = ask(url, "/settings")["settings"], {}, []

    def drawn():
        status = ask(url)
        said[status["at"]] = status
        event, shown = look(driver)
        at = event["status"]["at"]
        is_new = at in said and at not in compared
        return is_new and has_something_of_everything(said[at]) and (said[at], event["status"], shown)

    while len(compared) < EVENTS:
        # Two are published in a second, and every other one is pushed: soon one is both asked for and drawn.
        status, pushed, shown = wait("a publication that the API has given and the page has got", drawn, every=0.1)
        assert pushed == status, f"one moment, two documents: {pushed}, {status}"
        cells = ui_cells.expected(status, settings)
        is_the_same("running", cells, shown)
        compared.append(status["at"])
    print(f"{ui_cells.number_of(list(cells.values()))} cells are what the API says, {EVENTS} times")
    return status


def charts_show_the_history(driver, url):
    """Every point that the page was told of, once and in its series; and the legends where the pointer is."""
    before = ask(url, "/history")["points"][-1]["t"]

    def kept():
        points, told = json.loads(driver.execute_script("return JSON.stringify([points, got.points])"))
        taken = []
        for point in filter(None, told):
            if not taken or point["t"] > taken[-1]["t"]:
                taken.append(point)
        keys = {"t": "t", "p50": "p50_ms", "p99": "p99_ms", "read": "read", "landed": "landed"}
        wanted = {series: [point[key] for point in taken[-POINTS:]] for series, key in keys.items()}
        assert points == wanted, f"the charts have {points}, and were told of {wanted}"
        return len(taken) > 5 and taken[-1]["t"] > before and taken

    taken = wait("the points of the charts", kept)
    history = {point["t"]: point for point in ask(url, "/history")["points"]}
    of_both = [point for point in taken if point["t"] >= min(history)]
    assert of_both and all(history.get(point["t"]) == point for point in of_both), f"{of_both} is not in {history}"

    for share in (0.5, 1):
        def legends():
            freshness, rate, newest = driver.execute_script(LEGENDS, share)
            assert share < 1 or freshness[0][1] == second(newest), f"{freshness} is not the newest, {newest}"
            points = {second(point["t"]): point for point in ask(url, "/history")["points"]}
            point = points[freshness[0][1]]
            p50, p99 = ui_cells.ms(point["p50_ms"]), ui_cells.ms(point["p99_ms"])
            read, landed = ui_cells.count(point["read"]), ui_cells.count(point["landed"])
            time = ["Time", second(point["t"])]
            assert freshness == [time, ["p50", p50], ["p99", p99]], f"{freshness} of {point}"
            assert rate == [time, ["read", read], ["landed", landed]], f"{rate} of {point}"
            return p50 != p99 and read != landed

        # While the charts are drawn, or of a second in which nothing landed, there is nothing to be told apart.
        wait(f"a point at {share} of the charts", legends)


def second(t):
    return datetime.datetime.fromtimestamp(int(t), datetime.timezone.utc).strftime("%Y-%m-%d %H:%M:%SZ")


def rare(status):
    """Statuses with what a calm job lacks: nothing known, an account that is wrong, and all kinds of trouble."""
    troubled = copy.deepcopy(status)
    # No number twice, so that none is taken for its neighbour.
    troubled["account"] = {"consumed": 7_654_321, "landed": 7_650_000, "late": 1_234, "duplicates": 4_000,
                           "dead_letters": 300, "dropped": 21, "gaps": 56}
    for operator, pressure, rate, waiting, says in zip(
            troubled["operators"], ["waits", "busy", "ok", "ok", "busy"], [0.4, 1234.5, 99.49, 1e6, 7],
            [0, 20_001, 3, 4, 5], ["reads nothing 25 % of the time: <memory>", "20001 wait for it", "", "", "5 wait"]):
        operator.update(pressure=pressure, rate=rate, waiting=waiting, says=says)
    troubled["findings"] = [
        {"kind": "commit_slow", "severity": "stalled", "message": "a commit hangs", "hint": "look <there>", "seconds": 7},
        {"kind": "watermark_held", "severity": "warning", "message": "one holds it", "hint": "wait", "seconds": 8},
        {"kind": "topic_empty", "severity": "note", "message": "nothing is in it", "hint": "send", "seconds": 9}]
    troubled["freshness"] = {"p50_ms": 9999.4, "p99_ms": 10_000.0, "rows": 5}
    troubled["rates"] = {"read": 12_345.5, "bytes": 1_572_864.0, "consumed": 1.0, "landed": 2.0}
    troubled["lag"] = 98_765
    troubled["watermark"]["lag_seconds"] = 300.0
    troubled["epochs"] = {"open": 9, "committing": 8, "committing_ms": 12_345, "committed": 6, "in_flight": 3}
    troubled["dedup"]["entries"] = 31_415_926
    troubled["memory"] = {"filters": 0, "records": 1023, "resident": 5_368_709_120}
    for i, partition in enumerate(troubled["partitions"]):
        partition.update(worker=i, committed=100 * i, next=1_000 + i, end=20_000 + i, lag=20_000 - 99 * i,
                         idle=i == 0, holds_watermark=i == 1)
    troubled["partitions"][2].update(worker=None, committed=None, next=None, end=None, lag=None, watermark=None)
    commits = troubled["commits"]["last"]
    commits[0].update(epoch=(3 << 32) + 14, duration_ms=15, rows=926, files=5, bytes=3_584)
    commits[1].update(duration_ms=61_250, rows=0, snapshot_id=None)
    # Whole, though it has more bytes than characters.
    whole = '{"city": "Zürich",\n  "<b>": 1'
    letter = troubled["dead_letters"]["samples"][0]
    troubled["dead_letters"] = {"by_type": {"malformed": 1_618, "null_value": 2}, "samples": [
        letter | {"original_payload": None, "payload_bytes": 0, "payload_cut": False, "error_type": "null_value"},
        letter | {"original_payload": whole, "payload_bytes": len(whole.encode()), "payload_cut": False},
        letter | {"original_payload": "[" * 512, "payload_bytes": 10_013, "payload_cut": True}]}
    restart = troubled["restarts"]["last"][0]
    troubled["restarts"]["last"] = [restart | {"cause": "<i>process 1</i> was killed", "ran_seconds": 3.25},
                                    restart | {"cause": "the disk is full", "ran_seconds": 500.0}]

    wrong = copy.deepcopy(status)
    wrong["account"]["consumed"] += 1

    nothing = copy.deepcopy(status)
    nothing.update(state="ended", generation=None, findings=[], operators=[], processes=[], workers=[], partitions=[],
                   memory={}, freshness={"p50_ms": None, "p99_ms": None, "rows": 0},
                   watermark={"time": None, "lag_seconds": None, "held_by": None},
                   dead_letters={"by_type": {}, "samples": []},
                   epochs={"open": None, "committing": None, "committing_ms": None, "committed": None, "in_flight": 0})
    nothing["commits"]["last"] = nothing["restarts"]["last"] = []
    return {"nothing known": nothing, "an account that is wrong": wrong, "trouble": troubled}


def shows_what_a_calm_job_lacks(driver, url, status):
    """Drawn by the page as if it had come by its stream. The last is the job in trouble."""
    settings = ask(url, "/settings")["settings"]
    driver.execute_script("stream.abort()")
    for what, told in rare(status).items():
        driver.execute_script("show(JSON.parse(arguments[0]))", json.dumps(told))
        _, shown = look(driver)
        is_the_same(what, ui_cells.expected(told, settings), shown)
