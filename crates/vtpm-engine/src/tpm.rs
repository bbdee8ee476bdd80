//! The TPM as a whole: its state, sorted by how long it lives (Part 1, clause 12.2 on TPM Reset,
//! TPM Restart and TPM Resume).

use zeroize::Zeroizing;

use crate::clock::Clock;
use crate::crypto::drbg::Drbg;
use crate::crypto::hash::HashAlg;
use crate::hierarchy::Hierarchies;
use crate::lockout::Lockout;
use crate::nv::Nv;
use crate::object::Objects;
use crate::pcr::Pcrs;
use crate::platform::Platform;
use crate::profile::Profile;
use crate::session::Sessions;
use crate::wire::{Auth, Cc, Digest, Rc, Su};

/// A policy with the hash that it is computed with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Policy {
    pub(crate) alg: HashAlg,
    pub(crate) digest: Digest,
}

/// Whether the TPM runs.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub(crate) enum Power {
    /// `_TPM_Init` came, `TPM2_Startup` did not.
    Initialized,
    /// Commands are accepted.
    Started,
    /// A self-test or an internal check failed: only `TPM2_GetTestResult` and
    /// `TPM2_GetCapability` are answered, until the next `_TPM_Init`.
    Failed,
}

/// State that changes only by commands which the specification calls persistent.
pub(crate) struct Permanent {
    pub(crate) hierarchies: Hierarchies,
    pub(crate) lockout: Lockout,
    /// `TPM2_ClearControl` disabled `TPM2_Clear`.
    pub(crate) disable_clear: bool,
    /// The banks of the next `_TPM_Init` (`TPM2_PCR_Allocate`).
    pub(crate) pcr_allocation: Vec<crate::wire::PcrSelection>,
    /// Policies of PCR groups (`TPM2_PCR_SetAuthPolicy`).
    pub(crate) pcr_policies: Vec<Option<Policy>>,
    /// Commands that need physical presence (`TPM2_PP_Commands`).
    pub(crate) pp_commands: Vec<Cc>,
    pub(crate) audit: crate::audit::AuditSettings,
    /// TPM Resets since manufacture; never goes back.
    pub(crate) total_reset_count: u64,
    /// TPM Resets since the last `TPM2_Clear`.
    pub(crate) reset_count: u32,
    /// The algorithm set of `TPM2_SetAlgorithmSet`.
    pub(crate) algorithm_set: u32,
    /// How the TPM was last shut down; absent while it runs, so that a crash is seen.
    pub(crate) orderly: Option<Su>,
    /// A D-RTM sequence took place since the last reset of the flag (`TPM_ESTABLISHMENT`).
    pub(crate) established: bool,
    /// What `TPM2_Shutdown(STATE)` kept.
    pub(crate) preserved: Option<Box<Preserved>>,
}

/// State that a TPM Restart and a TPM Resume keep.
#[derive(Clone)]
pub(crate) struct ResetState {
    /// Seed of the null hierarchy.
    pub(crate) null_seed: Zeroizing<[u8; 64]>,
    /// Proof of the null hierarchy.
    pub(crate) null_proof: Zeroizing<[u8; 64]>,
    /// TPM Restarts since the last reset; part of a context's key for `stClear` objects.
    pub(crate) clear_count: u32,
    /// Restarts and Resumes since the last reset.
    pub(crate) restart_count: u32,
    /// Sequence number of the next saved object context.
    pub(crate) object_context_id: u64,
    /// Digest of the audited commands; empty before the first.
    pub(crate) command_audit_digest: Digest,
    /// Counts changes of PCR for policies.
    pub(crate) pcr_counter: u32,
    pub(crate) commit: crate::object::commit::Commits,
}

/// State that only a TPM Resume keeps.
#[derive(Clone)]
pub(crate) struct ClearState {
    pub(crate) storage_enabled: bool,
    pub(crate) endorsement_enabled: bool,
    pub(crate) platform_nv_enabled: bool,
    pub(crate) platform_auth: Auth,
    pub(crate) platform_policy: Option<Policy>,
    /// Authorization values of PCR groups.
    pub(crate) pcr_auths: Vec<Auth>,
    /// `TPM2_ReadOnlyControl`.
    pub(crate) read_only: bool,
    pub(crate) acts: Vec<crate::act::Act>,
}

/// What `TPM2_Shutdown(STATE)` keeps for the next start.
pub(crate) struct Preserved {
    pub(crate) reset: ResetState,
    pub(crate) clear: ClearState,
    pub(crate) pcrs: Pcrs,
    pub(crate) sessions: Sessions,
    /// How the TPM was started that shut down: a resume must start the same way.
    pub(crate) pre_startup: crate::startup::PreStartup,
}

/// A TPM 2.0.
///
/// ```
/// # struct Host;
/// # impl vtpm_engine::Platform for Host {
/// #     fn now_ms(&mut self) -> u64 { 0 }
/// #     fn entropy(&mut self, out: &mut [u8]) -> bool { out.fill(7); true }
/// # }
/// use vtpm_engine::{Profile, Tpm};
///
/// let mut tpm = Tpm::manufacture(Profile::default(), Box::new(Host))?;
/// let startup = [0x80, 0x01, 0, 0, 0, 12, 0, 0, 0x01, 0x44, 0, 0];
/// let mut response = Vec::new();
/// tpm.execute(0, &startup, &mut response);
/// assert_eq!(response, [0x80, 0x01, 0, 0, 0, 10, 0, 0, 0, 0]);
/// # Ok::<(), vtpm_engine::Error>(())
/// ```
pub struct Tpm {
    pub(crate) platform: Box<dyn Platform>,
    pub(crate) profile: Profile,
    pub(crate) drbg: Drbg,
    pub(crate) power: Power,
    pub(crate) locality: u8,
    pub(crate) permanent: Permanent,
    pub(crate) reset: ResetState,
    pub(crate) clear: ClearState,
    /// `phEnable`: set at every start, not kept by anything.
    pub(crate) platform_enabled: bool,
    /// The last start followed an orderly shutdown.
    pub(crate) started_orderly: bool,
    pub(crate) clock: Clock,
    pub(crate) pcrs: Pcrs,
    pub(crate) nv: Nv,
    pub(crate) objects: Objects,
    pub(crate) sessions: Sessions,
    /// The D-RTM hash sequence in progress.
    pub(crate) drtm: Option<crate::pcr::EventHashes>,
    /// Whether D-RTM ran before `TPM2_Startup`, from locality 4 (H-CRTM).
    pub(crate) pre_startup: crate::startup::PreStartup,
    /// What self-tests found.
    pub(crate) self_test: crate::self_test::SelfTest,
    /// Something changed that must be durable before the response is released.
    pub(crate) durable: bool,
}

impl Tpm {
    /// Random bytes of the TPM's own generator.
    pub(crate) fn random(&mut self, size: usize) -> Zeroizing<Vec<u8>> {
        let mut bytes = Zeroizing::new(vec![0; size]);
        crate::crypto::Rng::fill(&mut self.drbg, &mut bytes);
        bytes
    }

    /// Notes that permanent state changed: the response must wait until it is durable.
    ///
    /// Also makes the next start without `TPM2_Shutdown` a non-orderly one.
    pub(crate) fn persist(&mut self) {
        self.durable = true;
    }

    /// Notes that state which `TPM2_Shutdown` kept is no longer what is kept: without another
    /// `TPM2_Shutdown` the next start is a non-orderly one.
    pub(crate) fn clear_orderly(&mut self) {
        if self.permanent.orderly.take().is_some() {
            self.permanent.preserved = None;
            self.durable = true;
        }
    }

    /// `TPM_RC_CANCELED` when the platform wants the command to be given up.
    pub(crate) fn check_canceled(&self) -> Result<(), Rc> {
        if self.platform.canceled() { Err(Rc::CANCELED) } else { Ok(()) }
    }
}
