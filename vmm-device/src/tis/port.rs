//! The registers that each locality has for itself.

use super::spec;

/// Where a locality is in its exchange of commands and responses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub(super) enum State {
    /// Takes no command until it is made ready.
    #[default]
    Idle,
    /// Takes a command's first byte.
    Ready,
    /// Takes a command.
    Reception {
        /// Nothing is missing: the command can run.
        whole: bool,
    },
    /// The command is with the engine.
    Execution,
    /// The response is there.
    Completion {
        /// All of it has been read.
        drained: bool,
    },
}

impl State {
    /// The bits of `STS` that follow from the state. stsValid stays set while a command runs, as in
    /// QEMU.
    pub(super) fn status_bits(self) -> u32 {
        match self {
            Self::Idle => 0,
            Self::Ready => spec::STS_COMMAND_READY,
            Self::Reception { whole: false } => spec::STS_VALID | spec::STS_EXPECT,
            Self::Reception { whole: true } | Self::Execution => spec::STS_VALID,
            Self::Completion { drained: false } => spec::STS_VALID | spec::STS_DATA_AVAILABLE,
            Self::Completion { drained: true } => spec::STS_VALID,
        }
    }

    /// Whether the FIFO's bytes are this locality's.
    pub(super) fn owns_buffer(self) -> bool {
        !matches!(self, Self::Idle | Self::Ready)
    }
}

/// One locality.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Port {
    pub(super) state: State,
    pub(super) int_enable: u32,
    pub(super) int_status: u32,
    /// Wants the TPM.
    pub(super) requesting: bool,
    /// Takes the TPM as soon as the running command has ended.
    pub(super) seizing: bool,
    /// Lost the TPM to a seize.
    pub(super) been_seized: bool,
}

impl Default for Port {
    fn default() -> Self {
        Self {
            state: State::Idle,
            int_enable: spec::INT_POLARITY_LOW_LEVEL,
            int_status: 0,
            requesting: false,
            seizing: false,
            been_seized: false,
        }
    }
}
