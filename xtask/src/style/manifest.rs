//! What each crate of the workspace, and each folder at the top, must have.

use std::collections::BTreeSet;
use std::path::{Component, Path, PathBuf};

use super::Finding;

/// Whether this is the manifest of a crate of our workspace.
///
/// The workspace's own manifest is not, nor is one that is a workspace by itself, as the manifests
/// of fuzz targets are.
pub(super) fn is_member_manifest(path: &Path, content: &str) -> bool {
    path.file_name().is_some_and(|name| name == "Cargo.toml")
        && content.parse::<toml::Table>().map_or(true, |table| !table.contains_key("workspace"))
}

/// Findings on the manifest itself.
pub(super) fn check_member(path: &Path, content: &str) -> Vec<Finding> {
    let table = match content.parse::<toml::Table>() {
        Ok(table) => table,
        Err(error) => return vec![Finding::new(path, 0, format!("not TOML: {}", error.message()))],
    };
    let mut findings = Vec::new();
    if value(&table, "lints", "workspace").and_then(toml::Value::as_bool) != Some(true) {
        findings.push(Finding::new(path, 0, "say `lints.workspace = true`"));
    }
    if value(&table, "package", "description").and_then(toml::Value::as_str).is_none() {
        findings.push(Finding::new(path, 0, "a crate says what it is: package.description"));
    }
    findings
}

/// A finding for each crate and each folder at the top that has no `README.md` among `paths`.
pub(super) fn missing_folder_readmes(paths: &[PathBuf]) -> Vec<Finding> {
    let known: BTreeSet<&Path> = paths.iter().map(PathBuf::as_path).collect();
    let folders: BTreeSet<PathBuf> = paths
        .iter()
        .flat_map(|path| crate_folder(path).into_iter().chain(top_folder(path)))
        .collect();
    let missing = |folder: &PathBuf| !known.contains(folder.join("README.md").as_path());
    folders
        .into_iter()
        .filter(missing)
        .map(|folder| Finding::new(&folder, 0, "has no README.md, which is its map"))
        .collect()
}

fn value<'a>(table: &'a toml::Table, section: &str, key: &str) -> Option<&'a toml::Value> {
    table.get(section)?.get(key)
}

/// The folder of a crate that is not a fuzz crate, if `path` is its manifest.
fn crate_folder(path: &Path) -> Option<PathBuf> {
    let folder = path.parent()?;
    let is_manifest = path.file_name()? == "Cargo.toml";
    let is_root = folder.as_os_str().is_empty();
    let is_fuzz = folder.file_name().is_some_and(|name| name == "fuzz");
    (is_manifest && !is_root && !is_fuzz).then(|| folder.to_path_buf())
}

/// The folder at the top that `path` is in, unless hidden.
fn top_folder(path: &Path) -> Option<PathBuf> {
    let mut components = path.components();
    let (first, _inside) = (components.next()?, components.next()?);
    match first {
        Component::Normal(name) if !name.to_string_lossy().starts_with('.') => {
            Some(PathBuf::from(name))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "[package]\nname = \"a\"\ndescription = \"A\"\n[lints]\nworkspace = true\n";

    fn messages(content: &str) -> Vec<String> {
        let findings = check_member(Path::new("crates/a/Cargo.toml"), content);
        findings.into_iter().map(|finding| finding.message).collect()
    }

    #[test]
    fn a_crate_that_takes_the_lints_and_says_what_it_is_passes() {
        assert_eq!(messages(GOOD), Vec::<String>::new());
    }

    #[test]
    fn a_crate_without_the_lints_of_the_workspace_is_found() {
        assert_eq!(messages(&GOOD.replace("true", "false")), ["say `lints.workspace = true`"]);
        assert_eq!(messages("[package]\ndescription = \"A\"\n").len(), 1);
    }

    #[test]
    fn a_manifest_that_cannot_be_read_is_a_finding() {
        assert_eq!(messages("[package\n").len(), 1);
    }

    #[test]
    fn a_workspace_and_a_fuzz_crate_are_not_members() {
        let member = |content| is_member_manifest(Path::new("crates/a/Cargo.toml"), content);
        assert!(member(GOOD));
        assert!(!member("[workspace]\nmembers = []\n"));
        assert!(!is_member_manifest(Path::new("deny.toml"), GOOD));
    }

    #[test]
    fn each_crate_and_each_top_folder_needs_its_readme() {
        let paths = [
            ".ci/run",
            "Cargo.toml",
            "README.md",
            "crates/README.md",
            "crates/a/Cargo.toml",
            "crates/a/fuzz/Cargo.toml",
            "crates/b/Cargo.toml",
            "crates/b/README.md",
            "scripts/test",
        ];
        let found = missing_folder_readmes(&paths.map(PathBuf::from));
        let folders: Vec<PathBuf> = found.into_iter().map(|finding| finding.path).collect();
        assert_eq!(folders, [PathBuf::from("crates/a"), PathBuf::from("scripts")]);
    }
}
