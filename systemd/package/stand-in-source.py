"""Stands in for a cluster on 127.0.0.1, port 9201 or the one that is named: every GET has the same answer."""

import http.server
import sys


class Source(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        body = b'{"tagline":"the source behind tapline","version":{"number":"7.10.2"}}'
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, form, *args):
        print(form % args, flush=True)


port = int(sys.argv[1]) if len(sys.argv) > 1 else 9201
http.server.ThreadingHTTPServer(("127.0.0.1", port), Source).serve_forever()
