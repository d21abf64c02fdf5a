//! The flags of the reference's capture proxy.

use super::{
    Entry,
    Fate::{As, Ignored, Refused, Same},
    KAFKA_PASSWORD, Names, header, msk_iam, unless_empty, unless_none, unless_zero,
};

pub(super) static NAMES: Names = Names { prefix: "CAPTURE_PROXY_", entries: ENTRIES };

static ENTRIES: &[Entry] = &[
    Entry { names: &["destinationUri"], arity: 1, fate: Same("source") },
    Entry {
        names: &["listenPort"],
        arity: 1,
        fate: As("listen", "N as `0.0.0.0:N`", |values| {
            let port = values.first().map(String::as_str).unwrap_or_default();
            match port.parse::<u16>() {
                Ok(port) => Ok(Some(format!("0.0.0.0:{port}"))),
                Err(_) => Err(format!("'{port}' is no port")),
            }
        }),
    },
    Entry {
        names: &["numThreads"],
        arity: 1,
        fate: As("workers", "0 as the default, one per processor less one", unless_zero),
    },
    Entry {
        names: &["destinationConnectionPoolSize"],
        arity: 1,
        fate: Ignored(
            "every client has a connection to the source of its own, opened with its first byte",
        ),
    },
    Entry {
        names: &["destinationConnectionPoolTimeout"],
        arity: 1,
        fate: Ignored("there is no pool of connections to the source"),
    },
    Entry { names: &["insecureDestination"], arity: 0, fate: Same("source-insecure") },
    Entry { names: &["sslCertChainFile"], arity: 1, fate: Same("tls-cert") },
    Entry { names: &["sslKeyFile"], arity: 1, fate: Same("tls-key") },
    Entry { names: &["sslTrustCertFile"], arity: 1, fate: Same("tls-client-ca") },
    Entry {
        names: &["sslTrustCertPemEnvVar"],
        arity: 1,
        fate: Refused("write the certificates into a file and name it with `--tls-client-ca FILE`"),
    },
    Entry { names: &["requireClientAuth"], arity: 0, fate: Same("tls-require-client-cert") },
    Entry {
        names: &["traceDirectory"],
        arity: 1,
        fate: As(
            "log",
            "the directory of the capture log; `tapline log export` writes the reference's lines from it",
            unless_empty,
        ),
    },
    Entry { names: &["noCapture"], arity: 0, fate: Same("no-capture") },
    Entry { names: &["kafkaBrokers", "kafkaConnection"], arity: 1, fate: Same("kafka-brokers") },
    Entry { names: &["kafkaTopic"], arity: 1, fate: Same("kafka-topic") },
    Entry {
        names: &["kafkaClientId"],
        arity: 1,
        fate: Refused("write `client.id=NAME` into the file of `--kafka-config FILE`"),
    },
    Entry {
        names: &["kafkaPropertyFile", "kafkaConfigFile"],
        arity: 1,
        fate: Same("kafka-config"),
    },
    Entry { names: &["enableMSKAuth"], arity: 0, fate: As("kafka-auth", "`msk-iam`", msk_iam) },
    Entry {
        names: &["kafkaAuthType"],
        arity: 1,
        fate: As("kafka-auth", "the same words", unless_none),
    },
    Entry {
        names: &["kafkaListenerName", "kafkaSecretName"],
        arity: 1,
        fate: Ignored("the reference only tells it to people as well"),
    },
    Entry { names: &["kafkaUserName"], arity: 1, fate: Same("kafka-user") },
    Entry { names: &["kafkaPassword"], arity: 1, fate: Refused(KAFKA_PASSWORD) },
    Entry {
        names: &["maxTrafficBufferSize"],
        arity: 1,
        fate: As(
            "record-bytes-max",
            "less 500 bytes, which the reference keeps free in it",
            |values| {
                let bytes = values.first().map(String::as_str).unwrap_or_default();
                match bytes.parse::<usize>() {
                    Ok(bytes) => Ok(Some(bytes.saturating_sub(500).to_string())),
                    Err(_) => Err(format!("'{bytes}' is no number of bytes")),
                }
            },
        ),
    },
    Entry {
        names: &["setHeader"],
        arity: 2,
        fate: As("set-header", "NAME VALUE as `'NAME: VALUE'`", header),
    },
    Entry {
        names: &["suppressCaptureForHeaderMatch"],
        arity: 2,
        fate: As("suppress-header", "NAME REGEX as `'NAME: REGEX'`", header),
    },
    Entry {
        names: &["suppressCaptureForMethod"],
        arity: 1,
        fate: As("suppress-method", "the same; empty: none", unless_empty),
    },
    Entry {
        names: &["suppressCaptureForUriPath"],
        arity: 1,
        fate: As("suppress-path", "the same; empty: none", unless_empty),
    },
    Entry {
        names: &["suppressMethodAndPath"],
        arity: 1,
        fate: As("suppress-method-and-path", "the same; empty: none", unless_empty),
    },
    Entry {
        names: &["otelTraceCollectorEndpoint", "otel-trace-collector-endpoint"],
        arity: 1,
        fate: Ignored(
            "there are no traces; `/metrics` and `/status` of `--admin` tell how long things take",
        ),
    },
    Entry {
        names: &["otelMetricsCollectorEndpoint", "otel-metrics-collector-endpoint"],
        arity: 1,
        fate: Ignored(
            "gRPC is not spoken here; `--otlp-endpoint http://HOST:4318` pushes metrics over HTTP",
        ),
    },
];
