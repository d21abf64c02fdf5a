"""A fixed mix of real client traffic against one cluster, one JSON line per operation.

    traffic.py URL PREFIX SEED [LARGE_MEGABYTES]

Run twice against the same cluster with different prefixes, directly and through a proxy, it must
print the same lines: index names are printed without the prefix, and what differs between any two
runs (times, scroll ids, node ids) is left out.
"""

import gzip
import http.client
import json
import random
import socket
import sys
from urllib.parse import urlsplit

import elasticsearch
import opensearchpy

URL, PREFIX, SEED = sys.argv[1], sys.argv[2], int(sys.argv[3])
LARGE_MEGABYTES = int(sys.argv[4]) if len(sys.argv) > 4 else 60
HOST, PORT = urlsplit(URL).hostname, urlsplit(URL).port
VOLATILE = {"took", "_scroll_id", "took_millis", "pit_id", "index_uuid", "uuid", "timestamp"}
rng = random.Random(SEED)


def name(short):
    return f"{PREFIX}-{short}"


def plain(value):
    """The answer without what no two runs share."""
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items() if key not in VOLATILE}
    if isinstance(value, list):
        return [plain(item) for item in value]
    if isinstance(value, str):
        return value.replace(PREFIX, "PREFIX")
    return value


def show(operation, status, answer):
    if isinstance(answer, (bytes, bytearray)):
        answer = answer.decode("utf-8", "replace")
    if isinstance(answer, str):
        try:
            answer = json.loads(answer)
        except ValueError:
            pass
    line = {"operation": operation, "status": status, "answer": plain(answer)}
    text = json.dumps(line, sort_keys=True)
    if len(text) > 20_000:
        line["answer"] = {"length": len(text), "start": text[:2_000]}
        text = json.dumps(line, sort_keys=True)
    print(text, flush=True)


def document(number):
    words = " ".join(rng.choice(["red", "green", "blue", "ünïcode"]) for _ in range(rng.randint(1, 40)))
    return {"number": number, "text": words, "tags": [number % 7, number % 3]}


def official(kind, module, client, transport_error):
    """The operations of one client library; both libraries have the same ones."""
    index = name(kind)

    def do(operation, call, *args, **kwargs):
        try:
            show(f"{kind} {operation}", 200, call(*args, **kwargs))
        except transport_error as error:
            show(f"{kind} {operation}", error.status_code, error.info)

    settings = {"settings": {"number_of_shards": 2, "number_of_replicas": 0}}
    do("create", client.indices.create, index=index, body=settings)
    for number in range(20):
        do("index", client.index, index=index, id=str(number), body=document(number))
    for size in (1, 10, 500):
        body = []
        for number in range(size):
            body.append({"index": {"_index": index, "_id": f"b{size}-{number}"}})
            body.append(document(number))
        body.append({"delete": {"_index": index, "_id": f"b{size}-0"}})
        do(f"bulk {size}", client.bulk, body=body)
    do("refresh", client.indices.refresh, index=index)
    do("update", client.update, index=index, id="3", body={"doc": {"number": 33}})
    do("script", client.update, index=index, id="4", body={"script": "ctx._source.number += 5"})
    do("delete", client.delete, index=index, id="5")
    do("get", client.get, index=index, id="3")
    do("get missing", client.get, index=index, id="5")
    do("get no index", client.get, index=name("nowhere"), id="5")
    do("create conflict", client.create, index=index, id="3", body=document(3))
    version = {"index": index, "id": "3", "body": document(3), "version": 1, "version_type": "external"}
    do("version conflict", client.index, **version)
    do("bad query", client.search, index=index, body={"query": {"nonsense": {}}})
    do("mget", client.mget, index=index, body={"ids": ["1", "2", "none"]})
    do("exists", lambda: bool(client.exists(index=index, id="1")))
    do("exists not", lambda: bool(client.exists(index=index, id="none")))
    do("refresh", client.indices.refresh, index=index)
    ordered = {"query": {"match": {"text": "red"}}, "sort": ["number", {"_id": "asc"}], "size": 30}
    fielddata = {"sort": [{"number": "asc"}], "size": 7, "query": {"range": {"number": {"lt": 15}}}}
    do("search bad sort", client.search, index=index, body=ordered)
    do("search", client.search, index=index, body=fielddata)
    do("count", client.count, index=index, body={"query": {"match": {"text": "green"}}})
    headers = [{"index": index}, fielddata, {"index": index}, {"query": {"match_all": {}}, "size": 0}]
    do("msearch", client.msearch, body=headers)
    page = client.search(index=index, body={"sort": ["_doc"], "size": 200}, scroll="1m")
    seen = 0
    while page["hits"]["hits"]:
        seen += len(page["hits"]["hits"])
        page = client.scroll(body={"scroll_id": page["_scroll_id"], "scroll": "1m"})
    show(f"{kind} scrolled", 200, seen)
    do("clear scroll", client.clear_scroll, body={"scroll_id": page["_scroll_id"]})
    do("delete by query", client.delete_by_query, index=index, refresh=True,
       body={"query": {"range": {"number": {"lt": 3}}}})
    do("count", client.count, index=index)


def raw():
    """What only programs closer to the wire send."""
    index = name("raw")
    connection = http.client.HTTPConnection(HOST, PORT, timeout=120)

    def do(operation, method, path, body=None, headers=None, chunked=False):
        headers = {"Content-Type": "application/json", **(headers or {})}
        connection.request(method, path, body, headers, encode_chunked=chunked)
        response = connection.getresponse()
        answer = response.read()
        if response.getheader("Content-Encoding") == "gzip":
            answer = gzip.decompress(answer)
        show(f"raw {operation}", response.status, answer)

    do("create", "PUT", f"/{index}", json.dumps({"settings": {"number_of_shards": 1, "number_of_replicas": 0}}))

    def lines(count, width, start=0):
        for number in range(start, start + count):
            yield json.dumps({"index": {"_id": str(number)}}).encode() + b"\n"
            yield json.dumps({"n": number, "fill": "x" * width}).encode() + b"\n"

    chunked = {"Transfer-Encoding": "chunked"}
    do("chunked bulk", "POST", f"/{index}/_bulk?filter_path=errors,items.*.status", lines(300, 200),
       chunked, chunked=True)
    zipped = gzip.compress(b"".join(lines(300, 500, 300)), mtime=0)
    do("gzip bulk", "POST", f"/{index}/_bulk?filter_path=errors", zipped, {"Content-Encoding": "gzip"})
    do("refresh", "POST", f"/{index}/_refresh")
    search = json.dumps({"query": {"range": {"n": {"lt": 40}}}, "sort": ["n"], "size": 40})
    do("gzip answer", "POST", f"/{index}/_search", search, {"Accept-Encoding": "gzip"})
    do("get with body", "GET", f"/{index}/_count", json.dumps({"query": {"match_all": {}}}))
    do("head", "HEAD", f"/{index}/_doc/1")
    do("head missing", "HEAD", f"/{index}/_doc/none")
    do("options", "OPTIONS", f"/{index}")
    do("method not allowed", "POST", f"/{index}/_doc/1/_mapping/x/y/z", "{}")
    do("bad json", "PUT", f"/{index}/_doc/bad", "{")
    do("empty bulk", "POST", "/_bulk", "")

    large = b"".join(lines(60, LARGE_MEGABYTES * (1 << 20) // 60, 10_000))
    do("large bulk", "POST", f"/{index}/_bulk?filter_path=errors,items.*.status", large)
    do("large get", "GET", f"/{index}/_doc/10001?_source=n")
    connection.close()


class Wire:
    """A socket, for what no library sends."""

    def __init__(self):
        self.socket = socket.create_connection((HOST, PORT), timeout=120)
        self.file = self.socket.makefile("rb")

    def answer(self, method="GET"):
        status = int(self.file.readline().split()[1])
        length = 0
        while (line := self.file.readline().strip()):
            key, _, value = line.partition(b":")
            if key.lower() == b"content-length":
                length = int(value)
        body = b"" if status == 100 or method == "HEAD" else self.file.read(length)
        return status, body


def request(method, path, body=b"", extra=""):
    head = (f"{method} {path} HTTP/1.1\r\nHost: {HOST}\r\nContent-Type: application/json\r\n"
            f"{extra}Content-Length: {len(body)}\r\n\r\n")
    return head.encode() + body


def wire():
    index = name("wire")
    one = Wire()
    one.socket.sendall(request("PUT", f"/{index}", b'{"settings":{"number_of_replicas":0}}'))
    show("wire create", *one.answer())
    # Elasticsearch works at pipelined requests side by side: writes and reads not in one batch,
    # and no sequence numbers.
    writes, reads = [], []
    for number in range(10):
        body = json.dumps({"n": number}).encode()
        writes.append(("PUT", f"/{index}/_doc/{number}?filter_path=_id,result", body))
        reads.append(("GET", f"/{index}/_doc/{number}?filter_path=_id,_source", b""))
        reads.append(("HEAD", f"/{index}/_doc/{number}?filter_path=_id", b""))
        reads.append(("POST", f"/{index}/_count", b'{"query":{"match_all":{}}}'))
    for batch in (writes, [("POST", f"/{index}/_refresh", b"")], reads):
        one.socket.sendall(b"".join(request(*each) for each in batch))
        for method, path, _ in batch:
            show(f"pipelined {method} {path.replace(PREFIX, 'PREFIX')}", *one.answer(method))

    body = json.dumps({"n": "expected"}).encode()
    whole = request("PUT", f"/{index}/_doc/expect", body, "Expect: 100-continue\r\n")
    one.socket.sendall(whole[: -len(body)])
    show("expect", *one.answer())
    one.socket.sendall(body)
    show("expected", *one.answer())

    for byte in request("PUT", f"/{index}/_doc/slow", b'{"n":"slow"}'):
        one.socket.sendall(bytes([byte]))
    show("byte by byte", *one.answer())

    one.socket.sendall(request("GET", f"/{index}/_doc/slow"))
    show("last words", *one.answer())
    # Elasticsearch drops what it has not answered when the client finishes: only now.
    one.socket.shutdown(socket.SHUT_WR)
    show("end", 0, one.file.read())


def main():
    options = {"timeout": 120, "max_retries": 0, "retry_on_status": ()}
    for compressed in (False, True):
        suffix = "-gzip" if compressed else ""
        new = opensearchpy.OpenSearch(URL, http_compress=compressed, **options)
        official(f"opensearch{suffix}", opensearchpy, new, opensearchpy.TransportError)
        new.close()
        old = elasticsearch.Elasticsearch([URL], http_compress=compressed, **options)
        official(f"elasticsearch{suffix}", elasticsearch, old, elasticsearch.TransportError)
        old.close()
    raw()
    wire()
    http_client = http.client.HTTPConnection(HOST, PORT, timeout=120)
    for kind in ("opensearch", "opensearch-gzip", "elasticsearch", "elasticsearch-gzip", "raw", "wire"):
        http_client.request("DELETE", f"/{name(kind)}")
        response = http_client.getresponse()
        show("remove", response.status, response.read())


main()
