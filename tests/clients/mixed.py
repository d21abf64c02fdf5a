"""A mixed write and read load by the official clients, side by side, as fast as they go.

    mixed.py URL PREFIX SEED OPERATIONS CLIENTS [--shared N]

Each client is a process with a connection of its own; clients take turns in being opensearch-py
and elasticsearch-py, with and without compression. OPERATIONS counts calls of a client, a bulk as
one. With --shared N all write to the same N documents, else each to its own. At the end one line
of JSON: calls, items of bulks, and how the calls ended.
"""

import json
import multiprocessing
import random
import sys
from collections import Counter

import elasticsearch
import opensearchpy

URL, PREFIX, SEED, OPERATIONS, CLIENTS = sys.argv[1], sys.argv[2], *map(int, sys.argv[3:6])
SHARED = int(sys.argv[7]) if "--shared" in sys.argv else 0
WORDS = ["red", "green", "blue", "ünïcode", '"quoted"', "tab\there"]
EXPECTED = {404, 409}


class Load:
    def __init__(self, number):
        self.rng = random.Random(SEED * 1000 + number)
        self.number = number
        library = (opensearchpy, elasticsearch)[number % 2]
        kind = opensearchpy.OpenSearch if number % 2 == 0 else elasticsearch.Elasticsearch
        self.client = kind([URL], http_compress=number % 4 >= 2, timeout=120, max_retries=0,
                           retry_on_status=(), maxsize=1)
        self.failure = library.TransportError
        self.counts = Counter()

    def index(self):
        return f"{PREFIX}-{self.rng.choice('ab')}"

    def id(self):
        if SHARED:
            return f"s{self.rng.randrange(SHARED)}"
        return f"p{self.number}-{self.rng.randrange(200)}"

    def document(self):
        words = " ".join(self.rng.choice(WORDS) for _ in range(self.rng.randint(1, 12)))
        return {"n": self.rng.randrange(1000), "t": words}

    def bulk(self):
        lines = []
        for _ in range(self.rng.randint(5, 30)):
            index, document = self.index(), self.document()
            draw = self.rng.random()
            if draw < 0.45:
                lines += [{"index": {"_index": index, "_id": self.id()}}, document]
            elif draw < 0.55:
                lines += [{"index": {"_index": index}}, document]
            elif draw < 0.75:
                lines += [{"create": {"_index": index, "_id": self.id()}}, document]
            elif draw < 0.85:
                lines += [{"delete": {"_index": index, "_id": self.id()}}]
            else:
                partial = {"doc": {"n": self.rng.randrange(1000)}, "doc_as_upsert": True}
                lines += [{"update": {"_index": index, "_id": self.id()}}, partial]
            self.counts["items"] += 1
        self.client.bulk(body=lines)

    def conditional(self, index, id):
        found = self.client.get(index=index, id=id)
        self.client.index(index=index, id=id, body=self.document(), if_seq_no=found["_seq_no"],
                          if_primary_term=found["_primary_term"])

    def step(self):
        client, rng, index, id = self.client, self.rng, self.index(), self.id()
        draw = rng.random()
        if draw < 0.20:
            client.index(index=index, id=id, body=self.document())
        elif draw < 0.28:
            client.index(index=index, body=self.document())
        elif draw < 0.38:
            client.create(index=index, id=id, body=self.document())
        elif draw < 0.50:
            body = {"doc": {f"f{rng.randrange(9)}": rng.randrange(1000)}}
            client.update(index=index, id=id, body=body, params={"retry_on_conflict": 0})
        elif draw < 0.54:
            body = {"script": {"source": "ctx._source.n += params.by", "params": {"by": rng.randrange(9)}}}
            client.update(index=index, id=id, body=body)
        elif draw < 0.62:
            client.delete(index=index, id=id)
        elif draw < 0.67:
            self.conditional(index, id)
        elif draw < 0.80:
            client.get(index=index, id=id)
        elif draw < 0.84:
            client.mget(index=index, body={"ids": [id, self.id(), "none"]})
        elif draw < 0.88:
            client.search(index=index, body={"query": {"match": {"t": rng.choice(WORDS)}}, "size": 3})
        elif draw < 0.90:
            client.count(index=index)
        else:
            self.bulk()

    def run(self, operations):
        for _ in range(operations):
            try:
                self.step()
                self.counts["ok"] += 1
            except self.failure as failure:
                if failure.status_code not in EXPECTED:
                    raise
                self.counts[str(failure.status_code)] += 1
            self.counts["calls"] += 1
        self.client.close()
        return self.counts


def one(number):
    share = OPERATIONS // CLIENTS + (number < OPERATIONS % CLIENTS)
    return Load(number).run(share)


def main():
    client = opensearchpy.OpenSearch([URL], timeout=120)
    for name in "ab":
        client.indices.create(index=f"{PREFIX}-{name}", body={
            "settings": {"number_of_shards": 2, "number_of_replicas": 0, "translog.durability": "async"}})
    client.close()
    with multiprocessing.get_context("fork").Pool(CLIENTS) as pool:
        totals = sum(pool.map(one, range(CLIENTS), chunksize=1), Counter())
    print(json.dumps(totals, sort_keys=True))


main()
