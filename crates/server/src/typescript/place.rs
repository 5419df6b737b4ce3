//! Where a value stands in the source of a configuration: a setting that is wrong is pointed at.
//! Follows literals, constants of the same module and calls around an object; what is computed has
//! no place of its own.

use oxc::allocator::Allocator;
use oxc::ast::ast::{
    BindingPattern, Declaration, Expression, ObjectPropertyKind, Program, Statement,
    VariableDeclaration,
};
use oxc::parser::Parser;
use oxc::span::{GetSpan as _, SourceType};

use super::{Place, place_at, source_type};

/// Where the key at `path` stands in the object that a module exports by default. What cannot be
/// followed to the end gives the place of what could.
pub fn place_of<S: AsRef<str>>(source: &str, filename: &str, path: &[S]) -> Option<Place> {
    let offset = offset_of(source, source_type(filename), path)?;
    Some(place_at(source, offset))
}

/// The same in a JSON text.
pub fn json_place_of<S: AsRef<str>>(json: &str, path: &[S]) -> Option<Place> {
    // Every JSON text is an expression.
    const BEFORE: &str = "export default ";
    let offset = offset_of(&format!("{BEFORE}{json}"), SourceType::mjs(), path)?;
    Some(place_at(json, offset - BEFORE.len()))
}

fn offset_of<S: AsRef<str>>(source: &str, kind: SourceType, path: &[S]) -> Option<usize> {
    let allocator = Allocator::default();
    let program = Parser::new(&allocator, source, kind).parse().program;
    let exported = program.body.iter().find_map(|statement| match statement {
        Statement::ExportDefaultDeclaration(export) => export.declaration.as_expression(),
        _ => None,
    });
    let mut value = exported?;
    let mut found = None;
    for key in path {
        let Some(Expression::ObjectExpression(object)) = follow(value, &program) else { break };
        let named = object.properties.iter().rev().find_map(|property| match property {
            ObjectPropertyKind::ObjectProperty(property)
                if property.key.is_specific_static_name(key.as_ref()) =>
            {
                Some(property)
            }
            _ => None,
        });
        let Some(property) = named else { break };
        found = Some(property.key.span().start as usize);
        value = &property.value;
    }
    found
}

/// The expression behind names, calls and casts. Bounded: names can go in circles.
fn follow<'a>(value: &'a Expression<'a>, program: &'a Program<'a>) -> Option<&'a Expression<'a>> {
    const STEPS: usize = 16;
    let mut value = value;
    for _ in 0..STEPS {
        value = match value.get_inner_expression() {
            Expression::CallExpression(call) => call.arguments.first()?.as_expression()?,
            Expression::Identifier(name) => constant(program, name.name.as_str())?,
            other => return Some(other),
        };
    }
    None
}

fn constant<'a>(program: &'a Program<'a>, name: &str) -> Option<&'a Expression<'a>> {
    let declared = |declaration: &'a VariableDeclaration<'a>| {
        let mut declarators = declaration.declarations.iter();
        declarators.find_map(|declarator| match &declarator.id {
            BindingPattern::BindingIdentifier(id) if id.name == name => declarator.init.as_ref(),
            _ => None,
        })
    };
    program.body.iter().find_map(|statement| match statement {
        Statement::VariableDeclaration(declaration) => declared(declaration),
        Statement::ExportDeclaration(export) => match &export.declaration {
            Declaration::VariableDeclaration(declaration) => declared(declaration),
            _ => None,
        },
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line_and_column(source: &str, path: &[&str]) -> Option<(usize, usize)> {
        place_of(source, "x.ts", path).map(|place| (place.line, place.column))
    }

    #[test]
    fn a_key_is_found_in_literals_and_through_names() {
        let source = "const realtime = {\n  presenceTTL: 1,\n  'name spaces': { a: 2 },\n};\n\
                      export default defineConfig({ realtime } satisfies Config);\n";
        assert_eq!(line_and_column(source, &["realtime"]), Some((5, 31)));
        assert_eq!(line_and_column(source, &["realtime", "presenceTTL"]), Some((2, 3)));
        assert_eq!(line_and_column(source, &["realtime", "name spaces", "a"]), Some((3, 20)));
    }

    #[test]
    fn what_cannot_be_followed_gives_what_could() {
        let source = "const a = a;\nexport default { realtime: make(), loop: a };";
        assert_eq!(line_and_column(source, &["realtime", "x"]), Some((2, 18)));
        assert_eq!(line_and_column(source, &["loop", "x"]), Some((2, 36)));
        assert_eq!(line_and_column(source, &["nothing"]), None);
        assert_eq!(line_and_column("export const x = 1;", &["x"]), None);
    }

    #[test]
    fn json_has_places_too() {
        let json = "{\"realtime\": {\n  \"maxMembers\": 0}}";
        let place = |path: &[&str]| json_place_of(json, path);
        assert_eq!(place(&["realtime"]), Some(Place { line: 1, column: 2 }));
        assert_eq!(place(&["realtime", "maxMembers"]), Some(Place { line: 2, column: 3 }));
    }
}
