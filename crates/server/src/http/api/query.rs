//! The query of a request. A parameter that is not known, or that is given twice, is refused: a
//! mistake in a name must not silently return everything.

use aide::OperationInput;
use aide::generate::GenContext;
use aide::openapi::Operation;
use aide::operation::{ParamLocation, add_parameters, parameters_from_schema};
use axum::extract::FromRequestParts;
use hyper::http::request::Parts;
use schemars::{JsonSchema, json_schema};
use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::document::inline_schema;
use super::problem::Problem;

/// The parameters in it.
#[derive(Debug)]
pub(super) struct Query<T>(pub(super) T);

/// Of a path that takes none.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(inline)]
pub(super) struct NoParameters {}

/// Of a list that has nothing else to choose.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(inline)]
pub(super) struct Paging {
    /// The maximum number of items on a page.
    #[serde(default)]
    pub(super) limit: Limit,
    /// `next` of the previous page; without it, the first page.
    #[schemars(with = "String")]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) cursor: Option<String>,
}

/// How many items a page has at most.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "u64")]
pub(super) struct Limit(pub(super) usize);

const MAX_LIMIT: u64 = 1000;
const DEFAULT_LIMIT: usize = 100;

impl Default for Limit {
    fn default() -> Self {
        Self(DEFAULT_LIMIT)
    }
}

impl TryFrom<u64> for Limit {
    type Error = String;

    fn try_from(count: u64) -> Result<Self, String> {
        match count {
            1..=MAX_LIMIT => Ok(Self(count as usize)),
            _ => Err(format!("`limit` should be a whole number from 1 to {MAX_LIMIT}")),
        }
    }
}

inline_schema!(
    Limit,
    json_schema!({
        "type": "integer", "minimum": 1, "maximum": MAX_LIMIT, "default": DEFAULT_LIMIT,
    })
);

impl<T: DeserializeOwned, S: Sync> FromRequestParts<S> for Query<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        let text = parts.uri.query().unwrap_or_default();
        let parsed = serde_urlencoded::from_str(text);
        parsed.map(Self).map_err(|error| Problem::parameter(format!("In the query: {error}.")))
    }
}

impl<T: JsonSchema> OperationInput for Query<T> {
    fn operation_input(ctx: &mut GenContext, operation: &mut Operation) {
        let schema = ctx.schema.subschema_for::<T>();
        let parameters = parameters_from_schema(ctx, schema, ParamLocation::Query);
        add_parameters(ctx, operation, parameters);
    }
}
