//! What a command costs in process: from a command's bytes to the response's, without a socket.

use std::hint::black_box;

use criterion::{Criterion, criterion_group, criterion_main};
use vtpm_engine::{Platform, Profile, Tpm};

struct Host(std::time::Instant);

impl Platform for Host {
    fn now_ms(&mut self) -> u64 {
        self.0.elapsed().as_millis() as u64
    }

    fn entropy(&mut self, out: &mut [u8]) -> bool {
        out.fill(5);
        true
    }
}

/// A TPM and a buffer for its responses.
struct Bench {
    tpm: Tpm,
    response: Vec<u8>,
}

const OWNER: u32 = 0x4000_0001;
const NULL: u32 = 0x4000_0007;

impl Bench {
    fn started() -> Self {
        let host = Box::new(Host(std::time::Instant::now()));
        let tpm = Tpm::manufacture(Profile::default(), host).expect("entropy is there");
        let mut bench = Self { tpm, response: Vec::new() };
        bench.run(&command(0x144, &[], false, &[0, 0]));
        bench
    }

    fn run(&mut self, command: &[u8]) -> &[u8] {
        self.tpm.execute(0, command, &mut self.response);
        assert_eq!(self.response[6..10], [0; 4], "{command:02x?}");
        &self.response
    }

    /// Makes a primary key and gives its handle.
    fn primary(&mut self, template: &[u8]) -> u32 {
        let response = self.run(&create_primary(template));
        u32::from_be_bytes(response[10..14].try_into().expect("a handle"))
    }
}

fn command(code: u32, handles: &[u32], password: bool, parameters: &[u8]) -> Vec<u8> {
    let mut out = vec![0x80, if password { 2 } else { 1 }, 0, 0, 0, 0];
    out.extend_from_slice(&code.to_be_bytes());
    handles.iter().for_each(|handle| out.extend_from_slice(&handle.to_be_bytes()));
    if password {
        out.extend_from_slice(&[0, 0, 0, 9, 0x40, 0, 0, 0x09, 0, 0, 1, 0, 0]);
    }
    out.extend_from_slice(parameters);
    let size = (out.len() as u32).to_be_bytes();
    out[2..6].copy_from_slice(&size);
    out
}

fn create_primary(template: &[u8]) -> Vec<u8> {
    let mut parameters = vec![0, 4, 0, 0, 0, 0, 0, template.len() as u8];
    parameters.extend_from_slice(template);
    parameters.extend_from_slice(&[0; 6]);
    command(0x131, &[OWNER], true, &parameters)
}

/// A signing key: ECDSA over P-256, or RSASSA with 2048 bits.
const ECC_SIGN: [u8; 24] =
    [0, 0x23, 0, 0x0b, 0, 4, 0, 0x72, 0, 0, 0, 0x10, 0, 0x18, 0, 0x0b, 0, 3, 0, 0x10, 0, 0, 0, 0];
const RSA_SIGN: [u8; 24] =
    [0, 1, 0, 0x0b, 0, 4, 0, 0x72, 0, 0, 0, 0x10, 0, 0x14, 0, 0x0b, 8, 0, 0, 0, 0, 0, 0, 0];

fn sign(handle: u32) -> Vec<u8> {
    let mut parameters = vec![0, 32];
    parameters.extend_from_slice(&[9; 32]);
    // No scheme of the caller's, and a ticket that proves nothing.
    parameters.extend_from_slice(&[0, 0x10, 0x80, 0x24]);
    parameters.extend_from_slice(&NULL.to_be_bytes());
    parameters.extend_from_slice(&[0, 0]);
    command(0x15d, &[handle], true, &parameters)
}

fn quote(handle: u32) -> Vec<u8> {
    let parameters = [0, 4, 1, 2, 3, 4, 0, 0x10, 0, 0, 0, 1, 0, 0x0b, 3, 0xff, 0, 0];
    command(0x158, &[handle], true, &parameters)
}

fn commands(criterion: &mut Criterion) {
    let mut bench = Bench::started();
    let mut extend = vec![0, 0, 0, 1, 0, 0x0b];
    extend.extend_from_slice(&[7; 32]);
    let define = [0, 0, 0, 14, 1, 0, 0, 5, 0, 0x0b, 0, 6, 0, 6, 0, 0, 0, 32];
    bench.run(&command(0x12a, &[OWNER], true, &define));
    let mut write = vec![0, 32];
    write.extend_from_slice(&[3; 32]);
    write.extend_from_slice(&[0, 0]);
    bench.run(&command(0x137, &[0x0100_0005, 0x0100_0005], true, &write));
    let ecc = bench.primary(&ECC_SIGN);
    let rsa = bench.primary(&RSA_SIGN);
    let cases = [
        ("GetRandom 32", command(0x17b, &[], false, &[0, 32])),
        ("PCR_Read", command(0x17e, &[], false, &[0, 0, 0, 1, 0, 0x0b, 3, 1, 0, 0])),
        ("PCR_Extend", command(0x182, &[16], true, &extend)),
        ("NV_Read 32", command(0x14e, &[0x0100_0005, 0x0100_0005], true, &[0, 32, 0, 0])),
        ("Sign P-256", sign(ecc)),
        ("Quote P-256", quote(ecc)),
        ("Sign RSA-2048", sign(rsa)),
    ];
    for (name, command) in &cases {
        criterion.bench_function(name, |bencher| {
            bencher.iter(|| {
                black_box(bench.run(black_box(command)));
            });
        });
    }
    let create = create_primary(&ECC_SIGN);
    criterion.bench_function("CreatePrimary P-256", |bencher| {
        bencher.iter(|| {
            bench.run(&create);
            let flush = bench.response[10..14].to_vec();
            bench.run(&command(0x165, &[], false, &flush));
        });
    });
}

criterion_group!(benches, commands);
criterion_main!(benches);
