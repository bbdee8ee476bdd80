//! CRB: localities, idle and ready, a command through the mapped buffer and through the trapped
//! window, cancel, what is ignored, the interrupt.

use crate::step::{Step, enable_interrupt, interrupted};

const BASE: u32 = 0xfed4_0000;
const LOC_STATE: u32 = BASE;
const LOC_CTRL: u32 = BASE + 0x08;
const LOC_STS: u32 = BASE + 0x0c;
const INTF_ID: u32 = BASE + 0x30;
const CTRL_REQ: u32 = BASE + 0x40;
const CTRL_STS: u32 = BASE + 0x44;
const CTRL_CANCEL: u32 = BASE + 0x48;
const CTRL_START: u32 = BASE + 0x4c;
const INT_ENABLE: u32 = BASE + 0x50;
const INT_STATUS: u32 = BASE + 0x54;
const CMD_SIZE: u32 = BASE + 0x58;
const CMD_LADDR: u32 = BASE + 0x5c;
const RSP_SIZE: u32 = BASE + 0x64;
const WINDOW: u32 = BASE + 0x80;
/// The page of guest memory behind the window.
const BUFFER: u32 = 0xfed4_6000;

const ALL: u32 = u32::MAX;
/// TPM2_GetRandom of 8 bytes, as words in memory's order.
const GET_RANDOM: [u32; 3] = [0x0000_0180, 0x0000_0c00, 0x0800_7b01];
/// How its response begins: TPM_ST_NO_SESSIONS, 20 bytes, TPM_RC_SUCCESS, 8 bytes.
const RESPONSE: [u32; 3] = [0x0000_0180, 0x0000_1400, 0x0800_0000];

/// All steps.
pub(crate) fn steps() -> Vec<Step> {
    let mut steps = vec![
        Step::expect(4, LOC_STATE, 0x80, 0x9e, "valid, nobody has the TPM"),
        Step::expect(4, INTF_ID, 0x0002_5811, 0x000f_ffff, "CRB, one locality"),
        Step::expect(4, CTRL_STS, 2, 3, "idle after reset"),
        Step::expect(4, CMD_SIZE, 0xf80, ALL, "room for a command"),
        Step::expect(4, RSP_SIZE, 0xf80, ALL, "room for a response"),
        Step::expect(4, CMD_LADDR, BUFFER, ALL, "the buffer is guest memory"),
        Step::write(4, CTRL_START, 1, "start without a locality"),
        Step::expect(4, CTRL_START, 0, 1, "is ignored"),
        Step::write(4, LOC_CTRL, 1, "request"),
        Step::expect(4, LOC_STATE, 0x82, 0x9e, "assigned"),
        Step::expect(4, LOC_STS, 1, 3, "granted, not seized"),
        Step::expect(1, LOC_STATE, 0x82, 0x9e, "as a byte too"),
        Step::write(4, CTRL_REQ, 1, "ready"),
        Step::expect(4, CTRL_REQ, 0, ALL, "requests read 0"),
        Step::expect(4, CTRL_STS, 0, 3, "not idle, no error"),
        Step::write(4, CTRL_CANCEL, 1, "cancel without a command"),
        Step::expect(4, CTRL_START, 0, 1, "has no effect"),
        Step::write(4, CTRL_CANCEL, 0, "cancel off"),
    ];
    steps.extend(command(BUFFER, "in memory"));
    steps.push(Step::expect(4, WINDOW, RESPONSE[0], ALL, "the window shows the same"));
    steps.extend(command(WINDOW, "through the window"));
    steps.push(Step::expect(4, BUFFER, RESPONSE[0], ALL, "memory has the same"));
    steps.push(Step::expect(4, BUFFER + 20, 0, ALL, "nothing behind the response"));
    steps.extend(enable_interrupt());
    steps.push(Step::write(4, INT_ENABLE, 0x8000_0001, "interrupt at the end of a command"));
    steps.push(Step::expect(4, INT_ENABLE, 0x8000_0001, ALL, "is kept"));
    steps.extend(command(BUFFER, "with interrupt"));
    steps.extend([
        interrupted("the command's end interrupts"),
        Step::expect(4, INT_STATUS, 1, 0xf, "and says why"),
        Step::write(4, INT_STATUS, 1, "clear it"),
        Step::expect(4, INT_STATUS, 0, 0xf, "cleared"),
        Step::write(4, CTRL_REQ, 2, "idle"),
        Step::expect(4, CTRL_STS, 2, 3, "idle again"),
        Step::write(4, LOC_CTRL, 2, "relinquish"),
        Step::expect(4, LOC_STATE, 0x80, 0x9e, "nobody has the TPM"),
        Step::expect(4, LOC_STS, 0, 1, "not granted"),
    ]);
    steps
}

/// TPM2_GetRandom with its command at `buffer`.
fn command(buffer: u32, why: &'static str) -> Vec<Step> {
    let at = |index: u32| buffer + 4 * index;
    let mut steps: Vec<_> =
        (0..).zip(GET_RANDOM).map(|(index, word)| Step::write(4, at(index), word, why)).collect();
    steps.push(Step::write(4, CTRL_START, 1, why));
    steps.push(Step::wait(CTRL_START, 0, 1, why));
    steps.push(Step::expect(4, CTRL_STS, 0, 1, "no error"));
    let response = (0..).zip(RESPONSE);
    steps.extend(response.map(|(index, word)| Step::expect(4, at(index), word, ALL, why)));
    steps
}
