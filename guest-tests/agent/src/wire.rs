//! TPM commands as bytes, and responses taken apart. No code of the engine's: a test has to have
//! its own opinion of what goes over the wire (TPM 2.0 Library, Part 3).

use std::fmt;

/// `TPM_ST_NO_SESSIONS`.
const NO_SESSIONS: u16 = 0x8001;
/// `TPM_ST_SESSIONS`.
const SESSIONS: u16 = 0x8002;
/// `TPM_RS_PW`.
pub(crate) const PASSWORD: u32 = 0x4000_0009;

/// What went wrong with the TPM, in the guest's words.
#[derive(Debug)]
pub(crate) struct Fault(pub(crate) String);

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl From<std::io::Error> for Fault {
    fn from(cause: std::io::Error) -> Self {
        Self(cause.to_string())
    }
}

/// What this crate's functions return.
pub(crate) type Result<T> = std::result::Result<T, Fault>;

/// Bytes in the making, big-endian.
#[derive(Clone, Debug, Default)]
pub(crate) struct Bytes(pub(crate) Vec<u8>);

impl Bytes {
    pub(crate) fn u8(mut self, value: u8) -> Self {
        self.0.push(value);
        self
    }

    pub(crate) fn u16(mut self, value: u16) -> Self {
        self.0.extend_from_slice(&value.to_be_bytes());
        self
    }

    pub(crate) fn u32(mut self, value: u32) -> Self {
        self.0.extend_from_slice(&value.to_be_bytes());
        self
    }

    pub(crate) fn raw(mut self, value: &[u8]) -> Self {
        self.0.extend_from_slice(value);
        self
    }

    /// A sized buffer (TPM2B).
    pub(crate) fn sized(self, value: &[u8]) -> Self {
        let length = u16::try_from(value.len()).unwrap_or(u16::MAX);
        self.u16(length).raw(value)
    }
}

/// One session in a command's authorization area.
#[derive(Clone, Debug)]
pub(crate) struct Auth {
    pub(crate) handle: u32,
    pub(crate) nonce: Vec<u8>,
    pub(crate) attributes: u8,
    pub(crate) hmac: Vec<u8>,
}

impl Auth {
    /// An empty password.
    pub(crate) fn empty() -> Self {
        Self { handle: PASSWORD, nonce: Vec::new(), attributes: 1, hmac: Vec::new() }
    }

    /// A policy session that needs no HMAC, and goes on afterwards.
    pub(crate) fn policy(handle: u32) -> Self {
        Self { handle, nonce: Vec::new(), attributes: 1, hmac: Vec::new() }
    }
}

/// A command: its code, handles and parameters.
#[derive(Clone, Debug)]
pub(crate) struct Command {
    pub(crate) code: u32,
    pub(crate) handles: Vec<u32>,
    pub(crate) parameters: Vec<u8>,
}

impl Command {
    pub(crate) fn new(code: u32, handles: &[u32], parameters: Bytes) -> Self {
        Self { code, handles: handles.to_vec(), parameters: parameters.0 }
    }

    pub(crate) fn to_bytes(&self, auths: &[Auth]) -> Vec<u8> {
        let mut body = Bytes::default();
        for handle in &self.handles {
            body = body.u32(*handle);
        }
        if !auths.is_empty() {
            let mut area = Bytes::default();
            for Auth { handle, nonce, attributes, hmac } in auths {
                area = area.u32(*handle).sized(nonce).u8(*attributes).sized(hmac);
            }
            body = body.u32(u32::try_from(area.0.len()).unwrap_or(u32::MAX)).raw(&area.0);
        }
        body = body.raw(&self.parameters);
        let tag = if auths.is_empty() { NO_SESSIONS } else { SESSIONS };
        let size = u32::try_from(body.0.len() + 10).unwrap_or(u32::MAX);
        Bytes::default().u16(tag).u32(size).u32(self.code).raw(&body.0).0
    }
}

/// A reader of what the TPM says.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Reader<'a>(pub(crate) &'a [u8]);

impl<'a> Reader<'a> {
    pub(crate) fn take(&mut self, count: usize) -> Result<&'a [u8]> {
        let short = || Fault(format!("a response is {count} bytes short"));
        let (taken, rest) = self.0.split_at_checked(count).ok_or_else(short)?;
        self.0 = rest;
        Ok(taken)
    }

    pub(crate) fn u8(&mut self) -> Result<u8> {
        Ok(self.take(1)?.iter().fold(0, |_, byte| *byte))
    }

    pub(crate) fn u16(&mut self) -> Result<u16> {
        Ok(self.take(2)?.iter().fold(0, |value, byte| value << 8 | u16::from(*byte)))
    }

    pub(crate) fn u32(&mut self) -> Result<u32> {
        Ok(self.take(4)?.iter().fold(0, |value, byte| value << 8 | u32::from(*byte)))
    }

    pub(crate) fn u64(&mut self) -> Result<u64> {
        Ok(self.take(8)?.iter().fold(0, |value, byte| value << 8 | u64::from(*byte)))
    }

    pub(crate) fn sized(&mut self) -> Result<&'a [u8]> {
        let count = self.u16()?;
        self.take(count.into())
    }
}

/// A successful response.
#[derive(Debug)]
pub(crate) struct Response {
    pub(crate) handle: Option<u32>,
    pub(crate) parameters: Vec<u8>,
    /// What stands behind the parameters: one entry a session.
    pub(crate) sessions: Vec<u8>,
}

impl Response {
    /// Takes a response apart; `handle` says whether one comes first.
    pub(crate) fn read(code: u32, bytes: &[u8], handle: bool) -> Result<Self> {
        let mut reader = Reader(bytes);
        let (tag, size, rc) = (reader.u16()?, reader.u32()?, reader.u32()?);
        if size as usize != bytes.len() {
            return Err(Fault(format!("{size} bytes announced, {} came", bytes.len())));
        }
        if rc != 0 {
            return Err(Fault(format!("command {code:#x} was answered with {rc:#x}")));
        }
        let handle = if handle { Some(reader.u32()?) } else { None };
        let (parameters, sessions) = if tag == SESSIONS {
            let length = reader.u32()? as usize;
            (reader.take(length)?.to_vec(), reader.0.to_vec())
        } else {
            (reader.0.to_vec(), Vec::new())
        };
        Ok(Self { handle, parameters, sessions })
    }
}
