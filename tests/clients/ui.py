"""The UI in a real browser: python ui.py URL FOLDER

Opens the UI of a running job in headless Chromium, checks what a person relies on, compares every cell with the API, and
leaves screenshots in FOLDER. The job must have been restarted once, have a dead letter, and be reading. Exits with an
error that says what was wrong.
"""

import pathlib
import sys
import urllib.parse
import urllib.request

from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys

import ui_api
from browsing import asked, browser, resize, rows, screenshot, text, wait

PAGE_BYTES = 150_000
FIRST_PAINT_MS = 200
LOADS = 5
LOADS_MAX = 40
# Events that the server pushes in an hour, one a second.
HOUR_OF_EVENTS = 3600
# What an hour may leave behind. The charts keep the last half hour, five numbers every other second: 36 KB.
LEFT_BYTES = 2_000_000
# WCAG 2.2, level AA, for text.
CONTRAST = 4.5


def shows_the_job(driver, url):
    driver.get(url)
    wait("the stream", lambda: text(driver, "#connection") == "live")
    wait("a commit", lambda: len(rows(driver, "commits")) > 0)
    wait("a rate", lambda: text(driver, "#flow .rate") not in ("", "0 records/s"))
    stages = driver.execute_script("return [...document.querySelectorAll('#flow li b')].map((b) => b.innerText)")
    assert len(stages) == 5 and all(stages), stages
    assert "roman-numerals: running" in text(driver, "#jobs"), text(driver, "#jobs")
    assert "consumed = landed" in text(driver, "#balance"), text(driver, "#balance")
    before = text(driver, "#account")
    wait("the account to move by itself", lambda: text(driver, "#account") != before)
    wait("two charts", lambda: len(driver.find_elements(By.CSS_SELECTOR, ".chart canvas")) == 2)
    wait("a freshness", lambda: driver.execute_script("return points.p99.some((ms) => ms > 0 && ms < 120000)"))
    partitions = rows(driver, "partitions")
    assert len(partitions) == 4, partitions
    wait("one partition to hold the watermark", lambda: driver.execute_script(
        "return document.querySelectorAll('#partitions tr.holds').length") == 1)
    letters = rows(driver, "letters")
    causes = ("malformed", "schema_mismatch", "missing_event", "null_value", "too_late", "future_event_time")
    assert letters and all(any(cause in letter for cause in causes) for letter in letters), letters
    assert any("event_" in letter for letter in letters), f"no payload in {letters}"
    restarts = rows(driver, "restarts")
    assert len(restarts) == 1 and "killed" in restarts[0], f"the cause of the restart: {restarts}"
    driver.execute_script("document.querySelector('details').open = true")
    settings = rows(driver, "settings")
    assert any("commit.interval" in setting and "200ms" in setting for setting in settings), settings
    driver.execute_script("document.querySelector('details').open = false")


def names_what_waits(driver, url, status):
    """What is in the way, and findings, as the server says them: each has a colour of its own, and is readable."""
    ui_api.shows_what_a_calm_job_lacks(driver, url, status)
    looks = driver.execute_script("""
        return [...document.querySelectorAll('#flow li')].map((li) =>
          [li.className, getComputedStyle(li).borderTopColor, getComputedStyle(li).backgroundColor]);
    """)
    assert {name for name, *_ in looks} == {"ok", "waits", "busy"}, looks
    for which in (1, 2):
        # One of each stage that is so, and no other's.
        colors = {(look[0], look[which]) for look in looks}
        assert len(colors) == 3 and len({color for _, color in colors}) == 3, f"the same colour: {looks}"
    readable(driver, "#flow b, #flow .rate, #flow small, #findings li, #findings small")


def status_of(driver):
    return driver.execute_async_script(
        "const done = arguments[0]; fetch(`api/v1/jobs/${shown}`).then((a) => a.json()).then(done)")


def readable(driver, selector):
    """The contrast of text to what is behind it."""
    worst = driver.execute_script("""
        const channels = (color) => color.match(/[0-9.]+/g).map(Number);
        const light = (color) => {
          const [r, g, b] = channels(color).map((c) => c / 255)
            .map((c) => (c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4));
          return 0.2126 * r + 0.7152 * g + 0.0722 * b;
        };
        const behind = (element) => {
          for (; element; element = element.parentElement) {
            const color = getComputedStyle(element).backgroundColor;
            if (channels(color)[3] !== 0) return color;
          }
          return 'rgb(255, 255, 255)';
        };
        const contrast = (element) => {
          const [dark, bright] = [light(getComputedStyle(element).color), light(behind(element))].sort((a, b) => a - b);
          return (bright + 0.05) / (dark + 0.05);
        };
        return [...document.querySelectorAll(arguments[0])]
          .map((element) => [contrast(element), element.innerText]).sort((a, b) => a[0] - b[0])[0];
    """, selector)
    assert worst, f"there is no {selector}"
    assert worst[0] >= CONTRAST, f"contrast {worst[0]:.2f} of `{worst[1]}`"


def is_dark(driver):
    background = driver.execute_script("return getComputedStyle(document.body).backgroundColor")
    return sum(int(part) for part in background[4:-1].split(",")[:3]) < 3 * 80


def fits(driver, width):
    inner, scrolled = driver.execute_script("return [innerWidth, document.documentElement.scrollWidth]")
    assert inner == width and scrolled <= width, f"the page is {scrolled} wide on a screen of {inner}, not {width}"


def is_small_and_quick(driver, url):
    paints = []
    # The first load also starts the browser's own processes, and others use the machine: the fastest says what the page
    # costs.
    while len(paints) < LOADS or (min(paints) >= FIRST_PAINT_MS and len(paints) < LOADS_MAX):
        driver.refresh()
        entry = "return performance.getEntriesByName('first-contentful-paint')[0]?.startTime"
        wait("a paint", lambda: driver.execute_script(entry))
        paints.append(round(driver.execute_script(entry)))
    size = sum(len(urllib.request.urlopen(url + path).read())
               for path in ["", "app.js", "style.css", "uplot.js", "uplot.css"])
    print(f"first paint {min(paints)} ms (of {paints}), page {size} bytes")
    assert size < PAGE_BYTES, f"the page has {size} bytes"
    assert min(paints) < FIRST_PAINT_MS, f"first paint after {paints} ms"


def asks_nobody_else(driver, url):
    """Every request of the page since the browser was started, and every complaint."""
    hosts = {target.netloc for target in asked(driver)}
    assert hosts == {urllib.parse.urlsplit(url).netloc}, f"it asks {hosts}"
    severe = [e for e in driver.get_log("browser") if e["level"] == "SEVERE"]
    assert not severe, f"errors in the console: {severe}"


def keyboard_reaches_everything(driver):
    driver.execute_script("document.activeElement.blur(); scrollTo(0, 0)")
    wanted = {"savepoint", "stop", "cancel", "partitions", "commits", "letters", "restarts", "settings"}
    for _ in range(80):
        driver.switch_to.active_element.send_keys(Keys.TAB)
        outline, reached = driver.execute_script("""
            const e = document.activeElement;
            return [getComputedStyle(e).outlineStyle,
                    [e.dataset.command || '', e.querySelector?.('table')?.id || '',
                     e.tagName === 'SUMMARY' ? 'settings' : '']];
        """)
        assert outline != "none", f"nothing shows that {reached} has the focus"
        wanted -= set(reached)
        if not wanted:
            return
    raise AssertionError(f"the keyboard does not reach {wanted}")


def commands_work_by_keyboard(driver):
    driver.execute_script("document.querySelector('[data-command=savepoint]').focus()")
    driver.switch_to.active_element.send_keys(Keys.ENTER)
    wait("the question", lambda: driver.switch_to.alert.text)
    driver.switch_to.alert.accept()
    wait("a savepoint", lambda: "is made" in text(driver, "#said"))


def an_hour_leaves_nothing(driver):
    """An hour of events in one go. Each differs from the one before, as in life."""
    status = status_of(driver)
    hour = """
        const [status, events] = arguments;
        stream.abort();
        for (let i = 0; i < events; i += 1) {
          const next = JSON.parse(JSON.stringify(status));
          next.account.consumed += i;
          next.operators.forEach((operator) => { operator.rate += i; });
          next.commits.last.forEach((commit) => { commit.rows += i; });
          next.partitions.forEach((partition) => { partition.committed += i; });
          show(next);
          if (add({t: (points.t.at(-1) ?? 0) + 1, p50_ms: i, p99_ms: i, read: i, landed: i})) draw();
        }
        gc();
        return [performance.memory.usedJSHeapSize, document.querySelectorAll('*').length];
    """
    before = driver.execute_script(hour, status, HOUR_OF_EVENTS // 3)
    after = driver.execute_script(hour, status, HOUR_OF_EVENTS)
    print(f"an hour of events: {before[0]} bytes, then {after[0]}; {before[1]} elements, then {after[1]}")
    assert after[1] == before[1], f"{before[1]} elements became {after[1]}"
    assert after[0] - before[0] < LEFT_BYTES, f"{before[0]} bytes became {after[0]}"


def main():
    url, folder = sys.argv[1].rstrip("/") + "/", pathlib.Path(sys.argv[2])
    folder.mkdir(parents=True, exist_ok=True)
    for name, width, height, dark in [("desktop-light", 1280, 900, False), ("desktop-dark", 1280, 900, True),
                                      ("phone-dark", 390, 844, True)]:
        driver = browser(width, height, dark)
        try:
            ui_api.record(driver)
            shows_the_job(driver, url)
            status = ui_api.shows_what_the_api_says(driver, url)
            ui_api.charts_show_the_history(driver, url)
            fits(driver, width)
            assert is_dark(driver) == dark, "the colours do not follow the system's"
            readable(driver, "h1, h2, h3, #state, #flow small, dt, dd, th, td, button, nav a")
            if name == "desktop-light":
                is_small_and_quick(driver, url)
                shows_the_job(driver, url)
                keyboard_reaches_everything(driver)
                commands_work_by_keyboard(driver)
            wait("points for the charts", lambda: driver.execute_script("return points.t.length") > 5)
            screenshot(driver, width, folder / f"{name}.png")
            resize(driver, width, height)
            if name == "desktop-light":
                an_hour_leaves_nothing(driver)
            names_what_waits(driver, url, status)
            asks_nobody_else(driver, url)
            print(f"{name}: ok")
        except BaseException:
            driver.save_screenshot(str(folder / f"{name}-failed.png"))
            raise
        finally:
            driver.quit()


if __name__ == "__main__":
    main()
