//! What can be seen on the bare text of a file.

use std::path::Path;

use super::Finding;

/// Folders that exist on somebody's machine and not in the product. Written in two halves, so that
/// this file does not find itself.
const FOREIGN_FOLDERS: [&str; 4] =
    [concat!("/", "work"), concat!("/", "tmp/"), concat!("/", "root/"), concat!("/", "home/")];

/// In a comment on a line, says that the path there is right, for example because it is a guest's.
const PATH_MARK: &str = "style: path";

/// The line that every script begins its work with.
const STRICT: &str = "set -euo pipefail";

/// A finding if the file has more than `limit` lines.
pub(super) fn long_file(path: &Path, content: &str, limit: usize) -> Option<Finding> {
    let lines = content.lines().count();
    (lines > limit)
        .then(|| Finding::new(path, 0, format!("{lines} lines, more than {limit}: split the file")))
}

/// A finding for each line of more than `limit` characters, unless it cannot be broken: one that
/// holds a web address, and a row of a table in documentation.
pub(super) fn long_lines(path: &Path, content: &str, limit: usize) -> Vec<Finding> {
    let too_long =
        |line: &str| line.chars().count() > limit && !line.contains("://") && !is_table_row(line);
    numbered(content)
        .filter(|(_, line)| too_long(line))
        .map(|(number, line)| {
            let columns = line.chars().count();
            Finding::new(path, number, format!("{columns} columns, more than {limit}"))
        })
        .collect()
}

/// A finding for each absolute path into a folder that is somebody's own.
pub(super) fn foreign_paths(path: &Path, content: &str) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (number, line) in numbered(content) {
        if line.contains(PATH_MARK) {
            continue;
        }
        for folder in FOREIGN_FOLDERS {
            if names_folder(line, folder) {
                let message = format!("`{folder}` holds on one machine only: take it from outside");
                findings.push(Finding::new(path, number, message));
            }
        }
    }
    findings
}

/// Whether the file is a bash script, to be run or to be sourced.
pub(super) fn is_bash(path: &Path, content: &str) -> bool {
    let first = content.lines().next().unwrap_or_default();
    path.extension().is_some_and(|extension| extension == "sh")
        || (first.starts_with("#!") && first.ends_with("bash"))
}

/// A finding if a script that is run by itself goes on after an error.
pub(super) fn lax_bash(path: &Path, content: &str) -> Option<Finding> {
    let runs = content.starts_with("#!");
    let strict = content.lines().any(|line| line.trim() == STRICT);
    (runs && !strict).then(|| Finding::new(path, 0, format!("a script without `{STRICT}`")))
}

/// Whether the line is a row of a Markdown table in a documentation comment.
fn is_table_row(line: &str) -> bool {
    let line = line.trim_start();
    line.strip_prefix("//!").or(line.strip_prefix("///")).is_some_and(|l| l.starts_with(" |"))
}

/// Whether `folder` stands in `line` as the start of an absolute path.
fn names_folder(line: &str, folder: &str) -> bool {
    line.match_indices(folder).any(|(at, _)| {
        let (before, rest) = line.split_at(at);
        let after = rest.strip_prefix(folder).unwrap_or_default();
        let begins = !before.chars().next_back().is_some_and(continues_path);
        let ends = folder.ends_with('/') || !after.chars().next().is_some_and(is_name);
        begins && ends
    })
}

/// Whether a path that has `c` before a slash began before that slash.
fn continues_path(c: char) -> bool {
    is_name(c) || matches!(c, '/' | '.' | '}' | ')' | '*' | '~' | '$' | '>' | ']')
}

fn is_name(c: char) -> bool {
    c.is_alphanumeric() || matches!(c, '_' | '-')
}

fn numbered(content: &str) -> impl Iterator<Item = (usize, &str)> {
    content.lines().enumerate().map(|(index, line)| (index + 1, line))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines_with_foreign_path(content: &str) -> Vec<usize> {
        foreign_paths(Path::new("a"), content).iter().map(|finding| finding.line).collect()
    }

    #[test]
    fn absolute_paths_into_private_folders_are_found_wherever_they_stand() {
        let [work, temporary, root, home] = FOREIGN_FOLDERS;
        let content = format!(
            "let a = \"{temporary}x\";\ncd {work}\nPATH={root}.cargo/bin\n({home}me/x)\n{work}/y\n"
        );
        assert_eq!(lines_with_foreign_path(&content), [1, 2, 3, 4, 5]);
    }

    #[test]
    fn longer_names_and_relative_paths_are_none_of_its_business() {
        let [work, temporary, ..] = FOREIGN_FOLDERS;
        let content =
            format!("{work}space\n$dir{temporary}x\n./a{work}/b\nhttps://example.org{work}/\n");
        assert_eq!(lines_with_foreign_path(&content), Vec::<usize>::new());
    }

    #[test]
    fn a_marked_line_is_left_alone() {
        let content =
            format!("mkdir {}x # style: path of the guest's own disk", FOREIGN_FOLDERS[1]);
        assert_eq!(lines_with_foreign_path(&content), Vec::<usize>::new());
    }

    #[test]
    fn columns_are_characters_and_not_bytes() {
        let long = |line: &str| long_lines(Path::new("a"), line, 100).len();
        assert_eq!([long(&"é".repeat(100)), long(&"é".repeat(101))], [0, 1]);
    }

    #[test]
    fn a_web_address_may_make_a_line_long() {
        let line = format!("//! <https://example.org/{}>", "x".repeat(100));
        assert_eq!(long_lines(Path::new("a"), &line, 100), []);
    }

    #[test]
    fn a_row_of_a_table_in_documentation_may_be_long_and_a_sentence_may_not() {
        let long = |head: &str| {
            let line = format!("    {head} {}", "x".repeat(100));
            long_lines(Path::new("a"), &line, 100).len()
        };
        assert_eq!([long("//! |"), long("/// |"), long("///"), long("let a = b |")], [0, 0, 1, 1]);
    }

    #[test]
    fn eight_hundred_lines_pass_and_one_more_does_not() {
        let found = |lines: usize| long_file(Path::new("a"), &"x\n".repeat(lines), 800).is_some();
        assert_eq!([found(800), found(801)], [false, true]);
    }

    #[test]
    fn a_script_must_stop_at_errors_and_a_sourced_file_need_not_say_so() {
        let lax = |content: &str| lax_bash(Path::new("a.sh"), content).is_some();
        assert!(lax("#!/usr/bin/env bash\necho\n"));
        assert!(!lax("#!/usr/bin/env bash\nset -euo pipefail\n"));
        assert!(!lax("# Functions.\n"));
    }

    #[test]
    fn a_script_is_known_by_its_first_line_or_its_name() {
        assert!(is_bash(Path::new("scripts/test"), "#!/usr/bin/env bash\n"));
        assert!(is_bash(Path::new("lib/a.sh"), "# Functions.\n"));
        assert!(!is_bash(Path::new("README.md"), "#!/usr/bin/env python3\n"));
    }
}
