"""A headless Chromium, and what the programs of this folder ask of it."""

import json
import shutil
import time
import urllib.parse

from selenium import webdriver

# A loaded machine is several times slower than an idle one.
DEADLINE_S = 90
# Where whoever looks is: not in UTC, which is what the page shows.
TIME_ZONE = "Asia/Kolkata"


def browser(width, height, dark, trusted=None):
    """A browser of its own. `trusted` is the fingerprint of the key of a certificate that it takes besides."""
    options = webdriver.ChromeOptions()
    for argument in ["--headless=new", "--no-sandbox", "--disable-dev-shm-usage", "--disable-background-networking",
                     "--disable-component-update", "--no-first-run", "--js-flags=--expose-gc", "--enable-precise-memory-info",
                     f"--window-size={width},{height}",
                     # No name leads anywhere: the page must need nothing but its server.
                     "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1"]:
        options.add_argument(argument)
    if trusted:
        options.add_argument(f"--ignore-certificate-errors-spki-list={trusted}")
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    # Named, so that selenium looks for no other on the network.
    options.binary_location = shutil.which("chromium")
    driver = webdriver.Chrome(options=options, service=webdriver.ChromeService(shutil.which("chromedriver")))
    driver.set_page_load_timeout(DEADLINE_S)
    resize(driver, width, height)
    scheme = "dark" if dark else "light"
    driver.execute_cdp_cmd("Emulation.setEmulatedMedia",
                           {"features": [{"name": "prefers-color-scheme", "value": scheme}]})
    driver.execute_cdp_cmd("Emulation.setTimezoneOverride", {"timezoneId": TIME_ZONE})
    return driver


def resize(driver, width, height):
    driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride",
                           {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600})


def wait(what, condition, every=0.5):
    """Waits until the condition gives something, and returns that."""
    deadline = time.monotonic() + DEADLINE_S
    while True:
        trouble = None
        try:
            if given := condition():
                return given
        except Exception as error:  # what is read while the page replaces it is read again
            trouble = error
        if time.monotonic() > deadline:
            raise AssertionError(f"waited for {what}") from trouble
        time.sleep(every)


def text(driver, selector):
    return driver.execute_script("return document.querySelector(arguments[0])?.innerText ?? ''", selector)


def rows(driver, table):
    return driver.execute_script(
        "return [...document.querySelectorAll(`#${arguments[0]} tbody tr`)].map((row) => row.innerText)", table)


def asked(driver):
    """Where every request of the page went since this was last asked."""
    targets = []
    for entry in driver.get_log("performance"):
        message = json.loads(entry["message"])["message"]
        if message["method"] == "Network.requestWillBeSent":
            target = urllib.parse.urlsplit(message["params"]["request"]["url"])
            if target.scheme not in ("data", "chrome"):
                targets.append(target)
    return targets


def screenshot(driver, width, path):
    resize(driver, width, driver.execute_script("return document.documentElement.scrollHeight"))
    time.sleep(1)  # the charts follow the size at the next frame
    driver.save_screenshot(str(path))
