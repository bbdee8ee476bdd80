//! The generators: they take the written sequences as material, damage their commands in every
//! way, mix their steps, and put handles where they do not belong.

use anyhow::Result;
use fastrand::Rng;

use crate::cc;
use crate::driver::{Effect, Report};
use crate::run::{ENGINE, ORACLE, Outcome, Rig, Run};
use crate::step::{Auth, Command, Edit, Id, Piece, Seq, Session, Step, cmd, password};

/// Commands after which a sequence begins on new TPMs.
const ROUND: usize = 400;

/// One sequence with damaged commands around its steps.
pub(crate) fn round(
    rig: &mut Rig,
    sequences: &[Seq],
    random: &mut Rng,
    report: &mut Report,
) -> Result<()> {
    let Some(seq) = random.choice(sequences) else { return Ok(()) };
    if seq.slow && random.u8(..) > 8 {
        return Ok(());
    }
    let name = format!("{}, with changes", seq.name);
    let mut steps: Vec<Step> = Vec::new();
    // Where each step of the written sequence went.
    let mut places: Vec<Option<Id>> = Vec::new();
    let mut run = Run::fresh(rig)?;
    let density = if seq.slow { 20 } else { random.u8(40..=220) };
    let first = if seq.steps.len() > 300 { random.usize(..seq.steps.len() - 200) } else { 0 };
    for (id, step) in seq.steps.iter().enumerate() {
        places.push(None);
        if steps.len() > ROUND {
            break;
        }
        // Of long sequences only the beginning, and a part with what it needs.
        if id > 20 && id < first && !matches!(step, Step::Command(c) if cc::returns_handle(c.code))
        {
            continue;
        }
        let mut variants = Vec::new();
        let step = moved(step, &places);
        if let Step::Command(command) = &step {
            // Commands that swtpm does not have must not be audited: all digests would differ.
            let audit = command.code == cc::SET_COMMAND_CODE_AUDIT_STATUS;
            while !audit && random.u8(..) < density && variants.len() < 8 {
                variants.push(changed(command, &steps, random));
            }
            if cc::returns_handle(command.code) && density > 100 {
                variants.truncate(2);
            }
        }
        for command in variants {
            let returned = cc::returns_handle(command.code);
            if let Effect::Apart = one(&mut run, &mut steps, Step::Command(command), &name, report)?
            {
                return Ok(());
            }
            // Room for the next: what a damaged command loaded goes.
            if returned && run.field(steps.len() - 1, "handle", 0).is_some() {
                let flush = cmd(cc::FLUSH_CONTEXT).out(steps.len() - 1, "handle");
                if let Effect::Apart =
                    one(&mut run, &mut steps, Step::Command(flush), &name, report)?
                {
                    return Ok(());
                }
            }
        }
        // Now and then a step is missing, or comes twice.
        let times = match random.u8(..) {
            0..4 if id > 0 => 0,
            250.. if id > 0 => 2,
            _ => 1,
        };
        for _ in 0..times {
            if let Effect::Apart = one(&mut run, &mut steps, step.clone(), &name, report)? {
                return Ok(());
            }
            places[id] = Some(steps.len() - 1);
        }
    }
    Ok(())
}

fn one(
    run: &mut Run<'_>,
    steps: &mut Vec<Step>,
    step: Step,
    name: &str,
    report: &mut Report,
) -> Result<Effect> {
    let verdict = run.step(&step)?;
    steps.push(step);
    let outcome = run.outcomes.last().and_then(Option::as_ref);
    let effect = report.note(name, steps, verdict, outcome);
    if outcome.is_some_and(forgets_failed_tries) { Ok(Effect::Apart) } else { Ok(effect) }
}

/// Whether libtpms now forgets that a protected entity was used before a start that was not
/// orderly:
/// a resume that it refuses takes the mark away, and the start that follows counts no failed try
/// (against Part 1, 19.8.6). The engine counts it.
fn forgets_failed_tries(outcome: &Outcome) -> bool {
    const STATE: [u8; 2] = [0, 1];
    let sent = &outcome.sent[ENGINE];
    sent.get(6..10) == Some(&cc::STARTUP.to_be_bytes())
        && sent.get(10..12) == Some(&STATE)
        && outcome.rc[ORACLE] != 0
}

/// A step of the written sequence with its references put right.
fn moved(step: &Step, places: &[Option<Id>]) -> Step {
    let mut step = step.clone();
    let place = |id: &mut Id| *id = places.get(*id).copied().flatten().unwrap_or(usize::MAX);
    if let Step::Command(command) = &mut step {
        command.handles.iter_mut().flatten().for_each(|piece| move_piece(piece, &place));
        command.params.iter_mut().for_each(|piece| move_piece(piece, &place));
        for auth in &mut command.auths {
            if let Session::Started(id) = &mut auth.session {
                place(id);
            }
        }
        if let Some(crate::step::Salt::Ecdh(id, _)) =
            command.start.as_mut().map(|start| &mut start.salt)
        {
            place(id);
        }
    }
    step
}

fn move_piece(piece: &mut Piece, place: &dyn Fn(&mut Id)) {
    match piece {
        Piece::Lit(_) => {}
        Piece::Out(id, _) | Piece::Body(id, _) | Piece::Cross(id, _) => place(id),
        Piece::Other(inner)
        | Piece::Sized(inner)
        | Piece::Name(inner)
        | Piece::Hash(_, inner)
        | Piece::Hmac(_, _, inner) => inner.iter_mut().for_each(|piece| move_piece(piece, place)),
    }
}

/// A changed command.
fn changed(command: &Command, steps: &[Step], random: &mut Rng) -> Command {
    let mut command = command.clone();
    // Damage makes of different outputs different errors: each gets its own back.
    command.params.iter_mut().for_each(uncross);
    // The client could not follow a session that was started by other bytes than it thinks.
    command.start = None;
    let times = if random.u8(..) < 200 { 1 } else { 2 };
    for _ in 0..times {
        match random.u8(..) {
            0..160 => {
                let edit = parameter_edit(&command, random);
                command.edits.push(edit);
            }
            160..200 => change_handle(&mut command, steps, random),
            200..236 => change_auths(&mut command, steps, random),
            _ => {
                let edit = whole_edit(random);
                command.edits.push(edit);
            }
        }
    }
    command
}

fn uncross(piece: &mut Piece) {
    match piece {
        Piece::Cross(id, name) => *piece = Piece::Out(*id, name),
        Piece::Other(inner) => {
            inner.iter_mut().for_each(uncross);
            if let [Piece::Sized(inner)] = &inner[..] {
                *piece = Piece::Sized(inner.clone());
            }
        }
        _ => {}
    }
}

const ALGS: [u16; 34] = [
    0, 1, 3, 4, 5, 6, 7, 8, 0xa, 0xb, 0xc, 0xd, 0xe, 0x10, 0x12, 0x14, 0x15, 0x16, 0x17, 0x18,
    0x19, 0x1a, 0x1b, 0x1c, 0x1d, 0x20, 0x22, 0x23, 0x25, 0x3f, 0x40, 0x42, 0x43, 0x44,
];

/// How many bytes the parameters have about; those of earlier outputs are guessed.
fn guessed_size(pieces: &[Piece]) -> usize {
    pieces
        .iter()
        .map(|piece| match piece {
            Piece::Lit(bytes) => bytes.len(),
            Piece::Sized(inner) => 2 + guessed_size(inner),
            _ => 80,
        })
        .sum()
}

fn parameter_edit(command: &Command, random: &mut Rng) -> Edit {
    let size = guessed_size(&command.params);
    let at = random.usize(..size + 1);
    match random.u8(..16) {
        0 => Edit::Truncate(random.usize(1..=size.max(1))),
        1 => Edit::Truncate(1),
        2 => Edit::Append(vec![random.u8(..); random.usize(1..5)]),
        3..=5 => Edit::Flip(at, 1 << random.u8(..8)),
        6 => Edit::Set(at, vec![*random.choice(&[0, 1, 0x7f, 0x80, 0xff]).unwrap_or(&0)]),
        7 | 8 => {
            let value = *random.choice(&ALGS).unwrap_or(&0);
            Edit::Set(at, value.to_be_bytes().to_vec())
        }
        9 => {
            let value = *random.choice(&[0u16, 1, 2, 0x7fff, 0x8000, 0xffff]).unwrap_or(&0);
            Edit::Set(at, value.to_be_bytes().to_vec())
        }
        10 => {
            let value = *random.choice(&HANDLES).unwrap_or(&0);
            Edit::Set(at, value.to_be_bytes().to_vec())
        }
        11 => Edit::Remove(at, random.usize(1..5)),
        12 => Edit::Insert(at, vec![random.u8(..); random.usize(1..5)]),
        13 => Edit::Set(at, vec![0xff; 4]),
        // The first bytes are the most telling: sizes, algorithms, attributes.
        _ => Edit::Flip(random.usize(..size.clamp(1, 24)), 1 << random.u8(..8)),
    }
}

fn whole_edit(random: &mut Rng) -> Edit {
    match random.u8(..8) {
        0 => Edit::Tag(*random.choice(&[0x8001u16, 0x8002, 0x00c1, 0, 0x8003]).unwrap_or(&0)),
        1 => Edit::Size(*random.choice(&[-1, 1, 10, -10, 4096]).unwrap_or(&1)),
        2 => Edit::Cut(random.usize(1..40)),
        3 => Edit::Raw(10 + random.usize(..4), vec![random.u8(..)]),
        // The authorization area: its size, handles, nonces, attributes.
        _ => Edit::Raw(10 + random.usize(..30), vec![random.u8(..)]),
    }
}

const HANDLES: [u32; 24] = [
    0,
    16,
    23,
    24,
    0x0180_0010,
    0x0180_0030,
    0x01c0_0002,
    0x0200_0000,
    0x0200_0001,
    0x0300_0000,
    0x0300_0001,
    0x4000_0001,
    0x4000_0007,
    0x4000_0009,
    0x4000_000a,
    0x4000_000b,
    0x4000_000c,
    0x4000_000d,
    0x8000_0000,
    0x8000_0001,
    0x8000_0002,
    0x8000_0003,
    0x8100_0001,
    0xffff_ffff,
];

fn handle_piece(steps: &[Step], random: &mut Rng) -> Vec<Piece> {
    let made: Vec<Id> = (steps.iter().enumerate())
        .filter(|(_, step)| matches!(step, Step::Command(c) if cc::returns_handle(c.code)))
        .map(|(id, _)| id)
        .collect();
    match random.choice(&made) {
        Some(id) if random.bool() => vec![Piece::Out(*id, "handle")],
        _ => {
            let handle = random.choice(&HANDLES).copied().unwrap_or(0);
            vec![Piece::Lit(handle.to_be_bytes().to_vec())]
        }
    }
}

fn change_handle(command: &mut Command, steps: &[Step], random: &mut Rng) {
    let piece = handle_piece(steps, random);
    match random.u8(..8) {
        0 => drop(command.handles.pop()),
        1 => command.handles.push(piece),
        2 => command.handles.reverse(),
        _ if command.handles.is_empty() => command.handles.push(piece),
        _ => {
            let at = random.usize(..command.handles.len());
            command.handles[at] = piece;
        }
    }
}

fn change_auths(command: &mut Command, steps: &[Step], random: &mut Rng) {
    let started: Vec<Id> = (steps.iter().enumerate())
        .filter(|(_, step)| matches!(step, Step::Command(c) if c.start.is_some()))
        .map(|(id, _)| id)
        .collect();
    let extra: Auth = match random.choice(&started) {
        Some(id) if random.bool() => {
            let attributes = *random.choice(&[1, 0, 0x21, 0x41, 0x61, 0x81]).unwrap_or(&1);
            crate::step::hmac(*id, attributes, b"")
        }
        _ => password(if random.bool() { b"" } else { b"wrong" }),
    };
    let at = random.usize(..command.auths.len().max(1));
    match random.u8(..8) {
        0 => drop(command.auths.pop()),
        1 => command.auths.push(extra),
        2 => command.auths.insert(0, extra),
        3 => command.auths.extend(vec![password(b""); 4]),
        4 => {
            if let Some(auth) = command.auths.get_mut(at) {
                auth.attributes ^= 1 << random.u8(..8);
            }
        }
        5 => {
            if let Some(auth) = command.auths.get_mut(at) {
                auth.damaged = true;
                auth.plain = auth.plain.take().map(|_| b"wrong".to_vec());
            }
        }
        6 => {
            if let Some(auth) = command.auths.get_mut(at) {
                let handle = random.choice(&HANDLES).copied().unwrap_or(0);
                auth.session = Session::Raw(handle);
            }
        }
        _ => match command.auths.get_mut(at) {
            Some(auth) => *auth = extra,
            None => command.auths.push(extra),
        },
    }
}
