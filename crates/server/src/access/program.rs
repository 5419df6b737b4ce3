//! The modules of a configuration, from files to sources that an engine can run without files.
//! Knows which imports are allowed.

use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::engine::Engine;
use super::outcome::Failure;
use crate::files::{self, FileError};
use crate::typescript::{Compiled, Fault, Import, Place, SyntaxError, compile};

/// Everything that an engine needs to run a configuration.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Program {
    entry: String,
    modules: BTreeMap<String, Module>,
    /// What `process.env` holds, as a JSON object.
    pub(super) environment: String,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
struct Module {
    compiled: Compiled,
    /// What each specifier in it means.
    resolved: BTreeMap<String, String>,
}

/// Why a configuration's modules cannot be loaded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ProgramError {
    /// A file cannot be read.
    Unreadable {
        /// Which.
        path: PathBuf,
        /// Why.
        reason: FileError,
    },
    /// A file is no TypeScript.
    Syntax {
        /// The file, from the configuration's folder.
        file: String,
        /// What and where.
        error: SyntaxError,
    },
    /// An import that is not allowed.
    Import {
        /// The file that imports, from the configuration's folder.
        file: String,
        /// Where it does.
        place: Place,
        /// What, as written.
        specifier: String,
        /// Why not.
        refusal: Refusal,
    },
    /// Valid code that cannot mean what was meant.
    Fault {
        /// The file, from the configuration's folder.
        file: String,
        /// Where.
        place: Place,
        /// What.
        fault: Fault,
    },
    /// More modules than anybody writes by hand.
    TooMany,
    /// More source, all modules together, than anybody writes by hand.
    TooLong,
}

/// Why an import is not allowed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// It is neither a file beside the configuration nor the server's own module.
    NotAFile,
    /// It leaves the configuration's folder.
    Outside,
    /// There is no such file.
    Missing,
    /// It is neither TypeScript nor JavaScript.
    WrongKind,
    /// It is asked for at run time, when no file is read any more.
    Dynamic,
}

/// The module that the server itself gives, under each of its names.
pub(super) const SHARED: &str = "@edgebase/shared";
const SHARED_NAMES: &[&str] = &[SHARED, "@edge-base/shared", "herenow/config"];
const SHARED_SOURCE: &str = "export const defineConfig = globalThis.defineConfig;";

const MAX_MODULES: usize = 256;
/// Of one configuration file, and of all modules of a configuration together.
pub const MAX_CONFIG_BYTES: usize = 1024 * 1024;
/// What TypeScript and JavaScript files end in; also what a specifier may leave out.
const ENDINGS: &[&str] = &["ts", "js", "mjs"];

impl Program {
    /// Reads the file at `path` and all that it imports. `environment`: what `process.env` holds.
    pub fn load<N, V>(
        path: &Path,
        environment: impl IntoIterator<Item = (N, V)>,
    ) -> Result<Self, ProgramError>
    where
        N: Into<String>,
        V: Into<String>,
    {
        Self::load_with_text(path, environment).map(|(program, _)| program)
    }

    /// The same, with the text of the file that was compiled.
    pub(crate) fn load_with_text<N, V>(
        path: &Path,
        environment: impl IntoIterator<Item = (N, V)>,
    ) -> Result<(Self, String), ProgramError>
    where
        N: Into<String>,
        V: Into<String>,
    {
        let unreadable =
            |error: io::Error| ProgramError::Unreadable { path: path.into(), reason: error.into() };
        let path = path.canonicalize().map_err(unreadable)?;
        let folder = path.parent().unwrap_or(Path::new("/"));
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let mut modules = BTreeMap::new();
        let mut text = None;
        let mut bytes = 0;
        let mut waiting = vec![name.clone()];
        while let Some(name) = waiting.pop() {
            if modules.contains_key(&name) {
                continue;
            }
            if modules.len() == MAX_MODULES {
                return Err(ProgramError::TooMany);
            }
            let source = read(folder, &name)?;
            bytes += source.len();
            if bytes > MAX_CONFIG_BYTES {
                return Err(ProgramError::TooLong);
            }
            let module = understand(folder, &name, &source)?;
            waiting.extend(module.resolved.values().cloned());
            text.get_or_insert(source);
            modules.insert(name, module);
        }
        let environment: serde_json::Map<String, serde_json::Value> = environment
            .into_iter()
            .map(|(name, value)| (name.into(), serde_json::Value::String(value.into())))
            .filter(|(name, _)| name != SECRET)
            .collect();
        let environment = serde_json::Value::Object(environment).to_string();
        let program = Self { entry: name, modules, environment };
        Ok((program, text.unwrap_or_default()))
    }

    /// Runs it once and says what it exports by default, as JSON; see [`Engine::describe`].
    pub(crate) fn describe(self: &Arc<Self>) -> Result<String, Failure> {
        Engine::start(self.clone())?.describe()
    }

    /// The name of the module that the configuration begins with.
    pub(super) fn entry(&self) -> &str {
        &self.entry
    }

    /// The JavaScript of a module.
    pub(super) fn code(&self, name: &str) -> Option<&str> {
        self.modules.get(name).map(|module| module.compiled.code.as_str())
    }

    /// The module that `specifier` means in the module `base`.
    pub(super) fn resolve(&self, base: &str, specifier: &str) -> Option<&str> {
        self.modules.get(base)?.resolved.get(specifier).map(String::as_str)
    }

    /// What in the sources stands behind a place in a module's JavaScript.
    pub(super) fn original(&self, name: &str, place: Place) -> Option<Place> {
        self.modules.get(name)?.compiled.original(place)
    }

    /// The files it was read from, relative to the configuration's folder.
    pub fn files(&self) -> impl Iterator<Item = &str> {
        self.modules.keys().map(String::as_str).filter(|name| *name != SHARED)
    }
}

/// The one variable whose value must not reach a place that may be logged by accident.
const SECRET: &str = "JWT_USER_SECRET";

fn read(folder: &Path, name: &str) -> Result<String, ProgramError> {
    if name == SHARED {
        return Ok(SHARED_SOURCE.into());
    }
    let path = folder.join(name);
    files::read_text(&path, MAX_CONFIG_BYTES)
        .map_err(|reason| ProgramError::Unreadable { path, reason })
}

fn understand(folder: &Path, name: &str, source: &str) -> Result<Module, ProgramError> {
    let compiled =
        compile(source, name).map_err(|error| ProgramError::Syntax { file: name.into(), error })?;
    if let Some(place) = compiled.dynamic_import {
        let specifier = "import()".into();
        let refusal = Refusal::Dynamic;
        return Err(ProgramError::Import { file: name.into(), place, specifier, refusal });
    }
    if let Some((place, fault)) = compiled.fault.clone() {
        return Err(ProgramError::Fault { file: name.into(), place, fault });
    }
    let mut resolved = BTreeMap::new();
    for Import { specifier, place } in &compiled.imports {
        let target = resolve(folder, name, specifier).map_err(|refusal| ProgramError::Import {
            file: name.into(),
            place: *place,
            specifier: specifier.clone(),
            refusal,
        })?;
        resolved.insert(specifier.clone(), target);
    }
    Ok(Module { compiled, resolved })
}

/// The module that `specifier` means in the module `base`, as a path below `folder`.
fn resolve(folder: &Path, base: &str, specifier: &str) -> Result<String, Refusal> {
    if SHARED_NAMES.contains(&specifier) {
        return Ok(SHARED.into());
    }
    if !specifier.starts_with("./") && !specifier.starts_with("../") {
        return Err(Refusal::NotAFile);
    }
    let written = below(Path::new(base).parent().unwrap_or(Path::new("")), specifier)?;
    let has_ending = |path: &Path| {
        path.extension().is_some_and(|ending| ENDINGS.iter().any(|known| ending == *known))
    };
    let mut candidates = vec![written.clone()];
    // As TypeScript has it: `./a.js` may mean the source that becomes it.
    if written.extension().is_some_and(|ending| ending == "js") {
        candidates.push(written.with_extension("ts"));
    }
    for ending in ENDINGS {
        let mut name = written.clone().into_os_string();
        name.push(".");
        name.push(ending);
        candidates.push(name.into());
    }
    let file = candidates.into_iter().find(|path| folder.join(path).is_file());
    let file = file.ok_or(Refusal::Missing)?;
    if !has_ending(&file) {
        return Err(Refusal::WrongKind);
    }
    // A link may lead anywhere, whatever its name says.
    let real = folder.join(&file).canonicalize().map_err(|_| Refusal::Missing)?;
    let real = real.strip_prefix(folder).map_err(|_| Refusal::Outside)?;
    Ok(real.to_string_lossy().into_owned())
}

/// `specifier`, seen from `from`, without dots. It may not climb above the configuration's folder,
/// even to come back.
fn below(from: &Path, specifier: &str) -> Result<PathBuf, Refusal> {
    let mut path = from.to_owned();
    for component in Path::new(specifier).components() {
        match component {
            Component::CurDir => {}
            Component::ParentDir if path.pop() => {}
            Component::Normal(name) => path.push(name),
            Component::ParentDir | Component::RootDir | Component::Prefix(_) => {
                return Err(Refusal::Outside);
            }
        }
    }
    Ok(path)
}

impl fmt::Display for ProgramError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unreadable { path, reason } => {
                write!(f, "the configuration file {} cannot be read: {reason}", path.display())
            }
            Self::Syntax { file, error } => write!(f, "{file}:{}: {}", error.place, error.message),
            Self::Import { file, place, specifier, refusal } => {
                write!(f, "{file}:{place}: `{specifier}` cannot be imported: {refusal}")
            }
            Self::Fault { file, place, fault } => write!(f, "{file}:{place}: {fault}"),
            Self::TooMany => write!(f, "the configuration has more than {MAX_MODULES} modules"),
            Self::TooLong => write!(
                f,
                "the files of the configuration have more than {} KiB in total",
                MAX_CONFIG_BYTES / 1024
            ),
        }
    }
}

impl std::error::Error for ProgramError {}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NotAFile => {
                "a configuration may import files of its own folder (`./rules.ts`) and \
                 `@edgebase/shared`, but no packages and no URLs"
            }
            Self::Outside => "it leaves the folder of the configuration",
            Self::Missing => "there is no such file",
            Self::WrongKind => "it should end in .ts, .js or .mjs",
            Self::Dynamic => "modules are loaded at the start; write `import … from` instead",
        })
    }
}
