//! Runs sequences on all TPMs at once and compares the answers.

use std::collections::HashMap;

use anyhow::Result;

use crate::cc;
use crate::client::{self, Answer, ClientSession, Entry};
use crate::decode::{self, Decoded, Kind};
use crate::sides::{DIED, Engine, PANIC, Side, Swtpm};
use crate::step::{Command, Edit, Id, Piece, Salt, Session, Start, Step};

/// How many TPMs there are: swtpm, a second swtpm with other seeds, the engine.
pub(crate) const SIDES: usize = 3;
/// The swtpm that the engine is compared with.
pub(crate) const ORACLE: usize = 0;
/// The other swtpm: where it differs from the first, bytes are random or a TPM's own.
pub(crate) const CONTROL: usize = 1;
/// The engine.
pub(crate) const ENGINE: usize = 2;

const READ_CLOCK: [u8; 10] = [0x80, 1, 0, 0, 0, 10, 0, 0, 1, 0x81];

const RC_FAILURE: u32 = 0x101;
const RC_RETRY: u32 = 0x922;
const RC_TESTING: u32 = 0x90a;

/// The TPMs.
pub(crate) struct Rig {
    pub(crate) sides: [Box<dyn Side>; SIDES],
    /// Commands sent, counted once for all sides.
    pub(crate) commands: u64,
    /// Whose process ended and has to be started again.
    died: [bool; SIDES],
}

impl Rig {
    pub(crate) fn start() -> Result<Self> {
        let sides: [Box<dyn Side>; SIDES] =
            [Box::new(Swtpm::start()?), Box::new(Swtpm::start()?), Box::new(Engine::start()?)];
        Ok(Self { sides, commands: 0, died: [false; SIDES] })
    }

    /// New TPMs.
    pub(crate) fn fresh(&mut self) -> Result<()> {
        for (number, side) in self.sides.iter_mut().enumerate() {
            if number != ENGINE && std::mem::take(&mut self.died[number]) {
                *side = Box::new(Swtpm::start()?);
            }
            side.fresh()?;
        }
        Ok(())
    }

    fn execute(&mut self, locality: u8, commands: &[Vec<u8>; SIDES]) -> Result<[Vec<u8>; SIDES]> {
        self.commands += 1;
        for (number, command) in commands.iter().enumerate() {
            let sent = self.sides[number].submit(locality, command);
            if let (Err(error), true) = (sent, number == ENGINE) {
                return Err(error);
            }
            // A swtpm that has ended shows when its answer is collected.
        }
        let mut got: [Vec<u8>; SIDES] = Default::default();
        for (number, got) in got.iter_mut().enumerate() {
            *got = match self.sides[number].collect() {
                Ok(response) => response,
                Err(error) if number == ENGINE => return Err(error),
                // libtpms 0.9 has faults of its own that damaged commands find.
                Err(_) => {
                    self.died[number] = true;
                    [&[0x80, 1, 0, 0, 0, 10], &DIED.to_be_bytes()[..]].concat()
                }
            };
        }
        // swtpm asks for patience while it tests an algorithm: the command is sent again.
        for (side, got) in got.iter_mut().enumerate() {
            let mut attempts = 0;
            while matches!(response_code(got), RC_RETRY | RC_TESTING) && attempts < 50 {
                *got = self.sides[side].execute(locality, &commands[side])?;
                attempts += 1;
            }
        }
        Ok(got)
    }
}

/// What a command did on all sides.
#[derive(Clone, Debug)]
pub(crate) struct Outcome {
    pub(crate) code: u32,
    pub(crate) sent: [Vec<u8>; SIDES],
    pub(crate) got: [Vec<u8>; SIDES],
    pub(crate) rc: [u32; SIDES],
    pub(crate) decoded: [Decoded; SIDES],
    answers: [Option<Vec<Answer>>; SIDES],
    crosses: bool,
    /// Whether the answer was `TPM_RC_FAILURE`, and nothing else is answered any more.
    pub(crate) in_failure_mode: [bool; SIDES],
    panic: Option<String>,
    /// Damage that hit some sides and left others whole, because their bytes are others: a byte
    /// that
    /// was set to what it was, for one.
    unevenly_damaged: bool,
}

/// A difference between swtpm and the engine.
#[derive(Clone, Debug)]
pub(crate) struct Difference {
    /// Where: `code`, a field's name, `session`, `panic`.
    pub(crate) place: &'static str,
    pub(crate) text: String,
}

/// What came of a step.
#[derive(Clone, Debug)]
pub(crate) enum Verdict {
    Same,
    /// Something that it needs is not there.
    Skipped,
    /// The two swtpm do not agree, so there is nothing to compare with.
    Undecided,
    /// Never empty.
    Different(Vec<Difference>),
}

/// A command for one side.
struct Encoded<'a> {
    bytes: Vec<u8>,
    /// Its sessions.
    entries: Vec<Entry<'a>>,
    /// Whether its edits changed anything.
    damaged: bool,
}

/// A sequence on its way.
pub(crate) struct Run<'a> {
    rig: &'a mut Rig,
    locality: u8,
    pub(crate) outcomes: Vec<Option<Outcome>>,
    sessions: HashMap<Id, [ClientSession; SIDES]>,
    nonces: u32,
}

impl<'a> Run<'a> {
    /// Starts on newly manufactured TPMs.
    pub(crate) fn fresh(rig: &'a mut Rig) -> Result<Self> {
        rig.fresh()?;
        let outcomes = Vec::new();
        Ok(Self { rig, locality: 0, outcomes, sessions: HashMap::new(), nonces: 0 })
    }

    /// Runs the next step.
    pub(crate) fn step(&mut self, step: &Step) -> Result<Verdict> {
        let verdict = match step {
            Step::Nothing => Verdict::Same,
            Step::Command(command) => return self.command(command),
            Step::Init => {
                self.rig.sides.iter_mut().try_for_each(|side| side.init())?;
                self.locality = 0;
                Verdict::Same
            }
            Step::Locality(locality) => {
                self.locality = *locality;
                Verdict::Same
            }
            Step::Hash(op) => {
                self.rig.sides.iter_mut().try_for_each(|side| side.hash(op))?;
                Verdict::Same
            }
            Step::ResetEstablished => {
                let locality = self.locality;
                let mut sides = self.rig.sides.iter_mut();
                sides.try_for_each(|side| side.reset_established(locality))?;
                Verdict::Same
            }
            Step::Established => {
                let expected = self.rig.sides[ORACLE].established()?;
                let got = self.rig.sides[ENGINE].established()?;
                let text = format!("the established flag is {got}, not {expected}");
                if expected == got {
                    Verdict::Same
                } else {
                    Verdict::Different(vec![Difference { place: "established", text }])
                }
            }
        };
        self.outcomes.push(None);
        Ok(verdict)
    }

    fn command(&mut self, command: &Command) -> Result<Verdict> {
        let mut sent: [Vec<u8>; SIDES] = Default::default();
        let mut entries = Vec::new();
        let mut damaged = [false; SIDES];
        self.nonces += 1;
        for (side, sent) in sent.iter_mut().enumerate() {
            match self.encode(command, side)? {
                Some(encoded) => {
                    *sent = encoded.bytes;
                    damaged[side] = encoded.damaged;
                    entries.push(encoded.entries);
                }
                None => {
                    self.outcomes.push(None);
                    return Ok(Verdict::Skipped);
                }
            }
        }
        let got = self.rig.execute(self.locality, &sent)?;
        let rc: [u32; SIDES] = core::array::from_fn(|side| response_code(&got[side]));
        let mut in_failure_mode = [false; SIDES];
        for side in 0..SIDES {
            if rc[side] == RC_FAILURE {
                let response = self.rig.sides[side].execute(self.locality, &READ_CLOCK)?;
                in_failure_mode[side] = response_code(&response) == RC_FAILURE;
            }
        }
        let mut outcome = Outcome {
            code: command.code,
            in_failure_mode,
            rc,
            sent,
            got,
            decoded: Default::default(),
            answers: Default::default(),
            crosses: command.params.iter().any(Piece::crosses),
            panic: self.rig.sides[ENGINE].panic(),
            unevenly_damaged: damaged.iter().any(|side| *side != damaged[ORACLE]),
        };
        for (side, entries) in entries.iter_mut().enumerate() {
            self.receive(command, &mut outcome, entries, side);
        }
        if let Some(start) = &command.start {
            self.note_session(start, &outcome);
        }
        let verdict = compare(&outcome);
        self.outcomes.push(Some(outcome));
        Ok(verdict)
    }

    fn receive(
        &mut self,
        command: &Command,
        outcome: &mut Outcome,
        entries: &mut [Entry<'_>],
        side: usize,
    ) {
        if outcome.rc[side] != 0 {
            return;
        }
        let response = &mut outcome.got[side];
        let mut decoded = decode::response(command.code, response);
        if let (Some(at), false) = (decoded.sessions, entries.is_empty()) {
            let (head, area) = response.split_at_mut(at);
            let start = if cc::returns_handle(command.code) { 18 } else { 14 };
            let parameters = head.get_mut(start..).unwrap_or(&mut []);
            outcome.answers[side] = client::check_response(entries, command.code, parameters, area);
            // What was encrypted can be decoded only now.
            decoded = decode::response(command.code, response);
        }
        outcome.decoded[side] = decoded;
        for (auth, entry) in command.auths.iter().zip(entries) {
            if let (Session::Started(id), Some(session)) = (&auth.session, &entry.session)
                && let Some(known) = self.sessions.get_mut(id)
            {
                known[side] = session.clone();
            }
        }
    }

    /// A field of an earlier response.
    pub(crate) fn field(&self, id: Id, name: &str, side: usize) -> Option<&[u8]> {
        let outcome = self.outcomes.get(id)?.as_ref()?;
        if outcome.rc[side] != 0 {
            return None;
        }
        let field = outcome.decoded[side].fields.iter().find(|field| field.name == name)?;
        outcome.got[side].get(field.start..field.end)
    }

    fn resolve(&mut self, pieces: &[Piece], side: usize) -> Result<Option<Vec<u8>>> {
        let mut out = Vec::new();
        for piece in pieces {
            let bytes = match piece {
                Piece::Lit(bytes) => Some(bytes.clone()),
                Piece::Out(id, name) => self.field(*id, name, side).map(<[u8]>::to_vec),
                Piece::Body(id, name) => {
                    self.field(*id, name, side).and_then(|b| b.get(2..)).map(<[u8]>::to_vec)
                }
                Piece::Cross(id, name) => self.field(*id, name, other(side)).map(<[u8]>::to_vec),
                Piece::Other(inner) => self.resolve(inner, other(side))?,
                Piece::Sized(inner) => self
                    .resolve(inner, side)?
                    .map(|bytes| [&(bytes.len() as u16).to_be_bytes()[..], &bytes].concat()),
                Piece::Name(inner) => match self.resolve(inner, side)? {
                    Some(handle) => Some(self.name(&handle, side)?),
                    None => None,
                },
                Piece::Hash(hash, inner) => self.resolve(inner, side)?.map(|b| hash.of(&[&b])),
                Piece::Hmac(hash, key, inner) => {
                    self.resolve(inner, side)?.map(|bytes| hash.hmac(key, &[&bytes]))
                }
            };
            match bytes {
                Some(bytes) => out.extend(bytes),
                None => return Ok(None),
            }
        }
        Ok(Some(out))
    }

    /// The name of what a handle stands for on one side; asks the TPM.
    fn name(&mut self, handle: &[u8], side: usize) -> Result<Vec<u8>> {
        let (code, field) = match handle.first() {
            Some(0x80 | 0x81) => (cc::READ_PUBLIC, "name"),
            Some(0x01) => (cc::NV_READ_PUBLIC, "nvName"),
            _ => return Ok(handle.to_vec()),
        };
        if self.rig.died[side] {
            return Ok(Vec::new());
        }
        let mut query = [0x80, 0x01, 0, 0, 0, 14].to_vec();
        query.extend_from_slice(&code.to_be_bytes());
        query.extend_from_slice(handle);
        let response = self.rig.sides[side].execute(self.locality, &query)?;
        if response_code(&response) != 0 {
            return Ok(Vec::new());
        }
        let decoded = decode::response(code, &response);
        let field = decoded.fields.iter().find(|f| f.name == field && f.composite);
        let name = field.and_then(|field| response.get(field.start + 2..field.end));
        Ok(name.unwrap_or(&[]).to_vec())
    }

    /// The bytes of a command, and its sessions; `None` when something that it needs is not there.
    fn encode<'c>(&mut self, command: &'c Command, side: usize) -> Result<Option<Encoded<'c>>> {
        let mut handles = Vec::new();
        for pieces in &command.handles {
            match self.resolve(pieces, side)? {
                Some(handle) => handles.push(handle),
                None => return Ok(None),
            }
        }
        let Some(mut parameters) = self.resolve(&command.params, side)? else { return Ok(None) };
        let whole = parameters.clone();
        command.edits.iter().for_each(|edit| edit_parameters(edit, &mut parameters));
        let mut damaged = parameters != whole;
        let Some(entries) = self.entries(command, side) else { return Ok(None) };
        let mut names = Vec::new();
        if entries.iter().any(|entry| entry.session.is_some()) {
            for handle in &handles {
                names.extend(self.name(handle, side)?);
            }
        }
        client::encrypt_command(&entries, &mut parameters);
        let tag: u16 = if entries.is_empty() { 0x8001 } else { 0x8002 };
        let mut out = tag.to_be_bytes().to_vec();
        out.extend_from_slice(&[0; 4]);
        out.extend_from_slice(&command.code.to_be_bytes());
        handles.iter().for_each(|handle| out.extend_from_slice(handle));
        if !entries.is_empty() {
            out.extend(client::area(&entries, command.code, &names, &parameters));
        }
        out.extend(parameters);
        let whole = out.clone();
        command.edits.iter().for_each(|edit| edit_command(edit, &mut out));
        damaged |= out != whole;
        let size = (out.len() as u32).to_be_bytes();
        out[2..6].copy_from_slice(&size);
        for edit in &command.edits {
            if let Edit::Size(by) = edit {
                let size = (out.len() as u32).wrapping_add_signed(*by);
                out[2..6].copy_from_slice(&size.to_be_bytes());
            }
        }
        Ok(Some(Encoded { bytes: out, entries, damaged }))
    }

    fn entries<'c>(&self, command: &'c Command, side: usize) -> Option<Vec<Entry<'c>>> {
        let mut entries = Vec::new();
        for auth in &command.auths {
            let (session, raw_handle) = match auth.session {
                Session::Password => (None, 0x4000_0009),
                Session::Raw(handle) => (None, handle),
                Session::Started(id) => {
                    let mut session = self.sessions.get(&id)?[side].clone();
                    let counter = self.nonces.to_be_bytes();
                    session.nonce_caller = session.hash.of(&[b"nonce", &counter]);
                    session.nonce_caller.truncate(session.nonce_tpm.len().max(16));
                    (Some(session), 0)
                }
            };
            entries.push(Entry { auth, session, raw_handle });
        }
        Some(entries)
    }

    fn note_session(&mut self, start: &Start, outcome: &Outcome) {
        if outcome.rc.iter().any(|rc| *rc != 0) {
            return;
        }
        let id = self.outcomes.len();
        let mut known = Vec::new();
        for side in 0..SIDES {
            let part = |name: &str| {
                let fields = &outcome.decoded[side].fields;
                let field = fields.iter().find(|f| f.name == name)?;
                outcome.got[side].get(field.start..field.end)
            };
            let (Some(handle), Some(nonce)) = (part("handle"), part("nonceTPM")) else { return };
            let nonce_tpm = nonce.get(2..).unwrap_or(&[]).to_vec();
            let salt = match &start.salt {
                Salt::None => Vec::new(),
                Salt::Known(salt) => salt.clone(),
                Salt::Ecdh(step, key_x) => {
                    let point = |name| {
                        // The size of the point, then x with its size.
                        let bytes = self.field(*step, name, side)?;
                        let size = u16::from_be_bytes([*bytes.get(2)?, *bytes.get(3)?]);
                        bytes.get(4..4 + usize::from(size)).map(<[u8]>::to_vec)
                    };
                    let (Some(z), Some(x)) = (point("zPoint"), point("pubPoint")) else { return };
                    start.hash.kdfe(&z, b"SECRET", &x, key_x)
                }
            };
            let bound = start.bind.clone();
            let key = if bound.is_some() || !salt.is_empty() {
                let secret = [bound.unwrap_or_default(), salt].concat();
                start.hash.kdfa(&secret, b"ATH", &nonce_tpm, &start.nonce, start.hash.size())
            } else {
                Vec::new()
            };
            let mut bytes = [0; 4];
            bytes.copy_from_slice(handle);
            known.push(ClientSession {
                handle: bytes,
                hash: start.hash,
                sym: start.sym,
                key,
                nonce_tpm,
                nonce_caller: start.nonce.clone(),
            });
        }
        if let Ok(known) = <[ClientSession; SIDES]>::try_from(known) {
            self.sessions.insert(id, known);
        }
    }
}

fn response_code(response: &[u8]) -> u32 {
    response
        .get(6..10)
        .map_or(u32::MAX, |bytes| bytes.iter().fold(0, |value, byte| value << 8 | u32::from(*byte)))
}

/// The side whose outputs go to this one where outputs are crossed.
fn other(side: usize) -> usize {
    match side {
        ORACLE => ENGINE,
        ENGINE => ORACLE,
        same => same,
    }
}

fn write_at(bytes: &mut [u8], at: usize, with: &[u8]) {
    bytes.iter_mut().skip(at).zip(with).for_each(|(byte, with)| *byte = *with);
}

fn edit_parameters(edit: &Edit, parameters: &mut Vec<u8>) {
    let size = parameters.len();
    match edit {
        Edit::Truncate(by) => parameters.truncate(size.saturating_sub(*by)),
        Edit::Append(bytes) => parameters.extend_from_slice(bytes),
        Edit::Set(at, bytes) => write_at(parameters, *at, bytes),
        Edit::Flip(at, mask) => {
            if let Some(byte) = parameters.get_mut(*at) {
                *byte ^= mask;
            }
        }
        Edit::Remove(at, count) => {
            parameters.drain((*at).min(size)..(at + count).min(size));
        }
        Edit::Insert(at, bytes) => {
            let at = (*at).min(size);
            parameters.splice(at..at, bytes.iter().copied());
        }
        Edit::Tag(_) | Edit::Size(_) | Edit::Raw(..) | Edit::Cut(_) => {}
    }
}

fn edit_command(edit: &Edit, command: &mut Vec<u8>) {
    match edit {
        Edit::Tag(tag) => write_at(command, 0, &tag.to_be_bytes()),
        Edit::Raw(at, bytes) => write_at(command, *at, bytes),
        Edit::Cut(by) => command.truncate(command.len().saturating_sub(*by).max(10)),
        _ => {}
    }
}

/// Compares the engine's answer with swtpm's.
fn compare(outcome: &Outcome) -> Verdict {
    let [oracle, control, engine] = outcome.rc;
    let died = oracle == DIED || control == DIED;
    let undecided = died || outcome.unevenly_damaged || oracle != control && !outcome.crosses;
    if undecided && engine != PANIC {
        return Verdict::Undecided;
    }
    let mut found = Vec::new();
    if engine == PANIC {
        found.push(difference("panic", outcome.panic.clone().unwrap_or_default()));
    } else if oracle != engine || oracle != control {
        let side = if oracle == control { "" } else { " (of the other's output)" };
        let other = if oracle == control { engine } else { oracle.max(engine) };
        let text = format!("{}{side} instead of {}", rc_name(other), rc_name(control));
        found.push(difference("code", text));
    } else {
        compare_header(outcome, &mut found);
        if oracle == 0 && found.is_empty() {
            compare_fields(outcome, &mut found);
            compare_sessions(outcome, &mut found);
        }
    }
    if found.is_empty() { Verdict::Same } else { Verdict::Different(found) }
}

fn compare_header(outcome: &Outcome, found: &mut Vec<Difference>) {
    let (expected, got) = (&outcome.got[ORACLE], &outcome.got[ENGINE]);
    if expected.get(..2) != got.get(..2) {
        found.push(difference("tag", "another tag".to_owned()));
    }
    if got.get(2..6) != Some(&(got.len() as u32).to_be_bytes()) {
        found.push(difference("responseSize", "the size is wrong".to_owned()));
    }
}

fn compare_fields(outcome: &Outcome, found: &mut Vec<Difference>) {
    let [oracle, control, engine] = &outcome.decoded;
    let whole = |side: usize| &outcome.got[side];
    if oracle.error.is_some() || oracle.fields.len() != control.fields.len() {
        eprintln!("swtpm's {} is not understood: {:?}", cc::name(outcome.code), oracle.error);
        return;
    }
    for (index, field) in oracle.fields.iter().enumerate() {
        let Some(other) = engine.fields.get(index).filter(|f| f.name == field.name) else {
            let text = format!("another structure at {}: {:?}", field.name, engine.error);
            found.push(difference("structure", text));
            return;
        };
        if field.composite || field.kind == Kind::Opaque || field.name == "parameterSize" {
            continue;
        }
        let twin = &control.fields[index];
        let expected = &whole(ORACLE)[field.start..field.end];
        let second = &whole(CONTROL)[twin.start..twin.end];
        let got = &whole(ENGINE)[other.start..other.end];
        let differs = if expected == second && field.kind == Kind::Plain {
            expected != got
        } else {
            expected.len() == second.len() && expected.len() != got.len()
        };
        if differs {
            let text = format!("{}: {} instead of {}", field.name, hex(got), hex(expected));
            found.push(difference(field.name, text));
        }
    }
    if engine.error.is_some() || engine.fields.len() != oracle.fields.len() {
        let text = format!("another structure: {:?}", engine.error);
        found.push(difference("structure", text));
    }
}

fn compare_sessions(outcome: &Outcome, found: &mut Vec<Difference>) {
    let (expected, got) = (&outcome.answers[ORACLE], &outcome.answers[ENGINE]);
    if expected != got {
        let text = format!("response sessions: {got:?} instead of {expected:?}");
        found.push(difference("session", text));
    }
}

fn difference(place: &'static str, text: String) -> Difference {
    Difference { place, text }
}

/// Bytes in hexadecimal.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A response code in words.
pub(crate) fn rc_name(code: u32) -> String {
    match code {
        0 => "success".to_owned(),
        PANIC => "panic".to_owned(),
        DIED => "the end of swtpm's process".to_owned(),
        _ => format!("{:?}", vtpm_engine::wire::Rc::from_code(code)),
    }
}
