//! What the daemon says of itself and of the TPM, as JSON in the form that swtpm has.

use std::fmt::Write as _;
use std::path::Path;

use vtpm_engine::Profile;

use crate::tpm::running_path;

/// `GET_INFO` asks for the specification.
const SPECIFICATION: u64 = 1;
/// `GET_INFO` asks for the attributes.
const ATTRIBUTES: u64 = 2;
/// `GET_INFO` asks for the features.
const FEATURES: u64 = 4;

/// Answers `GET_INFO` with the parts that `flags` ask for.
pub(crate) fn info(profile: &Profile, flags: u64) -> String {
    let mut parts = Vec::new();
    if flags & SPECIFICATION != 0 {
        let part = r#""TPMSpecification":{"family":"2.0","level":0,"revision":159}"#;
        parts.push(part.to_owned());
    }
    if flags & ATTRIBUTES != 0 {
        let identity = &profile.identity;
        let manufacturer = u32::from_be_bytes(identity.manufacturer);
        let model = identity.vendor.map(char::from).into_iter().filter(char::is_ascii_graphic);
        parts.push(format!(
            r#""TPMAttributes":{{"manufacturer":"id:{manufacturer:08X}","version":"id:{:08X}","#,
            identity.firmware_version >> 32,
        ));
        if let Some(part) = parts.last_mut() {
            // Writing to a string does not fail.
            let _ = write!(part, r#""model":"{}"}}"#, json_text(model));
        }
    }
    if flags & FEATURES != 0 {
        let sizes = (1..8).map(|size: u16| size.saturating_mul(1024));
        let sizes = sizes.filter(|bits| profile.algorithms.has_rsa(*bits));
        let sizes: Vec<String> = sizes.map(|bits| bits.to_string()).collect();
        parts.push(format!(r#""TPMFeatures":{{"RSAKeySizes":[{}]}}"#, sizes.join(",")));
    }
    format!("{{{}}}", parts.join(","))
}

/// Text without the characters that JSON would want escaped.
fn json_text(characters: impl Iterator<Item = char>) -> String {
    characters.filter(|character| !matches!(character, '"' | '\\')).collect()
}

/// Answers `socket --print-capabilities`: what callers such as libvirt look for.
pub(crate) fn capabilities() -> String {
    let features = [
        "tpm-2.0",
        "tpm-send-command-header",
        "flags-opt-startup",
        "flags-opt-disable-auto-shutdown",
        "cmdarg-seccomp",
        "cmdarg-key-fd",
        "cmdarg-pwd-fd",
        "cmdarg-migration",
        "cmdarg-print-states",
        "nvram-backend-dir",
        "nvram-backend-file",
        "tpmstate-opt-lock",
    ];
    format!(
        r#"{{ "type": "swtpm", "features": [ "{}" ], "version": "{}" }}"#,
        features.join("\", \""),
        env!("CARGO_PKG_VERSION"),
    )
}

/// Answers `socket --print-states`: which states are in a directory, and how large they are.
pub(crate) fn states(file: &Path) -> String {
    let named = [("permall", file.to_owned()), ("volatilestate", running_path(file))];
    let found = named.iter().filter_map(|(name, path)| {
        let size = path.metadata().ok()?.len();
        Some(format!(r#"{{"name": "{name}", "size": {size}}}"#))
    });
    let found: Vec<String> = found.collect();
    format!(r#"{{ "type": "swtpm", "states": [ {} ] }}"#, found.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_info_has_the_parts_that_are_asked_for() {
        let profile = Profile::default();
        assert_eq!(info(&profile, 0), "{}");
        assert_eq!(
            info(&profile, 6),
            concat!(
                r#"{"TPMAttributes":{"manufacturer":"id:5654504D","version":"id:00010000","#,
                r#""model":"vTPM"},"TPMFeatures":{"RSAKeySizes":[1024,2048,3072,4096]}}"#
            )
        );
    }
}
