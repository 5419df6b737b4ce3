"""An endpoint for webhooks that verifies each message with the published library for Python and folds
its events. Prints its port, then a line for each message: the events, or why it is not genuine."""

import json
import sys
from http.server import BaseHTTPRequestHandler, HTTPServer

from standardwebhooks.webhooks import Webhook, WebhookVerificationError

webhook = Webhook(sys.argv[1])


class Handler(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["content-length"])).decode()
        headers = {name.lower(): value for name, value in self.headers.items()}
        try:
            line = {"events": webhook.verify(body, headers)["events"]}
        except WebhookVerificationError as error:
            line = {"error": str(error)}
        print(json.dumps(line), flush=True)
        self.send_response(204 if "events" in line else 401)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


server = HTTPServer(("127.0.0.1", 0), Handler)
print(json.dumps({"port": server.server_port}), flush=True)
server.serve_forever()
