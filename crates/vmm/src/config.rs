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
#[serde(deny_unknown_fields)]
pub struct Hardware {
    /// RAM in MiB.
    pub memory_mib: u64,
    /// Processors.
    pub cpus: u8,
    /// The TPM's registers, if there is a TPM.
    pub tpm: Option<Interface>,
    /// Whether the TPM interrupts; guests poll if not.
    pub tpm_interrupts: bool,
    /// Virtio devices, in the order of their addresses.
    pub virtio: Vec<Virtio>,
}

/// A virtio device.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase", deny_unknown_fields)]
pub enum Virtio {
    /// A disk.
    Disk {
        /// Raw image.
        path: PathBuf,
        /// Whether the guest may only read.
        read_only: bool,
    },
    /// A network card.
    Net {
        /// The host's tap device.
        tap: String,
        /// The card's Ethernet address, `52:54:00:12:34:56`.
        mac: String,
    },
    /// The host's randomness.
    Rng,
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
        if self.virtio.len() > layout::VIRTIO_LIMIT {
            let reason = format!("at most {} disks, cards and others", layout::VIRTIO_LIMIT);
            return Err(Error::option("--disk", reason));
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

    /// What ACPI says about it.
    pub(crate) fn acpi(&self, ram: Ram) -> acpi::Hardware {
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
        acpi::Hardware { cpus: self.cpus, virtio: self.virtio.len(), tpm }
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

#[cfg(test)]
mod tests {
    use super::*;

    fn hardware() -> Hardware {
        Hardware { memory_mib: 128, cpus: 1, tpm: None, tpm_interrupts: false, virtio: Vec::new() }
    }

    #[test]
    fn impossible_hardware_is_refused_with_the_option_that_asked_for_it() {
        let says = |hardware: Hardware| hardware.check().unwrap_err().to_string();
        assert!(says(Hardware { cpus: 0, ..hardware() }).starts_with("--cpus"));
        assert!(says(Hardware { cpus: 255, ..hardware() }).starts_with("--cpus"));
        assert!(says(Hardware { memory_mib: 1, ..hardware() }).starts_with("--memory"));
        let virtio = vec![Virtio::Rng; layout::VIRTIO_LIMIT + 1];
        assert!(says(Hardware { virtio, ..hardware() }).starts_with("--disk"));
        assert!(hardware().check().is_ok());
    }
}
