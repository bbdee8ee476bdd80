//! Dictionary-attack protection (Part 1, clause 17.8).

use crate::tpm::Tpm;
use crate::wire::{Handle, Rc};

/// Parameters and state of the protection.
#[derive(Clone, Debug)]
pub(crate) struct Lockout {
    /// Failed authorizations that count.
    pub(crate) failed_tries: u32,
    /// At so many failed tries, protected entities are locked.
    pub(crate) max_tries: u32,
    /// Seconds after which one failed try is forgotten; zero switches the protection off.
    pub(crate) recovery_time: u32,
    /// Seconds after which lockoutAuth can be used again; zero means at the next reset.
    pub(crate) lockout_recovery: u32,
    /// lockoutAuth can be used.
    pub(crate) lockout_auth_enabled: bool,
    /// A protected entity was used since the start, so a crash counts as a failed try.
    pub(crate) used: bool,
    /// Time of the last change of `failed_tries`, in milliseconds of Time.
    pub(crate) self_heal_timer: u64,
    /// Time of the last failure of lockoutAuth.
    pub(crate) lockout_timer: u64,
}

impl Lockout {
    /// The state of a TPM after manufacture and after `TPM2_Clear`.
    pub(crate) const fn new() -> Self {
        Self {
            failed_tries: 0,
            max_tries: 3,
            recovery_time: 1000,
            lockout_recovery: 1000,
            lockout_auth_enabled: true,
            used: false,
            self_heal_timer: 0,
            lockout_timer: 0,
        }
    }
}

impl Tpm {
    /// `TPM_RC_LOCKOUT` when an entity that is not exempt cannot be authorized now.
    ///
    /// The first use of a protected entity after a start is made durable, so that a crash in the
    /// middle of a series of guesses counts as one of them.
    pub(crate) fn check_locked_out(&mut self, lockout_auth: bool) -> Result<(), Rc> {
        let lockout = &mut self.permanent.lockout;
        if lockout_auth {
            return if lockout.lockout_auth_enabled { Ok(()) } else { Err(Rc::LOCKOUT) };
        }
        if lockout.failed_tries >= lockout.max_tries {
            return Err(Rc::LOCKOUT);
        }
        if !lockout.used {
            lockout.used = true;
            self.clear_orderly();
            self.persist();
        }
        Ok(())
    }

    /// Counts a failed authorization of an entity that is not exempt.
    pub(crate) fn register_failure(&mut self, entity: Handle) {
        let time = self.clock.time;
        let lockout = &mut self.permanent.lockout;
        if entity == Handle::LOCKOUT {
            lockout.lockout_auth_enabled = false;
            lockout.lockout_timer = time;
        } else {
            if lockout.recovery_time != 0 {
                lockout.failed_tries = lockout.failed_tries.saturating_add(1);
            }
            lockout.self_heal_timer = time;
        }
        self.persist();
    }

    /// Forgets failed tries as time passes, and all of them while protection is switched off.
    pub(crate) fn heal_lockout(&mut self) {
        let time = self.clock.time;
        let lockout = &mut self.permanent.lockout;
        let mut changed = false;
        if lockout.recovery_time == 0 {
            changed = lockout.failed_tries != 0;
            lockout.failed_tries = 0;
        } else if lockout.failed_tries != 0 {
            let period = u64::from(lockout.recovery_time).saturating_mul(1000);
            let elapsed = time.saturating_sub(lockout.self_heal_timer);
            let forgotten = elapsed.checked_div(period).unwrap_or(0);
            if forgotten != 0 {
                let forgotten32 = u32::try_from(forgotten).unwrap_or(u32::MAX);
                lockout.failed_tries = lockout.failed_tries.saturating_sub(forgotten32);
                lockout.self_heal_timer =
                    lockout.self_heal_timer.saturating_add(forgotten.saturating_mul(period));
                changed = true;
            }
        }
        if !lockout.lockout_auth_enabled && lockout.lockout_recovery != 0 {
            let period = u64::from(lockout.lockout_recovery).saturating_mul(1000);
            if time.saturating_sub(lockout.lockout_timer) >= period {
                lockout.lockout_auth_enabled = true;
                changed = true;
            }
        }
        if changed {
            self.persist();
        }
    }

    /// Starts the timers anew. A crash after a protected entity was used counts as a failed try,
    /// because it may have hidden one.
    pub(crate) fn start_lockout(&mut self, orderly: bool) {
        let lockout = &mut self.permanent.lockout;
        lockout.self_heal_timer = 0;
        lockout.lockout_timer = 0;
        if lockout.lockout_recovery == 0 {
            lockout.lockout_auth_enabled = true;
        }
        let counts = lockout.recovery_time != 0 && lockout.failed_tries < lockout.max_tries;
        if !orderly && lockout.used && counts {
            lockout.failed_tries = lockout.failed_tries.saturating_add(1);
        }
        lockout.used = false;
    }
}
