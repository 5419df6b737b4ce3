//! What is valid in a module and yet cannot mean what its author meant, in a configuration: a key
//! that stands twice in one object, and a variable of the module that keeps something from one call
//! of a rule to the next.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;

use oxc::ast::AstKind;
use oxc::ast::ast::{ObjectPropertyKind, PropertyKind};
use oxc::semantic::Semantic;
use oxc::span::{GetSpan as _, Span};
use serde::{Deserialize, Serialize};

/// See the module.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Fault {
    /// Two properties of one object have the same key: the first has no effect.
    DuplicateKey {
        /// The key.
        key: String,
    },
    /// A function assigns a variable of the module.
    SharedState {
        /// The variable.
        variable: String,
    },
}

/// The first fault of a module, with where it is.
pub(super) fn first_fault(semantic: &Semantic) -> Option<(Span, Fault)> {
    let faults = duplicate_keys(semantic).chain(shared_state(semantic));
    faults.min_by_key(|(span, _)| span.start)
}

/// Half of a property: a getter and a setter are two halves of one.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Half {
    Get,
    Set,
    Both,
}

fn duplicate_keys<'a>(semantic: &'a Semantic<'a>) -> impl Iterator<Item = (Span, Fault)> + 'a {
    semantic.nodes().iter().filter_map(|node| match node.kind() {
        AstKind::ObjectExpression(object) => {
            first_duplicate(object.properties.iter().filter_map(|property| match property {
                ObjectPropertyKind::ObjectProperty(property) => {
                    let half = match property.kind {
                        PropertyKind::Get => Half::Get,
                        PropertyKind::Set => Half::Set,
                        PropertyKind::Init => Half::Both,
                    };
                    Some((property.key.static_name()?, half, property.key.span()))
                }
                ObjectPropertyKind::SpreadProperty(_) => None,
            }))
        }
        _ => None,
    })
}

fn first_duplicate<'a>(
    keys: impl Iterator<Item = (Cow<'a, str>, Half, Span)>,
) -> Option<(Span, Fault)> {
    let mut seen: BTreeMap<Cow<str>, Half> = BTreeMap::new();
    for (key, half, span) in keys {
        let before = seen.insert(key.clone(), half);
        let completes = matches!(
            (before, half),
            (None, _) | (Some(Half::Get), Half::Set) | (Some(Half::Set), Half::Get)
        );
        if !completes {
            return Some((span, Fault::DuplicateKey { key: key.into_owned() }));
        }
    }
    None
}

fn shared_state<'a>(semantic: &'a Semantic<'a>) -> impl Iterator<Item = (Span, Fault)> + 'a {
    let (scoping, nodes) = (semantic.scoping(), semantic.nodes());
    let of_module = scoping
        .symbol_ids()
        .filter(|id| scoping.symbol_scope_id(*id) == scoping.root_scope_id())
        .filter(|id| scoping.symbol_flags(*id).is_variable());
    of_module.flat_map(move |id| {
        let writes = scoping.get_resolved_references(id).filter(|reference| reference.is_write());
        let inside = writes.filter(|reference| {
            nodes.ancestor_kinds(reference.node_id()).any(|kind| {
                matches!(kind, AstKind::Function(_) | AstKind::ArrowFunctionExpression(_))
            })
        });
        inside.map(move |reference| {
            let variable = scoping.symbol_name(id).to_owned();
            (semantic.reference_span(reference), Fault::SharedState { variable })
        })
    })
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::DuplicateKey { key } => {
                write!(f, "`{key}` appears twice in one object, and the first has no effect")
            }
            Self::SharedState { variable } => write!(
                f,
                "`{variable}` is assigned inside a function, and rules keep nothing from one call \
                 to the next: compute it where it is declared, or inside the rule"
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::typescript::compile;

    fn fault(source: &str) -> Option<(usize, Fault)> {
        let compiled = compile(source, "x.ts").expect("this is TypeScript");
        compiled.fault.map(|(place, fault)| (place.line, fault))
    }

    #[test]
    fn a_key_that_stands_twice_in_one_object_is_found() {
        for source in [
            "x = {\n a: 1, 'a': 2 };",
            "x = {\n a() {}, b: 1, ['a']: 2 };",
            "x = { y: () => [{\n a: 1, get a() { return 1 } }] };",
        ] {
            let found = Some((2, Fault::DuplicateKey { key: "a".into() }));
            assert_eq!(fault(source), found, "{source}");
        }
        for source in [
            "x = { a: 1, ...y, b: { a: 1 } };",
            "x = { get a() { return 1 }, set a(y) {} };",
            "class C { a(x: 1): void; a(x: 2): void; a(x: any) {} static a() {} }",
            "x = { [a]: 1, [b]: 2 };",
        ] {
            assert_eq!(fault(source), None, "{source}");
        }
    }

    #[test]
    fn a_variable_of_the_module_that_a_function_assigns_is_found() {
        for source in [
            "let last;\nconst f = (x) => { last = x };",
            "let last = 0;\nexport function f() { return last++ }",
            "let last;\nclass C { f(x) { [last] = x } }",
            "var last;\nconst f = () => { const g = () => { for (last of []); } };",
            "let last: number | undefined;\nconst f = () => (last ??= 1);",
        ] {
            let found = Some((2, Fault::SharedState { variable: "last".into() }));
            assert_eq!(fault(source), found, "{source}");
        }
        for source in [
            "let ttl = 1; if (process.env.X) ttl = 2; const f = () => ttl;",
            "let last; const f = (last) => { last = 1 };",
            "const f = () => { let last; last = 1; return () => { last = 2 } };",
            "enum E { A, B = 'b' } namespace N { export const x = 1 }",
            "function f() {} class C {} const x = { last: 1 }; const g = () => { x.last = 2 };",
        ] {
            assert_eq!(fault(source), None, "{source}");
        }
    }
}
