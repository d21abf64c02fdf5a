//! The pages, and what a process has to tell for them.

use std::{sync::Arc, time::Duration};

use axum::{
    Router,
    extract::State,
    http::{StatusCode, header::CONTENT_TYPE},
    response::{IntoResponse, Response},
    routing::get,
};
use serde_json::{Value, json};

use super::{
    exposition::{self, Exposition},
    readiness::Verdict,
};

/// A process that can be asked. Every call reads what others published, and returns at once.
pub trait Subject: Send + Sync + 'static {
    /// The loops that must turn.
    fn loops(&self) -> Vec<Loop>;
    /// Wakes the loops, so that one that sleeps because there is nothing to do turns once.
    fn nudge(&self);
    /// The verdict, and its causes as JSON.
    fn readiness(&self) -> (Verdict, Value);
    /// All metrics now.
    fn measure(&self) -> Exposition;
    /// What people want to know.
    fn status(&self) -> Value;
    /// The settings in effect, secrets hidden.
    fn config(&self) -> Value;
}

/// A loop and how often it has turned.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Loop {
    /// As `worker-0`.
    pub name: String,
    /// Turns so far.
    pub turns: u64,
    /// It has ended in order and need not turn any more.
    pub ended: bool,
}

type Shared = State<Arc<dyn Subject>>;

/// How long a loop may take for a turn before it counts as stuck.
const TURN_PATIENCE: Duration = Duration::from_secs(2);
/// How often it is looked whether all have turned.
const TURN_LOOK: Duration = Duration::from_millis(5);

pub(super) fn router(subject: Arc<dyn Subject>) -> Router {
    Router::new()
        .route("/", get(index))
        .route("/livez", get(livez))
        .route("/readyz", get(readyz))
        .route("/startupz", get(|| async { "started\n" }))
        .route("/metrics", get(metrics))
        .route("/status", get(|State(subject): Shared| async move { page(&subject.status()) }))
        .route("/config", get(|State(subject): Shared| async move { page(&subject.config()) }))
        .route("/version", get(|| async { page(&version()) }))
        .fallback(|| async { (StatusCode::NOT_FOUND, INDEX) })
        .method_not_allowed_fallback(|| async {
            (StatusCode::METHOD_NOT_ALLOWED, "this endpoint only tells: use GET\n")
        })
        .with_state(subject)
}

const INDEX: &str = "/livez /readyz /startupz /metrics /status /config /version\n";

async fn index() -> &'static str {
    INDEX
}

async fn livez(State(subject): Shared) -> Response {
    let stuck = stuck(&*subject).await;
    if stuck.is_empty() {
        return "alive\n".into_response();
    }
    let text = format!(
        "these loops have not turned for {} s: {}\n",
        TURN_PATIENCE.as_secs(),
        stuck.join(", ")
    );
    (StatusCode::SERVICE_UNAVAILABLE, text).into_response()
}

/// The loops that do not turn although they were woken.
async fn stuck(subject: &dyn Subject) -> Vec<String> {
    let before = subject.loops();
    subject.nudge();
    let deadline = tokio::time::Instant::now() + TURN_PATIENCE;
    loop {
        let stuck: Vec<String> = subject
            .loops()
            .into_iter()
            .zip(&before)
            .filter(|(now, before)| !now.ended && now.turns == before.turns)
            .map(|(now, _)| now.name)
            .collect();
        if stuck.is_empty() || tokio::time::Instant::now() >= deadline {
            return stuck;
        }
        tokio::time::sleep(TURN_LOOK).await;
    }
}

async fn readyz(State(subject): Shared) -> Response {
    let (verdict, causes) = subject.readiness();
    let status = match verdict {
        Verdict::Ready | Verdict::Degraded => StatusCode::OK,
        Verdict::Unready => StatusCode::SERVICE_UNAVAILABLE,
    };
    (status, page(&causes)).into_response()
}

async fn metrics(State(subject): Shared) -> Response {
    ([(CONTENT_TYPE, exposition::CONTENT_TYPE)], subject.measure().text()).into_response()
}

/// What was built.
pub(super) fn version() -> Value {
    json!({
        "name": env!("CARGO_PKG_NAME"),
        "version": env!("CARGO_PKG_VERSION"),
        "target": format!("{}-{}", std::env::consts::ARCH, std::env::consts::OS),
        "debug_assertions": cfg!(debug_assertions),
    })
}

fn page(value: &Value) -> Response {
    ([(CONTENT_TYPE, "application/json")], format!("{value:#}\n")).into_response()
}
