//! The flags of the reference's traffic replayer.

use super::{
    Entry,
    Fate::{As, Checked, Ignored, Refused, Same},
    KAFKA_PASSWORD, Names, msk_iam, unless_empty, unless_none, unless_zero,
};

pub(super) static NAMES: Names = Names { prefix: "TRAFFIC_REPLAYER_", entries: ENTRIES };

static ENTRIES: &[Entry] = &[
    Entry { names: &["target-uri", "targetUri"], arity: 1, fate: Same("target") },
    Entry {
        names: &["mode"],
        arity: 1,
        fate: Checked("`replay`; the dump modes are `tapline log dump`", |values| match values {
            [mode] if mode.starts_with("dump-") => {
                Err("records are shown by `tapline log dump --format raw` or `--format http`")
            }
            _ => Ok(()),
        }),
    },
    Entry {
        names: &["start-offset", "end-offset", "start-time", "end-time"],
        arity: 1,
        fate: Refused("it belongs to the dump modes: `tapline log dump --from … --to …`"),
    },
    Entry {
        names: &["preview-bytes-read", "preview-bytes-write"],
        arity: 1,
        fate: Refused("it belongs to the dump modes: `tapline log dump` shows what there is"),
    },
    Entry { names: &["insecure"], arity: 0, fate: Same("target-insecure") },
    Entry { names: &["targetUsername", "target-username"], arity: 1, fate: Same("auth-user") },
    Entry {
        names: &["targetPassword", "target-password"],
        arity: 1,
        fate: Refused(
            "others can read what stands on a command line or in the environment; write the password into a file of \
             this user alone and name it with `--auth-password-file FILE`",
        ),
    },
    Entry {
        names: &["remove-auth-header", "removeAuthHeader"],
        arity: 0,
        fate: As("auth", "`remove`", |values| {
            let off = values.first().is_some_and(|value| value == "false");
            Ok((!off).then(|| "remove".to_owned()))
        }),
    },
    Entry {
        names: &["sigv4-auth-header-service-region", "sigv4AuthHeaderServiceRegion"],
        arity: 1,
        fate: Same("sigv4"),
    },
    Entry {
        names: &[
            "transformer-config",
            "transformerConfig",
            "transformer-config-encoded",
            "transformerConfigEncoded",
            "transformer-config-file",
            "transformerConfigFile",
        ],
        arity: 1,
        fate: Refused(
            "transforms are jq programs here: `--transform FILE`, or `--transform type-mapping`",
        ),
    },
    Entry {
        names: &[
            "tuple-transformer-config",
            "tupleTransformerConfig",
            "tuple-transformer-config-base64",
            "tupleTransformerConfigBase64",
            "tuple-transformer-config-file",
            "tupleTransformerConfigFile",
        ],
        arity: 1,
        fate: Refused("tuples are written as they are; change them with `zcat FILE | jq PROGRAM`"),
    },
    Entry {
        names: &["request-filter-config", "requestFilterConfig"],
        arity: 1,
        fate: Refused("filters are jq expressions here: `--request-filter EXPR`"),
    },
    Entry {
        names: &["response-post-processor-config", "responsePostProcessorConfig"],
        arity: 1,
        fate: Refused("tuples are written as they are; change them with `zcat FILE | jq PROGRAM`"),
    },
    Entry { names: &["user-agent", "userAgent"], arity: 1, fate: Same("user-agent") },
    Entry { names: &["input", "i"], arity: 1, fate: Same("input") },
    Entry {
        names: &[
            "packet-timeout-seconds",
            "packetTimeoutSeconds",
            "observedPacketConnectionTimeout",
            "t",
        ],
        arity: 1,
        fate: As("connection-timeout", "N as `Ns`", seconds),
    },
    Entry { names: &["speedup-factor", "speedupFactor"], arity: 1, fate: Same("speedup") },
    Entry {
        names: &["lookahead-time-window", "lookaheadTimeWindow", "lookaheadTimeSeconds"],
        arity: 1,
        fate: As("lookahead", "N as `Ns`", seconds),
    },
    Entry {
        names: &["max-concurrent-requests", "maxConcurrentRequests"],
        arity: 1,
        fate: Same("max-in-flight"),
    },
    Entry {
        names: &["num-client-threads", "numClientThreads"],
        arity: 1,
        fate: As("workers", "0 as the default, one per processor less one", unless_zero),
    },
    Entry {
        names: &[
            "target-response-timeout",
            "targetResponseTimeout",
            "targetServerResponseTimeoutSeconds",
        ],
        arity: 1,
        fate: As("response-timeout", "N as `Ns`", seconds),
    },
    Entry {
        names: &["quiescent-period-ms", "quiescentPeriodMs"],
        arity: 1,
        fate: Ignored("connections that were open before the capture began are not delayed"),
    },
    Entry {
        names: &["kafkaBrokers", "kafka-traffic-brokers", "kafkaTrafficBrokers"],
        arity: 1,
        fate: Same("kafka-brokers"),
    },
    Entry {
        names: &["kafkaTopic", "kafka-traffic-topic", "kafkaTrafficTopic"],
        arity: 1,
        fate: Same("kafka-topic"),
    },
    Entry {
        names: &["kafkaGroupId", "kafka-traffic-group-id", "kafkaTrafficGroupId"],
        arity: 1,
        fate: Same("group"),
    },
    Entry {
        names: &[
            "kafka-traffic-enable-msk-auth",
            "kafkaTrafficEnabledMskAuth",
            "kafkaTrafficEnableMSKAuth",
        ],
        arity: 0,
        fate: As("kafka-auth", "`msk-iam`", msk_iam),
    },
    Entry {
        names: &["kafkaPropertyFile", "kafka-traffic-property-file", "kafkaTrafficPropertyFile"],
        arity: 1,
        fate: Same("kafka-config"),
    },
    Entry {
        names: &["kafkaAuthType", "kafka-traffic-auth-type", "kafkaTrafficAuthType"],
        arity: 1,
        fate: As("kafka-auth", "the same words", unless_none),
    },
    Entry {
        names: &[
            "kafkaListenerName",
            "kafka-traffic-listener-name",
            "kafkaTrafficListenerName",
            "kafkaSecretName",
            "kafka-traffic-secret-name",
            "kafkaTrafficSecretName",
        ],
        arity: 1,
        fate: Ignored("the reference only tells it to people as well"),
    },
    Entry {
        names: &["kafkaUserName", "kafka-traffic-user-name", "kafkaTrafficUserName"],
        arity: 1,
        fate: Same("kafka-user"),
    },
    Entry {
        names: &["kafkaPassword", "kafka-traffic-password", "kafkaTrafficPassword"],
        arity: 1,
        fate: Refused(KAFKA_PASSWORD),
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
    Entry {
        names: &[
            "tuple-s3-bucket",
            "tupleS3Bucket",
            "tuple-s3-region",
            "tupleS3Region",
            "tuple-s3-prefix",
            "tupleS3Prefix",
            "tuple-s3-endpoint",
            "tupleS3Endpoint",
        ],
        arity: 1,
        fate: Refused(
            "tuples are files in `--tuples DIR`; send them on with `aws s3 sync DIR s3://BUCKET/PREFIX`",
        ),
    },
    Entry {
        names: &[
            "tuple-max-buffer-seconds",
            "tupleMaxBufferSeconds",
            "tuple-max-file-size-mb",
            "tupleMaxFileSizeMb",
            "tuple-max-per-file",
            "tupleMaxPerFile",
        ],
        arity: 1,
        fate: Ignored("tuples are on disk within 200 ms, and their files are bounded"),
    },
    Entry {
        names: &["non-retryable-doc-exception-types", "nonRetryableDocExceptionTypes"],
        arity: 1,
        fate: As("non-retryable-doc-exception-types", "the same list", unless_empty),
    },
];

fn seconds(values: &[String]) -> Result<Option<String>, String> {
    let number = values.first().map(String::as_str).unwrap_or_default();
    match number.parse::<u64>() {
        Ok(number) => Ok(Some(format!("{number}s"))),
        Err(_) => Err(format!("'{number}' is no number of seconds")),
    }
}
