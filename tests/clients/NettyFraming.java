// How Netty's HTTP/1 decoder, the parser of Elasticsearch and OpenSearch, reads streams of requests.
// Argument: a file with one stream a line, in base64. Prints a line for each: "METHOD TARGET LENGTH CRC32|..." and "!"
// where it gave up.

import io.netty.buffer.ByteBuf;
import io.netty.buffer.Unpooled;
import io.netty.channel.embedded.EmbeddedChannel;
import io.netty.handler.codec.http.*;
import io.netty.util.ReferenceCountUtil;
import java.nio.file.*;
import java.util.*;
import java.util.zip.CRC32;

public class NettyFraming {
    public static void main(String[] arguments) throws Exception {
        StringBuilder out = new StringBuilder();
        for (String line : Files.readAllLines(Paths.get(arguments[0]))) {
            out.append(read(Base64.getDecoder().decode(line))).append('\n');
        }
        System.out.print(out);
    }

    static String read(byte[] stream) {
        EmbeddedChannel channel = new EmbeddedChannel(new HttpRequestDecoder(65536, 65536, 65536));
        StringBuilder seen = new StringBuilder();
        CRC32 crc = new CRC32();
        long length = 0;
        try {
            channel.writeInbound(Unpooled.wrappedBuffer(stream));
        } catch (Exception error) {
            return "!";
        }
        for (Object message; (message = channel.readInbound()) != null; ReferenceCountUtil.release(message)) {
            if (((HttpObject) message).decoderResult().isFailure()) {
                return seen + "!";
            }
            if (message instanceof HttpRequest) {
                HttpRequest request = (HttpRequest) message;
                seen.append(request.method().name()).append(' ').append(request.uri());
                crc.reset();
                length = 0;
            }
            if (message instanceof HttpContent) {
                ByteBuf content = ((HttpContent) message).content();
                byte[] bytes = new byte[content.readableBytes()];
                content.readBytes(bytes);
                crc.update(bytes);
                length += bytes.length;
            }
            if (message instanceof LastHttpContent) {
                seen.append(' ').append(length).append(' ').append(Long.toHexString(crc.getValue())).append('|');
            }
        }
        channel.finishAndReleaseAll();
        return seen.toString();
    }
}
