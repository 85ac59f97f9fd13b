"""The UI in a real browser: python ui.py URL FOLDER

Opens the UI of a running job in headless Chromium (apt: chromium, chromium-driver; PyPI: selenium), checks what a
person relies on, and leaves screenshots in FOLDER. Exits with an error that says what was wrong.
"""

import json
import pathlib
import shutil
import sys
import time
import urllib.request

from selenium import webdriver
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.ui import WebDriverWait

DEADLINE_S = 30
PAGE_BYTES = 150_000
FIRST_PAINT_MS = 200
LOADS = 4


def browser(width, height, dark):
    options = webdriver.ChromeOptions()
    for argument in ["--headless=new", "--no-sandbox", f"--window-size={width},{height}"]:
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    # Named, so that selenium looks for no other on the network.
    options.binary_location = shutil.which("chromium")
    driver = webdriver.Chrome(options=options, service=webdriver.ChromeService(shutil.which("chromedriver")))
    driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride",
                           {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600})
    scheme = "dark" if dark else "light"
    driver.execute_cdp_cmd("Emulation.setEmulatedMedia",
                           {"features": [{"name": "prefers-color-scheme", "value": scheme}]})
    return driver


def wait(driver, what, condition):
    WebDriverWait(driver, DEADLINE_S).until(lambda _: condition(), f"waited for {what}")


def text(driver, selector):
    return driver.find_element(By.CSS_SELECTOR, selector).text


def rows(driver, table):
    return driver.find_elements(By.CSS_SELECTOR, f"#{table} tbody tr")


def shows_the_job(driver, url):
    driver.get(url)
    wait(driver, "the stream", lambda: text(driver, "#connection") == "live")
    wait(driver, "a commit", lambda: len(rows(driver, "commits")) > 0)
    wait(driver, "a rate", lambda: "0 records/s" != text(driver, "#flow .rate"))
    assert len(driver.find_elements(By.CSS_SELECTOR, "#flow li")) == 5, "five stages"
    assert len(rows(driver, "partitions")) > 0, "partitions"
    assert "consumed = landed" in text(driver, "#balance"), text(driver, "#balance")
    before = text(driver, "#account")
    wait(driver, "the account to move by itself", lambda: text(driver, "#account") != before)
    wait(driver, "two charts", lambda: len(driver.find_elements(By.CSS_SELECTOR, ".chart canvas")) == 2)


def fits_and_is_quick(driver, url):
    wide = driver.execute_script("return document.documentElement.scrollWidth > innerWidth")
    assert not wide, "the page is wider than the screen"
    paints = []
    # The first load also starts the browser's own processes; the fastest of some says what the page costs.
    for _ in range(LOADS):
        driver.refresh()
        entry = "return performance.getEntriesByName('first-contentful-paint')[0]?.startTime"
        wait(driver, "a paint", lambda: driver.execute_script(entry))
        paints.append(driver.execute_script(entry))
    paint = min(paints)
    size = sum(len(urllib.request.urlopen(url + path).read())
               for path in ["", "app.js", "style.css", "uplot.js", "uplot.css"])
    print(f"first paint {paint} ms (of {paints}), page {size} bytes")
    assert size < PAGE_BYTES, f"the page has {size} bytes"
    assert paint < FIRST_PAINT_MS, f"first paint after {paint} ms"
    hosts = set()
    for entry in driver.get_log("performance"):
        message = json.loads(entry["message"])["message"]
        if message["method"] == "Network.requestWillBeSent":
            target = message["params"]["request"]["url"]
            if not target.startswith(("data:", "chrome")):
                hosts.add(target.split("/")[2])
    assert len(hosts) == 1, f"it asks other hosts: {hosts}"
    severe = [e for e in driver.get_log("browser") if e["level"] == "SEVERE"]
    assert not severe, f"errors in the console: {severe}"


def keyboard_reaches_everything(driver):
    driver.execute_script("document.activeElement.blur(); scrollTo(0, 0)")
    wanted = {"savepoint", "stop", "cancel", "partitions", "settings"}
    for _ in range(60):
        driver.switch_to.active_element.send_keys(Keys.TAB)
        wanted -= set(driver.execute_script(
            "const e = document.activeElement;"
            "return [e.dataset.command || '', e.querySelector?.('table')?.id || '',"
            " e.tagName === 'SUMMARY' ? 'settings' : ''];"))
        if not wanted:
            return
    raise AssertionError(f"the keyboard does not reach {wanted}")


def commands_work(driver):
    driver.find_element(By.CSS_SELECTOR, "[data-command=savepoint]").click()
    driver.switch_to.alert.accept()
    wait(driver, "a savepoint", lambda: "is made" in text(driver, "#said"))


def screenshot(driver, path):
    height = driver.execute_script("return document.documentElement.scrollHeight")
    width = driver.execute_script("return innerWidth")
    driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride",
                           {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600})
    time.sleep(1)  # the charts follow the size at the next frame
    driver.save_screenshot(str(path))


def main():
    url, folder = sys.argv[1].rstrip("/") + "/", pathlib.Path(sys.argv[2])
    folder.mkdir(parents=True, exist_ok=True)
    for name, width, height, dark in [("desktop-light", 1280, 900, False), ("desktop-dark", 1280, 900, True),
                                      ("phone-dark", 390, 844, True)]:
        driver = browser(width, height, dark)
        try:
            shows_the_job(driver, url)
            fits_and_is_quick(driver, url)
            if name == "desktop-light":
                keyboard_reaches_everything(driver)
                commands_work(driver)
            time.sleep(6)  # three points for the charts to be seen on the picture
            screenshot(driver, folder / f"{name}.png")
            print(f"{name}: ok")
        finally:
            driver.quit()


if __name__ == "__main__":
    main()
