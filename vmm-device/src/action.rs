//! What a register write asks the VMM to do.

use std::{fmt, ops::Deref};

use zeroize::Zeroizing;

use crate::Locality;

/// What the VMM has to do after a register write.
///
/// Pass actions to the engine's worker in the order in which they came.
#[derive(Clone, PartialEq, Eq, Debug)]
#[must_use = "an action that is dropped leaves the guest waiting"]
#[non_exhaustive]
pub enum Action {
    /// Nothing.
    None,
    /// Run a command and then call `complete` with its response, or `fail`.
    Execute {
        /// Locality the command comes from.
        locality: Locality,
        /// The command, with the length that the guest announced. It is not checked.
        command: Bytes,
    },
    /// Ask the engine to end the running command early. `complete` is still expected.
    Cancel,
    /// The hardware began a dynamic launch: `_TPM_Hash_Start` of TPM Library Part 3.
    HashStart,
    /// Data of the dynamic launch: `_TPM_Hash_Data`.
    HashData(Bytes),
    /// The dynamic launch's data is complete: `_TPM_Hash_End`.
    HashEnd,
    /// The guest cleared the "established" flag. The model has noted it; a VMM that keeps the flag
    /// across power cycles stores it.
    ResetEstablished {
        /// Locality it was asked from, 3 or 4.
        locality: Locality,
    },
}

/// Bytes on their way to or from the engine. They can hold passwords: they are zeroized when
/// dropped and never printed.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct Bytes(Zeroizing<Vec<u8>>);

impl From<&[u8]> for Bytes {
    fn from(bytes: &[u8]) -> Self {
        Self(Zeroizing::new(bytes.to_vec()))
    }
}

impl From<Vec<u8>> for Bytes {
    fn from(bytes: Vec<u8>) -> Self {
        Self(Zeroizing::new(bytes))
    }
}

impl Deref for Bytes {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.0
    }
}

impl AsRef<[u8]> for Bytes {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "[{} bytes]", self.0.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_output_of_a_command_shows_its_length_and_nothing_else() {
        let action = Action::Execute {
            locality: Locality::ZERO,
            command: Bytes::from(b"secret".as_slice()),
        };
        let text = format!("{action:?}");
        assert!(text.contains("[6 bytes]"), "{text}");
        assert!(!text.contains("115"), "{text}");
    }
}
