import java.net.URI;
import java.net.URLDecoder;
import java.nio.charset.StandardCharsets;
import java.security.MessageDigest;
import java.util.ArrayList;
import java.util.Base64;
import java.util.HexFormat;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.TreeMap;
import javax.crypto.Mac;
import javax.crypto.spec.SecretKeySpec;
import javax.security.auth.callback.Callback;
import javax.security.auth.login.AppConfigurationEntry;
import org.apache.kafka.common.security.auth.AuthenticateCallbackHandler;
import org.apache.kafka.common.security.oauthbearer.OAuthBearerToken;
import org.apache.kafka.common.security.oauthbearer.OAuthBearerValidatorCallback;

/** Does a broker's part of Amazon MSK's IAM: checks the presigned URL in a token with a secret that it knows. */
public class IamValidator implements AuthenticateCallbackHandler {
    private static final String SECRET = "rig-secret-access-key";

    public void configure(Map<String, ?> configs, String mechanism, List<AppConfigurationEntry> entries) {}

    public void close() {}

    public void handle(Callback[] callbacks) {
        for (Callback callback : callbacks) {
            if (!(callback instanceof OAuthBearerValidatorCallback asked)) continue;
            try {
                asked.token(checked(asked.tokenValue()));
            } catch (Exception error) {
                asked.error("invalid_token", null, null);
            }
        }
    }

    private static OAuthBearerToken checked(String token) throws Exception {
        URI url = URI.create(new String(Base64.getUrlDecoder().decode(token), StandardCharsets.UTF_8));
        TreeMap<String, String> signed = new TreeMap<>();
        for (String pair : url.getRawQuery().split("&")) {
            String[] parts = pair.split("=", 2);
            signed.put(parts[0], parts[1]);
        }
        signed.remove("User-Agent");
        String signature = signed.remove("X-Amz-Signature");
        List<String> query = new ArrayList<>();
        signed.forEach((name, value) -> query.add(name + "=" + value));
        String request = "GET\n/\n" + String.join("&", query) + "\nhost:" + url.getHost() + "\n\nhost\n" + hash("");
        String scope = decoded(signed, "X-Amz-Credential").split("/", 2)[1];
        String date = signed.get("X-Amz-Date");
        String text = "AWS4-HMAC-SHA256\n" + date + "\n" + scope + "\n" + hash(request);
        byte[] key = ("AWS4" + SECRET).getBytes(StandardCharsets.UTF_8);
        for (String part : scope.split("/")) key = mac(key, part);
        boolean fits = HexFormat.of().formatHex(mac(key, text)).equals(signature)
                && scope.endsWith("/eu-west-9/kafka-cluster/aws4_request")
                && decoded(signed, "Action").equals("kafka-cluster:Connect")
                && signed.get("X-Amz-Expires").equals("900");
        if (!fits) throw new SecurityException("not signed with the secret");
        long now = System.currentTimeMillis();
        return new OAuthBearerToken() {
            public String value() { return token; }
            public Set<String> scope() { return Set.of(); }
            public long lifetimeMs() { return now + 900_000; }
            public String principalName() { return "rig-role"; }
            public Long startTimeMs() { return now; }
        };
    }

    private static String decoded(Map<String, String> query, String name) {
        return URLDecoder.decode(query.get(name), StandardCharsets.UTF_8);
    }

    private static String hash(String text) throws Exception {
        MessageDigest digest = MessageDigest.getInstance("SHA-256");
        return HexFormat.of().formatHex(digest.digest(text.getBytes(StandardCharsets.UTF_8)));
    }

    private static byte[] mac(byte[] key, String text) throws Exception {
        Mac mac = Mac.getInstance("HmacSHA256");
        mac.init(new SecretKeySpec(key, "HmacSHA256"));
        return mac.doFinal(text.getBytes(StandardCharsets.UTF_8));
    }
}
