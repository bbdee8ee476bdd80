//! The commands that the agent uses, each as a function on the open device.

use std::fs::{File, OpenOptions};
use std::io::{Read, Write};

use hmac::{Hmac, KeyInit, Mac};
use sha2::{Digest, Sha256};

use crate::wire::{Auth, Bytes, Command, Fault, Reader, Response, Result};

const OWNER: u32 = 0x4000_0001;
const NULL: u32 = 0x4000_0007;
const SHA256: u16 = 0x000b;
const NULL_ALGORITHM: u16 = 0x0010;

/// PCR 16, for debugging: extending it leaves open policy sessions as they are.
pub(crate) const SCRATCH_PCR: u32 = 16;
/// The measured registers that the secret is sealed to: 4 to 15 but 10, which IMA extends.
const SEALED_TO: [u8; 4] = [3, 0xf0, 0xfb, 0];

/// The open character device: one response for each command.
pub(crate) struct Tpm {
    device: File,
}

/// An HMAC session, unbound and unsalted: its nonces roll with each command, so that a command
/// that was lost or run twice shows.
#[derive(Debug)]
pub(crate) struct Session {
    handle: u32,
    caller: [u8; 16],
    tpm: Vec<u8>,
}

/// What `TPM2_ReadClock` says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Clock {
    pub(crate) time: u64,
    pub(crate) clock: u64,
    pub(crate) resets: u32,
    pub(crate) restarts: u32,
}

/// A P-256 point.
pub(crate) type Point = (Vec<u8>, Vec<u8>);

impl Tpm {
    pub(crate) fn open(path: &str) -> Result<Self> {
        let device = OpenOptions::new().read(true).write(true).open(path);
        let device = device.map_err(|cause| Fault(format!("{path}: {cause}")))?;
        Ok(Self { device })
    }

    fn send(&mut self, code: u32, bytes: &[u8]) -> Result<Vec<u8>> {
        let wrong = |cause| Fault(format!("the driver, at command {code:#x}: {cause}"));
        self.device.write_all(bytes).map_err(wrong)?;
        let mut response = vec![0; 4096];
        let length = self.device.read(&mut response).map_err(wrong)?;
        response.truncate(length);
        Ok(response)
    }

    fn run(&mut self, command: &Command, auths: &[Auth], handle: bool) -> Result<Response> {
        let bytes = self.send(command.code, &command.to_bytes(auths))?;
        Response::read(command.code, &bytes, handle)
    }

    /// A primary storage key in the owner's hierarchy, P-256.
    pub(crate) fn create_primary(&mut self) -> Result<u32> {
        let aes = Bytes::default().u16(0x0006).u16(128).u16(0x0043);
        let public = ecc_public(0x0003_0472, &aes.0, NULL_ALGORITHM);
        let parameters = Bytes::default().sized(&no_auth()).sized(&public).sized(&[]).u32(0);
        let command = Command::new(0x131, &[OWNER], parameters);
        handle_of(&self.run(&command, &[Auth::empty()], true)?)
    }

    /// A signing key (ECDSA, P-256, SHA-256) below `parent`, loaded; and its public point.
    pub(crate) fn create_signing_key(&mut self, parent: u32) -> Result<(u32, Point)> {
        let no_symmetric = Bytes::default().u16(NULL_ALGORITHM);
        let public = ecc_public(0x0004_0472, &no_symmetric.0, 0x0018);
        let (private, public) = self.create(parent, &no_auth(), &public)?;
        let point = point_of(&public)?;
        Ok((self.load(parent, &private, &public)?, point))
    }

    /// `secret` sealed below `parent` for whoever satisfies `policy`, loaded.
    pub(crate) fn seal(&mut self, parent: u32, policy: &[u8], secret: &[u8]) -> Result<u32> {
        let public = Bytes::default()
            .u16(0x0008)
            .u16(SHA256)
            .u32(0x12)
            .sized(policy)
            .u16(NULL_ALGORITHM)
            .sized(&[]);
        let sensitive = Bytes::default().sized(&[]).sized(secret);
        let (private, public) = self.create(parent, &sensitive.0, &public.0)?;
        self.load(parent, &private, &public)
    }

    fn create(
        &mut self,
        parent: u32,
        sensitive: &[u8],
        public: &[u8],
    ) -> Result<(Vec<u8>, Vec<u8>)> {
        let parameters = Bytes::default().sized(sensitive).sized(public).sized(&[]).u32(0);
        let command = Command::new(0x153, &[parent], parameters);
        let response = self.run(&command, &[Auth::empty()], false)?;
        let mut reader = Reader(&response.parameters);
        Ok((reader.sized()?.to_vec(), reader.sized()?.to_vec()))
    }

    fn load(&mut self, parent: u32, private: &[u8], public: &[u8]) -> Result<u32> {
        let parameters = Bytes::default().sized(private).sized(public);
        let command = Command::new(0x157, &[parent], parameters);
        handle_of(&self.run(&command, &[Auth::empty()], true)?)
    }

    /// Opens what was sealed, by a policy session that stays open.
    pub(crate) fn unseal(&mut self, object: u32, session: u32) -> Result<Vec<u8>> {
        let command = Command::new(0x15e, &[object], Bytes::default());
        let response = self.run(&command, &[Auth::policy(session)], false)?;
        Ok(Reader(&response.parameters).sized()?.to_vec())
    }

    /// An ECDSA signature over a digest: r and s.
    pub(crate) fn sign(&mut self, key: u32, digest: &[u8]) -> Result<Point> {
        let no_ticket = Bytes::default().u16(0x8024).u32(NULL).sized(&[]);
        let parameters = Bytes::default().sized(digest).u16(NULL_ALGORITHM).raw(&no_ticket.0);
        let command = Command::new(0x15d, &[key], parameters);
        let response = self.run(&command, &[Auth::empty()], false)?;
        let mut reader = Reader(&response.parameters);
        let (_scheme, _hash) = (reader.u16()?, reader.u16()?);
        Ok((reader.sized()?.to_vec(), reader.sized()?.to_vec()))
    }

    /// Starts a session: 0 HMAC, 1 policy, 3 trial.
    pub(crate) fn start_session(&mut self, kind: u8) -> Result<Session> {
        let caller = [kind; 16];
        let parameters =
            Bytes::default().sized(&caller).sized(&[]).u8(kind).u16(NULL_ALGORITHM).u16(SHA256);
        let command = Command::new(0x176, &[NULL, NULL], parameters);
        let response = self.run(&command, &[], true)?;
        let tpm = Reader(&response.parameters).sized()?.to_vec();
        Ok(Session { handle: handle_of(&response)?, caller, tpm })
    }

    /// Binds a policy session to the registers that the boot was measured into.
    pub(crate) fn policy_pcr(&mut self, session: &Session) -> Result<()> {
        let selection = Bytes::default().u32(1).u16(SHA256).raw(&SEALED_TO);
        let parameters = Bytes::default().sized(&[]).raw(&selection.0);
        self.run(&Command::new(0x17f, &[session.handle], parameters), &[], false)?;
        Ok(())
    }

    /// The policy that a session has come to.
    pub(crate) fn policy_digest(&mut self, session: &Session) -> Result<Vec<u8>> {
        let command = Command::new(0x189, &[session.handle], Bytes::default());
        let response = self.run(&command, &[], false)?;
        Ok(Reader(&response.parameters).sized()?.to_vec())
    }

    pub(crate) fn flush(&mut self, handle: u32) -> Result<()> {
        self.run(&Command::new(0x165, &[], Bytes::default().u32(handle)), &[], false)?;
        Ok(())
    }

    /// Extends the scratch register in the SHA-256 bank.
    pub(crate) fn extend(&mut self, digest: &[u8; 32]) -> Result<()> {
        let parameters = Bytes::default().u32(1).u16(SHA256).raw(digest);
        let command = Command::new(0x182, &[SCRATCH_PCR], parameters);
        self.run(&command, &[Auth::empty()], false)?;
        Ok(())
    }

    /// The scratch register.
    pub(crate) fn read_scratch(&mut self) -> Result<Vec<u8>> {
        let parameters = Bytes::default().u32(1).u16(SHA256).raw(&[3, 0, 0, 1]);
        let response = self.run(&Command::new(0x17e, &[], parameters), &[], false)?;
        let mut reader = Reader(&response.parameters);
        let _counter = reader.u32()?;
        // The selection comes back, then the digests.
        for _ in 0..reader.u32()? {
            let (_bank, size) = (reader.u16()?, reader.u8()?);
            reader.take(size.into())?;
        }
        match reader.u32()? {
            1 => Ok(reader.sized()?.to_vec()),
            other => Err(Fault(format!("{other} registers came back instead of one"))),
        }
    }

    /// Defines a counter, after whatever was there is gone.
    pub(crate) fn define_counter(&mut self, index: u32) -> Result<()> {
        // If there is none, there is nothing to undefine.
        let _ = self.run(
            &Command::new(0x122, &[OWNER, index], Bytes::default()),
            &[Auth::empty()],
            false,
        );
        // Counter, AUTHWRITE, AUTHREAD, NO_DA.
        let attributes = 1 << 4 | 1 << 2 | 1 << 18 | 1 << 25;
        let public = Bytes::default().u32(index).u16(SHA256).u32(attributes).sized(&[]).u16(8);
        let parameters = Bytes::default().sized(&[]).sized(&public.0);
        self.run(&Command::new(0x12a, &[OWNER], parameters), &[Auth::empty()], false)?;
        Ok(())
    }

    pub(crate) fn increment(&mut self, index: u32) -> Result<()> {
        let command = Command::new(0x134, &[index, index], Bytes::default());
        self.run(&command, &[Auth::empty()], false)?;
        Ok(())
    }

    pub(crate) fn read_counter(&mut self, index: u32) -> Result<u64> {
        let parameters = Bytes::default().u16(8).u16(0);
        let command = Command::new(0x14e, &[index, index], parameters);
        let response = self.run(&command, &[Auth::empty()], false)?;
        Reader(Reader(&response.parameters).sized()?).u64()
    }

    pub(crate) fn read_clock(&mut self) -> Result<Clock> {
        let response = self.run(&Command::new(0x181, &[], Bytes::default()), &[], false)?;
        let mut reader = Reader(&response.parameters);
        Ok(Clock {
            time: reader.u64()?,
            clock: reader.u64()?,
            resets: reader.u32()?,
            restarts: reader.u32()?,
        })
    }

    /// Asks for random bytes in an HMAC session, and checks that the TPM answered this very
    /// command of this session (Part 1, clause 19.6).
    pub(crate) fn random_in(&mut self, session: &mut Session) -> Result<Vec<u8>> {
        const CODE: u32 = 0x17b;
        // Continue the session, audit it.
        const ATTRIBUTES: u8 = 0x81;
        let command = Command::new(CODE, &[], Bytes::default().u16(8));
        let digest = Sha256::new()
            .chain_update(CODE.to_be_bytes())
            .chain_update(&command.parameters)
            .finalize();
        increase(&mut session.caller);
        let hmac = hmac_of(&[&digest, &session.caller, &session.tpm, &[ATTRIBUTES]]);
        let auth = Auth {
            handle: session.handle,
            nonce: session.caller.to_vec(),
            attributes: ATTRIBUTES,
            hmac,
        };
        let response = self.run(&command, &[auth], false)?;
        let mut reader = Reader(&response.sessions);
        let (nonce, attributes, theirs) = (reader.sized()?, reader.u8()?, reader.sized()?);
        let digest = Sha256::new()
            .chain_update(0u32.to_be_bytes())
            .chain_update(CODE.to_be_bytes())
            .chain_update(&response.parameters)
            .finalize();
        if hmac_of(&[&digest, nonce, &session.caller, &[attributes]]) != theirs {
            return Err(Fault("the session's HMAC is wrong: a command was lost or forged".into()));
        }
        session.tpm = nonce.to_vec();
        Ok(Reader(&response.parameters).sized()?.to_vec())
    }
}

impl Session {
    pub(crate) fn handle(&self) -> u32 {
        self.handle
    }
}

fn handle_of(response: &Response) -> Result<u32> {
    response.handle.ok_or_else(|| Fault("a response has no handle".into()))
}

/// A TPM2B_SENSITIVE_CREATE's contents: no authorization value, no data.
fn no_auth() -> Vec<u8> {
    Bytes::default().sized(&[]).sized(&[]).0
}

/// A TPMT_PUBLIC for a P-256 key; `scheme` takes SHA-256 if it is one.
fn ecc_public(attributes: u32, symmetric: &[u8], scheme: u16) -> Vec<u8> {
    let public = Bytes::default()
        .u16(0x0023)
        .u16(SHA256)
        .u32(attributes)
        .sized(&[])
        .raw(symmetric)
        .u16(scheme);
    let public = if scheme == NULL_ALGORITHM { public } else { public.u16(SHA256) };
    public.u16(0x0003).u16(NULL_ALGORITHM).sized(&[]).sized(&[]).0
}

fn point_of(public: &[u8]) -> Result<Point> {
    let mut reader = Reader(public);
    let (_kind, _name, _attributes) = (reader.u16()?, reader.u16()?, reader.u32()?);
    let _policy = reader.sized()?;
    // No symmetric algorithm, ECDSA with SHA-256, P-256, no KDF.
    reader.take(10)?;
    Ok((reader.sized()?.to_vec(), reader.sized()?.to_vec()))
}

fn increase(nonce: &mut [u8; 16]) {
    *nonce = u128::from_be_bytes(*nonce).wrapping_add(1).to_be_bytes();
}

/// HMAC-SHA256 under the session's key, which is empty.
fn hmac_of(parts: &[&[u8]]) -> Vec<u8> {
    // HMAC takes keys of any length.
    let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(&[]) else { return Vec::new() };
    parts.iter().for_each(|part| mac.update(part));
    mac.finalize().into_bytes().to_vec()
}
