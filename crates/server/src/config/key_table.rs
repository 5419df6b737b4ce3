//! What keys are made of, as an operator sees it: the variables, the flags that stand for them, and what
//! each means. Knows no key.

/// One thing that keys are made of, as an operator sees it.
#[derive(Clone, Copy, Debug)]
pub struct KeySetting {
    /// The environment variable.
    pub env: &'static str,
    /// The flag that overrides it. A secret has none: command lines are shown to every user of a
    /// machine.
    pub flag: Option<Flag>,
    /// What it does, in one sentence.
    pub meaning: &'static str,
}

/// A flag of the command line.
#[derive(Clone, Copy, Debug)]
pub struct Flag {
    /// Without its dashes.
    pub name: &'static str,
    /// What its value is called.
    pub value: &'static str,
}

/// All that keys are made of.
pub const KEY_SETTINGS: &[KeySetting] = &[
    KeySetting {
        env: SECRET,
        flag: None,
        meaning: "The secret that your backend signs HS256 tokens with; the server warns if it is \
                  shorter than 32 bytes.",
    },
    KeySetting {
        env: SECRET_FILE,
        flag: Some(Flag { name: "secret-file", value: "FILE" }),
        meaning: "A file that holds the secret; one newline at its end is dropped.",
    },
    KeySetting {
        env: JWKS_FILE,
        flag: Some(Flag { name: "jwks", value: "FILE_OR_URL" }),
        meaning: "A JSON Web Key Set with public keys for RS256, ES256 and EdDSA tokens: a file, read \
                  again when it changes, or an https URL, fetched again as its Cache-Control says.",
    },
    KeySetting {
        env: ISSUER,
        flag: Some(Flag { name: "issuer", value: "TEXT" }),
        meaning: "The `iss` that a token must have; if unset, `iss` is ignored.",
    },
    KeySetting {
        env: AUDIENCE,
        flag: Some(Flag { name: "audience", value: "TEXT" }),
        meaning: "The `aud` that a token must have, alone or in a list; if unset, `aud` is ignored.",
    },
    KeySetting {
        env: METRICS_TOKEN,
        flag: None,
        meaning: "The bearer token for `/metrics`: 16 or more visible ASCII characters.",
    },
    KeySetting {
        env: METRICS_TOKEN_FILE,
        flag: Some(Flag { name: "metrics-token-file", value: "FILE" }),
        meaning: "A file that holds that token; one newline at its end is dropped.",
    },
    KeySetting {
        env: SERVICE_KEY,
        flag: None,
        meaning: "The key that backends send to `/api/presence` as a bearer token: 32 or more \
                  visible ASCII characters. Without a key this API answers 401.",
    },
    KeySetting {
        env: SERVICE_KEY_FILE,
        flag: Some(Flag { name: "service-key-file", value: "FILE" }),
        meaning: "A file with one such key per line, at most 16; the server reads a changed file within two seconds.",
    },
    KeySetting {
        env: WEBHOOK_SECRET,
        flag: None,
        meaning: "The secret that webhooks are signed with: whsec_ and the base64 of 24 to 64 bytes.",
    },
    KeySetting {
        env: WEBHOOK_SECRET_FILE,
        flag: Some(Flag { name: "webhook-secret-file", value: "FILE" }),
        meaning: "A file with one such secret per line, at most 4; every webhook is signed with each.",
    },
];

pub(super) const SECRET: &str = "JWT_USER_SECRET";
pub(super) const SECRET_FILE: &str = "JWT_USER_SECRET_FILE";
pub(super) const JWKS_FILE: &str = "JWT_JWKS_FILE";
pub(super) const ISSUER: &str = "JWT_ISSUER";
pub(super) const AUDIENCE: &str = "JWT_AUDIENCE";
pub(super) const METRICS_TOKEN: &str = "METRICS_TOKEN";
pub(super) const METRICS_TOKEN_FILE: &str = "METRICS_TOKEN_FILE";
pub(super) const SERVICE_KEY: &str = "SERVICE_KEY";
pub(super) const SERVICE_KEY_FILE: &str = "SERVICE_KEY_FILE";
pub(super) const WEBHOOK_SECRET: &str = "WEBHOOK_SECRET";
pub(super) const WEBHOOK_SECRET_FILE: &str = "WEBHOOK_SECRET_FILE";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_guide_shows_this_table() {
        let mut table = String::from("| environment | flag | meaning |\n| --- | --- | --- |\n");
        for KeySetting { env, flag, meaning } in KEY_SETTINGS {
            let flag = flag.map(|flag| format!("`--{} {}`", flag.name, flag.value));
            let flag = flag.unwrap_or_else(|| "none".into());
            table.push_str(&format!("| `{env}` | {flag} | {meaning} |\n"));
        }
        let guide = include_str!("../../../../docs/configuration.md");
        assert!(guide.contains(&table), "docs/configuration.md should contain:\n{table}");
    }
}
