//! Keys from the environment, or from files that it names. Errors name variables and files, and
//! never what they hold.

use std::ffi::OsString;
use std::fmt;
use std::io;
use std::path::PathBuf;

use crate::auth::{Keys, Secret};

/// Why keys could not be loaded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KeysError {
    /// The secret is given twice.
    Twice,
    /// `JWT_USER_SECRET`, or the file that `JWT_USER_SECRET_FILE` names, is empty.
    Empty,
    /// The file that `JWT_USER_SECRET_FILE` names cannot be read.
    Unreadable {
        /// Which file.
        path: PathBuf,
        /// What the system said.
        reason: io::ErrorKind,
    },
    /// A variable that is text elsewhere is not UTF-8.
    NotText {
        /// Which variable.
        name: &'static str,
    },
}

/// Reads `JWT_USER_SECRET` or `JWT_USER_SECRET_FILE`, `JWT_ISSUER` and `JWT_AUDIENCE`.
pub fn load_keys(environment: impl Fn(&str) -> Option<OsString>) -> Result<Keys, KeysError> {
    let text = |name: &'static str| {
        let value = environment(name).filter(|value| !value.is_empty());
        let text = value.map(OsString::into_string).transpose();
        text.map_err(|_| KeysError::NotText { name })
    };
    let secret = match (environment(SECRET), environment(SECRET_FILE)) {
        (Some(_), Some(_)) => return Err(KeysError::Twice),
        (Some(secret), None) => Some(secret.into_encoded_bytes()),
        (None, Some(path)) => Some(read(path.into())?),
        (None, None) => None,
    };
    let secret = secret.map(|bytes| Secret::new(&bytes).ok_or(KeysError::Empty));
    Ok(Keys {
        secret: secret.transpose()?,
        issuer: text("JWT_ISSUER")?,
        audience: text("JWT_AUDIENCE")?,
    })
}

/// Editors and `echo` end a file with a newline, which is not part of the secret.
fn read(path: PathBuf) -> Result<Vec<u8>, KeysError> {
    let mut bytes = std::fs::read(&path)
        .map_err(|error| KeysError::Unreadable { path, reason: error.kind() })?;
    if bytes.ends_with(b"\n") {
        bytes.pop();
        if bytes.ends_with(b"\r") {
            bytes.pop();
        }
    }
    Ok(bytes)
}

const SECRET: &str = "JWT_USER_SECRET";
const SECRET_FILE: &str = "JWT_USER_SECRET_FILE";

impl fmt::Display for KeysError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Twice => write!(f, "{SECRET} and {SECRET_FILE} are both set; set one of them"),
            Self::Empty => write!(
                f,
                "the secret is empty, so anybody could sign tokens; {SECRET} should hold 32 bytes \
                 or more"
            ),
            Self::Unreadable { path, reason } => {
                let path = path.display();
                write!(f, "{path}, which {SECRET_FILE} names, cannot be read: {reason}")
            }
            Self::NotText { name } => write!(f, "{name} is not UTF-8"),
        }
    }
}

impl std::error::Error for KeysError {}

#[cfg(test)]
mod tests {
    use super::*;

    fn load(variables: &[(&str, &str)]) -> Result<Keys, KeysError> {
        load_keys(|name| {
            let found = variables.iter().find(|(known, _)| *known == name);
            found.map(|(_, value)| OsString::from(*value))
        })
    }

    #[test]
    fn nothing_set_is_no_key_and_an_empty_secret_is_refused() {
        assert!(load(&[]).expect("nothing wrong").secret.is_none());
        assert_eq!(load(&[(SECRET, "")]).err(), Some(KeysError::Empty));
        let both = load(&[(SECRET, "a"), (SECRET_FILE, "b")]);
        assert_eq!(both.err(), Some(KeysError::Twice));
    }

    #[test]
    fn a_secret_file_is_read_without_its_last_newline() {
        let path = std::env::temp_dir().join(format!("herenow-secret-{}", std::process::id()));
        std::fs::write(&path, "s3cret\r\n").expect("the temporary folder can be written");
        let name = path.to_str().expect("the temporary folder's name is UTF-8");
        let keys = load(&[(SECRET_FILE, name), ("JWT_ISSUER", "me"), ("JWT_AUDIENCE", "")]);
        std::fs::remove_file(&path).expect("it was just written");
        let keys = keys.expect("all right");
        assert_eq!(keys.secret, Secret::new(b"s3cret"));
        assert_eq!((keys.issuer.as_deref(), keys.audience), (Some("me"), None));
        let missing = load(&[(SECRET_FILE, name)]).expect_err("gone");
        assert!(missing.to_string().contains("cannot be read"), "{missing}");
    }
}
