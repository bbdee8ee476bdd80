//! What this process gives up once all is open that it needs: files beside its state, system calls
//! that it does not make, new privileges, core dumps, and where it may, swapping.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use landlock::{
    ABI, Access as _, AccessFs, AccessNet, BitFlags, PathBeneath, PathFd, Ruleset,
    RulesetAttr as _, RulesetCreatedAttr as _, RulesetStatus,
};
use nix::sys::prctl;
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use rustix::mm::{MlockAllFlags, mlockall};
use seccompiler::{BpfProgram, SeccompAction, SeccompFilter};
use tracing::{debug, warn};

/// What becomes of a system call that is not on the list.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub(crate) enum Action {
    /// It ends the process.
    Kill,
    /// The kernel logs it.
    Log,
    /// There is no list.
    None,
}

/// What is still needed of the file system.
pub(crate) struct Needed {
    /// The directory of the state: files in it are made, changed and removed.
    pub(crate) state: PathBuf,
    /// Directories of files that are removed in the end.
    pub(crate) removed_from: Vec<PathBuf>,
}

/// Gives up everything else. Threads that are started later inherit it; none must be running.
///
/// # Errors
/// The kernel refuses the list of system calls. What an older kernel does not have is left out,
/// and the log says so.
pub(crate) fn enter(action: Action, needed: &Needed) -> Result<()> {
    protect_memory();
    prctl::set_no_new_privs().context("cannot give up new privileges")?;
    if action == Action::None {
        return Ok(());
    }
    match restrict_files(needed) {
        Ok(RulesetStatus::FullyEnforced) => {}
        Ok(status) => debug!("this kernel restricts files in part: {status:?}"),
        Err(cause) => warn!("files are not restricted: {cause:#}"),
    }
    restrict_calls(action)
        .context("cannot restrict system calls; --seccomp action=none does without")
}

/// No core dumps, no debuggers of the same user, and no swapping where that is allowed.
fn protect_memory() {
    if let Err(cause) = prctl::set_dumpable(false) {
        warn!("memory can be dumped: {cause}");
    }
    if let Err(cause) = setrlimit(Resource::RLIMIT_CORE, 0, 0) {
        warn!("core dumps are possible: {cause}");
    }
    // With a limit, what is mapped later would fail once it is reached.
    let unlimited =
        getrlimit(Resource::RLIMIT_MEMLOCK).is_ok_and(|(soft, _)| soft == nix::libc::RLIM_INFINITY);
    // What is never touched needs no memory.
    let all = MlockAllFlags::CURRENT | MlockAllFlags::FUTURE | MlockAllFlags::ONFAULT;
    if !unlimited {
        debug!("memory may be swapped; LimitMEMLOCK=infinity would keep it in place");
    } else if let Err(cause) = mlockall(all) {
        debug!("memory may be swapped: {cause}");
    }
}

fn restrict_files(needed: &Needed) -> Result<RulesetStatus> {
    let remove: BitFlags<AccessFs> = AccessFs::RemoveFile.into();
    let change = AccessFs::ReadFile
        | AccessFs::ReadDir
        | AccessFs::WriteFile
        | AccessFs::Truncate
        | AccessFs::MakeReg
        | AccessFs::RemoveFile;
    let mut rules = Ruleset::default()
        .handle_access(AccessFs::from_all(ABI::V5))?
        .handle_access(AccessNet::from_all(ABI::V5))?
        .create()?
        .add_rule(PathBeneath::new(PathFd::new(&needed.state)?, change))?;
    for directory in &needed.removed_from {
        rules = rules.add_rule(PathBeneath::new(PathFd::new(directory)?, remove))?;
    }
    Ok(rules.restrict_self()?.ruleset)
}

fn restrict_calls(action: Action) -> Result<()> {
    let otherwise = match action {
        Action::Log => SeccompAction::Log,
        Action::Kill | Action::None => SeccompAction::KillProcess,
    };
    let calls: BTreeMap<i64, Vec<_>> =
        CALLS.iter().chain(CALLS_OF_ARCHITECTURE).map(|call| (*call, Vec::new())).collect();
    let architecture = std::env::consts::ARCH.try_into()?;
    let filter = SeccompFilter::new(calls, otherwise, SeccompAction::Allow, architecture)?;
    let program: BpfProgram = filter.try_into()?;
    Ok(seccompiler::apply_filter(&program)?)
}

/// The directory that a path is in.
pub(crate) fn directory_of(path: &Path) -> PathBuf {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent.to_owned(),
        _ => PathBuf::from("."),
    }
}

type Call = nix::libc::c_long;

/// System calls that this process makes once it serves: files of the state, sockets that are
/// there, threads, memory, time.
const CALLS: &[Call] = {
    use nix::libc::*;
    &[
        SYS_read,
        SYS_write,
        SYS_readv,
        SYS_writev,
        SYS_pread64,
        SYS_pwrite64,
        SYS_close,
        SYS_dup,
        SYS_dup3,
        SYS_fcntl,
        SYS_fstat,
        SYS_statx,
        SYS_lseek,
        SYS_ftruncate,
        SYS_fallocate,
        SYS_fsync,
        SYS_fdatasync,
        SYS_openat,
        SYS_unlinkat,
        SYS_renameat2,
        SYS_faccessat,
        SYS_flock,
        SYS_ioctl,
        SYS_accept4,
        SYS_recvfrom,
        SYS_recvmsg,
        SYS_sendto,
        SYS_sendmsg,
        SYS_shutdown,
        SYS_getsockopt,
        SYS_setsockopt,
        SYS_getsockname,
        SYS_getpeername,
        SYS_ppoll,
        SYS_pipe2,
        SYS_mmap,
        SYS_munmap,
        SYS_mremap,
        SYS_mprotect,
        SYS_madvise,
        SYS_brk,
        SYS_futex,
        SYS_clone,
        SYS_clone3,
        SYS_rseq,
        SYS_set_robust_list,
        SYS_get_robust_list,
        SYS_sched_yield,
        SYS_sched_getaffinity,
        SYS_getcpu,
        SYS_membarrier,
        SYS_prctl,
        SYS_prlimit64,
        SYS_sysinfo,
        SYS_uname,
        SYS_getcwd,
        SYS_getpid,
        SYS_gettid,
        SYS_getuid,
        SYS_geteuid,
        SYS_getgid,
        SYS_getegid,
        SYS_getrandom,
        SYS_clock_gettime,
        SYS_clock_getres,
        SYS_clock_nanosleep,
        SYS_nanosleep,
        SYS_gettimeofday,
        SYS_rt_sigaction,
        SYS_rt_sigprocmask,
        SYS_rt_sigreturn,
        SYS_rt_sigpending,
        SYS_sigaltstack,
        SYS_restart_syscall,
        SYS_tgkill,
        SYS_exit,
        SYS_exit_group,
    ]
};

/// What only this architecture has, or has under another name.
#[cfg(target_arch = "x86_64")]
const CALLS_OF_ARCHITECTURE: &[Call] = {
    use nix::libc::*;
    &[
        SYS_open,
        SYS_dup2,
        SYS_stat,
        SYS_lstat,
        SYS_newfstatat,
        SYS_access,
        SYS_unlink,
        SYS_rename,
        SYS_renameat,
        SYS_poll,
        SYS_accept,
        SYS_time,
    ]
};
#[cfg(target_arch = "aarch64")]
const CALLS_OF_ARCHITECTURE: &[Call] = {
    use nix::libc::*;
    &[SYS_newfstatat, SYS_renameat, SYS_accept]
};
#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
const CALLS_OF_ARCHITECTURE: &[Call] = &[];
