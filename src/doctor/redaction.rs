//! Whether credentials of clients are in the records, and who can read them there.

use super::Finding;
use crate::config::DoctorConfig;

const CHECK: &str = "redaction";

/// Nothing is said of a host that captures nothing.
pub(super) fn judge(config: &DoctorConfig) -> Vec<Finding> {
    if config.source.is_none() {
        return Vec::new();
    }
    let finding = match &config.kafka {
        _ if config.redact_credentials => {
            Finding::ok(CHECK, "records hold hashes in place of credentials")
        }
        Some(kafka) => Finding::warn(
            CHECK,
            format!(
                "whoever reads the topic {} reads the passwords and tokens that clients send",
                kafka.topic
            ),
            "--redact-credentials (a replay then needs --auth), or let replay alone read the topic: kafka-acls.sh",
        ),
        None => Finding::ok(
            CHECK,
            "credentials are recorded as clients send them, in a log that this user alone reads; --redact-credentials \
             hides them",
        ),
    };
    vec![finding]
}
