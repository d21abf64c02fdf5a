"""How h11 reads streams of requests; input and output as in NettyFraming.java."""

import base64
import sys
import zlib

import h11


def read(stream):
    connection = h11.Connection(h11.SERVER, max_incomplete_event_size=1 << 20)
    seen, crc, length = "", 0, 0
    try:
        connection.receive_data(stream)
        while True:
            event = connection.next_event()
            if event in (h11.NEED_DATA, h11.PAUSED):
                return seen
            if isinstance(event, h11.Request):
                seen += event.method.decode("latin-1") + " " + event.target.decode("latin-1")
                crc, length = 0, 0
            elif isinstance(event, h11.Data):
                crc = zlib.crc32(event.data, crc)
                length += len(event.data)
            elif isinstance(event, h11.EndOfMessage):
                seen += f" {length} {crc:x}|"
                connection.send(h11.Response(status_code=204, headers=[]))
                connection.send(h11.EndOfMessage())
                if connection.our_state is not h11.DONE:
                    return seen
                connection.start_next_cycle()
    except h11.RemoteProtocolError:
        return seen + "!"


with open(sys.argv[1]) as streams:
    print("\n".join(read(base64.b64decode(line)) for line in streams))
