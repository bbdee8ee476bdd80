//! All that a VMM needs for a TPM: registers, worker, interrupt, ACPI. `engine` stands for any TPM
//! 2.0 that turns a command into a response.

use std::{
    sync::{Arc, Mutex, mpsc},
    thread,
};

use vmm_device::{
    Action, RegisterModel, TPM_BASE,
    acpi::{Interface, LogArea, Tpm2Table, TpmDevice},
    crb::{Crb, CrbConfig, InMemoryBuffer, spec},
};

/// Answers every command with TPM_RC_SUCCESS.
fn engine(_locality: u8, _command: &[u8]) -> Vec<u8> {
    vec![0x80, 1, 0, 0, 0, 10, 0, 0, 0, 0]
}

fn main() {
    // The interrupt line: here a print, in a VMM an irqfd.
    let line = |asserted: bool| -> Result<(), ()> {
        println!("interrupt line: {asserted}");
        Ok(())
    };
    let config = CrbConfig { interrupts: true, ..Default::default() };
    let device = Arc::new(Mutex::new(Crb::new(config, InMemoryBuffer::default(), line)));

    // The worker: runs commands so that no vCPU waits for them.
    let (actions, queue) = mpsc::channel();
    let worker = thread::spawn({
        let device = device.clone();
        move || {
            while let Ok(Action::Execute { locality, command }) = queue.recv() {
                let response = engine(locality.number(), &command);
                device.lock().unwrap().complete(&response).unwrap();
            }
        }
    });

    // The vCPU: on an MMIO exit, write and pass the action on.
    let mmio_write = |offset, data: &[u8]| match device.lock().unwrap().write(offset, data) {
        Action::None => {}
        action => actions.send(action).unwrap(),
    };
    mmio_write(spec::INT_ENABLE, &0x8000_0001u32.to_le_bytes());
    mmio_write(spec::LOC_CTRL, &[1, 0, 0, 0]);
    mmio_write(spec::DATA_BUFFER, &[0x80, 1, 0, 0, 0, 12, 0, 0, 1, 0x7B, 0, 8]);
    mmio_write(spec::CTRL_START, &[1, 0, 0, 0]);

    // ACPI: the table beside the others, the device under \_SB.
    let interface = Interface::Crb { base: TPM_BASE, buffer: None };
    let log = Some(LogArea { address: 0x7FFF_0000, size: 0x1_0000 });
    let _table = Tpm2Table { interface, log, oem_id: *b"VMM   ", oem_table_id: *b"VMMTPM2 " };
    let _node = TpmDevice { interface, interrupt: Some(10), ppi: None };

    drop(actions);
    worker.join().unwrap();
}
