//! Rust files that nothing includes: the compiler never sees them, so nothing else would tell.

use std::path::{Path, PathBuf};

use super::{Finding, Tree};

/// Files that cargo itself finds, by their parent folder.
const ROOT_FOLDERS: &[&str] = &["benches", "examples", "tests"];

/// Finds every file that its parent module does not declare.
pub(super) fn check(tree: &Tree) -> Vec<Finding> {
    tree.with_extension("rs")
        .filter(|(path, _)| !is_root(path) && !is_declared(tree, path))
        .map(|(path, _)| Finding::file(path, "no module declares this file"))
        .collect()
}

/// A crate's root, which needs nobody to declare it.
fn is_root(path: &Path) -> bool {
    let name = |path: Option<&Path>| {
        path.and_then(Path::file_name)
            .unwrap_or_default()
            .to_owned()
    };
    let folder = path.parent();
    let (parent, grandparent) = (name(folder), name(folder.and_then(Path::parent)));
    let stem = path.file_stem().unwrap_or_default();
    // `src/a/tests/b.rs` is a module of the unit tests, `tests/b.rs` is a root.
    let is_outside = !path.components().any(|part| part.as_os_str() == "src");
    let holds_roots = |folder: &std::ffi::OsStr| {
        folder == "bin" || (is_outside && ROOT_FOLDERS.iter().any(|name| folder == *name))
    };
    (parent == "src" && (stem == "lib" || stem == "main"))
        || stem == "build"
        || (holds_roots(&parent) && stem != "mod")
        || (holds_roots(&grandparent) && stem == "main")
}

fn is_declared(tree: &Tree, path: &Path) -> bool {
    let folder = path.parent().unwrap_or(Path::new(""));
    let stem = path
        .file_stem()
        .and_then(|stem| stem.to_str())
        .unwrap_or_default();
    // `a/b/mod.rs` is the module `b` of `a`; `a/b.rs` is too.
    let (folder, name) = if stem == "mod" {
        let name = folder
            .file_name()
            .and_then(|name| name.to_str())
            .unwrap_or_default();
        (folder.parent().unwrap_or(Path::new("")), name)
    } else {
        (folder, stem)
    };
    let mut parents: Vec<PathBuf> = ["lib.rs", "main.rs", "mod.rs"]
        .iter()
        .map(|file| folder.join(file))
        .collect();
    parents.push(folder.with_extension("rs"));
    let beside = tree.paths.iter().filter(|other| {
        // The roots of integration tests declare the modules that lie beside them.
        other.parent() == Some(folder) && is_root(other)
    });
    parents.extend(beside.cloned());
    let declarations = [format!("mod {name};"), format!("{name}.rs\"")];
    parents
        .iter()
        .filter_map(|parent| tree.texts.get(parent))
        .any(|text| {
            text.lines()
                .any(|line| declarations.iter().any(|declared| line.contains(declared)))
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn undeclared(files: &[(&str, &str)]) -> Vec<String> {
        check(&Tree::of(files))
            .iter()
            .map(|finding| finding.path.display().to_string())
            .collect()
    }

    #[test]
    fn declared_files_are_fine_in_both_styles() {
        let files = [
            ("c/src/lib.rs", "mod a;\npub mod b;\n"),
            ("c/src/a.rs", "#[cfg(test)]\nmod tests;\n"),
            ("c/src/a/tests.rs", ""),
            ("c/src/b/mod.rs", "mod d;\n"),
            ("c/src/b/d.rs", ""),
        ];
        assert_eq!(undeclared(&files), [""; 0]);
    }

    #[test]
    fn file_that_nothing_declares_is_found() {
        let files = [
            ("c/src/lib.rs", "mod a;\n"),
            ("c/src/a.rs", ""),
            ("c/src/b.rs", ""),
            ("c/src/a/tests.rs", ""),
        ];
        assert_eq!(undeclared(&files), ["c/src/a/tests.rs", "c/src/b.rs"]);
    }

    #[test]
    fn integration_tests_are_roots_and_their_modules_are_not() {
        let files = [
            ("c/tests/pays.rs", "mod common;\n"),
            ("c/tests/common/mod.rs", ""),
            ("c/tests/lost/mod.rs", ""),
            ("c/tests/gate/main.rs", "mod replay;\n"),
            ("c/tests/gate/replay.rs", ""),
            ("c/src/bin/tool.rs", ""),
        ];
        assert_eq!(undeclared(&files), ["c/tests/lost/mod.rs"]);
    }
}
