"""What an open page keeps: python ui_watch.py URL PAGES SAMPLES INTERVAL_S

Opens the UI of a running job in so many headless browsers and leaves it open. Every INTERVAL_S seconds the garbage of
each page is collected, and what is left is printed: one line of JSON, a list of the pages' heap in bytes and elements.
Exits with an error when a page no longer follows the job.
"""

import json
import sys
import time

from browsing import asked, browser, text, wait

WIDTH, HEIGHT = 1280, 900


def opened(url):
    driver = browser(WIDTH, HEIGHT, False)
    driver.get(url)
    wait("the stream", lambda: text(driver, "#connection") == "live")
    return driver


def kept(driver):
    wait("the stream", lambda: text(driver, "#connection") == "live")
    asked(driver)  # or the driver would keep it
    heap, elements = driver.execute_script(
        "gc(); return [performance.memory.usedJSHeapSize, document.querySelectorAll('*').length]")
    return {"heap_bytes": heap, "elements": elements}


def main():
    url, pages, samples, interval_s = sys.argv[1], *map(int, sys.argv[2:5])
    drivers = []
    try:
        for _ in range(pages):
            drivers.append(opened(url))
        account = [text(driver, "#account") for driver in drivers]
        begun = time.monotonic()
        for sample in range(1, samples + 1):
            time.sleep(max(0, begun + sample * interval_s - time.monotonic()))
            print(json.dumps([kept(driver) for driver in drivers]), flush=True)
        assert all(before != text(driver, "#account") for before, driver in zip(account, drivers)), "the account stood still"
    finally:
        for driver in drivers:
            driver.quit()


if __name__ == "__main__":
    main()
