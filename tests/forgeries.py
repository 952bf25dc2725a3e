"""What a client can say on the wire about itself, its path and where one request ends, and that nobody may believe.

One row per forgery. `tests/control/test_edge_forgeries.py` shows header by header what reaches the app behind a real
edge; `tests/attacks` sends the same rows to a whole mesh.
"""

from __future__ import annotations

PEER = "spiffe://titan.local/svc/svc_order"
ADDRESS = "6.6.6.6"
TRACE = "11111111111111111111111111111111"

# What must not arrive as the client said it, whatever that was.
STRIPPED = {
    "x-user-id": "root",
    "x-user-roles": '["admin"]',
    "x-user-anything": "root",
    "x-titan-caller": PEER,
    "x-titan-client-ip": ADDRESS,
    "x-titan-trace-id": TRACE,
    "x-titan-body-coding": "identity",
    "x-titan-anything": "root",
    "x-forwarded-for": f"{ADDRESS}, 127.0.0.1",
    "x-forwarded-proto": "gopher",
    "x-forwarded-host": "evil.example",
    "x-forwarded-port": "1",
    "x-forwarded-prefix": "/admin",
    "x-forwarded-uri": "/v1/users",
    "x-forwarded-server": "evil.example",
    "x-forwarded-client-cert": f"URI={PEER}",
    "x-real-ip": ADDRESS,
    "x-client-ip": ADDRESS,
    "x-remote-ip": ADDRESS,
    "x-remote-addr": ADDRESS,
    "x-cluster-client-ip": ADDRESS,
    "x-originating-ip": ADDRESS,
    "true-client-ip": ADDRESS,
    "cf-connecting-ip": ADDRESS,
    "fastly-client-ip": ADDRESS,
    "forwarded": f"for={ADDRESS};host=evil.example;proto=gopher",
    "via": "1.1 evil.example",
    "x-original-url": "/v1/forged",
    "x-original-host": "evil.example",
    "x-rewrite-url": "/v1/forged",
    "x-host": "evil.example",
    "x-http-method": "DELETE",
    "x-http-method-override": "DELETE",
    "x-method-override": "DELETE",
    "x-envoy-original-path": "/v1/forged",
    "x-envoy-original-host": "evil.example",
    "x-envoy-internal": "true",
    "x-envoy-external-address": ADDRESS,
    "x-envoy-decorator-operation": "forged",
    "x-envoy-max-retries": "99",
    "x-envoy-retry-on": "5xx",
    "x-envoy-retry-grpc-on": "internal",
    "x-envoy-upstream-rq-timeout-ms": "999999",
    "x-envoy-upstream-rq-timeout-alt-response": "1",
    "x-envoy-expected-rq-timeout-ms": "999999",
    "x-envoy-force-trace": "1",
    "x-envoy-ip-tags": "office",
    "x-envoy-downstream-service-cluster": "edge",
    "x-client-trace-id": TRACE,
    "x-request-id": TRACE,
    "traceparent": f"00-{TRACE}-1111111111111111-01",
    "tracestate": "a=b",
    "baggage": "user=root",
    "b3": f"{TRACE}-1111111111111111-1",
    "x-b3-traceid": TRACE,
    "uber-trace-id": f"{TRACE}:1111111111111111:0:1",
    "x-cloud-trace-context": f"{TRACE}/1;o=1",
    "titan-target": "svc_auth",
    "proxy-authorization": "Basic cm9vdDpyb290",
}

# Heads that two readers could read differently. HTTP/1.1 alone can say most of it.
REFUSED_HEADS = {
    "an underscore": b"x_user_id: root\r\n",
    "an underscore within": b"x-user_id: root\r\n",
    "a space before the colon": b"x-user-id : root\r\n",
    "a tab before the colon": b"x-user-id\t: root\r\n",
    "no name": b": root\r\n",
    "a name of two words": b"x user id: root\r\n",
    "a null in a value": b"x-note: a\0b\r\n",
    "a null in a name": b"x-user\0-id: root\r\n",
    "two lengths": b"content-length: 0\r\ncontent-length: 41\r\n",
    "a list of lengths": b"content-length: 0, 41\r\n",
    "a signed length": b"content-length: +0\r\n",
    "a negative length": b"content-length: -1\r\n",
    "a hexadecimal length": b"content-length: 0x0\r\n",
    "a length beyond numbers": b"content-length: 99999999999999999999999\r\n",
    "a length and chunks": b"content-length: 5\r\ntransfer-encoding: chunked\r\n",
    "chunks and a length": b"transfer-encoding: chunked\r\ncontent-length: 5\r\n",
    "an unknown coding": b"transfer-encoding: xchunked\r\n",
    "a coding with a tab": b"transfer-encoding:\tchunked, identity\r\n",
    "chunks twice": b"transfer-encoding: chunked\r\ntransfer-encoding: chunked\r\n",
    "chunks, then nothing": b"transfer-encoding: chunked, identity\r\n",
    "a space before the coding's colon": b"transfer-encoding : chunked\r\n",
    "a coding in quotes": b'transfer-encoding: "chunked"\r\n',
}
# What has one reading here: a value, and never a header of its own.
HARMLESS_HEADS = {
    "a folded line": b"x-note: a\r\n x-user-id: root\r\n",
    "a folded line with a tab": b"x-note: a\r\n\tx-titan-client-ip: 6.6.6.6\r\n",
    "a folded line of a stripped header": b"x-user-id: root\r\n x-titan-caller: root\r\n",
    "a bare carriage return": b"x-note: a\rx-user-id: root\r\n",
    "two hosts": b"host: evil.example\r\n",
    "two tokens": b"authorization: Basic a\r\nauthorization: Basic b\r\n",
}
SMUGGLED = b"0\r\n\r\nGET /v1/smuggled HTTP/1.1\r\nhost: localhost\r\n\r\n"

REQUEST_LINES = {
    "an old version": (b"GET /v1/x HTTP/1.0", 426),
    "no version": (b"GET /v1/x", 426),
    "a future version": (b"GET /v1/x HTTP/3.7", 426),
    "a null in the path": (b"GET /v1/x\0y HTTP/1.1", 400),
    "an encoded null": (b"GET /v1/x%00y HTTP/1.1", 400),
    "a fragment": (b"GET /v1/x#/v1/forged HTTP/1.1", 400),
    "no slash": (b"GET v1/x HTTP/1.1", 400),
}

# The path that arrives is the only one there is: it is routed by it, limited by it, and the app sees no other.
PATHS = {
    "/v1/x/%2e%2e/cart": "/v1/cart",
    "/v1/x/%2E%2e/cart": "/v1/cart",
    "/v1/x/../cart": "/v1/cart",
    "/v1/x/./cart": "/v1/x/cart",
    "/v1//x": "/v1/x",
    "//v1/x": "/v1/x",
    "/v1\\x": "/v1/x",
    "/v1/x/..\\cart": "/v1/cart",
    "/v1/x%2F..%2Fcart": "/v1/x%2F..%2Fcart",
    "/v1/x%2f%2e%2e%2fcart": "/v1/x%2f..%2fcart",
    "/v1/x%5c..%5ccart": "/v1/x%5c..%5ccart",
    "/v1/x/%252e%252e/cart": "/v1/x/%252e%252e/cart",
    "/v1/x/..;/cart": "/v1/cart",
    "/v1/x;/../cart": "/v1/cart",
    "/v1/x?/../cart": "/v1/x?/../cart",
    "/../../v1/x": "/v1/x",
    "/v1/../../etc/passwd": "/etc/passwd",
}

HOSTS = ("evil.example", "localhost:1", "user@evil.example", "127.0.0.1", "shop.titan.local", "a, b")

# HTTP/2 has no line ends: what would become one for an HTTP/1.1 app behind it has to be refused.
FRAMED = {
    "a coding": ([("transfer-encoding", "chunked")], {}),
    "a connection": ([("connection", "x-titan-client-ip")], {}),
    "an upgrade": ([("upgrade", "h2c")], {}),
    "capitals": ([("X-User-Id", "root")], {}),
    "a line end in a value": ([("x-note", "a\r\nx-user-id: root")], {}),
    "a line end in a name": ([("x-note: a\r\nx-user-id", "root")], {}),
    "a line feed in a value": ([("x-note", "a\nx-user-id: root")], {}),
    "a null in a value": ([("x-note", "a\0b")], {}),
    "a colon in a name": ([("x-user-id:", "root")], {}),
    "a space in a name": ([("x-user-id ", "root")], {}),
    "an underscore": ([("x_user_id", "root")], {}),
    "a request in the method": ([], {"method": "GET /v1/smuggled HTTP/1.1\r\nhost: localhost\r\n\r\nGET"}),
    "a request in the path": ([], {"path": "/v1/x HTTP/1.1\r\nhost: a\r\n\r\nGET /v1/smuggled"}),
    "a space in the path": ([], {"path": "/v1/x HTTP/1.1"}),
    "a line end in the authority": ([], {"authority": "a\r\nx-user-id: root"}),
    "a second path": ([(":path", "/v1/smuggled")], {}),
    "a late pseudo-header": ([("x-note", "a"), (":authority", "evil.example")], {}),
    "an unknown pseudo-header": ([(":user", "root")], {}),
    "a length without a body": ([("content-length", "41")], {}),
    "two lengths": ([("content-length", "0"), ("content-length", "41")], {}),
    "no path": ([], {"path": ""}),
}
