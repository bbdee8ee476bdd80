//! Filters of system calls: one for the whole process, and a narrow one for each thread that runs
//! or serves the guest.
//!
//! | thread | may |
//! |---|---|
//! | all | anything but start programs, trace, change namespaces, mounts, users or the kernel |
//! | processor | KVM's ioctls, write what devices say, wait, allocate |
//! | virtio device | what its device type says ([`crate::virtio`]), and write its log |
//!
//! A thread that breaks its filter takes the process with it.

use std::collections::BTreeMap;

use libc::c_long;
use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter,
    SeccompRule, TargetArch,
};

use crate::error::{Error, Result};

type Rules = BTreeMap<i64, Vec<SeccompRule>>;

/// Nothing in this process has a use for these.
const FORBIDDEN: &[c_long] = &[
    libc::SYS_execve,
    libc::SYS_execveat,
    libc::SYS_fork,
    libc::SYS_vfork,
    libc::SYS_ptrace,
    libc::SYS_process_vm_readv,
    libc::SYS_process_vm_writev,
    libc::SYS_unshare,
    libc::SYS_setns,
    libc::SYS_mount,
    libc::SYS_umount2,
    libc::SYS_move_mount,
    libc::SYS_pivot_root,
    libc::SYS_chroot,
    libc::SYS_setuid,
    libc::SYS_setgid,
    libc::SYS_setreuid,
    libc::SYS_setregid,
    libc::SYS_setresuid,
    libc::SYS_setresgid,
    libc::SYS_capset,
    libc::SYS_bpf,
    libc::SYS_perf_event_open,
    libc::SYS_userfaultfd,
    libc::SYS_io_uring_setup,
    libc::SYS_keyctl,
    libc::SYS_add_key,
    libc::SYS_init_module,
    libc::SYS_finit_module,
    libc::SYS_delete_module,
    libc::SYS_kexec_load,
    libc::SYS_kexec_file_load,
    libc::SYS_reboot,
    libc::SYS_swapon,
    libc::SYS_swapoff,
    libc::SYS_acct,
    libc::SYS_iopl,
    libc::SYS_ioperm,
    libc::SYS_settimeofday,
    libc::SYS_clock_settime,
    libc::SYS_sethostname,
];

/// What every thread of ours does: wait, allocate, take a signal, log, end.
const COMMON: &[c_long] = &[
    libc::SYS_futex,
    libc::SYS_sched_yield,
    libc::SYS_read,
    libc::SYS_write,
    libc::SYS_brk,
    libc::SYS_mmap,
    libc::SYS_mremap,
    libc::SYS_munmap,
    libc::SYS_mprotect,
    libc::SYS_madvise,
    libc::SYS_rt_sigprocmask,
    libc::SYS_rt_sigreturn,
    libc::SYS_sigaltstack,
    libc::SYS_restart_syscall,
    libc::SYS_close,
    // The standard library looks at a descriptor before it closes it.
    libc::SYS_fcntl,
    libc::SYS_exit,
    libc::SYS_exit_group,
    libc::SYS_clock_gettime,
    libc::SYS_gettid,
    libc::SYS_getpid,
    libc::SYS_tgkill,
    // The time of a log line, where it is local.
    libc::SYS_clock_nanosleep,
];

/// Of a processor beside that: the console may be a socket.
const VCPU: &[c_long] = &[libc::SYS_sendto, libc::SYS_writev];

/// All of KVM's ioctls have this type, in bits 8 to 15.
const KVM_IOCTL_TYPE: u64 = 0xae00;
const IOCTL_TYPE_MASK: u64 = 0xff00;

/// Forbids the whole process, threads to come included, what none of them does.
///
/// # Errors
/// [`Error::Seccomp`].
pub fn process() -> Result<()> {
    let rules = FORBIDDEN.iter().map(|call| (*call, Vec::new())).collect();
    apply(rules, SeccompAction::Allow, SeccompAction::KillProcess)
}

/// Narrows the calling thread to what a processor does.
///
/// # Errors
/// [`Error::Seccomp`].
pub fn vcpu() -> Result<()> {
    let mut rules = allow(COMMON.iter().chain(VCPU).copied());
    let of_kvm = SeccompCondition::new(
        1,
        SeccompCmpArgLen::Dword,
        SeccompCmpOp::MaskedEq(IOCTL_TYPE_MASK),
        KVM_IOCTL_TYPE,
    )
    .and_then(|condition| SeccompRule::new(vec![condition]))
    .map_err(failed)?;
    rules.insert(libc::SYS_ioctl, vec![of_kvm]);
    apply(rules, SeccompAction::KillProcess, SeccompAction::Allow)
}

/// Narrows the calling thread to `calls` and what every thread does.
///
/// # Errors
/// [`Error::Seccomp`].
pub fn device(calls: &[c_long]) -> Result<()> {
    let rules = allow(COMMON.iter().chain(calls).copied());
    apply(rules, SeccompAction::KillProcess, SeccompAction::Allow)
}

fn allow(calls: impl Iterator<Item = c_long>) -> Rules {
    calls.map(|call| (call, Vec::new())).collect()
}

fn apply(rules: Rules, otherwise: SeccompAction, on_match: SeccompAction) -> Result<()> {
    let filter = SeccompFilter::new(rules, otherwise, on_match, TargetArch::x86_64);
    let program: BpfProgram = filter.and_then(TryInto::try_into).map_err(failed)?;
    seccompiler::apply_filter(&program).map_err(|cause| Error::Seccomp(cause.to_string()))
}

fn failed(cause: impl std::fmt::Display) -> Error {
    Error::Seccomp(cause.to_string())
}
