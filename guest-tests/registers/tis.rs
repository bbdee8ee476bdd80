//! TIS: localities and seizing, every state of a command, aborts, retry, the interrupt.

use crate::step::{Step, enable_interrupt, interrupted};

const BASE: u32 = 0xfed4_0000;
const ACCESS: u32 = BASE;
const INT_ENABLE: u32 = BASE + 0x08;
const INT_VECTOR: u32 = BASE + 0x0c;
const INT_STATUS: u32 = BASE + 0x10;
const INTF_CAPABILITY: u32 = BASE + 0x14;
const STS: u32 = BASE + 0x18;
const FIFO: u32 = BASE + 0x24;
const DID_VID: u32 = BASE + 0xf00;
const fn of(locality: u32, register: u32) -> u32 {
    register + (locality << 12)
}

const ALL: u32 = u32::MAX;
const REQUEST: u32 = 0x02;
const PENDING: u32 = 0x04;
const SEIZE: u32 = 0x08;
const SEIZED: u32 = 0x10;
const ACTIVE: u32 = 0x20;
const VALID: u32 = 0x80;
const READY: u32 = 0x40;
const GO: u32 = 0x20;
const DATA: u32 = 0x10;
const EXPECT: u32 = 0x08;
const RETRY: u32 = 0x02;

/// TPM2_GetRandom of 8 bytes, and how its response begins.
const COMMAND: [u8; 12] = [0x80, 1, 0, 0, 0, 12, 0, 0, 1, 0x7b, 0, 8];
const RESPONSE: [u8; 12] = [0x80, 1, 0, 0, 0, 20, 0, 0, 0, 0, 0, 8];
const RESPONSE_SIZE: usize = 20;

/// All steps.
pub(crate) fn steps() -> Vec<Step> {
    let mut steps = vec![
        Step::expect(1, ACCESS, VALID, VALID | ACTIVE | SEIZED | REQUEST, "nobody is active"),
        Step::expect(4, DID_VID, 0x0001_1014, ALL, "vendor and device"),
        Step::expect(4, INTF_CAPABILITY, 0x3000_0697, ALL, "what it can do"),
        Step::expect(4, INT_VECTOR, 10, 0xff, "the interrupt that ACPI says"),
        Step::expect(4, STS, ALL, ALL, "status is for the active locality"),
        Step::write(1, ACCESS, REQUEST, "request"),
        Step::expect(1, ACCESS, VALID | ACTIVE, VALID | ACTIVE | REQUEST, "active"),
    ];
    steps.extend(command());
    steps.extend(retry());
    steps.extend(aborts());
    steps.extend(localities());
    steps.extend(interrupts());
    steps.push(Step::write(1, ACCESS, ACTIVE, "release"));
    steps.push(Step::expect(1, ACCESS, 0, ACTIVE, "released"));
    steps
}

fn ready() -> [Step; 2] {
    let expected = Step::wait(STS, READY, READY | EXPECT | DATA, "takes a command");
    [Step::write(4, STS, READY, "ready"), expected]
}

/// The command byte by byte, expecting more after each but the last.
fn send() -> Vec<Step> {
    let mut steps = Vec::new();
    for (index, byte) in COMMAND.iter().enumerate() {
        steps.push(Step::write(1, FIFO, (*byte).into(), "a byte of the command"));
        let more = if index + 1 < COMMAND.len() { EXPECT } else { 0 };
        // Looking only now and then leaves the rest to KVM's ring of coalesced writes.
        if index == 0 || index + 2 >= COMMAND.len() {
            steps.push(Step::expect(
                4,
                STS,
                VALID | more,
                VALID | EXPECT,
                "expects what is missing",
            ));
        }
    }
    steps.push(Step::write(4, STS, GO, "go"));
    steps.push(Step::wait(STS, VALID | DATA, VALID | DATA, "the response comes"));
    steps
}

fn receive() -> Vec<Step> {
    let mut steps: Vec<_> = RESPONSE
        .iter()
        .map(|byte| Step::expect(1, FIFO, (*byte).into(), 0xff, "a byte of the response"))
        .collect();
    let rest = RESPONSE_SIZE - RESPONSE.len();
    steps.extend((0..rest).map(|_| Step::expect(1, FIFO, 0, 0, "a random byte")));
    steps
}

fn command() -> Vec<Step> {
    let mut steps = ready().to_vec();
    steps.extend(send());
    steps.extend(receive());
    steps.push(Step::expect(4, STS, VALID, VALID | DATA, "no data is left"));
    steps.push(Step::expect(1, FIFO, 0xff, 0xff, "nothing reads as ones"));
    steps
}

/// Reads the response again, four bytes at a time.
fn retry() -> Vec<Step> {
    vec![
        Step::write(4, STS, RETRY, "once more"),
        Step::expect(4, STS, DATA, DATA, "data again"),
        Step::expect(4, FIFO, 0x0000_0180, ALL, "from the start"),
        Step::expect(2, FIFO, 0x1400, 0xffff, "and on"),
        Step::write(4, STS, READY, "ready, with bytes unread"),
        Step::wait(STS, READY, READY | DATA, "they are gone"),
    ]
}

fn aborts() -> Vec<Step> {
    vec![
        Step::write(1, FIFO, 0x80, "a command begins"),
        Step::expect(4, STS, EXPECT, EXPECT | READY, "reception"),
        Step::write(4, STS, GO, "go, too early"),
        Step::expect(4, STS, EXPECT, EXPECT | DATA, "has no effect"),
        Step::write(4, STS, READY, "abort"),
        Step::wait(STS, READY, READY | EXPECT, "ready again"),
    ]
}

fn localities() -> Vec<Step> {
    let (one, two) = (of(1, ACCESS), of(2, ACCESS));
    vec![
        Step::write(1, one, REQUEST, "locality 1 requests"),
        Step::expect(1, one, REQUEST, ACTIVE | REQUEST, "and waits"),
        Step::expect(1, ACCESS, PENDING | ACTIVE, PENDING | ACTIVE, "locality 0 sees it"),
        Step::write(1, ACCESS, ACTIVE, "locality 0 releases"),
        Step::expect(1, one, ACTIVE, ACTIVE | REQUEST, "locality 1 is active"),
        Step::write(1, ACCESS, SEIZE, "a lower locality seizes"),
        Step::expect(1, one, ACTIVE, ACTIVE | SEIZED, "in vain"),
        Step::write(1, two, SEIZE, "a higher one seizes"),
        Step::expect(1, two, ACTIVE, ACTIVE, "and has it"),
        Step::expect(1, one, SEIZED, ACTIVE | SEIZED, "locality 1 knows"),
        Step::write(1, one, SEIZED, "and takes note"),
        Step::expect(1, one, 0, ACTIVE | SEIZED, "noted"),
        Step::write(1, two, ACTIVE, "locality 2 releases"),
        Step::expect(1, two, 0, ACTIVE, "nobody is active"),
        Step::write(1, ACCESS, REQUEST, "locality 0 again"),
        Step::expect(1, ACCESS, ACTIVE, ACTIVE, "active"),
    ]
}

fn interrupts() -> Vec<Step> {
    const DATA_AVAILABLE: u32 = 1;
    let mut steps = enable_interrupt();
    steps.extend(ready());
    let enable = 0x8000_0000 | DATA_AVAILABLE;
    steps.push(Step::write(4, INT_ENABLE, enable, "interrupt when data is available"));
    steps.push(Step::expect(4, INT_ENABLE, enable, enable, "is kept"));
    steps.extend(send());
    steps.push(interrupted("the response interrupts"));
    steps.push(Step::expect(4, INT_STATUS, DATA_AVAILABLE, DATA_AVAILABLE, "and says why"));
    steps.push(Step::write(4, INT_STATUS, DATA_AVAILABLE, "clear it"));
    steps.push(Step::expect(4, INT_STATUS, 0, DATA_AVAILABLE, "cleared"));
    steps.extend(receive());
    steps.push(Step::write(4, INT_ENABLE, 0, "no interrupts"));
    steps
}
