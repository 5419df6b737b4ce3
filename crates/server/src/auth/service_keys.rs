//! The keys that backends show to `/api/presence`. Several may be in force at once, so that one can
//! be replaced without an interruption. Knows a file and how keys are compared; never shows a key.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use super::Secret;
use super::following::{self, Following};
use crate::files::{self, FileError};

/// The keys in force. A clone speaks of the same ones.
#[derive(Clone, Debug, Default)]
pub struct ServiceKeys {
    in_force: Arc<RwLock<Arc<[Secret]>>>,
    file: Option<Arc<Path>>,
}

/// The keys of one moment.
#[derive(Clone, Debug)]
pub(crate) struct KeysInForce(Arc<[Secret]>);

/// A key that is made for one run of the development server. Unlike all others it may be shown.
#[derive(Clone)]
pub struct RunKey(Box<str>);

/// Why keys cannot be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ServiceKeysError {
    /// There is none.
    Empty,
    /// There are more than [`MAX_SERVICE_KEYS`].
    TooMany,
    /// A key can be guessed.
    Short {
        /// Its line, from 1.
        line: usize,
        /// How many bytes it has.
        bytes: usize,
    },
    /// A key cannot stand in a header.
    NotVisible {
        /// Its line, from 1.
        line: usize,
    },
    /// The file cannot be read.
    Unreadable {
        /// Which file.
        path: PathBuf,
        /// Why.
        reason: FileError,
    },
}

/// A shorter key could be guessed by asking.
pub const MIN_SERVICE_KEY_BYTES: usize = 32;

/// Two are in force while one is replaced by another.
pub const MAX_SERVICE_KEYS: usize = 16;

/// A longer file holds something else.
const MAX_FILE_BYTES: usize = 64 * 1024;

/// How long a key that was taken out of the file is still accepted at most, beside the time that
/// reading takes.
const FOLLOW_INTERVAL: Duration = Duration::from_secs(1);

impl RunKey {
    /// One that nobody can guess.
    pub fn random() -> io::Result<Self> {
        let mut bytes = [0; MIN_SERVICE_KEY_BYTES];
        getrandom::fill(&mut bytes)?;
        Ok(Self(URL_SAFE_NO_PAD.encode(bytes).into()))
    }

    /// What a backend shows.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Itself as the only key in force.
    pub fn alone(&self) -> ServiceKeys {
        ServiceKeys::parse(self.0.as_bytes()).expect("it is long enough and ASCII")
    }
}

impl fmt::Debug for RunKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("RunKey")
    }
}

impl ServiceKeys {
    /// One key a line. Empty lines and the white space around a key are not looked at.
    pub fn parse(text: &[u8]) -> Result<Self, ServiceKeysError> {
        Ok(Self { in_force: Arc::new(RwLock::new(parse(text)?)), file: None })
    }

    /// From a file, which [`Self::follow`] reads again.
    pub fn open(path: &Path) -> Result<Self, ServiceKeysError> {
        let keys = Self::parse(&read(path)?)?;
        Ok(Self { file: Some(path.into()), ..keys })
    }

    /// Whether no backend can be let in.
    pub fn is_empty(&self) -> bool {
        self.count() == 0
    }

    /// How many are in force.
    pub fn count(&self) -> usize {
        self.current().len()
    }

    /// Whether this is one of them. Takes as long for a guess that is nearly right as for any
    /// other, and as long for the first key as for the last.
    pub fn admit(&self, shown: &[u8]) -> bool {
        self.current().iter().fold(false, |is_known, key| is_known | key.is(shown))
    }

    /// Reads their file again and again, and puts in force what it then holds. A file that has
    /// become wrong changes nothing and is logged once.
    pub fn follow(&self) -> io::Result<Option<Following>> {
        let Some(path) = self.file.clone() else { return Ok(None) };
        let keys = self.clone();
        let mut seen: Option<Result<Vec<u8>, ServiceKeysError>> = None;
        let look = move || {
            // Dates miss what changes within one tick or is put in place with an old one.
            let now = read(&path);
            if seen.as_ref() == Some(&now) {
                return;
            }
            let parsed = now.clone().and_then(|text| parse(&text));
            seen = Some(now);
            match parsed {
                Ok(parsed) => keys.replace(parsed),
                Err(error) => tracing::error!("the service keys stay as they were: {error}"),
            }
        };
        following::every(FOLLOW_INTERVAL, "service-keys", look).map(Some)
    }

    /// Those that are in force now, to be compared later.
    pub(crate) fn in_force(&self) -> KeysInForce {
        KeysInForce(self.current())
    }

    /// Whether they still are.
    pub(crate) fn are_in_force(&self, keys: &KeysInForce) -> bool {
        Arc::ptr_eq(&self.current(), &keys.0)
    }

    fn replace(&self, keys: Arc<[Secret]>) {
        let mut in_force = self.in_force.write().unwrap_or_else(PoisonError::into_inner);
        if *in_force != keys {
            tracing::info!(keys = keys.len(), "service keys read again");
            *in_force = keys;
        }
    }

    fn current(&self) -> Arc<[Secret]> {
        Arc::clone(&self.in_force.read().unwrap_or_else(PoisonError::into_inner))
    }
}

fn read(path: &Path) -> Result<Vec<u8>, ServiceKeysError> {
    files::read(path, MAX_FILE_BYTES)
        .map_err(|reason| ServiceKeysError::Unreadable { path: path.into(), reason })
}

fn parse(text: &[u8]) -> Result<Arc<[Secret]>, ServiceKeysError> {
    let mut keys = Vec::new();
    for (line, key) in (1..).zip(text.split(|byte| *byte == b'\n')) {
        let key = key.trim_ascii();
        if key.is_empty() {
            continue;
        }
        if !key.iter().all(u8::is_ascii_graphic) {
            return Err(ServiceKeysError::NotVisible { line });
        }
        if key.len() < MIN_SERVICE_KEY_BYTES {
            return Err(ServiceKeysError::Short { line, bytes: key.len() });
        }
        keys.extend(Secret::new(key));
    }
    match keys.len() {
        0 => Err(ServiceKeysError::Empty),
        1..=MAX_SERVICE_KEYS => Ok(keys.into()),
        _ => Err(ServiceKeysError::TooMany),
    }
}

impl fmt::Display for ServiceKeysError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => f.write_str("there is no key in it")?,
            Self::TooMany => write!(f, "there are more than {MAX_SERVICE_KEYS} keys in it")?,
            Self::Short { line, bytes } => write!(f, "the key in line {line} has {bytes} bytes")?,
            Self::NotVisible { line } => write!(
                f,
                "line {line} has other than visible ASCII characters, which no header can carry"
            )?,
            Self::Unreadable { path, reason } => {
                return write!(f, "{} cannot be read: {reason}", path.display());
            }
        }
        write!(
            f,
            "; write one key a line, each of {MIN_SERVICE_KEY_BYTES} or more bytes \
             (`openssl rand -base64 32` makes one)"
        )
    }
}

impl std::error::Error for ServiceKeysError {}

#[cfg(test)]
mod tests {
    use super::*;

    const OLD: &str = "an-old-key-that-has-32-characters";
    const NEW: &str = "a-new-key-that-has-32-characters-";

    #[test]
    fn each_line_is_a_key_and_nothing_else_is() {
        let keys = ServiceKeys::parse(format!("\n{OLD}\r\n\n  {NEW}  \n").as_bytes());
        let keys = keys.expect("two keys");
        assert_eq!(keys.count(), 2);
        assert!(keys.admit(OLD.as_bytes()) && keys.admit(NEW.as_bytes()));
        for wrong in ["", &OLD[1..], &NEW[..NEW.len() - 1], &format!("{OLD}\n{NEW}")] {
            assert!(!keys.admit(wrong.as_bytes()), "{wrong}");
        }
        assert!(!ServiceKeys::default().admit(b""), "no key is no open door");
    }

    #[test]
    fn keys_that_can_be_guessed_or_not_be_sent_are_refused_and_never_shown() {
        for (text, wrong) in [
            ("", ServiceKeysError::Empty),
            (" \n\n", ServiceKeysError::Empty),
            (&*format!("{OLD}\nshort-secret"), ServiceKeysError::Short { line: 2, bytes: 12 }),
            (&format!("{OLD} secret"), ServiceKeysError::NotVisible { line: 1 }),
            (&format!("{OLD}\u{e9}"), ServiceKeysError::NotVisible { line: 1 }),
            (&format!("{OLD}\n").repeat(17), ServiceKeysError::TooMany),
        ] {
            let refused = ServiceKeys::parse(text.as_bytes()).expect_err(text);
            assert_eq!(refused, wrong);
            let said = refused.to_string();
            assert!(said.contains("32 or more bytes") && !said.contains("secret"), "{said}");
        }
        let keys = ServiceKeys::parse(OLD.as_bytes()).expect("a key");
        assert!(!format!("{keys:?}").contains("old"), "{keys:?}");
    }
}
