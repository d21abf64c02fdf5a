"""Writes and reads over TLS with the official client: secure.py PORT CA."""

import sys

from opensearchpy import OpenSearch

port, ca = sys.argv[1:]
client = OpenSearch(
    hosts=[{"host": "localhost", "port": int(port)}],
    use_ssl=True,
    verify_certs=True,
    ca_certs=ca,
    maxsize=4,
)
created = 0
for number in range(200):
    answer = client.index(index="i", id=str(number), body={"text": "x" * (number * 50)})
    created += answer["result"] == "created"
    client.search(index="i", body={"query": {"match_all": {}}})
print(created, answer["result"])
