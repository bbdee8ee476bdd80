//! Manufacture, `_TPM_Init`, and the states between power-on and `TPM2_Startup`
//! (Part 1, clause 12.2).

use zeroize::Zeroizing;

use crate::Error;
use crate::audit::AuditSettings;
use crate::clock::Clock;
use crate::crypto::drbg::Drbg;
use crate::crypto::hash::HashAlg;
use crate::hierarchy::{Hierarchies, HierarchyAuth, Root, SEED_SIZE, SeedBytes};
use crate::lockout::Lockout;
use crate::nv::Nv;
use crate::object::Objects;
use crate::object::commit::Commits;
use crate::pcr::{AUTH_GROUPS, POLICY_GROUPS, Pcrs};
use crate::platform::Platform;
use crate::profile::Profile;
use crate::session::Sessions;
use crate::tpm::{ClearState, Permanent, Power, Preserved, ResetState, Tpm};
use crate::wire::{Auth, Cc, Digest, PCR_COUNT, PcrSelection, Rc, Reader, Su, Unmarshal};

/// What happened between `_TPM_Init` and `TPM2_Startup`.
#[derive(Copy, Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct PreStartup {
    /// A D-RTM sequence set PCR 0 (H-CRTM).
    pub(crate) hcrtm: bool,
    /// `TPM2_Startup` came from locality 3.
    pub(crate) locality_3: bool,
}

/// `TPM_SU` as a parameter: anything but `CLEAR` and `STATE` is `TPM_RC_VALUE`.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub(crate) struct StartupType(pub(crate) Su);

impl Unmarshal for StartupType {
    fn unmarshal(reader: &mut Reader<'_>) -> Result<Self, Rc> {
        match reader.get()? {
            kind @ (Su::CLEAR | Su::STATE) => Ok(Self(kind)),
            _ => Err(Rc::VALUE),
        }
    }
}

/// Bytes of entropy that seed the generator: its security strength with a margin.
const ENTROPY_SIZE: usize = 64;

pub(crate) fn instantiate_drbg(platform: &mut dyn Platform) -> Result<Drbg, Error> {
    let mut entropy = Zeroizing::new([0; ENTROPY_SIZE]);
    if !platform.entropy(entropy.as_mut()) {
        return Err(Error::Entropy);
    }
    Ok(Drbg::instantiate(entropy.as_ref(), b"vtpm-engine"))
}

fn fresh(drbg: &mut Drbg) -> SeedBytes {
    let mut seed = Zeroizing::new([0; SEED_SIZE]);
    crate::crypto::Rng::fill(drbg, seed.as_mut());
    seed
}

fn fresh_root(drbg: &mut Drbg) -> Root {
    Root { seed: fresh(drbg), proof: fresh(drbg) }
}

/// State that a TPM Reset makes anew.
pub(crate) fn new_reset_state(drbg: &mut Drbg) -> ResetState {
    ResetState {
        null_seed: fresh(drbg),
        null_proof: fresh(drbg),
        clear_count: 0,
        restart_count: 0,
        object_context_id: 0,
        command_audit_digest: Digest::empty(),
        pcr_counter: 0,
        commit: Commits::new(drbg),
    }
}

/// State that a TPM Reset or Restart makes anew.
pub(crate) fn new_clear_state(profile: &Profile) -> ClearState {
    ClearState {
        storage_enabled: true,
        endorsement_enabled: true,
        platform_nv_enabled: true,
        platform_auth: Auth::empty(),
        platform_policy: None,
        pcr_auths: vec![Auth::empty(); AUTH_GROUPS],
        read_only: false,
        acts: vec![Default::default(); usize::from(profile.limits.acts)],
    }
}

/// The banks of a new TPM: all hashes that can have one are listed, those of the profile
/// are active.
fn default_allocation(profile: &Profile) -> Vec<PcrSelection> {
    const BANKS: [HashAlg; 4] = [HashAlg::Sha1, HashAlg::Sha256, HashAlg::Sha384, HashAlg::Sha512];
    profile
        .algorithms
        .hashes()
        .filter(|hash| BANKS.contains(hash))
        .map(|hash| {
            let mut selection = PcrSelection::none(hash);
            if profile.algorithms.is_bank_active(hash) {
                (0..PCR_COUNT).for_each(|pcr| selection.set(pcr));
            }
            selection
        })
        .collect()
}

fn new_permanent(profile: &Profile, drbg: &mut Drbg) -> Permanent {
    Permanent {
        hierarchies: Hierarchies {
            platform: fresh_root(drbg),
            owner: fresh_root(drbg),
            endorsement: fresh_root(drbg),
            owner_auth: HierarchyAuth::default(),
            endorsement_auth: HierarchyAuth::default(),
            lockout_auth: HierarchyAuth::default(),
            tpm_generated_eps: true,
        },
        lockout: Lockout::new(),
        disable_clear: false,
        pcr_allocation: default_allocation(profile),
        pcr_policies: vec![None; POLICY_GROUPS],
        pp_commands: Vec::new(),
        audit: AuditSettings {
            // As the hash of contexts and proofs.
            alg: HashAlg::Sha512,
            counter: 0,
            commands: vec![Cc::SET_COMMAND_CODE_AUDIT_STATUS],
        },
        total_reset_count: 0,
        reset_count: 0,
        algorithm_set: 0,
        // So that the first start is orderly: there is nothing that a crash could have lost.
        orderly: Some(Su::CLEAR),
        established: false,
        preserved: None,
    }
}

/// A clock that goes on from a value with the platform's time; Time starts anew.
pub(crate) fn start_clock(drbg: &mut Drbg, now_ms: u64, clock: u64, safe: bool) -> Clock {
    let mut epoch = [0; 8];
    crate::crypto::Rng::fill(drbg, &mut epoch);
    Clock::start(now_ms, clock, safe, u64::from_be_bytes(epoch))
}

/// What is left of a TPM without power, and what it needs to come back.
pub(crate) struct PoweredOff {
    pub(crate) platform: Box<dyn Platform>,
    pub(crate) drbg: Drbg,
    pub(crate) profile: Profile,
    pub(crate) permanent: Permanent,
    pub(crate) nv: Nv,
    pub(crate) clock: Clock,
}

impl PoweredOff {
    /// The TPM as after `_TPM_Init`.
    pub(crate) fn into_tpm(self) -> Tpm {
        let Self { platform, mut drbg, profile, permanent, nv, clock } = self;
        let limits = profile.limits;
        Tpm {
            platform,
            reset: new_reset_state(&mut drbg),
            clear: new_clear_state(&profile),
            pcrs: Pcrs::new(&permanent.pcr_allocation),
            objects: Objects::new(limits.loaded_objects),
            sessions: Sessions::new(limits.active_sessions, limits.loaded_sessions),
            profile,
            drbg,
            power: Power::Initialized,
            locality: 0,
            permanent,
            platform_enabled: true,
            started_orderly: true,
            clock,
            nv,
            drtm: None,
            pre_startup: PreStartup::default(),
            self_test: Default::default(),
            durable: false,
        }
    }
}

impl Tpm {
    /// A new TPM: fresh seeds, empty NV, initialized and waiting for `TPM2_Startup`.
    ///
    /// # Errors
    /// [`Error::Entropy`] when the platform has no entropy.
    pub fn manufacture(profile: Profile, mut platform: Box<dyn Platform>) -> Result<Tpm, Error> {
        let mut drbg = instantiate_drbg(platform.as_mut())?;
        let permanent = new_permanent(&profile, &mut drbg);
        let clock = start_clock(&mut drbg, platform.now_ms(), 0, true);
        let off = PoweredOff { platform, drbg, profile, permanent, nv: Nv::default(), clock };
        let mut tpm = off.into_tpm();
        tpm.durable = true;
        Ok(tpm)
    }
}

impl Tpm {
    /// `_TPM_Init`: power-on or reset of the machine. Whatever was not kept by `TPM2_Shutdown` is
    /// lost, and the TPM waits for `TPM2_Startup`.
    pub fn init(&mut self) {
        let limits = self.profile.limits;
        self.power = Power::Initialized;
        self.drtm = None;
        self.pre_startup = PreStartup::default();
        self.self_test = Default::default();
        self.objects = Objects::new(limits.loaded_objects);
        self.pcrs = Pcrs::new(&self.permanent.pcr_allocation);
        let now_ms = self.platform.now_ms();
        let (clock, safe) = (self.clock.clock, self.clock.safe);
        self.clock = start_clock(&mut self.drbg, now_ms, clock, safe);
    }

    /// `TPM2_Startup`.
    ///
    /// # Errors
    /// `TPM_RC_VALUE` for parameter 1 when a resume was asked for and nothing was kept, or H-CRTM
    /// came before the last start and not before this one, or the other way round;
    /// `TPM_RC_LOCALITY` when one of them came from locality 3 and the other did not (Part 3, 9.3).
    pub(crate) fn start(&mut self, resume: bool) -> Result<(), Rc> {
        let orderly = self.permanent.orderly;
        if resume && (orderly != Some(Su::STATE) || self.permanent.preserved.is_none()) {
            return Err(Rc::VALUE.parameter(1));
        }
        // An H-CRTM measured as from locality 4, whatever locality starts the TPM.
        self.pre_startup.locality_3 = self.locality == 3 && !self.pre_startup.hcrtm;
        if let (true, Some(preserved)) = (resume, &self.permanent.preserved) {
            // What was measured into the PCR that a resume brings back must have been measured
            // this time, too.
            let before = preserved.pre_startup;
            if before.hcrtm != self.pre_startup.hcrtm {
                return Err(Rc::VALUE.parameter(1));
            }
            if before.locality_3 != self.pre_startup.locality_3 {
                return Err(Rc::LOCALITY);
            }
        }
        match self.permanent.preserved.take() {
            Some(preserved) if orderly == Some(Su::STATE) => {
                let Preserved { reset, clear, pcrs, sessions, pre_startup: _ } = *preserved;
                self.reset = reset;
                self.sessions = sessions;
                self.reset.restart_count = self.reset.restart_count.wrapping_add(1);
                if resume {
                    self.clear = clear;
                    self.start_pcrs(Some(&pcrs));
                } else {
                    self.reset.clear_count = self.reset.clear_count.wrapping_add(1);
                    self.clear = new_clear_state(&self.profile);
                    self.start_pcrs(None);
                }
            }
            _ => self.reset_state(),
        }
        self.platform_enabled = true;
        self.started_orderly = orderly.is_some();
        self.clock.safe &= orderly.is_some();
        self.start_lockout(orderly.is_some());
        self.start_nv(orderly.is_some(), resume);
        self.permanent.orderly = None;
        self.power = Power::Started;
        self.persist();
        Ok(())
    }

    /// A TPM Reset.
    fn reset_state(&mut self) {
        let limits = self.profile.limits;
        self.permanent.reset_count = self.permanent.reset_count.wrapping_add(1);
        self.permanent.total_reset_count = self.permanent.total_reset_count.wrapping_add(1);
        self.reset = new_reset_state(&mut self.drbg);
        self.clear = new_clear_state(&self.profile);
        self.sessions = Sessions::new(limits.active_sessions, limits.loaded_sessions);
        self.start_pcrs(None);
    }

    /// `TPM2_Shutdown`.
    pub(crate) fn shut_down(&mut self, keep: bool) {
        self.store_orderly_nv();
        self.permanent.preserved = None;
        if keep {
            let mut sessions = self.sessions.clone();
            sessions.drop_loaded();
            self.permanent.preserved = Some(Box::new(Preserved {
                reset: self.reset.clone(),
                clear: self.clear.clone(),
                pcrs: self.pcrs.clone(),
                sessions,
                pre_startup: self.pre_startup,
            }));
        }
        self.permanent.orderly = Some(if keep { Su::STATE } else { Su::CLEAR });
        // An orderly shutdown is no sign of an attack.
        self.permanent.lockout.used = false;
        self.persist();
    }

    /// Whether `TPM2_PCR_Allocate` chose banks that the next start brings.
    pub(crate) fn is_reallocation_pending(&self) -> bool {
        let current = self.pcrs.banks.iter().map(|bank| &bank.allocated);
        !current.eq(self.permanent.pcr_allocation.iter())
    }
}
