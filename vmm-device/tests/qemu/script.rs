//! The language of register scripts: one step a line.
//!
//! ```text
//! device tis                    which device, once, first
//! case NAME                     what follows begins after a reset of the machine
//! read SIZE PLACE VALUE[/MASK]  SIZE is 1, 2, 4 or 8 bytes
//! write SIZE PLACE VALUE
//! send PLACE BYTES              each byte by a write of its own
//! take PLACE BYTES              each byte by a read of its own, compared
//! put PLACE BYTES               as `send`, but to one address after the other
//! get PLACE BYTES               as `take`, but from one address after the other
//! irq high | irq low            the interrupt line
//! tpm takes LOCALITY BYTES      the TPM is given this command
//! tpm idle                      the TPM is given none
//! tpm answers BYTES             the command ends with this response
//! tpm cancels NUMBER            how often a cancel was asked for since this was last checked
//! reset                         the machine
//! ```
//!
//! `#` begins a comment. PLACE is `LOCALITY:REGISTER+OFFSET`, or a number from the start of the
//! device; CRB has no localities. BYTES are hexadecimal; `00*20` is a byte twenty times.
//!
//! A difference that is intended is written as
//!
//! ```text
//! why KEY REASON
//! ours STEP
//! qemu STEP
//! ```
//!
//! with as many steps of either side as it takes. KEY is a row of the README's table.

use vmm_device::{crb, tis};

/// A script that was read.
#[derive(Clone, Debug)]
pub(crate) struct Script {
    pub(crate) device: Device,
    pub(crate) cases: Vec<Case>,
}

/// Which device a script is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Device {
    Tis,
    Crb,
}

/// What happens between two resets.
#[derive(Clone, Debug)]
pub(crate) struct Case {
    pub(crate) name: String,
    pub(crate) lines: Vec<Line>,
}

/// A step, and where it stands.
#[derive(Clone, Debug)]
pub(crate) struct Line {
    pub(crate) number: usize,
    pub(crate) text: String,
    pub(crate) step: Step,
    pub(crate) only: Option<Side>,
    /// The row of the README's table that explains why only one side takes this step.
    pub(crate) difference: Option<String>,
}

/// Whose step it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Side {
    Ours,
    Qemu,
}

/// What is done, or has to be found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    Read { size: usize, offset: u64, value: u64, mask: u64 },
    Write { size: usize, offset: u64, value: u64 },
    Send { offset: u64, bytes: Vec<u8>, stride: u64 },
    Take { offset: u64, bytes: Vec<u8>, stride: u64 },
    Irq(bool),
    TpmTakes { locality: u8, command: Vec<u8> },
    TpmIdle,
    TpmAnswers(Vec<u8>),
    TpmCancels(usize),
    Reset,
}

/// Reads a script; an error names the line.
pub(crate) fn parse(text: &str) -> Result<Script, String> {
    let mut device = None;
    let mut cases: Vec<Case> = Vec::new();
    let mut reason: Option<String> = None;
    for (number, line) in (1..).zip(text.lines()) {
        let line = line.split('#').next().unwrap_or_default().trim();
        let Some((first, rest)) = line.split_once(' ').or((!line.is_empty()).then_some((line, "")))
        else {
            continue;
        };
        let at = |problem: String| format!("line {number}: {problem}: {line}");
        match first {
            "device" => device = Some(read_device(rest).map_err(at)?),
            "case" => {
                reason = None;
                cases.push(Case { name: rest.trim().to_owned(), lines: Vec::new() });
            }
            "why" => reason = Some(rest.split_whitespace().next().ok_or("no key")?.to_owned()),
            _ => {
                let only = match first {
                    "ours" => Some(Side::Ours),
                    "qemu" => Some(Side::Qemu),
                    _ => None,
                };
                if only.is_none() {
                    reason = None;
                } else if reason.is_none() {
                    return Err(at("a difference without a reason".into()));
                }
                let device = device.ok_or("the device comes first")?;
                let step = read_step(device, if only.is_some() { rest } else { line });
                let case = cases.last_mut().ok_or("a step outside of a case")?;
                let (text, difference) = (line.to_owned(), reason.clone());
                case.lines.push(Line { number, text, step: step.map_err(at)?, only, difference });
            }
        }
    }
    Ok(Script { device: device.ok_or("no device")?, cases })
}

fn read_device(name: &str) -> Result<Device, String> {
    match name.trim() {
        "tis" => Ok(Device::Tis),
        "crb" => Ok(Device::Crb),
        _ => Err("no such device".into()),
    }
}

fn read_step(device: Device, text: &str) -> Result<Step, String> {
    let words: Vec<&str> = text.split_whitespace().collect();
    Ok(match words.as_slice() {
        ["read", size, place, value] => {
            let (value, mask) = value.split_once('/').unwrap_or((value, "0xffffffffffffffff"));
            Step::Read {
                size: read_size(size)?,
                offset: read_place(device, place)?,
                value: read_number(value)?,
                mask: read_number(mask)?,
            }
        }
        ["write", size, place, value] => Step::Write {
            size: read_size(size)?,
            offset: read_place(device, place)?,
            value: read_number(value)?,
        },
        [word @ ("send" | "put"), place, bytes @ ..] => Step::Send {
            offset: read_place(device, place)?,
            bytes: read_bytes(bytes)?,
            stride: (*word == "put").into(),
        },
        [word @ ("take" | "get"), place, bytes @ ..] => Step::Take {
            offset: read_place(device, place)?,
            bytes: read_bytes(bytes)?,
            stride: (*word == "get").into(),
        },
        ["irq", "high"] => Step::Irq(true),
        ["irq", "low"] => Step::Irq(false),
        ["tpm", "takes", locality, bytes @ ..] => Step::TpmTakes {
            locality: locality.parse().map_err(|_| "no locality")?,
            command: read_bytes(bytes)?,
        },
        ["tpm", "idle"] => Step::TpmIdle,
        ["tpm", "answers", bytes @ ..] => Step::TpmAnswers(read_bytes(bytes)?),
        ["tpm", "cancels", count] => {
            Step::TpmCancels(count.parse().map_err(|_| "no number".to_owned())?)
        }
        ["reset"] => Step::Reset,
        _ => return Err("no such step".into()),
    })
}

fn read_size(text: &str) -> Result<usize, String> {
    match text {
        "1" => Ok(1),
        "2" => Ok(2),
        "4" => Ok(4),
        "8" => Ok(8),
        _ => Err("a size of 1, 2, 4 or 8 is wanted".into()),
    }
}

fn read_number(text: &str) -> Result<u64, String> {
    let digits = text.strip_prefix("0x").ok_or("a number begins with 0x")?;
    u64::from_str_radix(digits, 16).map_err(|cause| cause.to_string())
}

fn read_bytes(words: &[&str]) -> Result<Vec<u8>, String> {
    let mut bytes = Vec::new();
    for word in words {
        let (digits, count) = word.split_once('*').unwrap_or((word, "1"));
        let byte = u8::from_str_radix(digits, 16).map_err(|cause| format!("{word}: {cause}"))?;
        let count: usize = count.parse().map_err(|cause| format!("{word}: {cause}"))?;
        bytes.extend(std::iter::repeat_n(byte, count));
    }
    Ok(bytes)
}

fn read_place(device: Device, text: &str) -> Result<u64, String> {
    let (text, add) = text.split_once('+').unwrap_or((text, "0x0"));
    let add = read_number(&format!("0x{}", add.trim_start_matches("0x")))?;
    let (locality, register) = text.split_once(':').unwrap_or(("0", text));
    let locality: u64 = locality.parse().map_err(|_| format!("{text}: no locality"))?;
    let register = match read_number(register) {
        Ok(number) => number,
        Err(_) => names(device)
            .iter()
            .find_map(|(name, offset)| (*name == register).then_some(*offset))
            .ok_or(format!("{register}: no such register"))?,
    };
    Ok((locality << 12) + register + add)
}

/// Names of registers.
pub(crate) fn names(device: Device) -> &'static [(&'static str, u64)] {
    match device {
        Device::Tis => &[
            ("ACCESS", tis::spec::ACCESS),
            ("INT_ENABLE", tis::spec::INT_ENABLE),
            ("INT_VECTOR", tis::spec::INT_VECTOR),
            ("INT_STATUS", tis::spec::INT_STATUS),
            ("INTF_CAPABILITY", tis::spec::INTF_CAPABILITY),
            ("STS", tis::spec::STS),
            ("HASH_END", tis::spec::HASH_END),
            ("FIFO", tis::spec::DATA_FIFO),
            ("HASH_START", tis::spec::HASH_START),
            ("INTERFACE_ID", tis::spec::INTERFACE_ID),
            ("XFIFO", tis::spec::XDATA_FIFO),
            ("DID_VID", tis::spec::DID_VID),
            ("RID", tis::spec::RID),
        ],
        Device::Crb => &[
            ("LOC_STATE", crb::spec::LOC_STATE),
            ("LOC_CTRL", crb::spec::LOC_CTRL),
            ("LOC_STS", crb::spec::LOC_STS),
            ("INTF_ID", crb::spec::INTF_ID),
            ("INTF_ID2", crb::spec::INTF_ID2),
            ("CTRL_REQ", crb::spec::CTRL_REQ),
            ("CTRL_STS", crb::spec::CTRL_STS),
            ("CTRL_CANCEL", crb::spec::CTRL_CANCEL),
            ("CTRL_START", crb::spec::CTRL_START),
            ("INT_ENABLE", crb::spec::INT_ENABLE),
            ("INT_STATUS", crb::spec::INT_STATUS),
            ("CMD_SIZE", crb::spec::CMD_SIZE),
            ("CMD_LADDR", crb::spec::CMD_LADDR),
            ("CMD_HADDR", crb::spec::CMD_HADDR),
            ("RSP_SIZE", crb::spec::RSP_SIZE),
            ("RSP_LADDR", crb::spec::RSP_LADDR),
            ("RSP_HADDR", crb::spec::RSP_HADDR),
            ("DATA", crb::spec::DATA_BUFFER),
        ],
    }
}

/// A step of a random run as a line of a script, so that what was found can be kept.
pub(crate) fn print(device: Device, step: &Step) -> String {
    let place = |offset: u64| {
        let (page, register) = (offset >> 12, offset & 0xFFF);
        let named = names(device).iter().rev().find(|(_, start)| *start <= register);
        let (name, start) = named.copied().unwrap_or(("ACCESS", 0));
        let prefix = if device == Device::Tis { format!("{page}:") } else { String::new() };
        match register - start {
            0 => format!("{prefix}{name}"),
            more => format!("{prefix}{name}+{more:x}"),
        }
    };
    let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!(" {byte:02x}")).collect::<String>();
    match step {
        Step::Read { size, offset, value, .. } => {
            format!("read {size} {} {value:#x}", place(*offset))
        }
        Step::Write { size, offset, value } => {
            format!("write {size} {} {value:#x}", place(*offset))
        }
        Step::Send { offset, bytes, stride } => {
            let word = if *stride == 0 { "send" } else { "put" };
            format!("{word} {}{}", place(*offset), hex(bytes))
        }
        Step::Take { offset, bytes, stride } => {
            let word = if *stride == 0 { "take" } else { "get" };
            format!("{word} {}{}", place(*offset), hex(bytes))
        }
        Step::Irq(level) => format!("irq {}", if *level { "high" } else { "low" }),
        Step::TpmTakes { locality, command } => format!("tpm takes {locality}{}", hex(command)),
        Step::TpmIdle => "tpm idle".into(),
        Step::TpmAnswers(response) => format!("tpm answers{}", hex(response)),
        Step::TpmCancels(count) => format!("tpm cancels {count}"),
        Step::Reset => "reset".into(),
    }
}
