//! The flags of what capture changes and leaves out.

use clap::Args;

use crate::{
    config::RedactionConfig,
    filter::{
        FieldName, Filter, HeaderEdit, HeaderEdits, HeaderPattern, HealthPath, Pattern, Suppression,
    },
    observe::Failure,
};

#[derive(Debug, Args)]
#[allow(clippy::doc_markdown, reason = "these texts are the help that users see")]
pub(super) struct FilterArguments {
    /// Set a header of what is forwarded, not of what is recorded, as 'Name: value'; an empty value removes it; may be
    /// repeated
    #[arg(long, env = "TAPLINE_CAPTURE_SET_HEADER", value_name = "HEADER", hide_env_values = true)]
    set_header: Vec<HeaderEdit>,

    /// Leave requests with this header out of the records, and do not hold them, as 'Name: regex'; the regex has to
    /// match all of the first value; may be repeated, as the other --suppress flags
    #[arg(long, env = "TAPLINE_CAPTURE_SUPPRESS_HEADER", value_name = "HEADER")]
    suppress_header: Vec<HeaderPattern>,

    /// Leave requests out whose method matches as a whole
    #[arg(long, env = "TAPLINE_CAPTURE_SUPPRESS_METHOD", value_name = "REGEX")]
    suppress_method: Vec<Pattern>,

    /// Leave requests out whose path with its query matches as a whole
    #[arg(long, env = "TAPLINE_CAPTURE_SUPPRESS_PATH", value_name = "REGEX")]
    suppress_path: Vec<Pattern>,

    /// Leave requests out whose 'METHOD path?query' matches as a whole
    #[arg(long, env = "TAPLINE_CAPTURE_SUPPRESS_METHOD_AND_PATH", value_name = "REGEX")]
    suppress_method_and_path: Vec<Pattern>,

    /// Record hashes in place of credentials: of Authorization, cookies and their like, and of the bodies of calls
    /// about passwords, API keys and tokens. What is forwarded stays as it is; a replay then needs --auth
    #[arg(long, env = "TAPLINE_CAPTURE_REDACT_CREDENTIALS")]
    redact_credentials: bool,

    /// Record a hash in place of this header's value; may be repeated
    #[arg(long, env = "TAPLINE_CAPTURE_REDACT_HEADER", value_name = "NAME")]
    redact_header: Vec<FieldName>,

    /// Record requests that a replay marks (X-Tapline-Replay) as well, instead of leaving them out; for a capture in
    /// front of a replay's target that is the source of a further migration
    #[arg(long, env = "TAPLINE_CAPTURE_RECORD_REPLAYED")]
    record_replayed: bool,

    /// Append the client's address to X-Forwarded-For of what is forwarded
    #[arg(long, env = "TAPLINE_CAPTURE_FORWARDED_FOR")]
    forwarded_for: bool,

    /// Path that GET and HEAD get 200 for from tapline itself, 503 while it drains, as /_tapline/health
    #[arg(long, env = "TAPLINE_CAPTURE_HEALTH_PATH", value_name = "PATH")]
    health_path: Option<HealthPath>,
}

impl FilterArguments {
    pub(super) fn record_replayed(&self) -> bool {
        self.record_replayed
    }

    pub(super) fn redaction(&self) -> RedactionConfig {
        RedactionConfig { credentials: self.redact_credentials, names: self.redact_header.clone() }
    }

    pub(super) fn filter(self) -> Result<Filter, Failure> {
        Ok(Filter {
            edits: HeaderEdits::new(&self.set_header).map_err(Failure::configuration)?,
            suppression: Suppression {
                methods: self.suppress_method,
                paths: self.suppress_path,
                methods_and_paths: self.suppress_method_and_path,
                headers: self.suppress_header,
            },
            forwarded_for: self.forwarded_for,
            redaction: None,
            health_path: self.health_path,
        })
    }
}
