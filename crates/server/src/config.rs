//! What an operator may set, as one struct for the whole server. Each setting's unit, bounds and
//! default stand in one table; where a value came from is known to `file` alone.

mod address;
mod error;
mod file;
mod hub;
mod key_table;
mod keys;
mod namespaces;
mod nearest;
mod network;
mod origin;
mod rehearsals;
mod renamed;
mod settings;
mod show;
mod source;
mod table;
mod types;
mod value;
mod webhooks;

pub use address::listen_address;
pub use error::{ConfigError, ItemError};
pub use file::{Loaded, Unknown, judge, load, read};
pub(crate) use hub::{HubFacts, hub_config};
pub use key_table::{Flag, KEY_SETTINGS, KeySetting};
pub use keys::{KeysError, load_keys, load_service_keys, load_signing_keys, load_webhook_secrets};
pub use network::{Network, NetworkError};
pub use origin::{APP_SCHEMES, Origin, OriginError};
pub use rehearsals::{Rehearsal, Rehearsals};
pub use renamed::{RENAMED, Renamed};
pub use settings::{Reloadable, Settings};
pub use show::{changed, in_effect};
pub use source::{FILE_NAMES, Source, find};
pub use table::{Kind, SETTINGS, Setting};
pub use types::declarations;
pub use value::check_text;

use crate::auth::Keys;
use crate::service_manager::ServiceManager;

/// Everything `run` needs to know.
#[derive(Clone, Debug)]
pub struct Config {
    /// The settings of loops, sessions and the front door.
    pub settings: Settings,
    /// What tokens are checked against.
    pub keys: Keys,
    /// What the server shows beside the protocol.
    pub pages: Pages,
    /// What is told how far the server is.
    pub service_manager: ServiceManager,
}

/// What the server shows beside the protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pages {
    /// A line of text at `/` and nothing else.
    Production,
    /// The demo, the SDK as modules, and tokens for anybody who asks from this machine.
    Development,
}
