//! The swtpm control protocol: numbers and messages, no input or output.
//!
//! A request is a big-endian 32-bit command and its arguments; a response is a big-endian 32-bit
//! result and its values. An error is the result alone.

/// `TPM_SUCCESS`.
pub(crate) const SUCCESS: u32 = 0;
/// `TPM_BAD_PARAMETER`: the arguments have the wrong length or value.
pub(crate) const BAD_PARAMETER: u32 = 0x03;
/// `TPM_FAIL`.
pub(crate) const FAIL: u32 = 0x09;
/// `TPM_BAD_ORDINAL`: an unknown command, or one that does not fit the TPM's state.
pub(crate) const BAD_ORDINAL: u32 = 0x0a;
/// `TPM_BAD_LOCALITY`.
pub(crate) const BAD_LOCALITY: u32 = 0x3d;

/// All capability bits of a TPM 2: one for each command, and the command header.
const CAPABILITIES: u32 = 0x1_ffff;

/// `PTM_INIT_FLAG_DELETE_VOLATILE`.
const INIT_DELETE_VOLATILE: u32 = 1;
/// `PTM_STATE_FLAG_ENCRYPTED` in a response.
const BLOB_HEADER: usize = 16;
/// Most bytes of a state blob.
pub(crate) const MAX_BLOB: usize = 512 * 1024;
/// The size of commands and responses, which cannot be changed.
pub(crate) const BUFFER_SIZE: u32 = 4096;

/// A state blob's kind.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub(crate) enum BlobKind {
    /// What survives the loss of power.
    Permanent,
    /// The running TPM.
    Volatile,
    /// Of TPM 1.2; always empty.
    SaveState,
}

impl BlobKind {
    fn of(number: u32) -> Option<Self> {
        Some(match number {
            1 => Self::Permanent,
            2 => Self::Volatile,
            3 => Self::SaveState,
            _ => return None,
        })
    }
}

/// A control command with its arguments.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Request {
    GetCapability,
    Init { delete_volatile: bool },
    Shutdown,
    GetEstablished,
    SetLocality(u8),
    HashStart,
    HashData(Vec<u8>),
    HashEnd,
    Cancel,
    StoreVolatile,
    ResetEstablished(u8),
    GetStateBlob { kind: BlobKind, offset: u32 },
    SetStateBlob { kind: BlobKind, data: Vec<u8> },
    Stop,
    GetConfig,
    SetDataFd,
    SetBufferSize(u32),
    GetInfo { flags: u64, offset: u32 },
    LockStorage { retries: u32 },
}

/// What is to be done with the bytes received so far.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Parse {
    /// The message is not whole yet.
    Incomplete,
    /// A whole message, and how many bytes it took.
    Whole(Request, usize),
    /// A message that gets this result, and how many bytes it took.
    Bad(u32, usize),
}

struct Cursor<'a>(&'a [u8]);

impl<'a> Cursor<'a> {
    fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let (head, tail) = self.0.split_at_checked(count)?;
        self.0 = tail;
        Some(head)
    }

    fn u8(&mut self) -> Option<u8> {
        self.take(1).and_then(|bytes| bytes.first().copied())
    }

    fn u32(&mut self) -> Option<u32> {
        self.take(4)?.first_chunk().map(|bytes| u32::from_be_bytes(*bytes))
    }

    fn u64(&mut self) -> Option<u64> {
        self.take(8)?.first_chunk().map(|bytes| u64::from_be_bytes(*bytes))
    }
}

/// Parses the first message of `bytes`, which are all that a single read gave.
///
/// The protocol does not say how long a message is, except where it carries data: a message ends
/// with the read, so surplus bytes of a fixed-size message (QEMU sends four for a locality)
/// belong to it.
pub(crate) fn parse(bytes: &[u8]) -> Parse {
    let mut cursor = Cursor(bytes);
    let Some(command) = cursor.u32() else { return Parse::Incomplete };
    let whole = bytes.len();
    match parse_arguments(command, &mut cursor) {
        Ok(Some(request)) => Parse::Whole(request, whole),
        Ok(None) => Parse::Incomplete,
        Err(result) => Parse::Bad(result, whole),
    }
}

fn parse_arguments(command: u32, cursor: &mut Cursor<'_>) -> Result<Option<Request>, u32> {
    // `None` within stands for arguments that have not arrived.
    let arguments = || -> Option<Result<Request, u32>> {
        Some(Ok(match command {
            0x01 => Request::GetCapability,
            0x02 => Request::Init { delete_volatile: cursor.u32()? & INIT_DELETE_VOLATILE != 0 },
            0x03 => Request::Shutdown,
            0x04 => Request::GetEstablished,
            0x05 => Request::SetLocality(cursor.u8()?),
            0x06 => Request::HashStart,
            0x07 => {
                let size = cursor.u32()? as usize;
                if size > BUFFER_SIZE as usize {
                    return Some(Err(BAD_PARAMETER));
                }
                Request::HashData(cursor.take(size)?.to_vec())
            }
            0x08 => Request::HashEnd,
            0x09 => Request::Cancel,
            0x0a => Request::StoreVolatile,
            0x0b => Request::ResetEstablished(cursor.u8()?),
            0x0c => {
                let (_flags, kind, offset) = (cursor.u32()?, cursor.u32()?, cursor.u32()?);
                match BlobKind::of(kind) {
                    Some(kind) => Request::GetStateBlob { kind, offset },
                    None => return Some(Err(BAD_PARAMETER)),
                }
            }
            0x0d => {
                let (_flags, kind, size) = (cursor.u32()?, cursor.u32()?, cursor.u32()? as usize);
                if size > MAX_BLOB {
                    return Some(Err(BAD_PARAMETER));
                }
                let data = cursor.take(size)?.to_vec();
                match BlobKind::of(kind) {
                    Some(kind) => Request::SetStateBlob { kind, data },
                    None => return Some(Err(BAD_PARAMETER)),
                }
            }
            0x0e => Request::Stop,
            0x0f => Request::GetConfig,
            0x10 => Request::SetDataFd,
            0x11 => Request::SetBufferSize(cursor.u32()?),
            0x12 => {
                let request = Request::GetInfo { flags: cursor.u64()?, offset: cursor.u32()? };
                cursor.u32()?;
                request
            }
            0x13 => Request::LockStorage { retries: cursor.u32()? },
            _ => return Some(Err(BAD_ORDINAL)),
        }))
    }();
    arguments.transpose()
}

/// A response under construction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Response(pub(crate) Vec<u8>);

impl Response {
    /// A result alone.
    pub(crate) fn result(result: u32) -> Self {
        Self(result.to_be_bytes().to_vec())
    }

    fn with(mut self, value: u32) -> Self {
        self.0.extend_from_slice(&value.to_be_bytes());
        self
    }

    /// Answers `GetCapability`.
    pub(crate) fn capabilities() -> Self {
        Self::result(SUCCESS).with(CAPABILITIES)
    }

    /// Answers `GetEstablished`.
    pub(crate) fn established(bit: bool) -> Self {
        Self::result(SUCCESS).with(u32::from(bit) << 24)
    }

    /// Answers `GetConfig`: whether the state is encrypted with a key of the caller's.
    pub(crate) fn config(encrypted: bool) -> Self {
        Self::result(SUCCESS).with(u32::from(encrypted))
    }

    /// Answers `SetBufferSize`: size, smallest and largest.
    pub(crate) fn buffer_size() -> Self {
        Self::result(SUCCESS).with(BUFFER_SIZE).with(BUFFER_SIZE).with(BUFFER_SIZE)
    }

    /// Answers `GetStateBlob` with what follows `offset`; an error has the header too.
    pub(crate) fn blob(result: u32, blob: &[u8], offset: u32) -> Self {
        let rest = blob.get(offset as usize..).unwrap_or(&[]);
        let mut response =
            Self::result(result).with(0).with(blob.len() as u32).with(rest.len() as u32);
        debug_assert_eq!(response.0.len(), BLOB_HEADER);
        response.0.extend_from_slice(rest);
        response
    }

    /// Answers `GetInfo` with what follows `offset`.
    pub(crate) fn info(json: &str, offset: u32) -> Self {
        let rest = json.as_bytes().get(offset as usize..).unwrap_or(&[]);
        let mut response = Self::result(SUCCESS).with(json.len() as u32).with(rest.len() as u32);
        response.0.extend_from_slice(rest);
        response
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_in_pieces_is_incomplete_until_its_last_byte() {
        let mut message = 0x0du32.to_be_bytes().to_vec();
        for value in [0u32, 1, 3] {
            message.extend_from_slice(&value.to_be_bytes());
        }
        message.extend_from_slice(b"abc");
        for length in 0..message.len() {
            assert_eq!(parse(&message[..length]), Parse::Incomplete, "{length}");
        }
        let request = Request::SetStateBlob { kind: BlobKind::Permanent, data: b"abc".to_vec() };
        assert_eq!(parse(&message), Parse::Whole(request, message.len()));
    }

    #[test]
    fn a_locality_of_four_bytes_is_the_first_one() {
        let message = [0, 0, 0, 5, 3, 0, 0, 0];
        assert_eq!(parse(&message), Parse::Whole(Request::SetLocality(3), 8));
    }

    #[test]
    fn an_unknown_command_is_a_bad_ordinal() {
        assert_eq!(parse(&[0, 0, 0, 0x20]), Parse::Bad(BAD_ORDINAL, 4));
    }

    #[test]
    fn sizes_beyond_the_bounds_are_refused_before_the_data_arrives() {
        let mut message = 0x07u32.to_be_bytes().to_vec();
        message.extend_from_slice(&u32::MAX.to_be_bytes());
        assert_eq!(parse(&message), Parse::Bad(BAD_PARAMETER, 8));
    }

    #[test]
    fn a_blob_response_always_has_its_header() {
        assert_eq!(Response::blob(FAIL, &[], 0).0.len(), BLOB_HEADER);
        assert_eq!(Response::blob(SUCCESS, b"abcd", 1).0[8..], *b"\0\0\0\x04\0\0\0\x03bcd");
    }
}
