//! A host with a chip of its own, and the program.

#![allow(dead_code, reason = "each test uses what it needs of this")]

use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

use vtpm_anchor::testing::TestChip;
use vtpm_credential::certificate::{
    Issuer, SoftwareSigner, Subject, Validity, issue_authority, pem_of, self_signed_authority,
};

/// A host: a chip, a directory, and files of its operator.
pub(crate) struct Host {
    pub(crate) chip: TestChip,
    pub(crate) directory: tempfile::TempDir,
}

impl Host {
    /// A host whose identity is not made yet.
    pub(crate) fn bare(chip: TestChip) -> Self {
        Self { chip, directory: tempfile::tempdir().unwrap() }
    }

    /// A host with an identity, in a chip without certificates.
    pub(crate) fn new() -> Self {
        let host = Self::bare(TestChip::start());
        host.ok(&["host", "init"]);
        host
    }

    pub(crate) fn at(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    pub(crate) fn path(&self, name: &str) -> String {
        self.at(name).to_str().unwrap().to_owned()
    }

    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_vtpm"));
        command
            .args(["--dir", self.at("host").to_str().unwrap(), "--tpm", &self.chip.tcti()])
            .args(arguments)
            // What the TSS says is not what the operator is told.
            .env("TSS2_LOG", "all+none");
        command
    }

    pub(crate) fn run(&self, arguments: &[&str]) -> Output {
        self.command(arguments).output().unwrap()
    }

    /// Runs it, and it must succeed; answers standard output.
    pub(crate) fn ok(&self, arguments: &[&str]) -> String {
        let output = self.run(arguments);
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{arguments:?}: {said}");
        String::from_utf8(output.stdout).unwrap()
    }

    /// Runs it, and it must fail; answers what it says.
    pub(crate) fn refused(&self, arguments: &[&str]) -> String {
        let output = self.run(arguments);
        assert!(!output.status.success(), "{arguments:?} succeeded");
        String::from_utf8_lossy(&output.stderr).into_owned()
    }

    pub(crate) fn create(&self) -> String {
        self.ok(&["create"]).trim().to_owned()
    }

    pub(crate) fn state_file(&self, id: &str) -> PathBuf {
        self.at("host").join("instances").join(format!("{id}.vtpm"))
    }

    /// Starts a vTPM and waits until it serves.
    pub(crate) fn start(&self, id: &str, more: &[&str]) -> Running {
        let socket = self.at(&format!("{id}.sock"));
        let mut arguments = vec!["start", id, "--socket", socket.to_str().unwrap()];
        arguments.extend_from_slice(more);
        let mut child =
            self.command(&arguments).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        if !line.contains("runs") {
            let mut said = String::new();
            child.stderr.take().unwrap().read_to_string(&mut said).unwrap();
            panic!("it does not start: {said}");
        }
        let running = Running { child: Some(child), socket };
        assert_eq!(running.send(&[0x80, 1, 0, 0, 0, 12, 0, 0, 1, 0x44, 0, 0])[6..10], [0; 4]);
        running
    }

    /// Gives the credential key a certificate of an operator's root, which is put into `root.pem`.
    pub(crate) fn certify(&self) {
        let ca = SoftwareSigner::generate().unwrap();
        let valid = Validity::starting_now(Some(Duration::from_secs(86_400)));
        let subject: Subject = "CN=Operator's root".parse().unwrap();
        let root = self_signed_authority(&ca, &subject, 1, &valid).unwrap();
        let request = self.ok(&["host", "csr"]);
        let issuer = Issuer::new(&ca, &root).unwrap();
        let issued = issue_authority(request.as_bytes(), &issuer, &valid).unwrap();
        std::fs::write(self.at("root.pem"), pem_of(&[root]).unwrap()).unwrap();
        std::fs::write(self.at("ck.pem"), pem_of(&[issued]).unwrap()).unwrap();
        let root = self.path("root.pem");
        self.ok(&["host", "install-cert", &self.path("ck.pem"), "--root", &root]);
    }

    /// Enrols this host; answers its entry for a policy.
    pub(crate) fn enrol(&self, name: &str, roots: Option<&Path>) -> String {
        std::fs::write(self.at("host.json"), self.ok(&["host", "show", "--json"])).unwrap();
        let at = |name: &str| self.path(name);
        let (host, secret) = (at("host.json"), at("secret"));
        let mut arguments = vec!["enroll", "challenge", "--host", &host, "--secret", &secret];
        let challenge = at("challenge.json");
        arguments.extend_from_slice(&["--out", &challenge]);
        if let Some(roots) = roots {
            arguments.extend_from_slice(&["--roots", roots.to_str().unwrap()]);
        }
        self.ok(&arguments);
        std::fs::write(self.at("answer"), self.ok(&["host", "answer", &challenge])).unwrap();
        let answer = at("answer");
        let arguments = ["--host", &host, "--secret", &secret, "--answer", &answer, "--name", name];
        self.ok(&[["enroll", "finish"].as_slice(), &arguments].concat())
    }
}

/// A vTPM that runs. Ends with this value.
pub(crate) struct Running {
    child: Option<Child>,
    pub(crate) socket: PathBuf,
}

impl Running {
    pub(crate) fn pid(&self) -> u32 {
        self.child.as_ref().unwrap().id()
    }

    /// A command to it.
    pub(crate) fn send(&self, command: &[u8]) -> Vec<u8> {
        let mut stream = UnixStream::connect(&self.socket).unwrap();
        stream.write_all(command).unwrap();
        let mut response = vec![0; 10];
        stream.read_exact(&mut response).unwrap();
        let size = u32::from_be_bytes(response[2..6].try_into().unwrap()) as usize;
        response.resize(size, 0);
        stream.read_exact(&mut response[10..]).unwrap();
        response
    }

    pub(crate) fn extend(&self, pcr: u8, digest: [u8; 32]) {
        let mut command = vec![0x80, 0x02, 0, 0, 0, 65, 0, 0, 0x01, 0x82, 0, 0, 0, pcr];
        command.extend_from_slice(&[0, 0, 0, 9, 0x40, 0, 0, 9, 0, 0, 0, 0, 0]);
        command.extend_from_slice(&[0, 0, 0, 1, 0, 0x0b]);
        command.extend_from_slice(&digest);
        assert_eq!(self.send(&command)[6..10], [0; 4], "TPM2_PCR_Extend");
    }

    /// Defines an NV index of the owner, which is durable: the state gets a new generation.
    pub(crate) fn change_state(&self, number: u8) {
        let mut command = vec![0x80, 0x02, 0, 0, 0, 45, 0, 0, 0x01, 0x2a, 0x40, 0, 0, 1];
        command.extend_from_slice(&[0, 0, 0, 9, 0x40, 0, 0, 9, 0, 0, 0, 0, 0, 0, 0]);
        command.extend_from_slice(&[0, 14, 0x01, 0x80, 0, number, 0, 0x0b, 0, 6, 0, 6, 0, 0, 0, 8]);
        assert_eq!(self.send(&command)[6..10], [0; 4], "TPM2_NV_DefineSpace");
    }

    /// Tells it to end and waits; answers what it said on standard error.
    pub(crate) fn stop(mut self) -> String {
        let mut child = self.child.take().unwrap();
        let told = Command::new("kill").arg(child.id().to_string()).status().unwrap();
        assert!(told.success());
        let status = child.wait().unwrap();
        let mut said = String::new();
        child.stderr.take().unwrap().read_to_string(&mut said).unwrap();
        assert!(status.success(), "{said}");
        said
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}
