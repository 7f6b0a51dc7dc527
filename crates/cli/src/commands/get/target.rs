//! The file that the body goes to.

use std::{
    fs::File,
    io,
    path::{Path, PathBuf},
};

use crate::{
    args::get::Get,
    failure::{Failure, UsageContext},
};

/// A file that is opened before anything is paid, so that no paid body is lost for want of a place;
/// what stood in it stays until there is an answer.
pub(super) struct Target {
    file: File,
    path: PathBuf,
    is_new: bool,
    filled: bool,
}

impl Target {
    /// Opens what the command line names; `None` is standard output.
    pub(super) fn of(args: &Get) -> Result<Option<Self>, Failure> {
        let given = &args.output;
        let name = match (&given.output, given.remote_name) {
            (Some(path), _) if path.as_os_str() == "-" => return Ok(None),
            (Some(path), _) => path.clone(),
            (None, true) => last_part(args.url.as_deref().unwrap_or_default())?,
            (None, false) if given.output_dir.is_some() => {
                return Err(Failure::usage("--output-dir: give -o FILE or -O too"));
            }
            (None, false) => return Ok(None),
        };
        let path = match &given.output_dir {
            Some(folder) => folder.join(name),
            None => name,
        };
        Self::open(&path).map(Some)
    }

    fn open(path: &Path) -> Result<Self, Failure> {
        let is_new = !path.exists();
        let mut options = File::options();
        let file = options.write(true).create(true).truncate(false).open(path);
        Ok(Self {
            file: file.usage(format!("writing {}", path.display()))?,
            path: path.to_owned(),
            is_new,
            filled: false,
        })
    }

    /// Where it is.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Begins to write: what stood there goes.
    pub(super) fn begin(&mut self) -> io::Result<File> {
        self.filled = true;
        // A pipe or a device has no length to set.
        if self.file.metadata()?.is_file() {
            self.file.set_len(0)?;
        }
        self.file.try_clone()
    }
}

impl Drop for Target {
    fn drop(&mut self) {
        if self.is_new && !self.filled {
            // An empty file is all that stays when this fails.
            let _ = std::fs::remove_file(&self.path);
        }
    }
}

/// The last part of a URL's path, as a file name.
fn last_part(url: &str) -> Result<PathBuf, Failure> {
    let path = url.split(['?', '#']).next().unwrap_or_default();
    let rest = path.split_once("://").map_or(path, |(_, rest)| rest);
    match rest.rsplit_once('/') {
        Some((_, name)) if !matches!(name, "" | "." | "..") && !name.contains('\\') => {
            Ok(PathBuf::from(name))
        }
        _ => Err(Failure::usage(
            "--remote-name: the URL's path ends without a name: give -o FILE",
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::last_part;

    #[test]
    fn file_is_named_by_the_urls_path_alone() {
        for (url, name) in [
            ("https://a.example/x/y.png?z=/q#/f", Some("y.png")),
            ("https://a.example/x%2fy", Some("x%2fy")),
            ("https://a.example", None),
            ("https://a.example/", None),
            ("https://a.example/x/..", None),
            ("https://a.example/?/x", None),
            ("https://a.example/a\\b", None),
        ] {
            let told = last_part(url).ok();
            assert_eq!(told.as_deref(), name.map(std::path::Path::new), "{url}");
        }
    }
}
