//! What a machine is made of.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::{
    acpi,
    devices::tpm::Interface,
    error::{Error, Result},
    layout::{self, Ram},
    vcpu,
};

/// The hardware that the guest sees. A snapshot carries it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hardware {
    /// RAM in MiB.
    pub memory_mib: u64,
    /// Processors.
    pub cpus: u8,
    /// The TPM's registers, if there is a TPM.
    pub tpm: Option<Interface>,
    /// Whether the TPM interrupts; guests poll if not.
    pub tpm_interrupts: bool,
}

impl Hardware {
    /// Checks it.
    ///
    /// # Errors
    /// [`Error::Option`] with the option that is wrong.
    pub fn check(&self) -> Result<()> {
        self.ram()?;
        if !(1..=vcpu::MAX_COUNT).contains(&self.cpus) {
            let reason = format!("{} is not within 1 and {}", self.cpus, vcpu::MAX_COUNT);
            return Err(Error::option("--cpus", reason));
        }
        Ok(())
    }

    /// Its RAM.
    ///
    /// # Errors
    /// [`Error::Option`].
    pub fn ram(&self) -> Result<Ram> {
        Ram::new(self.memory_mib)
    }

    /// Whether it has the CRB buffer's page.
    pub fn has_crb(&self) -> bool {
        self.tpm == Some(Interface::Crb)
    }

    /// What ACPI says about it, with `virtio` devices.
    pub(crate) fn acpi(&self, ram: Ram, virtio: usize) -> acpi::Hardware {
        let base = vmm_device::TPM_BASE;
        let tpm = self.tpm.map(|interface| acpi::Tpm {
            interface: match interface {
                Interface::Crb => {
                    vmm_device::acpi::Interface::Crb { base, buffer: Some(layout::CRB_BUFFER) }
                }
                Interface::Tis => vmm_device::acpi::Interface::Tis { base },
            },
            interrupt: self.tpm_interrupts.then_some(layout::TPM_IRQ),
            log: ram.log(),
        });
        acpi::Hardware { cpus: self.cpus, virtio, tpm }
    }
}

/// What boots.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Boot {
    /// Kernel image.
    pub kernel: PathBuf,
    /// Initial ramdisk.
    pub initrd: Option<PathBuf>,
    /// Command line.
    pub command_line: String,
}
