//! CTR_DRBG with AES-256 and the derivation function (SP 800-90A Rev. 1, 10.2.1).
//!
//! One generator serves two purposes: the TPM's random numbers, seeded from the platform's entropy
//! and reseeded now and then, and the deterministic stream from which primary keys are made out of
//! a hierarchy's seed ([`Drbg::from_seed`]), which must never change.

use core::fmt;

use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

use super::Rng;
use super::sym::{AesKey, BLOCK_SIZE};

const KEY_SIZE: usize = 32;
/// seedlen of SP 800-90A, table 3.
const SEED_SIZE: usize = KEY_SIZE + BLOCK_SIZE;
/// The most bytes of one request (2^19 bits); longer ones are split.
const MAX_REQUEST: usize = 1 << 16;
/// The most requests between two seeds.
const RESEED_INTERVAL: u64 = 1 << 48;
/// The length of a saved state, in bytes.
const SAVED_SIZE: usize = SEED_SIZE + 8;

type Seed = Zeroizing<[u8; SEED_SIZE]>;

/// A deterministic random bit generator.
#[derive(Clone)]
pub struct Drbg {
    /// The schedule of `state.key`, kept because expanding it costs as much as a few blocks.
    cipher: AesKey,
    state: State,
}

#[derive(Clone, Zeroize, ZeroizeOnDrop)]
struct State {
    key: [u8; KEY_SIZE],
    v: [u8; BLOCK_SIZE],
    reseed_counter: u64,
}

impl Drbg {
    /// Starts a generator from `entropy`, with anything that makes it different from others in
    /// `personalization` (a nonce, an instance's identity; it may be empty).
    ///
    /// The entropy should hold at least 48 bytes: 256 bits of strength and half as much again in
    /// place of a separate nonce. Inputs of any length are accepted.
    #[must_use]
    pub fn instantiate(entropy: &[u8], personalization: &[u8]) -> Self {
        Self::from_material(&derive(&[entropy, personalization]))
    }

    /// A generator for keys that are derived from `seed`. It has no other entropy and is never
    /// reseeded: the same seed and parts give the same bytes in every release.
    ///
    /// `parts` say what the keys are for. Each is bound with its length, so different lists never
    /// meet in one stream.
    #[must_use]
    pub fn from_seed(seed: &[u8], parts: &[&[u8]]) -> Self {
        let mut material = Zeroizing::new(Vec::new());
        for part in core::iter::once(&seed).chain(parts) {
            // A part is a seed, a label or a template: far below 4 GiB.
            let len = u32::try_from(part.len()).unwrap_or(u32::MAX);
            material.extend_from_slice(&len.to_be_bytes());
            material.extend_from_slice(part);
        }
        Self::from_material(&derive(&[&material]))
    }

    /// Mixes fresh entropy into the state and starts the count of requests anew.
    pub fn reseed(&mut self, entropy: &[u8], additional: &[u8]) {
        self.update(&derive(&[entropy, additional]));
        self.state.reseed_counter = 1;
    }

    /// Fills `out`, mixing `additional` into the state first (it may be empty).
    pub fn generate(&mut self, out: &mut [u8], additional: &[u8]) {
        let mut additional = additional;
        // An empty output is a request too: it moves the state.
        let mut rest = out;
        loop {
            let (now, later) = rest.split_at_mut(rest.len().min(MAX_REQUEST));
            self.request(now, additional);
            if later.is_empty() {
                break;
            }
            (rest, additional) = (later, &[]);
        }
    }

    /// How many requests there were since the last seed, plus one.
    #[must_use]
    pub const fn reseed_counter(&self) -> u64 {
        self.state.reseed_counter
    }

    /// Whether SP 800-90A wants a reseed before the next request (after 2^48 of them).
    #[must_use]
    pub const fn needs_reseed(&self) -> bool {
        self.state.reseed_counter > RESEED_INTERVAL
    }

    /// The state: key, V and reseed counter, in 56 bytes. It is a secret.
    #[must_use]
    pub fn save(&self) -> Zeroizing<Vec<u8>> {
        let State { key, v, reseed_counter } = &self.state;
        let mut saved = Zeroizing::new(Vec::with_capacity(SAVED_SIZE));
        saved.extend_from_slice(key);
        saved.extend_from_slice(v);
        saved.extend_from_slice(&reseed_counter.to_be_bytes());
        saved
    }

    /// Continues a saved generator; `None` when `saved` is no saved state.
    #[must_use]
    pub fn restore(saved: &[u8]) -> Option<Self> {
        let (key, rest) = saved.split_first_chunk::<KEY_SIZE>()?;
        let (v, rest) = rest.split_first_chunk::<BLOCK_SIZE>()?;
        let reseed_counter = u64::from_be_bytes(rest.try_into().ok()?);
        if reseed_counter == 0 {
            return None;
        }
        let state = State { key: *key, v: *v, reseed_counter };
        Some(Self { cipher: AesKey::from_256(&state.key), state })
    }

    fn from_material(material: &Seed) -> Self {
        let state = State { key: [0; KEY_SIZE], v: [0; BLOCK_SIZE], reseed_counter: 1 };
        let mut drbg = Self { cipher: AesKey::from_256(&state.key), state };
        drbg.update(material);
        drbg
    }

    /// CTR_DRBG_Generate_algorithm (10.2.1.5.2), for at most [`MAX_REQUEST`] bytes.
    fn request(&mut self, out: &mut [u8], additional: &[u8]) {
        let material = if additional.is_empty() {
            Seed::new([0; SEED_SIZE])
        } else {
            let material = derive(&[additional]);
            self.update(&material);
            material
        };
        self.key_stream(out);
        self.update(&material);
        self.state.reseed_counter = self.state.reseed_counter.saturating_add(1);
    }

    /// CTR_DRBG_Update (10.2.1.2).
    fn update(&mut self, material: &Seed) {
        let mut next = Seed::new([0; SEED_SIZE]);
        self.key_stream(&mut *next);
        next.iter_mut().zip(material.iter()).for_each(|(byte, mask)| *byte ^= mask);
        let (key, v) = next.split_at(KEY_SIZE);
        self.state.key.copy_from_slice(key);
        self.state.v.copy_from_slice(v);
        self.cipher = AesKey::from_256(&self.state.key);
    }

    /// Fills `out` with the encryptions of V + 1, V + 2 and so on.
    fn key_stream(&mut self, out: &mut [u8]) {
        out.fill(0);
        let mut counter = u128::from_be_bytes(self.state.v).wrapping_add(1).to_be_bytes();
        self.cipher.ctr(&mut counter, out);
        self.state.v = u128::from_be_bytes(counter).wrapping_sub(1).to_be_bytes();
        counter.zeroize();
    }
}

impl Rng for Drbg {
    fn fill(&mut self, out: &mut [u8]) {
        self.generate(out, &[]);
    }
}

impl fmt::Debug for Drbg {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Drbg(reseed_counter: {}, ..)", self.state.reseed_counter)
    }
}

/// Block_Cipher_df (10.3.2) of the concatenation of `parts`, to seedlen bytes.
fn derive(parts: &[&[u8]]) -> Seed {
    let len = parts.iter().map(|part| part.len()).sum::<usize>();
    let mut input = Zeroizing::new(Vec::with_capacity(len.saturating_add(32)));
    input.extend_from_slice(&u32::try_from(len).unwrap_or(u32::MAX).to_be_bytes());
    input.extend_from_slice(&(SEED_SIZE as u32).to_be_bytes());
    parts.iter().for_each(|part| input.extend_from_slice(part));
    input.push(0x80);
    let padded_len = input.len().next_multiple_of(BLOCK_SIZE);
    input.resize(padded_len, 0);

    let mut key = [0u8; KEY_SIZE];
    key.iter_mut().zip(0u8..).for_each(|(byte, value)| *byte = value);
    let cipher = AesKey::from_256(&key);
    let mut mixed = Seed::new([0; SEED_SIZE]);
    for (counter, block) in (0u32..).zip(mixed.as_chunks_mut::<BLOCK_SIZE>().0) {
        *block = chain(&cipher, counter, &input);
    }

    let (key, start) = mixed.split_at(KEY_SIZE);
    let cipher = AesKey::from_256(key.try_into().unwrap_or(&[0; KEY_SIZE]));
    let mut x: [u8; BLOCK_SIZE] = start.try_into().unwrap_or([0; BLOCK_SIZE]);
    let mut seed = Seed::new([0; SEED_SIZE]);
    for block in seed.as_chunks_mut::<BLOCK_SIZE>().0 {
        cipher.encrypt_block(&mut x);
        *block = x;
    }
    x.zeroize();
    seed
}

/// BCC (10.3.3) of a block that begins with `counter`, then `input` (whole blocks).
fn chain(cipher: &AesKey, counter: u32, input: &[u8]) -> [u8; BLOCK_SIZE] {
    let mut value = (u128::from(counter) << 96).to_be_bytes();
    cipher.encrypt_block(&mut value);
    for block in input.as_chunks::<BLOCK_SIZE>().0 {
        value.iter_mut().zip(block).for_each(|(byte, other)| *byte ^= other);
        cipher.encrypt_block(&mut value);
    }
    value
}

#[cfg(test)]
mod tests {
    use super::super::test_util::{hex, to_hex};
    use super::*;

    /// NIST CAVP, CTR_DRBG, AES-256 with derivation function and prediction resistance: nonce with
    /// personalization, three pieces of entropy, two additional inputs, the second output.
    const RESISTANT: [(&str, &str, &str, &str, &str); 3] = [
        (
            "d254fcff021e69d229c9cfad85fa486c",
            "c18081a65d44021619b3f180b1c920026a546f0c7081498b6ea662526d51b1cb583bfad5375ffbc9\
             ff46d219c7223e95459d82e1e7229f633169d26b57474fa337c9981c0bfb91314d55b9e91c5a5ee4\
             9392cfc52312d5562c4a6effdc10d068",
            "",
            "",
            "34011656b429008f3563ecb5f2590723",
        ),
        (
            "14051b57277bc3d3bbae51bdecfb9f5d",
            "82c80d922c47bbec0f664dd623e22a11a3b84d308351e45e30ee286e89547d22c43e17b3ca0fa08f\
             77eef1001ba696932e9ee890e7aac4661c138e5b5ce36773d3120c35f8c94e0a78ffbf407a63ca43\
             5392e17c07461522fdc1f63f037aacff",
            "b70e7c1c4b8e0f1770e05b29a93f9d7a6540f23ab84136b05b161d85e5f19251",
            "5a737c128bd69f927f8f3ad68f93f6356d5f4ec0e36b6b50ced43dcd5c44dbc2",
            "a4e6c754194a09614994b36ecce33b55",
        ),
        (
            "e09f65dcffc0d3a4d84bacc41617a4e46ce5184eca011049ab657566f728e4aa28315ffac166ebe5\
             0e1269b01c95b3a2",
            "545a783ae97d827ed0b81d9752ad0f7e965f511b1f5dae0f872e9ec37cfe63af86c1d15e15388798\
             9b605773b16ad5505e65f617cfa8ef46547c4c3f9d0c4fd0b6e1cff5ca0f1929266fe43ba8f45ad6\
             64cfe5e90903a9cb722b42ae8989c148",
            "",
            "",
            "1e77d7cc18775fef9a3d3e00903da01b",
        ),
    ];

    /// The same without prediction resistance: nonce with personalization, two pieces of entropy,
    /// the additional inputs of a request, the reseed and a second request, its output.
    const RESEEDED: [(&str, &str, &str, &str, &str, &str); 3] = [
        (
            "63e143bd6a87065a00eea930593f9b29",
            "62c2c790cb56518ed2d8d65952bbd4ab85a56463495c940b94f403a93338bdc96129feea9335b1a3\
             e0ada7cf4c207f4732013bc6a52db41407bf5d6fe9183b3c",
            "7b4e9ff0c8f8c90f8b324c7189226d3adccd79df2d0c22b52fb31dbb5dfefba6",
            "49e1aecf2b96a366325dc1892c016a5535dd2480360a382e9cc78bf75b2bba37",
            "f4ce1d27e759f3ba4a56aaab713642b4c56810c9995fbfc04ce285429f95a8f4",
            "513111abaae3069e599b56f7e5fb91d1",
        ),
        (
            "ff568be02a46343113f06949a16cc7d9da315aef82f5681f0459650e5e180e65d1d77b00e5ce3e3f\
             9eb6c18efff4db36",
            "77de4e5db3b308c38c814228583dfd1eb415771f4ae30f9cc2d35b48075286a4e8c2c6f441d1aac4\
             96d0d4be395d078519e31cb77d06d6f7fd4c033bc40fd659",
            "",
            "",
            "",
            "448ac707ba934c909335425de62944d6",
        ),
        (
            "19b83c0deea6463a3912d21ffc8d8041a5b30640352abc9652770cfca99dc53c9c09942ddd67b91f\
             4da50a8615462ce4",
            "5d85c56d0d20ee39958a90f301d2f8bb136fa34d09b41a0c9375114a0df9c1dcdb2a62c4be398d9e\
             af2440949b806f0e5a977da608eeb652a41711d1e9b72655",
            "9c1db928b95c84cb674060a6d2f6b7a6a5d43e9ee967e9f821bf309ca5f8821f",
            "a3111cb57365c617df0b0bb3a1aada49ca789bc75903eeb21e42a7d3d0dd0825",
            "ce7f557c70676987d13aca60bc4585147efeed97be139871a1b29caa1e180af9",
            "4a49430277d64446e2fa75763eb79ec6",
        ),
    ];

    #[test]
    fn outputs_with_prediction_resistance_are_those_of_nist() {
        for (nonce, entropy, first, second, expected) in RESISTANT {
            let entropy = hex(entropy);
            let mut drbg = Drbg::instantiate(&entropy[..32], &hex(nonce));
            let mut out = [0; 16];
            for (entropy, additional) in [(&entropy[32..64], first), (&entropy[64..], second)] {
                drbg.reseed(entropy, &hex(additional));
                assert_eq!(drbg.reseed_counter(), 1);
                drbg.generate(&mut out, &[]);
            }
            assert_eq!(to_hex(&out), expected);
        }
    }

    #[test]
    fn outputs_after_a_reseed_are_those_of_nist() {
        for (nonce, entropy, first, reseed, second, expected) in RESEEDED {
            let entropy = hex(entropy);
            let mut drbg = Drbg::instantiate(&entropy[..32], &hex(nonce));
            let mut out = [0; 16];
            drbg.generate(&mut out, &hex(first));
            drbg.reseed(&entropy[32..], &hex(reseed));
            drbg.generate(&mut out, &hex(second));
            assert_eq!(to_hex(&out), expected);
            assert_eq!(drbg.reseed_counter(), 2);
        }
    }

    #[test]
    fn seeded_streams_never_change() {
        let mut drbg = Drbg::from_seed(&[0x5e; 64], &[b"primary", &[1, 2, 3]]);
        let mut out = [0; 48];
        drbg.fill(&mut out);
        drbg.fill(&mut out);
        assert_eq!(
            to_hex(&out),
            "5332e0baf9ecd60611e17973b9d63113b3915b5d2afe6de6aec4a5d058476c6b\
             b24ef85d6891d48149352f64688dd534"
        );
    }

    #[test]
    fn parts_of_a_seed_do_not_run_together() {
        let first = |parts: &[&[u8]]| {
            let mut out = [0; 16];
            Drbg::from_seed(b"seed", parts).fill(&mut out);
            out
        };
        let streams = [
            first(&[]),
            first(&[b""]),
            first(&[b"ab"]),
            first(&[b"a", b"b"]),
            first(&[b"ab", b""]),
        ];
        for (at, stream) in streams.iter().enumerate() {
            assert!(!streams[..at].contains(stream));
        }
    }

    #[test]
    fn a_restored_generator_goes_on_with_the_same_bytes() {
        let mut drbg = Drbg::instantiate(&[1; 48], b"instance");
        drbg.fill(&mut [0; 100]);
        let saved = drbg.save();
        assert_eq!(saved.len(), SAVED_SIZE);
        let mut restored = Drbg::restore(&saved).expect("a saved state");
        assert_eq!(restored.reseed_counter(), drbg.reseed_counter());
        let (mut one, mut other) = ([0; 70], [0; 70]);
        drbg.fill(&mut one);
        restored.fill(&mut other);
        assert_eq!(one, other);
        assert_eq!(drbg.save(), restored.save());
    }

    #[test]
    fn damaged_states_are_refused() {
        let saved = Drbg::instantiate(&[1; 48], &[]).save();
        assert!(Drbg::restore(&saved[1..]).is_none());
        assert!(Drbg::restore(&[]).is_none());
        assert!(Drbg::restore(&[&saved[..], &[0]].concat()).is_none());
        assert!(Drbg::restore(&[&saved[..48], &[0; 8]].concat()).is_none());
    }

    #[test]
    fn long_requests_are_split_where_the_standard_ends_them() {
        let drbg = Drbg::instantiate(&[1; 48], &[]);
        let (mut whole, mut split) = (vec![0; MAX_REQUEST + 10], vec![0; MAX_REQUEST + 10]);
        drbg.clone().generate(&mut whole, b"more");
        let mut second = drbg;
        second.generate(&mut split[..MAX_REQUEST], b"more");
        second.generate(&mut split[MAX_REQUEST..], &[]);
        assert_eq!(whole, split);
    }

    #[test]
    fn a_reseed_is_due_after_the_standards_number_of_requests() {
        let mut saved = Drbg::instantiate(&[1; 48], &[]).save().to_vec();
        saved[48..].copy_from_slice(&RESEED_INTERVAL.to_be_bytes());
        let mut drbg = Drbg::restore(&saved).expect("a saved state");
        assert!(!drbg.needs_reseed());
        drbg.fill(&mut []);
        assert!(drbg.needs_reseed());
        drbg.reseed(&[2; 48], &[]);
        assert!(!drbg.needs_reseed());
    }

    #[test]
    fn debugging_shows_no_secret() {
        let drbg = Drbg::instantiate(&[1; 48], &[]);
        assert_eq!(format!("{drbg:?}"), "Drbg(reseed_counter: 1, ..)");
    }
}
