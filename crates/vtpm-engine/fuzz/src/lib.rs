//! What the fuzz targets share: a TPM with something in it, which can be had anew for each input.

use std::sync::OnceLock;

use vtpm_engine::{Platform, Profile, Tpm};

/// A platform whose time stands unless an input advances it, and whose entropy is a counter.
struct Host(u8);

impl Platform for Host {
    fn now_ms(&mut self) -> u64 {
        1_000
    }

    fn entropy(&mut self, out: &mut [u8]) -> bool {
        for byte in out {
            self.0 = self.0.wrapping_mul(13).wrapping_add(7);
            *byte = self.0;
        }
        true
    }
}

/// A platform of its own for each TPM.
pub fn host() -> Box<dyn Platform> {
    Box::new(Host(3))
}

/// Runs a command and checks that the answer is well-formed.
pub fn execute(tpm: &mut Tpm, locality: u8, command: &[u8]) -> Vec<u8> {
    let mut response = Vec::new();
    tpm.execute(locality, command, &mut response);
    let size = response.get(2..6).expect("a response has a header");
    assert_eq!(u32::from_be_bytes(size.try_into().unwrap()) as usize, response.len());
    assert!(response.len() >= 10);
    response
}

/// A command without sessions, or with an empty password for each of its first handles.
pub fn command(code: u32, handles: &[u32], passwords: usize, parameters: &[u8]) -> Vec<u8> {
    let mut out = if passwords == 0 { vec![0x80, 0x01] } else { vec![0x80, 0x02] };
    out.extend_from_slice(&[0; 4]);
    out.extend_from_slice(&code.to_be_bytes());
    handles.iter().for_each(|handle| out.extend_from_slice(&handle.to_be_bytes()));
    if passwords != 0 {
        out.extend_from_slice(&(9 * passwords as u32).to_be_bytes());
        let password = [0x40, 0, 0, 0x09, 0, 0, 1, 0, 0];
        (0..passwords).for_each(|_| out.extend_from_slice(&password));
    }
    out.extend_from_slice(parameters);
    let size = (out.len() as u32).to_be_bytes();
    out[2..6].copy_from_slice(&size);
    out
}

/// Template of an ECC storage key: P-256, AES-128-CFB.
const STORAGE_KEY: [u8; 26] = [
    0, 0x23, 0, 0x0b, 0, 3, 0, 0x72, 0, 0, 0, 6, 0, 0x80, 0, 0x43, 0, 0x10, 0, 3, 0, 0x10, 0, 0, 0,
    0,
];

/// A running state: started, a primary key, an HMAC and a policy session, a hash sequence, an NV
/// index.
fn prepared() -> &'static [u8] {
    static STATE: OnceLock<Vec<u8>> = OnceLock::new();
    STATE.get_or_init(|| {
        let mut tpm = Tpm::manufacture(Profile::default(), host()).expect("entropy is there");
        let mut run = |bytes: &[u8]| {
            let response = execute(&mut tpm, 0, bytes);
            assert_eq!(response[6..10], [0; 4], "{bytes:02x?}");
        };
        run(&command(0x144, &[], 0, &[0, 0]));
        let mut primary = vec![0, 4, 0, 0, 0, 0, 0, STORAGE_KEY.len() as u8];
        primary.extend_from_slice(&STORAGE_KEY);
        primary.extend_from_slice(&[0; 6]);
        run(&command(0x131, &[0x4000_0001], 1, &primary));
        for kind in [0, 1] {
            let mut session = vec![0, 16];
            session.extend_from_slice(&[7; 16]);
            session.extend_from_slice(&[0, 0, kind, 0, 6, 0, 0x80, 0, 0x43, 0, 0x0b]);
            run(&command(0x176, &[0x4000_0007, 0x4000_0007], 0, &session));
        }
        run(&command(0x186, &[], 0, &[0, 0, 0, 0x0b]));
        let index = [0, 0, 0, 14, 0x01, 0, 0, 0x05, 0, 0x0b, 0x00, 0x06, 0x00, 0x06, 0, 0, 0, 32];
        run(&command(0x12a, &[0x4000_0001], 1, &index));
        tpm.save_running().to_vec()
    })
}

/// The prepared TPM, as if no input had run yet.
pub fn tpm() -> Tpm {
    Tpm::restore(prepared(), host()).expect("the engine restores what it saved")
}

/// A permanent and a running state.
pub fn states() -> [Vec<u8>; 2] {
    let tpm = tpm();
    [tpm.save_permanent().to_vec(), tpm.save_running().to_vec()]
}
