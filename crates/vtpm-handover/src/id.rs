//! Names of instances, transfers, requests and hosts.

use std::fmt;

use sha2::{Digest, Sha256};

/// The name of one vTPM instance, for its whole life and on every host.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct InstanceId(pub [u8; 16]);

/// The name of one handover between two hosts: 128 random bits.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TransferId(pub [u8; 16]);

/// The name of an order for a new vTPM, so that it is filled once: 128 random bits. All zeros if
/// the handover moves an instance that nobody ordered, as a migration does.
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RequestId(pub [u8; 16]);

impl RequestId {
    /// No order: the handover is a migration.
    pub const NONE: Self = Self([0; 16]);
}

/// The name of a host: SHA-256 of the public area (TPMT_PUBLIC) of its chip's endorsement key.
///
/// It stays the same as long as the chip keeps its endorsement seed, whatever the software does.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct HostId(pub [u8; 32]);

impl HostId {
    /// The name of the host whose endorsement key has this public area, a TPMT_PUBLIC.
    #[must_use]
    pub fn of(ek_public: &[u8]) -> Self {
        Self(Sha256::digest(ek_public).into())
    }
}

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

        impl std::str::FromStr for $name {
            type Err = NotAnId;

            fn from_str(text: &str) -> Result<Self, NotAnId> {
                let digits: String = text.chars().filter(|c| *c != '-').collect();
                unhex(&digits).and_then(|bytes| bytes.try_into().ok()).map(Self).ok_or(NotAnId)
            }
        }
    };
}

shown_as_a_uuid!(InstanceId);
shown_as_a_uuid!(TransferId);
shown_as_a_uuid!(RequestId);

impl fmt::Display for HostId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for HostId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "HostId({self})")
    }
}

impl std::str::FromStr for HostId {
    type Err = NotAnId;

    fn from_str(text: &str) -> Result<Self, NotAnId> {
        unhex(text).and_then(|bytes| bytes.try_into().ok()).map(Self).ok_or(NotAnId)
    }
}

/// A text is not an id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not an id: 32 hexadecimal digits, or 64 for a host, are wanted")]
pub struct NotAnId;

/// The bytes that hexadecimal digits stand for; nothing if they are not that.
pub(crate) fn unhex(text: &str) -> Option<Vec<u8>> {
    if !text.len().is_multiple_of(2) || !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return None;
    }
    let digits = text.as_bytes().chunks_exact(2);
    digits.map(|two| u8::from_str_radix(std::str::from_utf8(two).ok()?, 16).ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_reads_like_a_uuid_and_comes_back_from_it() {
        let id = InstanceId(*b"\x01\x23\x45\x67\x89\xab\xcd\xef\x01\x23\x45\x67\x89\xab\xcd\xef");
        assert_eq!(id.to_string(), "01234567-89ab-cdef-0123-456789abcdef");
        assert_eq!(id.to_string().parse(), Ok(id));
        assert_eq!("0123".parse::<InstanceId>(), Err(NotAnId));
        assert_eq!("zz".repeat(16).parse::<InstanceId>(), Err(NotAnId));
        let host = HostId([0xa5; 32]);
        assert_eq!(host.to_string().parse(), Ok(host));
    }
}
