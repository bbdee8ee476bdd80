//! The first serial port: `vm-superio`'s model, and where its bytes go.

use std::{
    fs::{File, OpenOptions},
    io::{self, Write},
    os::unix::net::UnixStream,
    path::Path,
    sync::{Arc, Mutex, PoisonError},
};

use serde::{Deserialize, Serialize};
use vm_device::{
    DevicePio,
    bus::{PioAddress, PioAddressOffset},
};
use vm_superio::{
    Serial,
    serial::{NoEvents, SerialState},
};

use super::EdgeLine;
use crate::error::{Error, Result};

/// Where the guest's output goes.
pub enum Sink {
    /// Nowhere.
    Nothing,
    /// To our own standard output.
    Terminal,
    /// Into a file.
    File(File),
    /// To whoever is connected, if somebody is.
    Peer(Arc<Mutex<Option<UnixStream>>>),
}

impl Sink {
    /// A file, which is emptied first.
    ///
    /// # Errors
    /// [`Error::File`].
    pub fn file(path: &Path) -> Result<Self> {
        let mut options = OpenOptions::new();
        let file = options.create(true).write(true).truncate(true).open(path);
        Ok(Self::File(file.map_err(Error::file("write the console to", path))?))
    }
}

impl Write for Sink {
    /// Never fails and never waits for a peer: a guest is not stopped by who reads its console.
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        // What cannot be written is lost, as on a wire with nobody at its end.
        let _: io::Result<()> = match self {
            Self::Nothing => Ok(()),
            Self::Terminal => io::stdout().write_all(bytes).and_then(|()| io::stdout().flush()),
            Self::File(file) => file.write_all(bytes),
            Self::Peer(peer) => {
                let mut peer = peer.lock().unwrap_or_else(PoisonError::into_inner);
                peer.as_mut().map_or(Ok(()), |stream| stream.write_all(bytes))
            }
        };
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The port on the bus.
pub struct SerialPort(Mutex<Serial<EdgeLine, NoEvents, Sink>>);

/// Saved state of the port; the registers of a 16550 by name, and what the guest has not read yet.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SavedSerial {
    baud_divisor_low: u8,
    baud_divisor_high: u8,
    interrupt_enable: u8,
    interrupt_identification: u8,
    line_control: u8,
    line_status: u8,
    modem_control: u8,
    modem_status: u8,
    scratch: u8,
    input: Vec<u8>,
}

impl SerialPort {
    /// A port after power-on, connected to nothing.
    pub fn new(line: EdgeLine) -> Self {
        Self(Mutex::new(Serial::new(line, Sink::Nothing)))
    }

    /// Connects it.
    pub fn attach(&self, sink: Sink) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner).writer_mut() = sink;
    }

    /// Gives the guest what was typed; returns how many bytes fitted into its queue.
    pub fn type_in(&self, bytes: &[u8]) -> usize {
        let mut serial = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let room = serial.fifo_capacity().min(bytes.len());
        // A guest that has the port in loop-back mode takes nothing.
        serial.enqueue_raw_bytes(bytes.get(..room).unwrap_or_default()).unwrap_or(room)
    }

    /// Bytes that fit into the guest's queue.
    pub fn room(&self) -> usize {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).fifo_capacity()
    }

    /// Its registers.
    pub fn save(&self) -> SavedSerial {
        let SerialState {
            baud_divisor_low,
            baud_divisor_high,
            interrupt_enable,
            interrupt_identification,
            line_control,
            line_status,
            modem_control,
            modem_status,
            scratch,
            in_buffer,
        } = self.0.lock().unwrap_or_else(PoisonError::into_inner).state();
        SavedSerial {
            baud_divisor_low,
            baud_divisor_high,
            interrupt_enable,
            interrupt_identification,
            line_control,
            line_status,
            modem_control,
            modem_status,
            scratch,
            input: in_buffer,
        }
    }

    /// A port with these registers, connected to nothing.
    ///
    /// # Errors
    /// [`Error::Snapshot`] if they cannot be.
    pub fn restore(saved: &SavedSerial, line: EdgeLine) -> Result<Self> {
        let SavedSerial {
            baud_divisor_low,
            baud_divisor_high,
            interrupt_enable,
            interrupt_identification,
            line_control,
            line_status,
            modem_control,
            modem_status,
            scratch,
            input,
        } = saved.clone();
        let state = SerialState {
            baud_divisor_low,
            baud_divisor_high,
            interrupt_enable,
            interrupt_identification,
            line_control,
            line_status,
            modem_control,
            modem_status,
            scratch,
            in_buffer: input,
        };
        let serial = Serial::from_state(&state, line, NoEvents, Sink::Nothing)
            .map_err(|cause| Error::Snapshot(format!("the serial port is damaged: {cause:?}")))?;
        Ok(Self(Mutex::new(serial)))
    }
}

impl DevicePio for SerialPort {
    fn pio_read(&self, _: PioAddress, offset: PioAddressOffset, data: &mut [u8]) {
        let mut serial = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        for byte in data {
            *byte = serial.read(offset as u8);
        }
    }

    fn pio_write(&self, _: PioAddress, offset: PioAddressOffset, data: &[u8]) {
        let mut serial = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        for byte in data {
            // The interrupt's eventfd does not fail, and the sink swallows its errors.
            let _ = serial.write(offset as u8, *byte);
        }
    }
}
