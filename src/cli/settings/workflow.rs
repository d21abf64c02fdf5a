//! The names of the Migration Assistant's workflow, as far as they are not names of its programs.

use super::file::{Item, Value};

/// Flags and their values; none: a switch.
type Settings = Vec<(&'static str, Vec<String>)>;

/// Names that only the workflow has, and those it writes in another way than the programs.
pub(super) const NAMES: [&str; 12] = [
    "listenPort",
    "tls",
    "setHeader",
    "speedupFactor",
    "removeAuthHeader",
    "authHeaderOverride",
    "authConfig",
    "nonRetryableDocExceptionTypes",
    "dependsOnSnapshotMigrations",
    "podReplicas",
    "internetFacing",
    "resources",
];

/// True for a key of ours with a value in the workflow's words.
pub(super) fn is_other(item: &Item) -> bool {
    item.key == "tls"
        && match &item.value {
            Value::Text(text) => matches!(text.as_str(), "plaintext" | "selfSigned"),
            Value::Tables(_) => true,
            _ => false,
        }
}

/// What must not stand together; the line and why.
pub(super) fn check(items: &[Item]) -> Result<(), (usize, String)> {
    let find = |key: &str| items.iter().find(|item| item.key == key);
    let removes = find("removeAuthHeader").filter(|item| item.value != Value::Flag(false));
    for other in ["authConfig", "authHeaderOverride"] {
        if let (Some(_), Some(item)) = (removes, find(other)) {
            let why = format!(
                "{other} and removeAuthHeader are two ways of authentication at once: leave out one of them"
            );
            return Err((item.line, why));
        }
    }
    Ok(())
}

/// What an item stands for; `None` when it is no name of the workflow's own.
pub(super) fn translate(subcommand: &str, item: &Item) -> Option<Result<Settings, String>> {
    let orchestrator = |what: &str| Some(Err(format!("it belongs to an orchestrator: {what}")));
    match (subcommand, item.key.as_str()) {
        (_, "podReplicas") => orchestrator(
            "start tapline on so many hosts instead; captures write to one topic, and replayers share a group",
        ),
        (_, "internetFacing") => orchestrator(
            "give the load balancer its addresses, and tapline the ones to listen on with `listen`",
        ),
        (_, "resources") => {
            orchestrator("set limits in the unit or the container, and `capture-memory`")
        }
        ("capture", "tls") => Some(tls(&item.value)),
        ("capture", "setHeader") => Some(headers(&item.value)),
        ("replay", "authHeaderOverride") => Some(match &item.value {
            Value::Text(value) => Ok(vec![("auth-header", vec![value.clone()])]),
            _ => Err("it is the value of the Authorization header, as text".into()),
        }),
        ("replay", "authConfig") => Some(auth(&item.value)),
        ("replay", "dependsOnSnapshotMigrations") => Some(snapshots(&item.value)),
        _ => None,
    }
}

/// `selfSigned`, `plaintext`, or a table with `mode`.
fn tls(value: &Value) -> Result<Settings, String> {
    let help = "write \"self-signed\", \"plaintext\" or \"files\"";
    let mode = match value {
        Value::Text(text) => text.clone(),
        Value::Tables(tables) => {
            text(tables.first().map_or(&[][..], Vec::as_slice), "mode").ok_or(help)?
        }
        _ => return Err(help.into()),
    };
    match mode.as_str() {
        "plaintext" | "off" => Ok(vec![("tls", vec!["off".into()])]),
        "selfSigned" | "self-signed" => Ok(vec![("tls", vec!["self-signed".into()])]),
        "files" => Ok(vec![("tls", vec!["files".into()])]),
        _ => Err(help.into()),
    }
}

/// `["Host: source.example.com"]`.
fn headers(value: &Value) -> Result<Settings, String> {
    let lines = match value {
        Value::Text(line) => vec![line.clone()],
        Value::List(lines) => lines.clone(),
        _ => return Err("write a list, as [\"Host: source.example.com\"]".into()),
    };
    match lines.iter().find(|line| !line.contains(':')) {
        Some(line) => Err(format!("'{line}' has no colon; write \"Name: value\"")),
        None => Ok(vec![("set-header", lines)]),
    }
}

/// `{ sigv4 = { region, service } }`; secrets are named by file.
fn auth(value: &Value) -> Result<Settings, String> {
    let help = "write { sigv4 = { service = \"es\", region = \"us-east-1\" } }, or auth-user and auth-password-file";
    let Value::Tables(tables) = value else { return Err(help.into()) };
    let [kind] = tables.first().map_or(&[][..], Vec::as_slice) else { return Err(help.into()) };
    let Value::Tables(inner) = &kind.value else { return Err(help.into()) };
    let inner = inner.first().map_or(&[][..], Vec::as_slice);
    match kind.key.as_str() {
        "sigv4" => {
            let region = text(inner, "region").ok_or("sigv4 needs a region")?;
            let service = text(inner, "service").unwrap_or_else(|| "es".into());
            Ok(vec![("sigv4", vec![format!("{service},{region}")])])
        }
        "basic" => {
            Err("a secret of Kubernetes cannot be read here: mount it, and set auth-user and \
                        auth-password-file"
                .into())
        }
        "mtls" => Err("set target-ca, target-cert and target-key".into()),
        _ => Err(help.into()),
    }
}

/// `["repo/snapshot"]`, or tables with `repository` and `snapshot`.
fn snapshots(value: &Value) -> Result<Settings, String> {
    let help = "name repository and snapshot: [{ repository = \"repo\", snapshot = \"snap1\" }], or [\"repo/snap1\"]";
    let names: Vec<String> = match value {
        Value::List(names) => names.clone(),
        Value::Tables(tables) => {
            let one = |table: &Vec<Item>| {
                let repository = text(table, "repository").or_else(|| text(table, "repoName"))?;
                Some(format!("{repository}/{}", text(table, "snapshot")?))
            };
            tables.iter().map(one).collect::<Option<_>>().ok_or(help)?
        }
        _ => return Err(help.into()),
    };
    Ok(vec![("start-after", names.into_iter().map(|name| format!("snapshot:{name}")).collect())])
}

fn text(items: &[Item], key: &str) -> Option<String> {
    items.iter().find(|item| item.key == key).and_then(|item| match &item.value {
        Value::Text(text) => Some(text.clone()),
        _ => None,
    })
}
