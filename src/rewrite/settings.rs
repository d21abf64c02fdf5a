//! What the user asked to be changed.
//!
//! Owns the settings and the rules about names and values of header fields. Never shows a secret: `Debug` leaves
//! passwords and header values out.

use std::fmt;

use super::type_mapping::TypeMapping;

/// All that can be changed in a request. The default changes nothing.
#[derive(Clone, Debug, Default)]
pub struct Settings {
    /// What becomes of the `Host` field, unless `set_headers` names it.
    pub host: Host,
    /// Fields to set, in order: name and value. All fields of that name give way, the first one in its place; an
    /// empty value removes them. The same name twice gives two lines.
    pub set_headers: Vec<(String, String)>,
    /// Appended to the `User-Agent` field as `existing; value`, or set where there is none.
    pub user_agent: Option<String>,
    /// What becomes of the `Authorization` field.
    pub auth: Auth,
    /// Run in order, each on what the one before gave.
    pub transforms: Vec<Transform>,
    /// A jq expression over the captured request; the request is sent where it is true.
    pub filter: Option<String>,
    /// What a program's failure does to its request.
    pub on_error: OnError,
}

/// What makes another request of one.
#[derive(Clone, Debug)]
pub enum Transform {
    /// A jq program over the request object.
    Jq {
        /// What it is called in messages, such as its file's name.
        name: String,
        /// The program.
        source: String,
    },
    /// The built-in one that takes mapping types out (`type-mapping`).
    TypeMapping(TypeMapping),
}

/// What becomes of the `Host` field.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Host {
    /// It stays as it was captured.
    #[default]
    Keep,
    /// It names the target: `name` or `name:port`. Added where it is missing in HTTP/1.1, which demands it (RFC 9112
    /// section 3.2); HTTP/1.0 does without.
    Target(String),
}

/// What becomes of the `Authorization` field.
#[derive(Clone, Default, PartialEq, Eq)]
pub enum Auth {
    /// It stays as it was captured.
    #[default]
    Keep,
    /// It is taken out.
    Remove,
    /// It becomes this value.
    Header(String),
    /// It becomes that of the basic scheme (RFC 7617).
    Basic {
        /// The user, without a colon.
        user: String,
        /// The password.
        password: String,
    },
    /// Requests are signed for one of Amazon's services.
    SigV4 {
        /// The service's name in signatures: `es`, or `aoss` for the serverless one.
        service: String,
        /// The region, such as `us-east-1`.
        region: String,
    },
}

impl fmt::Debug for Auth {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Keep => f.write_str("Keep"),
            Self::Remove => f.write_str("Remove"),
            Self::Header(_) => f.write_str("Header(hidden)"),
            Self::Basic { user, .. } => write!(f, "Basic {{ user: {user:?}, password: hidden }}"),
            Self::SigV4 { service, region } => write!(f, "SigV4 {{ {service}, {region} }}"),
        }
    }
}

/// What a program's failure does to its request. Either way it is counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnError {
    /// It goes out as if there were no transforms; header fields and credentials are still those of the target.
    #[default]
    SendOriginal,
    /// It is put aside.
    Quarantine,
}

/// Is the field one that says where the body ends? Those follow the body and no wish.
pub(super) fn is_framing(name: &[u8]) -> bool {
    name.eq_ignore_ascii_case(b"content-length") || name.eq_ignore_ascii_case(b"transfer-encoding")
}
