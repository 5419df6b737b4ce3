//! TypeScript in, the JavaScript it stands for out. Knows syntax alone: nothing is resolved, checked
//! for types, or run.

use std::fmt;
use std::path::Path;

use oxc::allocator::Allocator;
use oxc::codegen::Codegen;
use oxc::diagnostics::OxcDiagnostic;
use oxc::parser::Parser;
use oxc::semantic::SemanticBuilder;
use oxc::span::SourceType;
use oxc::transformer::{TransformOptions, Transformer};

/// Where a source stops being TypeScript. Lines and columns count from 1, columns in characters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SyntaxError {
    /// The line.
    pub line: usize,
    /// The column.
    pub column: usize,
    /// What the parser says about it.
    pub message: String,
}

/// Takes the types out of a module. `filename` decides by its ending whether there are any.
pub fn strip(source: &str, filename: &str) -> Result<String, SyntaxError> {
    let path = Path::new(filename);
    let kind = SourceType::from_path(path).unwrap_or_else(|_| SourceType::ts());
    let allocator = Allocator::default();
    let parsed = Parser::new(&allocator, source, kind).parse();
    first_error(source, &parsed.diagnostics)?;
    let mut program = parsed.program;
    let analysed =
        SemanticBuilder::new().with_enum_eval(true).with_check_syntax_error(true).build(&program);
    first_error(source, &analysed.diagnostics)?;
    let scoping = analysed.semantic.into_scoping();
    let options = TransformOptions::default();
    let transformed =
        Transformer::new(&allocator, path, &options).build_with_scoping(scoping, &mut program);
    first_error(source, &transformed.diagnostics)?;
    Ok(Codegen::new().build(&program).code)
}

fn first_error<'a>(
    source: &str,
    diagnostics: impl IntoIterator<Item = &'a OxcDiagnostic>,
) -> Result<(), SyntaxError> {
    let Some(first) = diagnostics.into_iter().next() else {
        return Ok(());
    };
    let label = first.labels.first();
    let offset = label.map_or(0, |label| label.offset() as usize);
    let before = source.get(..offset).unwrap_or(source);
    let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
    Err(SyntaxError {
        line: before.matches('\n').count() + 1,
        column: before[line_start..].chars().count() + 1,
        message: first.message.to_string(),
    })
}

impl fmt::Display for SyntaxError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}, column {}: {}", self.line, self.column, self.message)
    }
}

impl std::error::Error for SyntaxError {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn types_go_and_the_rest_stays() {
        let source = "import { a } from './a.js';\nimport type { T } from './t.js';\n\
                      interface I { x: number }\n\
                      export class C<K> implements I { readonly x = 1; #y?: K;\n\
                        f(this: C<K>, z?: string): asserts z { a(z!, this as unknown as T); } }\n\
                      export const m = { n: 1 } satisfies Record<string, number>;\n";
        let stripped = strip(source, "c.ts").expect("this is TypeScript");
        for kept in ["from \"./a.js\"", "export class C", "x = 1", "#y", "a(z, this)", "{ n: 1 }"] {
            assert!(stripped.contains(kept), "{kept} is missing in\n{stripped}");
        }
        for gone in ["./t.js", "interface", "implements", "asserts", "satisfies", "readonly"] {
            assert!(!stripped.contains(gone), "{gone} is still in\n{stripped}");
        }
        assert_eq!(strip(&stripped, "c.js").as_ref(), Ok(&stripped));
    }

    #[test]
    fn an_error_names_its_place() {
        let error = strip("const a = 1;\nconst ü = = 2;\n", "a.ts").expect_err("no TypeScript");
        assert_eq!((error.line, error.column), (2, 11), "{error}");
    }

    #[test]
    fn an_enum_becomes_an_object() {
        let stripped = strip("export enum E { A, B = 'b' }\n", "e.ts").expect("TypeScript");
        assert!(stripped.contains("E[\"A\"] = 0") || stripped.contains("E[E[\"A\"]"), "{stripped}");
    }
}
