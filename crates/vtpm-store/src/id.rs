//! Names of instances and of transfers, and the generation a host remembers.

use std::fmt;

use crate::error::Result;

/// The name of one vTPM instance, for its whole life and on every host: 128 bits, such as a UUID.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct InstanceId(pub [u8; 16]);

impl InstanceId {
    /// A name that nobody else draws.
    ///
    /// # Errors
    /// [`Error::Entropy`](crate::Error::Entropy) if the operating system gives no random bytes.
    pub fn random() -> Result<Self> {
        let mut id = [0; 16];
        getrandom::fill(&mut id)?;
        Ok(Self(id))
    }
}

/// The name of one handover between two hosts: 128 random bits.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TransferId(pub [u8; 16]);

/// The newest generation that the host's anchor remembers of an instance.
///
/// [`open`](crate::Store::open) refuses a file that is older.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct MinimumGeneration(pub u64);

fn write_grouped(bytes: &[u8; 16], f: &mut fmt::Formatter<'_>) -> fmt::Result {
    for (at, byte) in bytes.iter().enumerate() {
        if matches!(at, 4 | 6 | 8 | 10) {
            f.write_str("-")?;
        }
        write!(f, "{byte:02x}")?;
    }
    Ok(())
}

macro_rules! shown_as_a_uuid {
    ($name:ident) => {
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write_grouped(&self.0, f)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "({})"), self)
            }
        }
    };
}

shown_as_a_uuid!(InstanceId);
shown_as_a_uuid!(TransferId);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_reads_like_a_uuid() {
        let id = InstanceId(*b"\x01\x23\x45\x67\x89\xab\xcd\xef\x01\x23\x45\x67\x89\xab\xcd\xef");
        assert_eq!(id.to_string(), "01234567-89ab-cdef-0123-456789abcdef");
        assert_eq!(format!("{id:?}"), "InstanceId(01234567-89ab-cdef-0123-456789abcdef)");
    }
}
