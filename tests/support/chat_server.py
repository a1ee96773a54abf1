"""A local server that answers chat completions, or misbehaves, as it is told."""

import contextlib
import json
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


def answer(text: object) -> bytes:
    """The body of a right answer."""
    return json.dumps({"choices": [{"message": {"role": "assistant", "content": text}}]}).encode()


class ChatServer:
    """`replies` are (status, body or "stall" or "drip" or "close", headers), one per request; the
    last repeats. `requests` holds (path, headers, body) of what arrived."""

    def __init__(self, *replies):
        self.replies, self.requests, self.url = list(replies), [], ""
        self.open = threading.Event()

    def reply(self, handler: BaseHTTPRequestHandler) -> None:
        length = int(handler.headers.get("Content-Length", 0))
        sent = handler.rfile.read(length)
        self.requests.append((handler.path, dict(handler.headers), sent))
        number = min(len(self.requests), len(self.replies)) - 1
        status, body, *headers = self.replies[number]
        if body == "close":
            handler.close_connection = True
            return
        if body == "stall":
            self.open.wait(20)
            return
        handler.send_response(status)
        for name, value in (headers[0] if headers else {}).items():
            handler.send_header(name, value)
        if body == "drip":
            handler.send_header("Content-Length", "100000")
            handler.end_headers()
            with contextlib.suppress(OSError):
                while not self.open.is_set():
                    handler.wfile.write(b" ")
                    handler.wfile.flush()
                    time.sleep(0.05)
            return
        handler.send_header("Content-Length", str(len(body)))
        handler.end_headers()
        with contextlib.suppress(OSError):
            handler.wfile.write(body)

    @contextlib.contextmanager
    def running(self):
        class Handler(BaseHTTPRequestHandler):
            def do_POST(handler):
                self.reply(handler)

            do_GET = do_POST

            def log_message(handler, *_):
                pass

        server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        server.daemon_threads = True
        thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
        thread.start()
        self.url = f"http://127.0.0.1:{server.server_port}/v1"
        try:
            yield self
        finally:
            self.open.set()
            server.shutdown()
            server.server_close()
            thread.join()
