"""The UI over TLS, in a real browser: python ui_tls.py URL PUBLIC_KEY TOKEN FOLDER

PUBLIC_KEY is a PEM file with the key of the server's certificate, which the browser is to trust and no other. Who does
not trust it is shown nothing; who does is asked for the token, and is then shown the running job. Leaves a screenshot
in FOLDER. Exits with an error that says what was wrong.
"""

import base64
import hashlib
import pathlib
import sys

from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys

import ui
from browsing import asked, browser, rows, screenshot, text, wait

WIDTH, HEIGHT = 1280, 900


def fingerprint(pem):
    """As Chromium wants it: the SHA-256 of the key's DER, in base64."""
    der = base64.b64decode("".join(line for line in pem.splitlines() if not line.startswith("-----")))
    return base64.b64encode(hashlib.sha256(der).digest()).decode()


def is_not_trusted_by_itself(url):
    driver = browser(WIDTH, HEIGHT, False)
    try:
        driver.get(url)
        # In the place of the page there is the browser's own, about the certificate.
        assert "ERR_CERT_AUTHORITY_INVALID" in driver.page_source, driver.page_source[:2000]
        assert not driver.find_elements(By.ID, "connection"), "shown over a certificate that nobody vouches for"
    finally:
        driver.quit()


def asks_for_the_token(driver, url, token):
    driver.get(url)
    wait("the question for the token", lambda: driver.find_element(By.ID, "token").is_displayed())
    assert text(driver, "#connection") != "live" and not rows(driver, "commits"), "shown without a token"
    field = driver.find_element(By.CSS_SELECTOR, "#token input")
    field.send_keys("wrong", Keys.ENTER)
    wait("the refusal", lambda: "token" in text(driver, "#connection"))
    field.clear()
    field.send_keys(token, Keys.ENTER)
    wait("the stream", lambda: text(driver, "#connection") == "live")
    assert not driver.find_element(By.ID, "token").is_displayed(), "it still asks for the token"


def shows_the_job(driver):
    wait("a commit", lambda: len(rows(driver, "commits")) > 0)
    before = text(driver, "#account")
    wait("the account to move by itself", lambda: text(driver, "#account") != before)
    assert "roman-numerals: running" in text(driver, "#jobs"), text(driver, "#jobs")


def main():
    url, folder = sys.argv[1].rstrip("/") + "/", pathlib.Path(sys.argv[4])
    folder.mkdir(parents=True, exist_ok=True)
    is_not_trusted_by_itself(url)
    driver = browser(WIDTH, HEIGHT, False, trusted=fingerprint(pathlib.Path(sys.argv[2]).read_text()))
    try:
        asks_for_the_token(driver, url, sys.argv[3])
        shows_the_job(driver)
        # A command is a POST, which a page of another origin may not send.
        ui.commands_work_by_keyboard(driver)
        schemes = {target.scheme for target in asked(driver)}
        assert schemes == {"https"}, f"it asks over {schemes}"
        screenshot(driver, WIDTH, folder / "over-tls.png")
        print("over-tls: ok")
    except BaseException:
        driver.save_screenshot(str(folder / "over-tls-failed.png"))
        raise
    finally:
        driver.quit()


if __name__ == "__main__":
    main()
