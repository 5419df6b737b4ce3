//! What the OpenAPI document says beside what it gets from the types of the handlers.

use aide::openapi::{OpenApi, SecurityScheme};
use aide::transform::TransformOpenApi;
use schemars::Schema;
use serde_json::Value;

/// Adds what holds for every operation.
pub(super) fn describe(document: TransformOpenApi<'_>) -> TransformOpenApi<'_> {
    let key = SecurityScheme::Http {
        scheme: "bearer".into(),
        bearer_format: None,
        description: Some("A key of SERVICE_KEY or SERVICE_KEY_FILE.".into()),
        extensions: Default::default(),
    };
    document
        .title("Herenow")
        .summary("The members of channels, for backends.")
        .description(
            "Every answer comes from the code that owns the channel: the same `epoch` and `seq` \
             name the same set here and on a WebSocket.",
        )
        .version(env!("CARGO_PKG_VERSION"))
        .security_scheme(KEY_SCHEME, key)
        .security_requirement(KEY_SCHEME)
}

/// The document as it is served.
pub(super) fn text(document: &OpenApi) -> String {
    serde_json::to_string(document).expect("it has no keys but texts")
}

/// Every property is in every answer; one that has no value is null.
pub(super) fn require_all(schema: &mut Schema) {
    let Some(Value::Object(properties)) = schema.get("properties") else { return };
    let names = properties.keys().cloned().map(Value::String).collect();
    schema.insert("required".into(), Value::Array(names));
}

/// The schema of a type, written where the type is used.
macro_rules! inline_schema {
    ($type:ident, $schema:expr) => {
        impl schemars::JsonSchema for $type {
            fn inline_schema() -> bool {
                true
            }

            fn schema_name() -> std::borrow::Cow<'static, str> {
                stringify!($type).into()
            }

            fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
                $schema
            }
        }
    };
}

pub(super) use inline_schema;

const KEY_SCHEME: &str = "serviceKey";
