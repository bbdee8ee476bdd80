//! The style that the repository keeps, as far as a program can tell.
//!
//! | what | limit | how to except |
//! |---|---|---|
//! | Rust file | 800 lines | split it; there is no exception |
//! | function | 70 lines from `fn` to its closing brace | `#[allow(clippy::too_many_lines, reason = "...")]` on it or on an item around it |
//! | line of Rust or shell | 100 columns | a web address, or a row of a table in documentation, may be longer |
//! | path that holds on one machine only | none | `style: path` in a comment on the line, with the reason |
//! | crate | `README.md`, `lints.workspace = true` | none |
//! | folder at the top | `README.md` | none |
//! | bash script | `set -euo pipefail` | files that are only sourced are not scripts |

mod manifest;
mod rust_source;
mod text;

use std::fmt;
use std::path::{Path, PathBuf};
use std::process::Command;

pub(crate) use rust_source::Function;

/// Longest Rust file, in lines.
const MAX_FILE_LINES: usize = 800;
/// Longest function, in lines from `fn` to the closing brace.
const MAX_FUNCTION_LINES: usize = 70;
/// Longest line, in characters.
const MAX_COLUMNS: usize = 100;

/// Why the check could not be made; not a finding.
#[derive(Debug)]
#[non_exhaustive]
pub(crate) enum Error {
    /// A file or folder could not be read.
    Read {
        /// Which one.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// Git could not list the files; holds what it said.
    Git(String),
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Read { path, source } => write!(f, "cannot read {}: {source}", path.display()),
            Self::Git(said) => write!(f, "git cannot list the files: {}", said.trim()),
        }
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Read { source, .. } => Some(source),
            Self::Git(_) => None,
        }
    }
}

/// One breach of the style.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Finding {
    /// File, relative to the root.
    pub(crate) path: PathBuf,
    /// Line, counted from 1; 0 speaks of the whole file.
    pub(crate) line: usize,
    /// What is wrong and what would be right.
    pub(crate) message: String,
}

impl Finding {
    fn new(path: &Path, line: usize, message: impl Into<String>) -> Self {
        Self { path: path.to_path_buf(), line, message: message.into() }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path = self.path.display();
        match self.line {
            0 => write!(f, "{path}: {}", self.message),
            line => write!(f, "{path}:{line}: {}", self.message),
        }
    }
}

/// What was looked at, and what was found.
#[derive(Debug, Default)]
pub(crate) struct Report {
    /// Breaches, ordered by file and line.
    pub(crate) findings: Vec<Finding>,
    /// Number of text files read.
    pub(crate) files: usize,
    /// Number of functions measured.
    pub(crate) functions: usize,
    /// Number of crates whose manifest was read.
    pub(crate) crates: usize,
}

/// Checks every file that git tracks or would track under `root`.
///
/// # Errors
/// If git cannot list the files or one of them cannot be read.
pub(crate) fn check(root: &Path) -> Result<Report, Error> {
    let paths = listed_files(root)?;
    let mut report = Report::default();
    for path in &paths {
        let Some(content) = read_text(root, path)? else { continue };
        report.files += 1;
        check_file(path, &content, &mut report);
    }
    report.findings.extend(manifest::missing_folder_readmes(&paths));
    report.findings.sort();
    Ok(report)
}

/// Every function under `root` with its file, longest first.
///
/// # Errors
/// As for [`check`].
pub(crate) fn functions_by_length(root: &Path) -> Result<Vec<(PathBuf, Function)>, Error> {
    let mut all = Vec::new();
    for path in listed_files(root)? {
        if !is_rust(&path) {
            continue;
        }
        let Some(content) = read_text(root, &path)? else { continue };
        let functions = rust_source::functions(&content).unwrap_or_default();
        all.extend(functions.into_iter().map(|function| (path.clone(), function)));
    }
    all.sort_by_key(|(_, function)| std::cmp::Reverse(function.lines));
    Ok(all)
}

fn check_file(path: &Path, content: &str, report: &mut Report) {
    report.findings.extend(text::foreign_paths(path, content));
    if is_rust(path) {
        report.findings.extend(text::long_file(path, content, MAX_FILE_LINES));
        report.findings.extend(text::long_lines(path, content, MAX_COLUMNS));
        match rust_source::functions(content) {
            Ok(functions) => {
                report.functions += functions.len();
                report.findings.extend(long_functions(path, &functions));
            }
            Err((line, said)) => report.findings.push(Finding::new(path, line, said)),
        }
    } else if text::is_bash(path, content) {
        report.findings.extend(text::long_lines(path, content, MAX_COLUMNS));
        report.findings.extend(text::lax_bash(path, content));
    } else if manifest::is_member_manifest(path, content) {
        report.crates += 1;
        report.findings.extend(manifest::check_member(path, content));
    }
}

fn long_functions<'a>(
    path: &'a Path,
    functions: &'a [Function],
) -> impl Iterator<Item = Finding> + 'a {
    functions.iter().filter(|f| f.lines > MAX_FUNCTION_LINES && !f.excepted).map(move |f| {
        let message = format!(
            "function `{}` has {} lines, more than {MAX_FUNCTION_LINES}: split it, or say why not \
             with #[allow(clippy::too_many_lines, reason = \"...\")]",
            f.name, f.lines
        );
        Finding::new(path, f.line, message)
    })
}

fn is_rust(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension == "rs")
}

/// The text of a file; nothing for one that is not text, is not a file, or has just been deleted.
fn read_text(root: &Path, path: &Path) -> Result<Option<String>, Error> {
    let full = root.join(path);
    if !full.is_file() {
        return Ok(None);
    }
    let bytes = std::fs::read(&full).map_err(|source| Error::Read { path: full, source })?;
    Ok(String::from_utf8(bytes).ok())
}

/// What git tracks and what it would add, relative to `root`, sorted.
fn listed_files(root: &Path) -> Result<Vec<PathBuf>, Error> {
    let output = Command::new("git")
        .args(["ls-files", "--cached", "--others", "--exclude-standard", "-z"])
        .current_dir(root)
        .output()
        .map_err(|error| Error::Git(error.to_string()))?;
    if !output.status.success() {
        return Err(Error::Git(String::from_utf8_lossy(&output.stderr).into_owned()));
    }
    let listing = String::from_utf8_lossy(&output.stdout);
    let mut paths: Vec<PathBuf> =
        listing.split('\0').filter(|name| !name.is_empty()).map(PathBuf::from).collect();
    paths.sort();
    paths.dedup();
    Ok(paths)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn findings(path: &str, content: &str) -> Vec<String> {
        let mut report = Report::default();
        check_file(Path::new(path), content, &mut report);
        report.findings.iter().map(ToString::to_string).collect()
    }

    fn function_of(lines: usize) -> String {
        format!("fn long() {{\n{}}}\n", "    work();\n".repeat(lines - 2))
    }

    #[test]
    fn a_function_of_seventy_lines_passes_and_one_more_is_found_where_it_begins() {
        assert_eq!(findings("a.rs", &function_of(70)), Vec::<String>::new());
        let found = findings("a.rs", &format!("// head\n\n{}", function_of(71)));
        assert_eq!(found.len(), 1, "{found:?}");
        assert!(found[0].starts_with("a.rs:3: function `long` has 71 lines"), "{found:?}");
    }

    #[test]
    fn a_file_that_is_no_rust_is_reported_with_the_line_of_the_error() {
        let found = findings("a.rs", "fn good() {}\nfn bad( {}\n");
        assert_eq!(found.len(), 1, "{found:?}");
        assert!(found[0].starts_with("a.rs:2: "), "{found:?}");
    }

    #[test]
    fn text_that_is_neither_rust_nor_bash_may_have_long_lines() {
        assert_eq!(findings("a.md", &"x".repeat(300)), Vec::<String>::new());
        assert_eq!(findings("a.rs", &format!("// {}", "x".repeat(300))).len(), 1);
    }

    #[test]
    fn a_folder_without_git_is_an_error_and_not_a_clean_report() {
        let outside = std::env::temp_dir().join(format!("xtask-no-git-{}", std::process::id()));
        std::fs::create_dir_all(&outside).expect("temporary folder");
        let outcome = check(&outside);
        std::fs::remove_dir_all(&outside).expect("temporary folder");
        assert!(matches!(outcome, Err(Error::Git(_))), "{outcome:?}");
    }
}
