//! What stands in a command that was sent: enough of it for the rules of [`crate::differences`] to
//! say where a value must stand, in place of anywhere.

use crate::cc;

/// Bytes that are read from the front.
#[derive(Clone, Copy)]
pub(crate) struct Sent<'a>(&'a [u8]);

impl<'a> Sent<'a> {
    /// The parameters of a command.
    pub(crate) fn parameters(command: &'a [u8]) -> Option<Self> {
        let tag = u16::from_be_bytes(*command.first_chunk()?);
        let code = u32::from_be_bytes(*command.get(6..)?.first_chunk()?);
        let mut rest = Sent(command.get(10 + 4 * handles(code)..)?);
        if tag == 0x8002 {
            let size = u32::from_be_bytes(*rest.0.first_chunk()?) as usize;
            rest = Sent(rest.0.get(size.checked_add(4)?..)?);
        }
        Some(rest)
    }

    pub(crate) fn u16(&mut self) -> Option<u16> {
        let (head, tail) = self.0.split_first_chunk()?;
        self.0 = tail;
        Some(u16::from_be_bytes(*head))
    }

    fn skip(&mut self, count: usize) -> Option<()> {
        self.0 = self.0.get(count..)?;
        Some(())
    }

    /// Skips a `TPM2B_`.
    pub(crate) fn skip_sized(&mut self) -> Option<()> {
        let size = self.u16()?;
        self.skip(usize::from(size))
    }

    /// What was not read yet.
    pub(crate) fn rest(self) -> &'a [u8] {
        self.0
    }
}

/// How many handles stand before the parameters, of the commands that rules look into.
fn handles(code: u32) -> usize {
    match code {
        cc::START_AUTH_SESSION | cc::DUPLICATE => 2,
        cc::CREATE
        | cc::CREATE_PRIMARY
        | cc::CREATE_LOADED
        | cc::LOAD
        | cc::IMPORT
        | cc::ECDH_ZGEN
        | cc::ZGEN_2PHASE
        | cc::SIGN
        | cc::QUOTE
        | cc::POLICY_DUPLICATION_SELECT => 1,
        _ => 0,
    }
}

/// The parameters of an asymmetric or symmetric key, as far as they can be read.
#[derive(Default)]
pub(crate) struct Parms {
    /// Algorithm and key bits.
    pub(crate) symmetric: Option<(u16, u16)>,
    pub(crate) scheme: Option<u16>,
    pub(crate) curve: Option<u16>,
}

impl Parms {
    /// Of the public area or the `TPMT_PUBLIC_PARMS` in a command.
    pub(crate) fn of(command: &[u8], code: u32) -> Parms {
        let mut parms = Parms::default();
        // What was read before the end stays.
        let _ = parms.read(command, code);
        parms
    }

    fn read(&mut self, command: &[u8], code: u32) -> Option<()> {
        let mut sent = Sent::parameters(command)?;
        let kind = match code {
            cc::TEST_PARMS => sent.u16()?,
            cc::CREATE
            | cc::CREATE_PRIMARY
            | cc::CREATE_LOADED
            | cc::LOAD
            | cc::LOAD_EXTERNAL
            | cc::IMPORT => {
                sent.skip_sized()?;
                sent.skip(2)?;
                let kind = sent.u16()?;
                // The name algorithm and the attributes, then the policy.
                sent.skip(6)?;
                sent.skip_sized()?;
                kind
            }
            _ => return None,
        };
        if !matches!(kind, RSA | ECC | SYMCIPHER) {
            return None;
        }
        let symmetric = sent.u16()?;
        self.symmetric = Some((symmetric, 0));
        if symmetric != NULL {
            self.symmetric = Some((symmetric, sent.u16()?));
            sent.skip(2)?;
        }
        if kind == SYMCIPHER {
            return None;
        }
        let scheme = sent.u16()?;
        self.scheme = Some(scheme);
        match scheme {
            NULL | RSAES => {}
            ECDAA => sent.skip(4)?,
            _ => sent.skip(2)?,
        }
        if kind == ECC {
            self.curve = Some(sent.u16()?);
        }
        Some(())
    }
}

const RSA: u16 = 1;
const NULL: u16 = 0x10;
const RSAES: u16 = 0x15;
const ECDAA: u16 = 0x1a;
const ECC: u16 = 0x23;
const SYMCIPHER: u16 = 0x25;
