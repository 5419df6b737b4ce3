//! TypeScript in, the JavaScript it stands for out, with the way back to the original's lines. Knows
//! syntax alone: nothing is resolved, checked for types, or run.

mod fault;
mod place;

pub use fault::Fault;
pub use place::{json_place_of, place_of};

use std::fmt;
use std::path::Path;

use serde::{Deserialize, Serialize};

use oxc::allocator::Allocator;
use oxc::ast::ast::{Program, Statement, StringLiteral};
use oxc::codegen::{Codegen, CodegenOptions, CodegenReturn};
use oxc::diagnostics::OxcDiagnostic;
use oxc::parser::Parser;
use oxc::semantic::SemanticBuilder;
use oxc::span::SourceType;
use oxc::transformer::{TransformOptions, Transformer};

/// A point in a source. Lines and columns count from 1, columns in characters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(from = "(usize, usize)", into = "(usize, usize)")]
pub struct Place {
    /// The line.
    pub line: usize,
    /// The column.
    pub column: usize,
}

/// Where a source stops being TypeScript.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SyntaxError {
    /// Where.
    pub place: Place,
    /// What the parser says about it.
    pub message: String,
}

/// A module as JavaScript.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Compiled {
    /// The JavaScript.
    pub code: String,
    /// What it imports and re-exports from; imports of types alone are gone.
    pub imports: Vec<Import>,
    /// The first `import()`, if there is one.
    pub dynamic_import: Option<Place>,
    /// What in it cannot mean what was meant, if it is a configuration; the first.
    pub fault: Option<(Place, Fault)>,
    /// Places in `code` with the original's place for each, in the order of the former.
    origins: Vec<(Place, Place)>,
}

/// A static import.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Import {
    /// As written.
    pub specifier: String,
    /// Where it is written, in the original.
    pub place: Place,
}

/// Takes the types out of a module. `filename` decides by its ending whether there are any.
pub fn strip(source: &str, filename: &str) -> Result<String, SyntaxError> {
    compile(source, filename).map(|compiled| compiled.code)
}

/// Takes the types out of a module, and says what it imports.
pub fn compile(source: &str, filename: &str) -> Result<Compiled, SyntaxError> {
    let path = Path::new(filename);
    let allocator = Allocator::default();
    let parsed = Parser::new(&allocator, source, source_type(filename)).parse();
    first_error(source, &parsed.diagnostics)?;
    let dynamic_import = parsed.module_record.dynamic_imports.first().map(|import| import.span);
    let mut program = parsed.program;
    let analysed = SemanticBuilder::new()
        .with_build_nodes(true)
        .with_enum_eval(true)
        .with_check_syntax_error(true)
        .build(&program);
    first_error(source, &analysed.diagnostics)?;
    let fault = fault::first_fault(&analysed.semantic)
        .map(|(span, fault)| (place_at(source, span.start as usize), fault));
    let scoping = analysed.semantic.into_scoping();
    let options = TransformOptions::default();
    let transformed =
        Transformer::new(&allocator, path, &options).build_with_scoping(scoping, &mut program);
    first_error(source, &transformed.diagnostics)?;
    let options =
        CodegenOptions { source_map_path: Some(path.into()), ..CodegenOptions::default() };
    let generated = Codegen::new().with_options(options).build(&program);
    Ok(Compiled {
        imports: imports(source, &program),
        dynamic_import: dynamic_import.map(|span| place_at(source, span.start as usize)),
        fault,
        origins: origins(&generated),
        code: generated.code,
    })
}

impl Compiled {
    /// What in the original stands behind a place in the code.
    pub fn original(&self, place: Place) -> Option<Place> {
        let after = self.origins.partition_point(|(generated, _)| *generated <= place);
        let (generated, original) = self.origins[..after].last()?;
        (generated.line == place.line).then_some(*original)
    }
}

fn source_type(filename: &str) -> SourceType {
    SourceType::from_path(filename).unwrap_or_else(|_| SourceType::ts())
}

fn imports(source: &str, program: &Program) -> Vec<Import> {
    let import = |literal: &StringLiteral| Import {
        specifier: literal.value.to_string(),
        place: place_at(source, literal.span.start as usize),
    };
    let from = |statement: &Statement| match statement {
        Statement::ImportDeclaration(declaration) => Some(import(&declaration.source)),
        Statement::ExportAllDeclaration(declaration) => Some(import(&declaration.source)),
        Statement::ExportFromDeclaration(declaration) => Some(import(&declaration.source)),
        _ => None,
    };
    program.body.iter().filter_map(from).collect()
}

fn origins(generated: &CodegenReturn) -> Vec<(Place, Place)> {
    let place =
        |line: u32, column: u32| Place { line: line as usize + 1, column: column as usize + 1 };
    let tokens = generated.map.iter().flat_map(|map| map.get_tokens());
    tokens
        .map(|token| {
            (
                place(token.get_dst_line(), token.get_dst_col()),
                place(token.get_src_line(), token.get_src_col()),
            )
        })
        .collect()
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
    Err(SyntaxError { place: place_at(source, offset), message: first.message.to_string() })
}

fn place_at(source: &str, offset: usize) -> Place {
    let before = source.get(..offset).unwrap_or(source);
    let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
    Place {
        line: before.matches('\n').count() + 1,
        column: before[line_start..].chars().count() + 1,
    }
}

impl From<(usize, usize)> for Place {
    fn from((line, column): (usize, usize)) -> Self {
        Self { line, column }
    }
}

impl From<Place> for (usize, usize) {
    fn from(place: Place) -> Self {
        (place.line, place.column)
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.line, self.column)
    }
}

impl fmt::Display for SyntaxError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Place { line, column } = self.place;
        write!(f, "line {line}, column {column}: {}", self.message)
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
        assert_eq!(error.place, Place { line: 2, column: 11 }, "{error}");
    }

    #[test]
    fn an_enum_becomes_an_object() {
        let stripped = strip("export enum E { A, B = 'b' }\n", "e.ts").expect("TypeScript");
        assert!(stripped.contains("E[\"A\"] = 0") || stripped.contains("E[E[\"A\"]"), "{stripped}");
    }

    #[test]
    fn imports_of_types_alone_are_none() {
        let source = "import type { A } from './a';\nimport { B } from './b';\n\
                      import { c } from './c';\nexport * from './d';\n\
                      export const x: B = c;\n";
        let compiled = compile(source, "x.ts").expect("TypeScript");
        let found: Vec<_> =
            compiled.imports.iter().map(|i| (i.specifier.as_str(), i.place.line)).collect();
        assert_eq!(found, [("./c", 3), ("./d", 4)]);
        assert_eq!(compiled.dynamic_import, None);
        let lazy = compile("\nexport const y = import('./y');", "y.ts").expect("TypeScript");
        assert_eq!(lazy.dynamic_import.map(|place| place.line), Some(2));
    }

    #[test]
    fn a_place_in_the_code_leads_back_to_the_source() {
        let source = "interface Long {\n  a: string;\n}\n\nexport function f(x: Long) {\n  \
                      return x.a.b.c;\n}\n";
        let compiled = compile(source, "x.ts").expect("TypeScript");
        let line = compiled.code.lines().position(|line| line.contains("return x.a"));
        let generated = Place { line: line.expect("it is there") + 1, column: 2 };
        let original = compiled.original(generated).expect("it has an origin");
        assert_eq!(original, Place { line: 6, column: 3 }, "{}", compiled.code);
    }
}
