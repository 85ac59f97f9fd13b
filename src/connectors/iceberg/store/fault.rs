//! What can be wrong with a store of files, told so that a person can act on it.

use std::error::Error as StdError;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use object_store::client::{HttpError, HttpErrorKind};
use strandline_operators::{Error, ErrorKind};

/// How much of a server's text is shown.
const SHOWN_CHARS: usize = 300;

/// Why a file could not be written, read, listed or deleted.
#[derive(Clone, Debug)]
pub(in super::super) struct Fault {
    kind: ErrorKind,
    why: String,
    hint: Option<String>,
}

impl Fault {
    /// A fault of this kind.
    pub(super) fn new(kind: ErrorKind, why: impl Into<String>) -> Fault {
        Fault {
            kind,
            why: why.into(),
            hint: None,
        }
    }

    pub(super) fn hint(mut self, hint: impl Into<String>) -> Fault {
        self.hint = Some(hint.into());
        self
    }

    /// The error for what could not be done; `hint` where the fault itself knows no next step.
    pub(in super::super) fn explain(self, what: impl fmt::Display, hint: &str) -> Error {
        let hint = self.hint.unwrap_or_else(|| hint.to_owned());
        Error::new(self.kind, format!("{what}: {}", self.why)).hint(hint)
    }

    /// The fault that a library's error comes from.
    pub(in super::super) fn within<'a>(error: &'a (dyn StdError + 'static)) -> Option<&'a Fault> {
        causes(error).find_map(|cause| cause.downcast_ref())
    }

    /// Whether trying again may help.
    pub(in super::super) fn may_pass(&self) -> bool {
        self.kind == ErrorKind::Unreachable
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.why)
    }
}

impl StdError for Fault {}

/// On this machine's disk.
impl From<std::io::Error> for Fault {
    fn from(error: std::io::Error) -> Fault {
        match Fault::within(&error) {
            Some(fault) => fault.clone(),
            None => Fault::new(ErrorKind::Unreachable, error.to_string()),
        }
    }
}

/// An error and its causes. Those within `io::Error`, which it leaves out of its own chain, too.
fn causes<'a>(
    error: &'a (dyn StdError + 'static),
) -> impl Iterator<Item = &'a (dyn StdError + 'static)> {
    std::iter::successors(Some(error), |&error| cause_of(error))
}

fn cause_of<'a>(error: &'a (dyn StdError + 'static)) -> Option<&'a (dyn StdError + 'static)> {
    match error.downcast_ref::<std::io::Error>() {
        Some(io) => io.get_ref().map(|inner| inner as &(dyn StdError + 'static)),
        None => error.source(),
    }
}

/// A bucket, as messages name it.
#[derive(Clone, Debug)]
pub(super) struct Named {
    pub bucket: String,
    /// The endpoint, or the region of AWS.
    pub at: String,
    /// Whether credentials come from the machine, because nobody gave any.
    pub asks_machine: bool,
    /// Whether credentials end at some time, and a new start gets others.
    pub is_temporary: bool,
    /// Whether it has ever done what we asked. What was right once is not wrong for good.
    pub has_answered: Arc<AtomicBool>,
}

impl Named {
    /// What the object store's client says, as a fault.
    pub(super) fn fault(&self, error: &object_store::Error) -> Fault {
        let Named { bucket, at, .. } = self;
        let text = error.to_string();
        let has_answered = self.has_answered.load(Ordering::Relaxed);
        if self.asks_machine && MACHINE_ASKED.iter().any(|path| text.contains(path)) {
            if has_answered {
                let why = format!(
                    "cannot get new credentials for bucket `{bucket}`: {}",
                    deepest(error)
                );
                return Fault::new(ErrorKind::Unreachable, why)
                    .hint("see that this machine's metadata service can be reached");
            }
            return Fault::new(
                ErrorKind::Configuration,
                format!("there are no credentials for bucket `{bucket}`: none are configured, and this machine has none"),
            )
            .hint(GIVE_CREDENTIALS);
        }
        if let Some(http) = causes(error).find_map(|cause| cause.downcast_ref::<HttpError>()) {
            let how = match http.kind() {
                HttpErrorKind::Timeout => "gives no answer",
                _ => "cannot be reached",
            };
            let why = deepest(http);
            return Fault::new(
                ErrorKind::Unreachable,
                format!("the object store of bucket `{bucket}`, {at}, {how}: {why}"),
            )
            .hint("see that it is up and can be reached from here, and that `s3.endpoint` in `catalog.properties` is its address");
        }
        let code = element(&text, "Code").unwrap_or_default();
        let said = element(&text, "Message").map_or_else(|| deepest(error), plain);
        let said: String = said.chars().take(SHOWN_CHARS).collect();
        let configuration = |why: String| Fault::new(ErrorKind::Configuration, why);
        let is_refused = REFUSED_KEYS.contains(&code) || is_denied(error);
        match code {
            _ if is_refused && self.is_temporary && has_answered => Fault::new(
                ErrorKind::Unreachable,
                format!("the credentials for bucket `{bucket}` have run out, or are not taken any more: {}", shortened(code, &said)),
            )
            .hint("start the job again, it asks for new ones"),
            "NoSuchBucket" => configuration(format!("bucket `{bucket}` does not exist at {at}"))
                .hint("create the bucket, or let `catalog.warehouse` name one that is there"),
            code if REFUSED_KEYS.contains(&code) => configuration(format!(
                "the object store of bucket `{bucket}`, {at}, refuses our credentials: {code}: {said}"
            ))
            .hint(GIVE_CREDENTIALS),
            "ExpiredToken" => Fault::new(
                ErrorKind::Unreachable,
                format!("the credentials for bucket `{bucket}` have run out: {said}"),
            )
            .hint("start the job again, it asks for new ones; give it credentials that last if they come from a file"),
            "RequestTimeTooSkewed" => configuration(format!(
                "this machine's clock is too far from that of the object store of bucket `{bucket}`: {said}"
            ))
            .hint("set the clock"),
            "PermanentRedirect" | "AuthorizationHeaderMalformed" | "TemporaryRedirect" => {
                self.elsewhere(&said)
            }
            _ if text.contains("301 Moved") || text.contains("redirect without LOCATION") => {
                self.elsewhere("it answers that the bucket is elsewhere")
            }
            _ if is_denied(error) => {
                let said = if code.is_empty() { "403 Forbidden" } else { &said };
                configuration(format!("access to bucket `{bucket}` at {at} is denied: {said}"))
                    .hint("the job needs s3:GetObject, s3:PutObject, s3:DeleteObject, s3:AbortMultipartUpload and s3:ListBucket there")
            }
            _ => Fault::new(
                ErrorKind::Unreachable,
                format!("the object store of bucket `{bucket}`, {at}, answered {}", shortened(code, &said)),
            ),
        }
    }

    fn elsewhere(&self, said: &str) -> Fault {
        let Named { bucket, at, .. } = self;
        Fault::new(
            ErrorKind::Configuration,
            format!("bucket `{bucket}` is not in the region that was asked, {at}: {said}"),
        )
        .hint("set `s3.region` in `catalog.properties` to the bucket's region")
    }
}

/// What is said of keys and tokens that are not taken. Versity's gateway has the second for the first.
const REFUSED_KEYS: [&str; 4] = [
    "InvalidAccessKeyId",
    "XAdminUserNotFound",
    "SignatureDoesNotMatch",
    "InvalidToken",
];

/// Where the machine is asked for credentials.
const MACHINE_ASKED: [&str; 2] = ["/latest/api/token", "/latest/meta-data/iam/"];

const GIVE_CREDENTIALS: &str = "set `s3.access-key-id` and `s3.secret-access-key` in `catalog.properties`, or \
     AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY in the environment";

fn is_denied(error: &object_store::Error) -> bool {
    use object_store::Error::{PermissionDenied, Unauthenticated};
    matches!(error, PermissionDenied { .. } | Unauthenticated { .. })
}

fn shortened(code: &str, said: &str) -> String {
    match code {
        "" => said.to_owned(),
        code => format!("{code}: {said}"),
    }
}

/// Text of a document, without its escapes.
fn plain(text: &str) -> String {
    let escapes = [
        ("&#34;", "\""),
        ("&quot;", "\""),
        ("&#39;", "'"),
        ("&apos;", "'"),
        ("&lt;", "<"),
        ("&gt;", ">"),
    ];
    let text = escapes.iter().fold(text.to_owned(), |text, (escaped, c)| {
        text.replace(escaped, c)
    });
    // Last, for it may be part of another one's text.
    text.replace("&amp;", "&")
}

/// The text of an element of S3's error document.
fn element<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    let (_, rest) = text.split_once(&format!("<{name}>"))?;
    let (content, _) = rest.split_once(&format!("</{name}>"))?;
    Some(content)
}

/// The text of the last cause, which is the one that says what happened: "Connection refused".
fn deepest(error: &(dyn StdError + 'static)) -> String {
    causes(error).last().unwrap_or(error).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(asks_machine: bool) -> Named {
        Named {
            bucket: "lake".to_owned(),
            at: "`http://s3:9000`".to_owned(),
            asks_machine,
            is_temporary: asks_machine,
            has_answered: Arc::default(),
        }
    }

    fn answer(text: &str) -> object_store::Error {
        object_store::Error::Generic {
            store: "S3",
            source: text.into(),
        }
    }

    fn document(code: &str) -> String {
        format!("403: <?xml?><Error><Code>{code}</Code><Message>as it says</Message></Error>")
    }

    #[test]
    fn every_cause_has_its_own_message_and_next_step() {
        for (code, kind, why, hint) in [
            (
                "NoSuchBucket",
                ErrorKind::Configuration,
                "does not exist",
                "create the bucket",
            ),
            (
                "InvalidAccessKeyId",
                ErrorKind::Configuration,
                "refuses our credentials",
                "s3.access-key-id",
            ),
            (
                "SignatureDoesNotMatch",
                ErrorKind::Configuration,
                "refuses our credentials",
                "s3.secret-access-key",
            ),
            (
                "ExpiredToken",
                ErrorKind::Unreachable,
                "have run out",
                "start the job again",
            ),
            (
                "AuthorizationHeaderMalformed",
                ErrorKind::Configuration,
                "region",
                "s3.region",
            ),
            (
                "SlowDown",
                ErrorKind::Unreachable,
                "SlowDown: as it says",
                "the usual",
            ),
        ] {
            let error = named(false)
                .fault(&answer(&document(code)))
                .explain("cannot write", "the usual");
            let text = error.to_string();
            assert_eq!(error.kind(), kind, "{text}");
            assert!(text.contains("`lake`"), "{text}");
            assert!(text.contains(why) && text.contains(hint), "{text}");
        }
    }

    #[test]
    fn a_machine_without_credentials_is_told_from_a_store_that_is_away() {
        let error = answer("Error performing PUT http://169.254.169.254/latest/api/token in 2s");
        let text = named(true).fault(&error).to_string();
        assert!(text.contains("no credentials"), "{text}");
        let text = named(false).fault(&error).to_string();
        assert!(!text.contains("no credentials"), "{text}");
        // A key of the warehouse's may have any name.
        let error = answer("Error performing PUT http://s3/lake/latest/data/a.parquet in 2s");
        let text = named(true).fault(&error).to_string();
        assert!(!text.contains("no credentials"), "{text}");
    }

    #[test]
    fn what_was_right_once_is_not_wrong_for_good() {
        let asked = answer("Error performing PUT http://169.254.169.254/latest/api/token in 2s");
        let denied = || object_store::Error::PermissionDenied {
            path: "a".to_owned(),
            source: "403 Forbidden".into(),
        };
        for (is_temporary, has_answered, may_pass) in [
            (true, true, true),
            (true, false, false),
            (false, true, false),
        ] {
            let named = named(is_temporary);
            named.has_answered.store(has_answered, Ordering::Relaxed);
            let refused = answer(&document("InvalidAccessKeyId"));
            assert_eq!(named.fault(&refused).may_pass(), may_pass);
            assert_eq!(named.fault(&denied()).may_pass(), may_pass);
            if is_temporary {
                assert_eq!(named.fault(&asked).may_pass(), may_pass);
            }
        }
    }

    #[test]
    fn what_is_no_object_store_is_told_in_a_few_words() {
        let cause = std::io::Error::other("Server returned non-2xx status code: 404 Not Found: ");
        let error = object_store::Error::NotFound {
            path: "a/long/key".to_owned(),
            source: Box::new(cause),
        };
        let text = named(false).fault(&error).to_string();
        assert!(
            text.contains("404") && !text.contains("a/long/key"),
            "{text}"
        );
        assert_eq!(plain("&#34;a&#34; &amp;lt; b"), "\"a\" &lt; b");
    }

    #[test]
    fn a_fault_is_found_again_within_the_errors_of_libraries() {
        let fault = Fault::new(ErrorKind::Configuration, "why");
        let io = std::io::Error::other(fault);
        let parquet = parquet::errors::ParquetError::from(io);
        let found = Fault::within(&parquet).expect("within");
        assert!(!found.may_pass());
        let source = Fault::new(ErrorKind::Unreachable, "why");
        let iceberg =
            iceberg::Error::new(iceberg::ErrorKind::Unexpected, "what").with_source(source);
        assert!(Fault::within(&iceberg).expect("within").may_pass());
    }
}
