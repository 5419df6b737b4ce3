//! The configuration file, whichever kind it is, as the values that it stands for. Knows files and
//! where in them a key is written; judges no value.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use serde_json::error::Category;

use super::error::{ConfigError, shown};
use crate::access::{MAX_CONFIG_BYTES, Program};
use crate::files;
use crate::strict_json::Strict;
use crate::typescript::{json_place_of, place_of};

/// What a file holds. It can be read in one process and used in another: serialized, it has all but
/// what errors are pointed out with.
#[derive(Debug, Serialize, Deserialize)]
pub struct Source {
    /// Its keys at the top.
    pub(super) keys: Vec<String>,
    /// What stands under `realtime`.
    pub(super) realtime: Option<Value>,
    /// Its code, where it has any.
    pub(super) program: Option<Arc<Program>>,
    /// It and all that it imports.
    pub(super) files: Vec<PathBuf>,
    name: String,
    #[serde(skip)]
    text: String,
}

/// What an engine says that a configuration is. A string that begins with a NUL stands for what
/// JSON cannot write.
#[derive(Deserialize)]
struct Description {
    keys: Vec<String>,
    realtime: Option<Value>,
}

/// The names under which a configuration is found, the first that exists.
pub const FILE_NAMES: [&str; 4] =
    ["edgebase.config.ts", "edgebase.config.js", "edgebase.config.mjs", "edgebase.config.json"];

/// The configuration file in a folder. A name that stands there and cannot be read is found as well:
/// passing it over would drop its rules.
pub fn find(folder: &Path) -> Option<PathBuf> {
    let stands = |path: &PathBuf| match path.symlink_metadata() {
        Ok(_) => true,
        Err(error) => error.kind() != io::ErrorKind::NotFound,
    };
    FILE_NAMES.iter().map(|name| folder.join(name)).find(stands)
}

impl Source {
    pub(super) fn read(
        path: &Path,
        environment: &BTreeMap<String, String>,
    ) -> Result<Self, ConfigError> {
        let is_code = path.extension().is_some_and(|ending| {
            ["ts", "js", "mjs"].iter().any(|known| ending.eq_ignore_ascii_case(known))
        });
        if is_code {
            return Self::from_code(path, environment);
        }
        let text = files::read_text(path, MAX_CONFIG_BYTES)
            .map_err(|reason| ConfigError::Unreadable { path: path.into(), reason })?;
        Self::from_json(path, text)
    }

    pub(super) fn from_json(path: &Path, mut text: String) -> Result<Self, ConfigError> {
        if text.starts_with(BYTE_ORDER_MARK) {
            text.drain(..BYTE_ORDER_MARK.len_utf8());
        }
        let parsed = serde_json::from_str(&text);
        let Strict(mut value) = parsed.map_err(|error| ConfigError::NotJson {
            file: name_of(path),
            line: error.line(),
            column: error.column(),
            reason: reason_of(&error),
        })?;
        describe_nul(&mut value);
        let Value::Object(mut file) = value else {
            return Err(ConfigError::not_an_object("the file", &value));
        };
        Ok(Self {
            keys: file.keys().cloned().collect(),
            realtime: file.remove("realtime"),
            program: None,
            files: vec![path.into()],
            name: name_of(path),
            text,
        })
    }

    fn from_code(path: &Path, environment: &BTreeMap<String, String>) -> Result<Self, ConfigError> {
        let variables = environment.iter().map(|(name, value)| (name.as_str(), value.as_str()));
        let (program, text) =
            Program::load_with_text(path, variables).map_err(ConfigError::Program)?;
        let program = Arc::new(program);
        let failed = |failure| ConfigError::Failed { file: name_of(path), failure };
        let described = program.describe().map_err(failed)?;
        let described: Value = serde_json::from_str(&described).expect("the engine writes JSON");
        let Description { keys, realtime } = match described {
            Value::Object(_) => serde_json::from_value(described).expect("it has this shape"),
            other => return Err(ConfigError::not_an_object("the default export", &other)),
        };
        let folder = path.parent().unwrap_or(Path::new(""));
        let files = program.files().map(|file| folder.join(file)).collect();
        let (name, program) = (name_of(path), Some(program));
        Ok(Self { keys, realtime, program, files, name, text })
    }

    /// Where a key is written, as `file:line:column`; the file alone where it is computed.
    pub(super) fn locate(&self, path: &[String]) -> String {
        let place = match self.program {
            Some(_) => place_of(&self.text, &self.name, path),
            None => json_place_of(&self.text, path),
        };
        match place {
            Some(place) => format!("{}:{place}", self.name),
            None => self.name.clone(),
        }
    }
}

/// What is wrong, without the place, which is said in front of it.
fn reason_of(error: &serde_json::Error) -> String {
    let said = error.to_string();
    let reason = said.rsplit_once(" at line ").map_or(said.as_str(), |(reason, _)| reason);
    match error.classify() {
        Category::Data => shown(reason),
        Category::Io | Category::Syntax | Category::Eof => {
            format!("this is not JSON: {}", shown(reason))
        }
    }
}

/// What Windows writes before UTF-8.
const BYTE_ORDER_MARK: char = '\u{feff}';

/// In what an engine says, a text that begins with a NUL is no text; a file must not speak so.
fn describe_nul(value: &mut Value) {
    match value {
        Value::String(text) if text.starts_with('\0') => {
            *text = "\0a text that begins with U+0000".into();
        }
        Value::Array(items) => items.iter_mut().for_each(describe_nul),
        Value::Object(members) => members.values_mut().for_each(describe_nul),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

fn name_of(path: &Path) -> String {
    path.file_name().unwrap_or(path.as_os_str()).to_string_lossy().into_owned()
}
