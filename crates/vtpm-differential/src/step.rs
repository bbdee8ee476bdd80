//! The symbolic language of sequences. A step says what is sent in terms of what earlier steps
//! returned, so that each TPM gets its own handles, contexts, blobs and tickets.

use crate::crypto::{Hash, Sym};
use crate::sides::HashOp;

/// A step's position in its sequence.
pub(crate) type Id = usize;

/// A part of a command.
#[derive(Clone, Debug)]
pub(crate) enum Piece {
    /// The same for all.
    Lit(Vec<u8>),
    /// A field of an earlier response, as on the wire.
    Out(Id, &'static str),
    /// As `Out`, without the leading 16-bit size.
    Body(Id, &'static str),
    /// As `Out`, but the engine gets swtpm's and swtpm the engine's.
    Cross(Id, &'static str),
    /// What the pieces are on the other side: swtpm's for the engine, the engine's for swtpm.
    Other(Vec<Piece>),
    /// With a 16-bit size before it.
    Sized(Vec<Piece>),
    /// The name of what a handle stands for now, without size.
    Name(Vec<Piece>),
    /// The hash of pieces.
    Hash(Hash, Vec<Piece>),
    /// The HMAC of pieces with a fixed key.
    Hmac(Hash, Vec<u8>, Vec<Piece>),
}

impl Piece {
    /// The steps that it needs.
    pub(crate) fn needs(&self, out: &mut Vec<Id>) {
        match self {
            Piece::Lit(_) => {}
            Piece::Out(id, _) | Piece::Body(id, _) | Piece::Cross(id, _) => out.push(*id),
            Piece::Other(pieces)
            | Piece::Sized(pieces)
            | Piece::Name(pieces)
            | Piece::Hash(_, pieces)
            | Piece::Hmac(_, _, pieces) => pieces.iter().for_each(|piece| piece.needs(out)),
        }
    }

    /// Whether one TPM's output goes to another.
    pub(crate) fn crosses(&self) -> bool {
        match self {
            Piece::Cross(..) | Piece::Other(_) => true,
            Piece::Sized(pieces)
            | Piece::Name(pieces)
            | Piece::Hash(_, pieces)
            | Piece::Hmac(_, _, pieces) => pieces.iter().any(Piece::crosses),
            _ => false,
        }
    }
}

/// What authorizes, audits or encrypts.
#[derive(Clone, Debug)]
pub(crate) enum Session {
    /// `TPM_RS_PW`.
    Password,
    /// The session that an earlier step started.
    Started(Id),
    /// A handle whose key is not known.
    Raw(u32),
}

/// An entry of the authorization area.
#[derive(Clone, Debug)]
pub(crate) struct Auth {
    pub(crate) session: Session,
    pub(crate) attributes: u8,
    /// The authorization value that goes into the HMAC's key.
    pub(crate) value: Vec<u8>,
    /// The value in the response's HMAC, where the command changes it.
    pub(crate) value_after: Option<Vec<u8>>,
    /// The entity's authorization value as it encrypts parameters, where that is another.
    pub(crate) crypt_value: Option<Vec<u8>>,
    /// Sent in place of an HMAC.
    pub(crate) plain: Option<Vec<u8>>,
    /// Flips a bit of the HMAC.
    pub(crate) damaged: bool,
}

/// `continueSession`.
pub(crate) const CONTINUE: u8 = 1;
/// `auditExclusive`.
pub(crate) const EXCLUSIVE: u8 = 2;
/// `auditReset`.
pub(crate) const RESET: u8 = 4;
/// `decrypt`: the command's first parameter is encrypted.
pub(crate) const DECRYPT: u8 = 0x20;
/// `encrypt`: the response's first parameter is encrypted.
pub(crate) const ENCRYPT: u8 = 0x40;
/// `audit`.
pub(crate) const AUDIT: u8 = 0x80;

/// A password.
pub(crate) fn password(value: &[u8]) -> Auth {
    Auth {
        session: Session::Password,
        attributes: CONTINUE,
        value: Vec::new(),
        value_after: None,
        crypt_value: None,
        plain: Some(value.to_vec()),
        damaged: false,
    }
}

/// A session that an earlier step started, with an authorization value.
pub(crate) fn hmac(id: Id, attributes: u8, value: &[u8]) -> Auth {
    Auth {
        session: Session::Started(id),
        attributes,
        value: value.to_vec(),
        value_after: None,
        crypt_value: None,
        plain: None,
        damaged: false,
    }
}

impl Auth {
    pub(crate) fn after(mut self, value: &[u8]) -> Self {
        self.value_after = Some(value.to_vec());
        self
    }

    pub(crate) fn crypt(mut self, value: &[u8]) -> Self {
        self.crypt_value = Some(value.to_vec());
        self
    }

    pub(crate) fn damaged(mut self) -> Self {
        self.damaged = true;
        self
    }

    pub(crate) fn plain(mut self, value: &[u8]) -> Self {
        self.plain = Some(value.to_vec());
        self
    }
}

/// Where the salt of a session comes from.
#[derive(Clone, Debug)]
pub(crate) enum Salt {
    None,
    Known(Vec<u8>),
    /// From `TPM2_ECDH_KeyGen`: its step, and the x coordinate of the key.
    Ecdh(Id, Vec<u8>),
}

/// What the client must know of a session that a command starts.
#[derive(Clone, Debug)]
pub(crate) struct Start {
    pub(crate) hash: Hash,
    pub(crate) sym: Sym,
    pub(crate) nonce: Vec<u8>,
    pub(crate) salt: Salt,
    /// The bound entity's authorization value.
    pub(crate) bind: Option<Vec<u8>>,
}

/// Damage done to a command.
#[derive(Clone, Debug)]
pub(crate) enum Edit {
    /// Cuts bytes off the parameters.
    Truncate(usize),
    /// Adds bytes to the parameters.
    Append(Vec<u8>),
    /// Writes into the parameters.
    Set(usize, Vec<u8>),
    /// Flips bits of the parameters.
    Flip(usize, u8),
    /// Takes bytes out of the parameters: from, how many.
    Remove(usize, usize),
    /// Puts bytes into the parameters.
    Insert(usize, Vec<u8>),
    /// Another tag, all else left as it was.
    Tag(u16),
    /// A wrong size in the header.
    Size(i32),
    /// Writes into the whole command after authorization, or into the handles before it.
    Raw(usize, Vec<u8>),
    /// Cuts the whole command and corrects its size.
    Cut(usize),
}

/// A command.
#[derive(Clone, Debug, Default)]
pub(crate) struct Command {
    pub(crate) code: u32,
    pub(crate) handles: Vec<Vec<Piece>>,
    pub(crate) auths: Vec<Auth>,
    pub(crate) params: Vec<Piece>,
    pub(crate) edits: Vec<Edit>,
    pub(crate) start: Option<Box<Start>>,
}

/// A step.
#[derive(Clone, Debug)]
pub(crate) enum Step {
    /// A step that was left out.
    Nothing,
    Command(Command),
    /// `_TPM_Init`.
    Init,
    /// The locality of the steps that follow.
    Locality(u8),
    Hash(HashOp),
    /// The flag `TPM_ESTABLISHMENT` is compared.
    Established,
    ResetEstablished,
}

impl Step {
    /// The steps that it needs.
    pub(crate) fn needs(&self) -> Vec<Id> {
        let mut out = Vec::new();
        if let Step::Command(command) = self {
            command.handles.iter().flatten().chain(&command.params).for_each(|p| p.needs(&mut out));
            for auth in &command.auths {
                if let Session::Started(id) = auth.session {
                    out.push(id);
                }
            }
            if let Some(Salt::Ecdh(id, _)) = command.start.as_ref().map(|start| &start.salt) {
                out.push(*id);
            }
        }
        out
    }
}

/// Starts a command.
pub(crate) fn cmd(code: u32) -> Command {
    Command { code, ..Command::default() }
}

impl Command {
    /// Adds a handle that is the same for all.
    pub(crate) fn h(mut self, handle: u32) -> Self {
        self.handles.push(vec![Piece::Lit(handle.to_be_bytes().to_vec())]);
        self
    }

    /// Adds the handle that an earlier step returned.
    pub(crate) fn of(mut self, id: Id) -> Self {
        self.handles.push(vec![Piece::Out(id, "handle")]);
        self
    }

    pub(crate) fn auth(mut self, auth: Auth) -> Self {
        self.auths.push(auth);
        self
    }

    /// Authorizes with an empty password.
    pub(crate) fn pw(self) -> Self {
        self.auth(password(b""))
    }

    pub(crate) fn pwd(self, value: &[u8]) -> Self {
        self.auth(password(value))
    }

    pub(crate) fn b(mut self, bytes: impl AsRef<[u8]>) -> Self {
        self.params.push(Piece::Lit(bytes.as_ref().to_vec()));
        self
    }

    pub(crate) fn u8(self, value: u8) -> Self {
        self.b([value])
    }

    pub(crate) fn u16(self, value: u16) -> Self {
        self.b(value.to_be_bytes())
    }

    pub(crate) fn u32(self, value: u32) -> Self {
        self.b(value.to_be_bytes())
    }

    pub(crate) fn u64(self, value: u64) -> Self {
        self.b(value.to_be_bytes())
    }

    /// Adds bytes with their size before them.
    pub(crate) fn b2(self, bytes: impl AsRef<[u8]>) -> Self {
        self.u16(bytes.as_ref().len() as u16).b(bytes)
    }

    pub(crate) fn p(mut self, piece: Piece) -> Self {
        self.params.push(piece);
        self
    }

    /// Adds a field of an earlier response.
    pub(crate) fn out(self, id: Id, field: &'static str) -> Self {
        self.p(Piece::Out(id, field))
    }

    /// Adds pieces with their size before them.
    pub(crate) fn sized(self, pieces: Vec<Piece>) -> Self {
        self.p(Piece::Sized(pieces))
    }

    pub(crate) fn edit(mut self, edit: Edit) -> Self {
        self.edits.push(edit);
        self
    }

    pub(crate) fn starts(mut self, start: Start) -> Self {
        self.start = Some(Box::new(start));
        self
    }
}

/// A sequence under construction.
#[derive(Clone, Debug, Default)]
pub(crate) struct Seq {
    pub(crate) name: String,
    pub(crate) steps: Vec<Step>,
    /// Commands that take long: mutated seldom.
    pub(crate) slow: bool,
}

impl Seq {
    /// A sequence that begins with `TPM2_Startup(CLEAR)`.
    pub(crate) fn new(name: &str) -> Self {
        let mut seq = Self::bare(name);
        seq.run(cmd(crate::cc::STARTUP).u16(0));
        seq
    }

    /// A sequence that begins before `TPM2_Startup`.
    pub(crate) fn bare(name: &str) -> Self {
        Self { name: name.to_owned(), steps: Vec::new(), slow: false }
    }

    pub(crate) fn step(&mut self, step: Step) -> Id {
        self.steps.push(step);
        self.steps.len() - 1
    }

    pub(crate) fn run(&mut self, command: Command) -> Id {
        self.step(Step::Command(command))
    }
}
