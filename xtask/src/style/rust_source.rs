//! Measures functions on the syntax tree, so that comments, strings and nesting cannot mislead.

use proc_macro2::{Span, TokenTree};
use syn::spanned::Spanned;
use syn::visit::{self, Visit};
use syn::{Attribute, Meta};

/// One function with a body.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Function {
    /// Its name, without the path to it.
    pub(crate) name: String,
    /// Line of its `fn` (or `pub`), counted from 1; attributes and documentation come before it.
    pub(crate) line: usize,
    /// Lines from there to its closing brace, both counted.
    pub(crate) lines: usize,
    /// Whether it, or an item around it, is marked as long on purpose, with a reason.
    pub(crate) excepted: bool,
}

/// Every function with a body in a Rust file, in the order of the file.
///
/// # Errors
/// The line and text of the first error of syntax.
pub(super) fn functions(source: &str) -> Result<Vec<Function>, (usize, String)> {
    let file = syn::parse_file(source)
        .map_err(|error| (error.span().start().line, format!("not Rust: {error}")))?;
    let mut measure = Measure { functions: Vec::new(), excepted: is_exception(&file.attrs) };
    measure.visit_file(&file);
    Ok(measure.functions)
}

struct Measure {
    functions: Vec<Function>,
    /// Whether an item around the one being visited is marked.
    excepted: bool,
}

impl Measure {
    /// Notes a function that reaches from the first of `starts` to the end of `body`.
    fn note(&mut self, name: &syn::Ident, start: Span, body: Span) {
        let (first, last) = (start.start().line, body.end().line);
        self.functions.push(Function {
            name: name.to_string(),
            line: first,
            lines: last.saturating_sub(first) + 1,
            excepted: self.excepted,
        });
    }

    /// Visits what is inside an item that carries `attributes`.
    fn inside(&mut self, attributes: &[Attribute], visit: impl FnOnce(&mut Self)) {
        let outer = self.excepted;
        self.excepted |= is_exception(attributes);
        visit(self);
        self.excepted = outer;
    }
}

impl<'ast> Visit<'ast> for Measure {
    fn visit_item_fn(&mut self, item: &'ast syn::ItemFn) {
        self.inside(&item.attrs, |measure| {
            let start = first_span(&item.vis, &item.sig);
            measure.note(&item.sig.ident, start, item.block.span());
            visit::visit_item_fn(measure, item);
        });
    }

    fn visit_impl_item_fn(&mut self, item: &'ast syn::ImplItemFn) {
        self.inside(&item.attrs, |measure| {
            let start = first_span(&item.vis, &item.sig);
            measure.note(&item.sig.ident, start, item.block.span());
            visit::visit_impl_item_fn(measure, item);
        });
    }

    fn visit_trait_item_fn(&mut self, item: &'ast syn::TraitItemFn) {
        self.inside(&item.attrs, |measure| {
            if let Some(body) = &item.default {
                measure.note(&item.sig.ident, item.sig.span(), body.span());
            }
            visit::visit_trait_item_fn(measure, item);
        });
    }

    fn visit_item_impl(&mut self, item: &'ast syn::ItemImpl) {
        self.inside(&item.attrs, |measure| visit::visit_item_impl(measure, item));
    }

    fn visit_item_mod(&mut self, item: &'ast syn::ItemMod) {
        self.inside(&item.attrs, |measure| visit::visit_item_mod(measure, item));
    }
}

fn first_span(visibility: &syn::Visibility, signature: &syn::Signature) -> Span {
    match visibility {
        syn::Visibility::Inherited => signature.span(),
        visible => visible.span(),
    }
}

/// Whether one of the attributes is `allow` or `expect` of `clippy::too_many_lines` with a reason.
fn is_exception(attributes: &[Attribute]) -> bool {
    attributes.iter().any(|attribute| {
        let Meta::List(list) = &attribute.meta else { return false };
        if !list.path.is_ident("allow") && !list.path.is_ident("expect") {
            return false;
        }
        let mut names = list.tokens.clone().into_iter().filter_map(|token| match token {
            TokenTree::Ident(name) => Some(name),
            _ => None,
        });
        let (mut lint, mut reason) = (false, false);
        names.by_ref().for_each(|name| {
            lint |= name == "too_many_lines";
            reason |= name == "reason";
        });
        lint && reason
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn measured(source: &str) -> Vec<(String, usize, usize)> {
        let functions = functions(source).expect("Rust");
        functions.into_iter().map(|f| (f.name, f.line, f.lines)).collect()
    }

    #[test]
    fn a_function_is_measured_from_its_signature_to_its_brace() {
        let source = "/// Doc.\n#[inline]\npub fn f(\n    a: u8,\n) -> u8 {\n    a\n}\n";
        assert_eq!(measured(source), [("f".to_owned(), 3, 5)]);
    }

    #[test]
    fn braces_in_strings_and_comments_do_not_end_a_function() {
        let source = "fn f() {\n    // }\n    g(\"}\");\n}\nfn g(_: &str) {}\n";
        assert_eq!(measured(source), [("f".to_owned(), 1, 4), ("g".to_owned(), 5, 1)]);
    }

    #[test]
    fn methods_trait_defaults_and_nested_functions_are_measured_too() {
        let source = "impl S {\n    fn m() {\n        fn n() {}\n    }\n}\n\
                      trait T {\n    fn no_body();\n    fn d() {\n    }\n}\n";
        let names: Vec<String> = measured(source).into_iter().map(|(name, ..)| name).collect();
        assert_eq!(names, ["m", "n", "d"]);
    }

    #[test]
    fn an_exception_counts_only_with_its_reason() {
        let marked = "#[allow(clippy::too_many_lines, reason = \"a table\")]\nfn f() {}\n";
        let bare = "#[allow(clippy::too_many_lines)]\nfn f() {}\n";
        let other = "#[allow(dead_code, reason = \"a table\")]\nfn f() {}\n";
        let excepted = |source| functions(source).expect("Rust").iter().all(|f| f.excepted);
        assert_eq!([excepted(marked), excepted(bare), excepted(other)], [true, false, false]);
    }

    #[test]
    fn an_exception_reaches_inward_and_not_to_the_neighbour() {
        let source = "#[expect(clippy::too_many_lines, reason = \"why\")]\nmod m {\n    \
                      fn inner() {}\n}\nfn outer() {}\n";
        let functions = functions(source).expect("Rust");
        let excepted: Vec<bool> = functions.iter().map(|f| f.excepted).collect();
        assert_eq!(excepted, [true, false]);
    }
}
