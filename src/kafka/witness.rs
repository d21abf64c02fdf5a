//! What a client of librdkafka complains of: kept until somebody asks, counted by code.
//!
//! Of the many words for one trouble the telling one is kept: that the password was refused, not that all brokers are
//! down in consequence.

use std::{
    collections::BTreeMap,
    error::Error,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use rdkafka::{
    ClientContext,
    client::OAuthToken,
    config::RDKafkaLogLevel,
    consumer::ConsumerContext,
    error::KafkaError,
    producer::{DeliveryResult, ProducerContext},
    types::RDKafkaErrorCode,
};

use super::{
    login::Login,
    trouble::{Kind, Trouble, error_name},
};

/// The context of a client, or a part of it.
#[derive(Debug)]
pub struct Witness {
    login: Arc<Login>,
    heard: Mutex<Heard>,
}

#[derive(Debug, Default)]
struct Heard {
    trouble: Option<(Trouble, Instant)>,
    /// Something was heard since the last question for news.
    is_news: bool,
    /// The brokers have refused us since the last question for it.
    is_refused: bool,
    /// When somebody was last told so.
    asked: Option<Instant>,
    /// What is in the log only: said when there is nothing more telling.
    logged: Option<Trouble>,
    counts: BTreeMap<String, u64>,
}

impl Witness {
    pub(super) fn new(login: Arc<Login>) -> Self {
        Self { login, heard: Mutex::default() }
    }

    /// What is wrong, as far as it was heard.
    pub fn last(&self) -> Option<Trouble> {
        let heard = self.heard();
        let trouble = heard.trouble.as_ref().map(|(trouble, _)| trouble);
        // Some reasons are told to the log alone.
        let logged = heard.logged.as_ref();
        let telling = logged.filter(|_| trouble.is_none_or(|trouble| !trouble.is_specific()));
        telling.filter(|logged| logged.is_specific()).or(trouble).or(logged).cloned()
    }

    /// The same, if something was heard since this was last asked.
    pub fn news(&self) -> Option<Trouble> {
        let is_news = std::mem::take(&mut self.heard().is_news);
        if is_news { self.last() } else { None }
    }

    /// Whether the brokers have refused user and password since this was last asked. True again every second until
    /// [`Witness::forget`]: librdkafka tells a reason once and then keeps to itself that it lasts.
    pub fn was_refused(&self) -> bool {
        let mut heard = self.heard();
        let lasts = heard.trouble.as_ref().is_some_and(|(trouble, _)| trouble.kind == Kind::Login);
        let due = heard.asked.is_none_or(|asked| asked.elapsed() >= REFUSED_PAUSE);
        let refused = std::mem::take(&mut heard.is_refused) || (lasts && due);
        if refused {
            heard.asked = Some(Instant::now());
        }
        refused
    }

    /// Something that the client did not say by itself.
    pub fn note(&self, said: &str) {
        self.heard().hear(None, Trouble::of(None, said));
    }

    /// Something that was found out for the client.
    pub fn found(&self, trouble: Trouble) {
        self.heard().hear(None, trouble);
    }

    /// The brokers have let us in: what was heard before is over.
    pub fn forget(&self) {
        let mut heard = self.heard();
        (heard.trouble, heard.logged, heard.is_news) = (None, None, false);
    }

    /// Errors by code since this was last asked.
    pub fn take_counts(&self) -> BTreeMap<String, u64> {
        std::mem::take(&mut self.heard().counts)
    }

    fn heard(&self) -> MutexGuard<'_, Heard> {
        self.heard.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Heard {
    fn hear(&mut self, code: Option<RDKafkaErrorCode>, trouble: Trouble) {
        self.is_news = true;
        self.is_refused |= trouble.kind == Kind::Login;
        let after = code == Some(RDKafkaErrorCode::AllBrokersDown);
        let older = self.trouble.as_ref().is_some_and(|(known, at)| {
            known.is_specific() && (after || at.elapsed() < TELLING)
                || (after && !known.is_specific())
        });
        if trouble.is_specific() || !older {
            self.trouble = Some((trouble, Instant::now()));
        }
    }
}

impl ClientContext for Witness {
    const ENABLE_REFRESH_OAUTH_TOKEN: bool = true;

    fn log(&self, level: RDKafkaLogLevel, facility: &str, text: &str) {
        tracing::debug!(event = "kafka.log", ?level, facility, "{text}");
        if level as u8 <= RDKafkaLogLevel::Error as u8 {
            self.heard().logged = Some(Trouble::of(None, text));
        }
    }

    fn error(&self, error: KafkaError, reason: &str) {
        let code = error.rdkafka_error_code();
        // Comes by here as well, and is no error.
        if code == Some(RDKafkaErrorCode::PartitionEOF) {
            return;
        }
        let mut heard = self.heard();
        if let Some(code) = code {
            *heard.counts.entry(error_name(code)).or_default() += 1;
        }
        heard.hear(code, Trouble::of(code, reason));
    }

    fn generate_oauth_token(&self, _: Option<&str>) -> Result<OAuthToken, Box<dyn Error>> {
        self.login.token()
    }
}

impl AsRef<Self> for Witness {
    fn as_ref(&self) -> &Self {
        self
    }
}

impl ConsumerContext for Witness {}

impl ProducerContext for Witness {
    type DeliveryOpaque = ();

    fn delivery(&self, _: &DeliveryResult<'_>, (): ()) {}
}

const REFUSED_PAUSE: Duration = Duration::from_secs(1);
/// For so long a telling complaint stands before others that may be its consequences.
const TELLING: Duration = Duration::from_secs(30);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_telling_complaint_stands_until_it_is_over() {
        let witness = Witness::new(Arc::new(Login::properties()));
        let hear = |code, text| witness.error(KafkaError::Global(code), text);
        hear(RDKafkaErrorCode::AllBrokersDown, "1/1 brokers are down");
        assert_eq!(witness.last().map(|trouble| trouble.kind), Some(Kind::Reach));
        hear(RDKafkaErrorCode::Authentication, "SASL authentication error: refused");
        hear(RDKafkaErrorCode::BrokerTransportFailure, "Disconnected");
        hear(RDKafkaErrorCode::AllBrokersDown, "1/1 brokers are down");
        assert!(witness.was_refused() && !witness.was_refused());
        let said = witness.news().expect("news").to_string();
        assert!(said.contains("--kafka-password-file") && said.contains("refused"), "{said}");
        assert_eq!(witness.news(), None);
        let counts = witness.take_counts();
        assert_eq!((counts["all_brokers_down"], counts["authentication"]), (2, 1), "{counts:?}");
        witness.forget();
        assert_eq!(witness.last(), None);
    }
}
