//! The Physical Presence Interface's shared memory, in QEMU's layout (`docs/specs/tpm.rst`), which
//! OVMF and SeaBIOS know.
//!
//! ```text
//!   OS --_DSM--> PPRQ, PPRM --reboot--> firmware (or the VMM) executes --> LPPR, PPRP --_DSM--> OS
//!   OS --_DSM--> MOVV bit 0 ---reboot--> the VMM clears guest memory before firmware runs
//! ```
//!
//! The registers are plain memory: nothing happens when they are written. Firmware writes what it
//! supports into `FUNC`, ACPI code writes the operating system's request, and after a reset
//! whoever plays the firmware's part looks for one. Under OVMF that is OVMF; with direct kernel
//! boot it is the VMM, through [`Ppi::pending`] and [`Ppi::finish`].
//!
//! Operation values: TCG PC Client Physical Presence Interface Specification 1.30.

use crate::{
    BufferError, Error, SnapshotError, TPM_BASE,
    crb::{CommandBuffer, InMemoryBuffer},
    record::{Kind, Reader, Writer},
};

/// Guest-physical address of the area in QEMU's layout: behind TIS's five localities.
pub const BASE: u64 = TPM_BASE + 0x5000;
/// Bytes of the area.
pub const SIZE: usize = 0x400;

/// What firmware does for each operation value: one byte each, see [`Support`].
pub const FUNC: usize = 0x000;
/// Operations listed in [`FUNC`].
pub const FUNC_COUNT: usize = 0x100;
/// Interrupt number for the SMI that QEMU does not use; one byte.
pub const PPIN: usize = 0x100;
/// Parameter of that SMI; four bytes, like all that follow up to [`FRET`].
pub const PPIP: usize = 0x101;
/// Response to the last operation.
pub const PPRP: usize = 0x105;
/// Operation that the operating system requests, 0 for none.
pub const PPRQ: usize = 0x109;
/// The requested operation's parameter.
pub const PPRM: usize = 0x10D;
/// The last operation that was executed.
pub const LPPR: usize = 0x111;
/// Result of the SMI that QEMU does not use.
pub const FRET: usize = 0x115;
/// What firmware does after the next reboot; one byte.
pub const NEXT_STEP: usize = 0x159;
/// Memory overwrite request; one byte.
pub const MOVV: usize = 0x15A;
/// [`MOVV`]: guest memory is to be cleared at the next reset.
pub const MOVV_CLEAR_MEMORY: u8 = 1 << 0;

/// [`PPRP`] after success.
pub const RESPONSE_SUCCESS: u32 = 0;
/// [`PPRP`] after the user refused, or did not answer.
pub const RESPONSE_USER_ABORT: u32 = 0xFFFF_FFF0;
/// [`PPRP`] after the firmware failed.
pub const RESPONSE_FIRMWARE_FAILURE: u32 = 0xFFFF_FFF1;

const KIND: Kind = Kind { magic: *b"VDPP", name: "PPI", version: 1, minimum: 1 };

/// What the operating system wants done before it starts again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Operation {
    /// 1: enable the storage and endorsement hierarchies.
    Enable,
    /// 2: disable the storage and endorsement hierarchies.
    Disable,
    /// 5: `TPM2_Clear`.
    Clear,
    /// 14, 21 and 22: enable the hierarchies and `TPM2_Clear`. The three differ for TPM 1.2 only.
    EnableAndClear {
        /// Which of the three values was given, to report it back.
        code: u8,
    },
    /// 17 (false) and 18 (true): whether [`Operation::Clear`] needs a present user from now on.
    RequirePresenceForClear(bool),
    /// 23: allocate PCR banks. The parameter is a mask of algorithms: bit 0 SHA-1, 1 SHA-256,
    /// 2 SHA-384, 3 SHA-512, 4 SM3-256.
    SetPcrBanks {
        /// The banks to have.
        banks: u32,
    },
    /// 24: `TPM2_ChangeEPS`. All endorsement keys and certificates become useless.
    ChangeEps,
    /// 25 (false) and 26 (true): whether [`Operation::SetPcrBanks`] needs a present user.
    RequirePresenceForPcrBanks(bool),
    /// 27 (false) and 28 (true): whether [`Operation::Enable`] needs a present user.
    RequirePresenceForEnable(bool),
    /// 29 (false) and 30 (true): whether [`Operation::Disable`] needs a present user.
    RequirePresenceForDisable(bool),
    /// 31 (false) and 32 (true): whether [`Operation::ChangeEps`] needs a present user.
    RequirePresenceForChangeEps(bool),
    /// 33: allocate all banks that the TPM supports.
    LogAllDigests,
    /// 34: disable the endorsement hierarchy, enable the storage hierarchy.
    DisableEndorsementEnableStorage,
    /// Any other value: unknown, reserved, or vendor-specific from 128 on.
    Other {
        /// The value.
        code: u32,
        /// Its parameter.
        parameter: u32,
    },
}

impl Operation {
    /// The operation of `code` and `parameter`; `None` for 0, "no operation".
    pub fn new(code: u32, parameter: u32) -> Option<Self> {
        Some(match code {
            0 => return None,
            1 => Self::Enable,
            2 => Self::Disable,
            5 => Self::Clear,
            14 => Self::EnableAndClear { code: 14 },
            21 => Self::EnableAndClear { code: 21 },
            22 => Self::EnableAndClear { code: 22 },
            17 | 18 => Self::RequirePresenceForClear(code == 18),
            23 => Self::SetPcrBanks { banks: parameter },
            24 => Self::ChangeEps,
            25 | 26 => Self::RequirePresenceForPcrBanks(code == 26),
            27 | 28 => Self::RequirePresenceForEnable(code == 28),
            29 | 30 => Self::RequirePresenceForDisable(code == 30),
            31 | 32 => Self::RequirePresenceForChangeEps(code == 32),
            33 => Self::LogAllDigests,
            34 => Self::DisableEndorsementEnableStorage,
            _ => Self::Other { code, parameter },
        })
    }

    /// Its value in the specification.
    pub fn code(self) -> u32 {
        match self {
            Self::Enable => 1,
            Self::Disable => 2,
            Self::Clear => 5,
            Self::EnableAndClear { code } => code.into(),
            Self::RequirePresenceForClear(yes) => {
                if yes {
                    18
                } else {
                    17
                }
            }
            Self::SetPcrBanks { .. } => 23,
            Self::ChangeEps => 24,
            Self::RequirePresenceForPcrBanks(yes) => {
                if yes {
                    26
                } else {
                    25
                }
            }
            Self::RequirePresenceForEnable(yes) => {
                if yes {
                    28
                } else {
                    27
                }
            }
            Self::RequirePresenceForDisable(yes) => {
                if yes {
                    30
                } else {
                    29
                }
            }
            Self::RequirePresenceForChangeEps(yes) => {
                if yes {
                    32
                } else {
                    31
                }
            }
            Self::LogAllDigests => 33,
            Self::DisableEndorsementEnableStorage => 34,
            Self::Other { code, .. } => code,
        }
    }
}

/// What the firmware does about an operation: the low three bits of its byte in [`FUNC`], and the
/// answer of `_DSM` function 8.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
#[repr(u8)]
pub enum Support {
    /// Not implemented.
    #[default]
    NotImplemented = 0,
    /// Only from the firmware's own menu.
    FirmwareOnly = 1,
    /// Blocked by the firmware's settings.
    Blocked = 2,
    /// Allowed with a present user.
    UserRequired = 3,
    /// Allowed without.
    UserNotRequired = 4,
}

/// The shared area. Generic over where it lies: trapped, or a page of guest memory.
#[derive(Clone)]
pub struct Ppi<B: CommandBuffer = InMemoryBuffer> {
    memory: B,
}

impl Default for Ppi {
    /// A trapped area of zeros.
    fn default() -> Self {
        Self::new(InMemoryBuffer::new(SIZE))
    }
}

impl<B: CommandBuffer> Ppi<B> {
    /// The area in `memory`, which has at least [`SIZE`] bytes and is not changed.
    pub fn new(memory: B) -> Self {
        Self { memory }
    }

    /// Reads for the guest, where the area is trapped. Bytes outside read as ones.
    pub fn read(&self, offset: u64, data: &mut [u8]) {
        let at = usize::try_from(offset).unwrap_or(usize::MAX);
        if self.memory.read(at, data).is_err() {
            data.fill(0xFF);
        }
    }

    /// Writes for the guest, where the area is trapped. Accesses that reach outside are dropped.
    pub fn write(&mut self, offset: u64, data: &[u8]) {
        let at = usize::try_from(offset).unwrap_or(usize::MAX);
        // Plain memory has nobody to tell that an access went astray.
        let _: Result<(), BufferError> = self.memory.write(at, data);
    }

    /// The operation that the operating system has requested.
    ///
    /// # Errors
    /// [`Error::Buffer`] if the area cannot be read.
    pub fn pending(&self) -> Result<Option<Operation>, Error> {
        Ok(Operation::new(self.word(PPRQ)?, self.word(PPRM)?))
    }

    /// Records that `operation` was executed, or refused, with `response` ([`RESPONSE_SUCCESS`], a
    /// TPM response code up to 0xFFF, or one of the other constants), and takes the request away.
    ///
    /// # Errors
    /// [`Error::Buffer`] if the area cannot be written.
    pub fn finish(&mut self, operation: Operation, response: u32) -> Result<(), Error> {
        self.set_word(LPPR, operation.code())?;
        self.set_word(PPRP, response)?;
        self.set_word(PPRQ, 0)?;
        self.set_word(PPRM, 0)
    }

    /// Whether guest memory has to be cleared at this reset. The firmware takes the request back.
    ///
    /// # Errors
    /// [`Error::Buffer`] if the area cannot be read.
    pub fn must_clear_memory(&self) -> Result<bool, Error> {
        let mut byte = [0];
        self.memory.read(MOVV, &mut byte)?;
        Ok(byte[0] & MOVV_CLEAR_MEMORY != 0)
    }

    /// Takes the request to clear memory back, once it is done, where no firmware does it.
    ///
    /// # Errors
    /// [`Error::Buffer`] if the area cannot be written.
    pub fn memory_cleared(&mut self) -> Result<(), Error> {
        let mut byte = [0];
        self.memory.read(MOVV, &mut byte)?;
        Ok(self.memory.write(MOVV, &[byte[0] & !MOVV_CLEAR_MEMORY])?)
    }

    /// Tells the operating system what happens to `operation`, where the VMM plays the firmware's
    /// part. Operations start as not implemented.
    ///
    /// # Errors
    /// [`Error::Buffer`] if the area cannot be written, or the operation's value is above 255.
    pub fn set_support(&mut self, operation: Operation, support: Support) -> Result<(), Error> {
        let code = operation.code() as usize;
        if code >= FUNC_COUNT {
            return Err(BufferError::OutOfRange { offset: code, length: 1 }.into());
        }
        Ok(self.memory.write(FUNC + code, &[support as u8])?)
    }

    /// The area as a snapshot record; empty of content where it is guest memory.
    ///
    /// # Errors
    /// [`Error::Buffer`] if the area cannot be read.
    pub fn save(&self) -> Result<Vec<u8>, Error> {
        let mut contents = Vec::new();
        if !self.memory.is_guest_memory() {
            contents.resize(SIZE, 0);
            self.memory.read(0, &mut contents)?;
        }
        let mut out = Writer::new();
        out.bytes(&contents);
        Ok(out.finish(&KIND))
    }

    /// The area from a snapshot record, in `memory`.
    ///
    /// # Errors
    /// [`Error::Snapshot`] if the record is damaged, [`Error::Buffer`] if `memory` is too small.
    pub fn restore(mut memory: B, record: &[u8]) -> Result<Self, Error> {
        let mut input = Reader::new(record, &KIND)?;
        let contents = input.bytes(SIZE, "the PPI area")?;
        if !contents.is_empty() && contents.len() != SIZE {
            return Err(SnapshotError::Invalid("the PPI area's size").into());
        }
        memory.write(0, contents)?;
        input.finish()?;
        Ok(Self::new(memory))
    }

    fn word(&self, offset: usize) -> Result<u32, Error> {
        let mut bytes = [0; 4];
        self.memory.read(offset, &mut bytes)?;
        Ok(u32::from_le_bytes(bytes))
    }

    fn set_word(&mut self, offset: usize, value: u32) -> Result<(), Error> {
        Ok(self.memory.write(offset, &value.to_le_bytes())?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn registers_lie_where_qemu_has_them() {
        let places = [PPIN, PPIP, PPRP, PPRQ, PPRM, LPPR, FRET, NEXT_STEP, MOVV];
        let qemu = [0x100, 0x101, 0x105, 0x109, 0x10d, 0x111, 0x115, 0x159, 0x15a];
        assert_eq!(places, qemu);
        assert_eq!((BASE, SIZE), (0xFED4_5000, 0x400));
    }

    #[test]
    fn a_request_of_the_operating_system_is_seen_once_and_its_answer_stays() {
        let mut ppi = Ppi::default();
        assert_eq!(ppi.pending(), Ok(None));
        ppi.write(PPRQ as u64, &23u32.to_le_bytes());
        ppi.write(PPRM as u64, &6u32.to_le_bytes());
        let request = Operation::SetPcrBanks { banks: 6 };
        assert_eq!(ppi.pending(), Ok(Some(request)));
        ppi.finish(request, RESPONSE_SUCCESS).unwrap();
        assert_eq!(ppi.pending(), Ok(None));
        let mut last = [0; 4];
        ppi.read(LPPR as u64, &mut last);
        assert_eq!(u32::from_le_bytes(last), 23);
    }

    #[test]
    fn every_operation_value_reports_itself_back() {
        for code in 1..=300 {
            let operation = Operation::new(code, 7).unwrap();
            assert_eq!(operation.code(), code);
        }
        assert_eq!(Operation::new(0, 7), None);
    }

    #[test]
    fn the_clear_operations_are_5_14_21_and_22() {
        let clears = |code| {
            let operation = Operation::new(code, 0);
            matches!(operation, Some(Operation::Clear | Operation::EnableAndClear { .. }))
        };
        let found: Vec<_> = (0..=255).filter(|code| clears(*code)).collect();
        assert_eq!(found, [5, 14, 21, 22]);
    }

    #[test]
    fn only_bit_0_of_movv_asks_for_clear_memory() {
        let mut ppi = Ppi::default();
        ppi.write(MOVV as u64, &[0xFE]);
        assert_eq!(ppi.must_clear_memory(), Ok(false));
        ppi.write(MOVV as u64, &[0xFF]);
        assert_eq!(ppi.must_clear_memory(), Ok(true));
        ppi.memory_cleared().unwrap();
        let mut byte = [0];
        ppi.read(MOVV as u64, &mut byte);
        assert_eq!(byte, [0xFE]);
    }

    #[test]
    fn support_is_written_to_the_operation_s_byte() {
        let mut ppi = Ppi::default();
        ppi.set_support(Operation::Clear, Support::UserNotRequired).unwrap();
        let mut func = [0; 8];
        ppi.read(FUNC as u64, &mut func);
        assert_eq!(func, [0, 0, 0, 0, 0, 4, 0, 0]);
        let far = Operation::Other { code: 256, parameter: 0 };
        assert!(ppi.set_support(far, Support::Blocked).is_err());
    }

    #[test]
    fn accesses_outside_the_area_read_ones_and_write_nothing() {
        let mut ppi = Ppi::default();
        ppi.write(0x3FE, &[1, 2, 3, 4]);
        ppi.write(u64::MAX, &[1]);
        let mut bytes = [0; 4];
        ppi.read(0x3FE, &mut bytes);
        assert_eq!(bytes, [0xFF; 4]);
        ppi.read(0x3FC, &mut bytes);
        assert_eq!(bytes, [0; 4]);
    }

    #[test]
    fn a_snapshot_carries_the_area() {
        let mut ppi = Ppi::default();
        ppi.write(PPRQ as u64, &5u32.to_le_bytes());
        let record = ppi.save().unwrap();
        let restored = Ppi::restore(InMemoryBuffer::new(SIZE), &record).unwrap();
        assert_eq!(restored.pending(), Ok(Some(Operation::Clear)));
        for length in 0..record.len() {
            assert!(Ppi::restore(InMemoryBuffer::new(SIZE), &record[..length]).is_err());
        }
    }
}
