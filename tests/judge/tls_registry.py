"""A schema registry behind TLS: ends TLS, asks for a client certificate and credentials, and passes on to a registry that knows neither.

    tls_registry.py CERTIFICATE KEY CLIENT_AUTHORITY CREDENTIALS REGISTRY    prints its port, serves until it is killed

CREDENTIALS is `USER:PASSWORD`, or `Bearer TOKEN`.

TLS is OpenSSL's, which the engine does not use.
"""

import base64
import hmac
import socket
import ssl
import sys
import urllib.error
import urllib.request
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


def handler(expected, registry):
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            if not hmac.compare_digest(self.headers.get("Authorization", ""), expected):
                self.answer(401, "application/json", b'{"error_code": 401, "message": "who are you?"}')
                return
            try:
                with urllib.request.urlopen(registry + self.path, timeout=60) as answer:
                    self.answer(answer.status, answer.headers.get("Content-Type"), answer.read())
            except urllib.error.HTTPError as error:
                self.answer(error.code, error.headers.get("Content-Type"), error.read())

        def answer(self, status, kind, body):
            self.send_response(status)
            self.send_header("Content-Type", kind or "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

    return Handler


class Server(ThreadingHTTPServer):
    context = None

    def finish_request(self, request, client_address):
        # On the connection's own thread: who does not shake hands keeps nobody waiting.
        secured = self.context.wrap_socket(request, server_side=True, do_handshake_on_connect=False)
        try:
            secured.do_handshake()
        except (ssl.SSLError, OSError) as error:
            print(f"refused {client_address}: {error}", file=sys.stderr)
            let_go(secured)
            return
        with secured:
            super().finish_request(secured, client_address)


def let_go(secured):
    """Closes a connection whose last word is an alert: with bytes unread it would be reset, and the alert lost."""
    with socket.socket(fileno=secured.detach()) as plain:
        plain.settimeout(10)
        try:
            plain.shutdown(socket.SHUT_WR)
            while plain.recv(4096):
                pass
        except OSError:
            pass


def main(certificate, key, client_authority, credentials, registry):
    is_token = credentials.startswith("Bearer ")
    expected = credentials if is_token else "Basic " + base64.b64encode(credentials.encode()).decode()
    server = Server(("127.0.0.1", 0), handler(expected, registry))
    server.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.context.load_cert_chain(certificate, key)
    server.context.verify_mode = ssl.CERT_REQUIRED
    server.context.load_verify_locations(client_authority)
    print(server.server_port, flush=True)
    server.serve_forever()


if __name__ == "__main__":
    if len(sys.argv) != 6:
        sys.exit(__doc__)
    main(*sys.argv[1:])
