//! Objects that stand for directories. An empty object is no file where other keys lie below its
//! name: tools that show buckets as disks put such objects there.

/// An object that may yet turn out to be a directory.
#[derive(Debug)]
struct Candidate<T> {
    key: String,
    object: T,
}

/// Holds back empty objects until the listing, which ascends, has passed what could lie below them.
#[derive(Debug)]
pub(super) struct Markers<T> {
    held: Vec<Candidate<T>>,
}

impl<T> Default for Markers<T> {
    fn default() -> Self {
        Self { held: Vec::new() }
    }
}

/// Whether the name alone says that an empty object is a directory: `dir/` (consoles, s3fs,
/// goofys), `dir_$folder$` (Hadoop).
pub(super) fn is_marker(key: &str) -> bool {
    key.ends_with('/') || key.ends_with("_$folder$")
}

impl<T> Markers<T> {
    /// The listing has come to `key`. Returns what is now known to be files.
    pub(super) fn pass(&mut self, key: &str) -> Vec<T> {
        let mut files = Vec::new();
        let mut index = 0;
        while index < self.held.len() {
            match key.strip_prefix(self.held[index].key.as_str()).and_then(|rest| rest.bytes().next()) {
                Some(b'/') => {
                    let marker = self.held.remove(index);
                    tracing::debug!(key = marker.key, "an empty object stands for a directory");
                }
                // `dir-2` and `dir.x` come before `dir/`.
                Some(next) if next < b'/' => index += 1,
                _ => files.push(self.held.remove(index).object),
            }
        }
        files
    }

    /// Holds an empty object back.
    pub(super) fn hold(&mut self, key: String, object: T) {
        self.held.push(Candidate { key, object });
    }

    /// The listing has ended: what is still held is a file.
    pub(super) fn finish(&mut self) -> Vec<T> {
        self.held.drain(..).map(|candidate| candidate.object).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What of these keys, all empty objects, is a file.
    fn files(keys: &[&'static str]) -> Vec<&'static str> {
        let mut markers = Markers::default();
        let mut files = Vec::new();
        for key in keys {
            files.extend(markers.pass(key));
            if !is_marker(key) {
                markers.hold((*key).to_owned(), *key);
            }
        }
        files.extend(markers.finish());
        files.sort_unstable();
        files
    }

    #[test]
    fn an_empty_object_above_others_is_a_directory() {
        assert_eq!(files(&["dir", "dir/a"]), ["dir/a"]);
        assert_eq!(files(&["dir", "dir-2", "dir.x/y", "dir/a"]), ["dir-2", "dir.x/y", "dir/a"]);
        assert_eq!(files(&["a", "a/b", "a/b/c"]), ["a/b/c"]);
        assert_eq!(files(&["a", "a-", "a-/b", "a/c"]), ["a-/b", "a/c"]);
        assert_eq!(files(&["dir/", "dir/a", "dir_$folder$"]), ["dir/a"]);
    }

    #[test]
    fn an_empty_object_above_nothing_is_a_file() {
        assert_eq!(files(&["dir", "dir0/a", "dirs/a"]), ["dir", "dir0/a", "dirs/a"]);
        assert_eq!(files(&["a", "a-"]), ["a", "a-"]);
        assert_eq!(files(&["ephemeral.snapshot"]), ["ephemeral.snapshot"]);
    }
}
