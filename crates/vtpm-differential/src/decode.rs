//! An independent decoder of responses: cuts them into fields, so that what may differ can be told
//! from what must not.

use crate::cc;

/// How a field is compared.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Equal wherever two swtpm agree with one another, of equal size everywhere.
    Plain,
    /// Random: of equal size.
    Random,
    /// Depends on the moment: of equal size.
    Time,
    /// Each implementation's own.
    Opaque,
}

/// A part of a response; composite fields come before their parts and are not compared.
#[derive(Clone, Debug)]
pub(crate) struct Field {
    pub(crate) name: &'static str,
    pub(crate) start: usize,
    pub(crate) end: usize,
    pub(crate) kind: Kind,
    pub(crate) composite: bool,
}

/// A response in parts.
#[derive(Clone, Debug, Default)]
pub(crate) struct Decoded {
    pub(crate) fields: Vec<Field>,
    /// Where the sessions start, if there are any.
    pub(crate) sessions: Option<usize>,
    /// Why decoding stopped.
    pub(crate) error: Option<String>,
}

struct Decoder<'a> {
    bytes: &'a [u8],
    at: usize,
    end: usize,
    fields: Vec<Field>,
}

type Result<T> = core::result::Result<T, String>;

/// Types of parameters.
#[derive(Copy, Clone)]
enum T {
    U8,
    U16,
    U32,
    /// `TPM2B` of bytes.
    B,
    Random,
    Public,
    CreationData,
    Ticket,
    Signature,
    Attest,
    Point,
    PcrSelections,
    Digests,
    DigestValues,
    TimeInfo,
    Capability,
    Context,
    AlgList,
    NvPublic,
    NvPublic2,
    EccParameters,
    /// `TPM2B` with the moment in it.
    Timeout,
    /// A `TPM2B` that is each implementation's own.
    Own,
}

use T::*;

#[allow(clippy::too_many_lines, reason = "one table of all commands")]
fn parameters(code: u32) -> &'static [(&'static str, T)] {
    match code {
        cc::INCREMENTAL_SELF_TEST => &[("toDoList", AlgList)],
        cc::GET_TEST_RESULT => &[("outData", Own), ("testResult", U32)],
        cc::START_AUTH_SESSION => &[("nonceTPM", Random)],
        cc::CREATE => &[
            ("outPrivate", B),
            ("outPublic", Public),
            ("creationData", CreationData),
            ("creationHash", B),
            ("creationTicket", Ticket),
        ],
        cc::CREATE_PRIMARY => &[
            ("outPublic", Public),
            ("creationData", CreationData),
            ("creationHash", B),
            ("creationTicket", Ticket),
            ("name", B),
        ],
        cc::LOAD | cc::LOAD_EXTERNAL => &[("name", B)],
        cc::READ_PUBLIC => &[("outPublic", Public), ("name", B), ("qualifiedName", B)],
        cc::ACTIVATE_CREDENTIAL => &[("certInfo", B)],
        cc::MAKE_CREDENTIAL => &[("credentialBlob", B), ("secret", B)],
        cc::UNSEAL => &[("outData", B)],
        cc::OBJECT_CHANGE_AUTH => &[("outPrivate", B)],
        cc::CREATE_LOADED => &[("outPrivate", B), ("outPublic", Public), ("name", B)],
        cc::DUPLICATE => &[("encryptionKeyOut", B), ("duplicate", B), ("outSymSeed", B)],
        cc::REWRAP => &[("outDuplicate", B), ("outSymSeed", B)],
        cc::IMPORT => &[("outPrivate", B)],
        cc::RSA_ENCRYPT => &[("outData", B)],
        cc::RSA_DECRYPT => &[("message", B)],
        cc::ECDH_KEYGEN => &[("zPoint", Point), ("pubPoint", Point)],
        cc::ECDH_ZGEN => &[("outPoint", Point)],
        cc::ECC_PARAMETERS => &[("parameters", EccParameters)],
        cc::ZGEN_2PHASE => &[("outZ1", Point), ("outZ2", Point)],
        cc::ENCRYPT_DECRYPT | cc::ENCRYPT_DECRYPT_2 => &[("outData", B), ("ivOut", B)],
        cc::HASH => &[("outHash", B), ("validation", Ticket)],
        cc::HMAC => &[("outHMAC", B)],
        cc::GET_RANDOM => &[("randomBytes", Random)],
        cc::SEQUENCE_COMPLETE => &[("result", B), ("validation", Ticket)],
        cc::EVENT_SEQUENCE_COMPLETE => &[("results", DigestValues)],
        cc::PCR_EVENT => &[("digests", DigestValues)],
        cc::CERTIFY | cc::CERTIFY_CREATION | cc::NV_CERTIFY => {
            &[("certifyInfo", Attest), ("signature", Signature)]
        }
        cc::QUOTE => &[("quoted", Attest), ("signature", Signature)],
        cc::GET_SESSION_AUDIT_DIGEST | cc::GET_COMMAND_AUDIT_DIGEST => {
            &[("auditInfo", Attest), ("signature", Signature)]
        }
        cc::GET_TIME => &[("timeInfo", Attest), ("signature", Signature)],
        cc::CERTIFY_X509 => {
            &[("addedToCertificate", B), ("tbsDigest", B), ("signature", Signature)]
        }
        cc::COMMIT => &[("K", Point), ("L", Point), ("E", Point), ("counter", U16)],
        cc::EC_EPHEMERAL => &[("Q", Point), ("counter", U16)],
        cc::VERIFY_SIGNATURE => &[("validation", Ticket)],
        cc::SIGN => &[("signature", Signature)],
        cc::PCR_READ => {
            &[("updateCounter", U32), ("selection", PcrSelections), ("values", Digests)]
        }
        cc::PCR_ALLOCATE => {
            &[("success", U8), ("maxPCR", U32), ("sizeNeeded", U32), ("sizeAvailable", U32)]
        }
        cc::POLICY_SIGNED | cc::POLICY_SECRET => &[("timeout", Timeout), ("policyTicket", Ticket)],
        cc::POLICY_GET_DIGEST => &[("policyDigest", B)],
        cc::CONTEXT_SAVE => &[("context", Context)],
        cc::READ_CLOCK => &[("currentTime", TimeInfo)],
        cc::GET_CAPABILITY => &[("moreData", U8), ("capability", Capability)],
        cc::NV_READ_PUBLIC => &[("nvPublic", NvPublic), ("nvName", B)],
        cc::NV_READ_PUBLIC_2 => &[("nvPublic", NvPublic2), ("nvName", B)],
        cc::NV_READ => &[("data", B)],
        _ => &[],
    }
}

/// Decodes a successful response of a command that was sent with or without sessions.
pub(crate) fn response(code: u32, bytes: &[u8]) -> Decoded {
    let mut decoder = Decoder { bytes, at: 10, end: bytes.len(), fields: Vec::new() };
    let mut sessions = None;
    let result = decoder.response(code, &mut sessions);
    let mut error = result.err();
    if error.is_none() && decoder.at != decoder.end {
        error = Some(format!("{} bytes are left over", decoder.end - decoder.at));
    }
    Decoded { fields: decoder.fields, sessions, error }
}

impl Decoder<'_> {
    fn response(&mut self, code: u32, sessions: &mut Option<usize>) -> Result<()> {
        if cc::returns_handle(code) {
            self.leaf("handle", 4, Kind::Plain)?;
        }
        if self.bytes.starts_with(&[0x80, 0x02]) {
            let size = self.number("parameterSize", 4)?;
            let end = self.at + size;
            if end > self.bytes.len() {
                return Err(format!("parameterSize {size} is too large"));
            }
            self.end = end;
            *sessions = Some(end);
        }
        for (name, kind) in parameters(code) {
            self.parameter(name, *kind)?;
        }
        Ok(())
    }

    fn leaf(&mut self, name: &'static str, size: usize, kind: Kind) -> Result<()> {
        if size > self.end - self.at {
            return Err(format!("{name} ends early"));
        }
        let start = self.at;
        self.at += size;
        self.fields.push(Field { name, start, end: self.at, kind, composite: false });
        Ok(())
    }

    fn peek(&self, size: usize) -> Result<usize> {
        let bytes = self.bytes.get(self.at..self.at + size).filter(|_| self.at + size <= self.end);
        let bytes = bytes.ok_or("a number ends early")?;
        Ok(bytes.iter().fold(0, |value, byte| value << 8 | usize::from(*byte)))
    }

    fn number(&mut self, name: &'static str, size: usize) -> Result<usize> {
        let value = self.peek(size)?;
        self.leaf(name, size, Kind::Plain)?;
        Ok(value)
    }

    /// A `TPM2B`: as a whole, its size, its bytes.
    fn sized_leaf(&mut self, name: &'static str, kind: Kind) -> Result<()> {
        self.composite(name, |decoder| {
            if kind == Kind::Opaque {
                let size = decoder.peek(2)?;
                return decoder.leaf("own", size + 2, kind);
            }
            let size = decoder.number(name, 2)?;
            decoder.leaf(name, size, kind)
        })
    }

    fn composite(
        &mut self,
        name: &'static str,
        run: impl FnOnce(&mut Self) -> Result<()>,
    ) -> Result<()> {
        let index = self.fields.len();
        let start = self.at;
        let kind = Kind::Plain;
        self.fields.push(Field { name, start, end: start, kind, composite: true });
        let result = run(self);
        let end = self.at;
        if let Some(field) = self.fields.get_mut(index) {
            field.end = end;
        }
        result
    }

    /// A `TPM2B` around a structure.
    fn sized(
        &mut self,
        name: &'static str,
        run: impl FnOnce(&mut Self) -> Result<()>,
    ) -> Result<()> {
        self.composite(name, |decoder| {
            let size = decoder.number("size", 2)?;
            let end = decoder.at + size;
            run(decoder)?;
            if decoder.at == end { Ok(()) } else { Err(format!("{name} has a wrong size")) }
        })
    }

    fn parameter(&mut self, name: &'static str, kind: T) -> Result<()> {
        match kind {
            U8 => self.leaf(name, 1, Kind::Plain),
            U16 => self.leaf(name, 2, Kind::Plain),
            U32 => self.leaf(name, 4, Kind::Plain),
            B => self.sized_leaf(name, Kind::Plain),
            Random => self.sized_leaf(name, Kind::Random),
            Timeout => self.sized_leaf(name, Kind::Time),
            Own => self.sized_leaf(name, Kind::Opaque),
            Public => self.sized(name, Self::public),
            CreationData => self.sized(name, Self::creation_data),
            Ticket => self.composite(name, |decoder| {
                decoder.number("ticketTag", 2)?;
                decoder.number("ticketHierarchy", 4)?;
                decoder.sized_leaf("ticketDigest", Kind::Plain)
            }),
            Signature => self.composite(name, Self::signature),
            Attest => self.sized(name, Self::attest),
            Point => self.sized(name, Self::point),
            PcrSelections => self.composite(name, Self::pcr_selections),
            Digests => self.list(name, |decoder| decoder.sized_leaf("digest", Kind::Plain)),
            DigestValues => self.list(name, Self::digest),
            TimeInfo => self.composite(name, |decoder| {
                decoder.leaf("time", 8, Kind::Time)?;
                decoder.clock_info()
            }),
            Capability => self.composite(name, Self::capability),
            Context => self.composite(name, |decoder| {
                decoder.leaf("sequence", 8, Kind::Plain)?;
                decoder.leaf("savedHandle", 4, Kind::Plain)?;
                decoder.leaf("contextHierarchy", 4, Kind::Plain)?;
                decoder.sized_leaf("contextBlob", Kind::Opaque)
            }),
            AlgList => self.list(name, |decoder| decoder.leaf("alg", 2, Kind::Plain)),
            NvPublic => self.sized(name, Self::nv_public),
            NvPublic2 => self.sized(name, |decoder| {
                decoder.leaf("handleType", 1, Kind::Plain)?;
                decoder.nv_public()
            }),
            EccParameters => self.composite(name, |decoder| {
                decoder.leaf("curve", 2, Kind::Plain)?;
                decoder.leaf("keySize", 2, Kind::Plain)?;
                decoder.scheme("kdf")?;
                decoder.scheme("sign")?;
                for part in ["p", "a", "b", "gX", "gY", "n", "h"] {
                    decoder.sized_leaf(part, Kind::Plain)?;
                }
                Ok(())
            }),
        }
    }

    fn list(
        &mut self,
        name: &'static str,
        mut item: impl FnMut(&mut Self) -> Result<()>,
    ) -> Result<()> {
        self.composite(name, |decoder| {
            let count = decoder.number("count", 4)?;
            for _ in 0..count {
                item(decoder)?;
            }
            Ok(())
        })
    }

    fn nv_public(&mut self) -> Result<()> {
        self.leaf("nvIndex", 4, Kind::Plain)?;
        self.leaf("nameAlg", 2, Kind::Plain)?;
        self.leaf("attributes", 4, Kind::Plain)?;
        self.sized_leaf("authPolicy", Kind::Plain)?;
        self.leaf("dataSize", 2, Kind::Plain)
    }

    fn digest(&mut self) -> Result<()> {
        let size = match self.number("hashAlg", 2)? {
            4 => 20,
            0xb | 0x27 => 32,
            0xc | 0x28 => 48,
            0xd | 0x29 => 64,
            0x10 => 0,
            alg => return Err(format!("hash {alg:#x}")),
        };
        self.leaf("digest", size, Kind::Plain)
    }

    fn scheme(&mut self, name: &'static str) -> Result<()> {
        match self.number(name, 2)? {
            0x10 | 0x15 => Ok(()),
            0x1a => self.leaf("schemeDetails", 4, Kind::Plain),
            _ => self.leaf("schemeDetails", 2, Kind::Plain),
        }
    }

    fn symmetric(&mut self) -> Result<()> {
        match self.number("symmetric", 2)? {
            0x10 => Ok(()),
            _ => self.leaf("symmetricDetails", 4, Kind::Plain),
        }
    }

    fn public(&mut self) -> Result<()> {
        let kind = self.number("type", 2)?;
        self.leaf("nameAlg", 2, Kind::Plain)?;
        self.leaf("objectAttributes", 4, Kind::Plain)?;
        self.sized_leaf("authPolicy", Kind::Plain)?;
        match kind {
            1 => {
                self.symmetric()?;
                self.scheme("scheme")?;
                self.leaf("keyBits", 2, Kind::Plain)?;
                self.leaf("exponent", 4, Kind::Plain)?;
                self.sized_leaf("unique", Kind::Plain)
            }
            8 => {
                match self.number("scheme", 2)? {
                    0x10 => {}
                    5 => self.leaf("schemeHash", 2, Kind::Plain)?,
                    _ => self.leaf("schemeDetails", 4, Kind::Plain)?,
                }
                self.sized_leaf("unique", Kind::Plain)
            }
            0x23 => {
                self.symmetric()?;
                self.scheme("scheme")?;
                self.leaf("curve", 2, Kind::Plain)?;
                self.scheme("kdf")?;
                self.composite("unique", Self::point)
            }
            0x25 => {
                self.symmetric()?;
                self.sized_leaf("unique", Kind::Plain)
            }
            _ => Err(format!("public type {kind:#x}")),
        }
    }

    fn point(&mut self) -> Result<()> {
        self.sized_leaf("x", Kind::Plain)?;
        self.sized_leaf("y", Kind::Plain)
    }

    fn creation_data(&mut self) -> Result<()> {
        self.pcr_selections()?;
        self.sized_leaf("pcrDigest", Kind::Plain)?;
        self.leaf("locality", 1, Kind::Plain)?;
        self.leaf("parentNameAlg", 2, Kind::Plain)?;
        self.sized_leaf("parentName", Kind::Plain)?;
        self.sized_leaf("parentQualifiedName", Kind::Plain)?;
        self.sized_leaf("outsideInfo", Kind::Plain)
    }

    fn pcr_selections(&mut self) -> Result<()> {
        let count = self.number("selectionCount", 4)?;
        for _ in 0..count {
            self.leaf("pcrHash", 2, Kind::Plain)?;
            let size = self.number("selectSize", 1)?;
            self.leaf("select", size, Kind::Plain)?;
        }
        Ok(())
    }

    fn signature(&mut self) -> Result<()> {
        match self.number("sigAlg", 2)? {
            0x10 => Ok(()),
            0x14 | 0x16 => {
                self.leaf("sigHash", 2, Kind::Plain)?;
                self.sized_leaf("sig", Kind::Plain)
            }
            0x18 | 0x1a | 0x1b | 0x1c => {
                self.leaf("sigHash", 2, Kind::Plain)?;
                self.sized_leaf("signatureR", Kind::Plain)?;
                self.sized_leaf("signatureS", Kind::Plain)
            }
            5 => self.digest(),
            alg => Err(format!("signature algorithm {alg:#x}")),
        }
    }

    fn clock_info(&mut self) -> Result<()> {
        self.leaf("clock", 8, Kind::Time)?;
        self.leaf("resetCount", 4, Kind::Plain)?;
        self.leaf("restartCount", 4, Kind::Plain)?;
        self.leaf("safe", 1, Kind::Plain)
    }

    fn attest(&mut self) -> Result<()> {
        self.leaf("magic", 4, Kind::Plain)?;
        let tag = self.number("attestTag", 2)?;
        self.sized_leaf("qualifiedSigner", Kind::Plain)?;
        self.sized_leaf("extraData", Kind::Plain)?;
        self.clock_info()?;
        self.leaf("firmwareVersion", 8, Kind::Opaque)?;
        match tag {
            0x8014 => {
                self.sized_leaf("indexName", Kind::Plain)?;
                self.leaf("offset", 2, Kind::Plain)?;
                self.sized_leaf("nvContents", Kind::Plain)
            }
            0x801c => {
                self.sized_leaf("indexName", Kind::Plain)?;
                self.sized_leaf("nvDigest", Kind::Plain)
            }
            0x8015 => {
                self.leaf("auditCounter", 8, Kind::Plain)?;
                self.leaf("digestAlg", 2, Kind::Plain)?;
                self.sized_leaf("auditDigest", Kind::Plain)?;
                self.sized_leaf("commandDigest", Kind::Plain)
            }
            0x8016 => {
                self.leaf("exclusive", 1, Kind::Plain)?;
                self.sized_leaf("sessionDigest", Kind::Plain)
            }
            0x8017 => {
                self.sized_leaf("certifiedName", Kind::Plain)?;
                self.sized_leaf("certifiedQualifiedName", Kind::Plain)
            }
            0x8018 => {
                self.pcr_selections()?;
                self.sized_leaf("pcrDigest", Kind::Plain)
            }
            0x8019 => {
                self.leaf("attestedTime", 8, Kind::Time)?;
                self.clock_info()?;
                self.leaf("attestedFirmware", 8, Kind::Opaque)
            }
            0x801a => {
                self.sized_leaf("objectName", Kind::Plain)?;
                self.sized_leaf("creationHash", Kind::Plain)
            }
            tag => Err(format!("attest tag {tag:#x}")),
        }
    }

    fn capability(&mut self) -> Result<()> {
        let capability = self.number("capabilityType", 4)?;
        let count = self.number("capabilityCount", 4)?;
        for _ in 0..count {
            match capability {
                0 => self.leaf("algProperty", 6, Kind::Plain)?,
                1 => self.leaf("handleListed", 4, Kind::Plain)?,
                2 => self.leaf("commandAttributes", 4, Kind::Plain)?,
                3 | 4 => self.leaf("commandCode", 4, Kind::Plain)?,
                5 => {
                    self.leaf("pcrHash", 2, Kind::Plain)?;
                    let size = self.number("selectSize", 1)?;
                    self.leaf("select", size, Kind::Plain)?;
                }
                6 => self.leaf("tpmProperty", 8, Kind::Plain)?,
                7 => {
                    self.leaf("pcrProperty", 4, Kind::Plain)?;
                    let size = self.number("selectSize", 1)?;
                    self.leaf("select", size, Kind::Plain)?;
                }
                8 => self.leaf("curve", 2, Kind::Plain)?,
                9 => {
                    self.leaf("policyHandle", 4, Kind::Plain)?;
                    self.digest()?;
                }
                10 => self.leaf("act", 12, Kind::Plain)?,
                other => return Err(format!("capability {other:#x}")),
            }
        }
        Ok(())
    }
}
