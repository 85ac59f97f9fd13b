//! What the machine must have, and how it comes by it.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::Result;
use crate::command::{output_of, run, say, succeeds};

/// The oldest Java that Kafka 4 runs on.
const JAVA_AT_LEAST: u32 = 17;

/// Something the machine must have.
pub struct Requirement {
    /// For a person.
    name: &'static str,
    /// The Debian packages that bring it.
    packages: &'static [&'static str],
    /// Whether it is there.
    is_met: fn() -> bool,
}

/// What building takes. RocksDB wants a C++ compiler and libclang (bindgen), librdkafka make and OpenSSL.
pub const TO_BUILD: &[Requirement] = &[
    Requirement {
        name: "a C and C++ toolchain with make",
        packages: &["build-essential"],
        is_met: || {
            ["cc", "c++", "make"]
                .iter()
                .all(|tool| succeeds(tool, &["--version"]))
        },
    },
    Requirement {
        name: "pkg-config",
        packages: &["pkg-config"],
        is_met: || succeeds("pkg-config", &["--version"]),
    },
    Requirement {
        name: "libclang",
        packages: &["libclang-dev"],
        is_met: has_libclang,
    },
    Requirement {
        name: "OpenSSL's headers",
        packages: &["libssl-dev"],
        is_met: || succeeds("pkg-config", &["--exists", "openssl"]),
    },
    Requirement {
        name: "zlib's headers",
        packages: &["zlib1g-dev"],
        is_met: || succeeds("pkg-config", &["--exists", "zlib"]),
    },
];

/// What the real services take.
pub const TO_RUN_THE_STACK: &[Requirement] = &[
    Requirement {
        name: "Java 17 or newer",
        packages: &["default-jdk-headless"],
        is_met: has_java,
    },
    Requirement {
        name: "Maven",
        packages: &["maven"],
        is_met: || succeeds("mvn", &["--version"]),
    },
];

/// What reads the systemd unit that is shipped.
pub const TO_READ_UNITS: &[Requirement] = &[Requirement {
    name: "systemd-analyze",
    packages: &["systemd"],
    is_met: || succeeds("systemd-analyze", &["--version"]),
}];

/// What counts instructions.
pub const TO_COUNT_INSTRUCTIONS: &[Requirement] = &[Requirement {
    name: "Valgrind",
    packages: &["valgrind"],
    is_met: || succeeds("valgrind", &["--version"]),
}];

/// What the judge takes.
pub const TO_JUDGE: &[Requirement] = &[Requirement {
    name: "Python 3.10 or newer with venv",
    packages: &["python3", "python3-venv"],
    is_met: || crate::python::interpreter().is_some(),
}];

/// What the UI is tested with.
pub const TO_BROWSE: &[Requirement] = &[Requirement {
    name: "Chromium and its driver",
    packages: &["chromium", "chromium-driver"],
    is_met: || {
        ["chromium", "chromedriver"]
            .iter()
            .all(|program| succeeds(program, &["--version"]))
    },
}];

/// Installs what is missing, with apt-get, where that is allowed.
pub fn provide(requirements: &[&[Requirement]]) -> Result {
    let missing = missing(requirements);
    if missing.is_empty() {
        return Ok(());
    }
    let names = names(&missing);
    let packages: Vec<&str> = missing.iter().flat_map(|r| r.packages).copied().collect();
    let by_hand = format!(
        "sudo apt-get update && sudo apt-get install -y {}",
        packages.join(" ")
    );
    if !succeeds("apt-get", &["--version"]) {
        return Err(format!(
            "this machine lacks {names}, and has no apt-get to install it with\n  hint: install what Debian calls {}",
            packages.join(" ")
        ));
    }
    let Some(privilege) = privilege() else {
        return Err(format!(
            "this machine lacks {names}\n  hint: run `{by_hand}`"
        ));
    };
    say(format!("installing {names} ({by_hand})"));
    apt(privilege, &["update"])?;
    let install = ["install", "-y", "--no-install-recommends"];
    apt(privilege, &[&install, packages.as_slice()].concat())?;
    let missing = self::missing(requirements);
    if missing.is_empty() {
        return Ok(());
    }
    Err(format!(
        "this machine still lacks {} after `{by_hand}`",
        self::names(&missing)
    ))
}

/// Has apt-get fetch its lists, where that is allowed.
pub fn update() -> Result {
    let privilege =
        privilege().ok_or("apt-get's lists are old or empty\n  hint: run `sudo apt-get update`")?;
    apt(privilege, &["update"])
}

fn apt(privilege: Privilege, args: &[&str]) -> Result {
    let mut command = match privilege {
        Privilege::Root => Command::new("env"),
        Privilege::Sudo => {
            let mut sudo = Command::new("sudo");
            sudo.args(["-n", "env"]);
            sudo
        }
    };
    command.args([
        "DEBIAN_FRONTEND=noninteractive",
        "apt-get",
        "-q",
        "-o",
        "DPkg::Lock::Timeout=300",
    ]);
    run(command.args(args).stdin(Stdio::null()))
}

fn missing<'a>(requirements: &[&'a [Requirement]]) -> Vec<&'a Requirement> {
    requirements
        .iter()
        .copied()
        .flatten()
        .filter(|r| !(r.is_met)())
        .collect()
}

fn names(requirements: &[&Requirement]) -> String {
    requirements
        .iter()
        .map(|r| r.name)
        .collect::<Vec<_>>()
        .join(", ")
}

#[derive(Clone, Copy)]
enum Privilege {
    Root,
    Sudo,
}

fn privilege() -> Option<Privilege> {
    let user = output_of(Command::new("id").arg("-u")).unwrap_or_default();
    if user.trim() == "0" {
        return Some(Privilege::Root);
    }
    succeeds("sudo", &["-n", "true"]).then_some(Privilege::Sudo)
}

fn has_java() -> bool {
    // `openjdk version "17.0.15" 2025-04-15`, on standard error.
    let Ok(output) = Command::new("java")
        .arg("-version")
        .stdin(Stdio::null())
        .output()
    else {
        return false;
    };
    java_version(&String::from_utf8_lossy(&output.stderr))
        .is_some_and(|version| version >= JAVA_AT_LEAST)
}

fn java_version(said: &str) -> Option<u32> {
    let quoted = said.split('"').nth(1)?;
    quoted.split(['.', '-', '+']).next()?.parse().ok()
}

/// bindgen loads libclang.so, and then wants clang's own headers, which come with the -dev package.
fn has_libclang() -> bool {
    if std::env::var_os("LIBCLANG_PATH").is_some() {
        return true;
    }
    let mut folders = entries(Path::new("/usr/lib"), |name| name.starts_with("llvm-"));
    folders.extend(["/usr", "/usr/local"].map(PathBuf::from));
    folders.iter().any(|llvm| {
        let library = ["lib", "lib64"].iter().any(|lib| {
            let is_libclang =
                |name: &str| name == "libclang.so" || name.starts_with("libclang.so.");
            !entries(&llvm.join(lib), is_libclang).is_empty()
        });
        let headers = ["lib/clang", "lib64/clang"].iter().any(|clang| {
            entries(&llvm.join(clang), |_| true)
                .iter()
                .any(|v| v.join("include/stddef.h").is_file())
        });
        library && headers
    })
}

fn entries(folder: &Path, fits: impl Fn(&str) -> bool) -> Vec<PathBuf> {
    let Ok(listing) = fs::read_dir(folder) else {
        return Vec::new();
    };
    let fitting = listing
        .flatten()
        .filter(|entry| entry.file_name().to_str().is_some_and(&fits));
    fitting.map(|entry| entry.path()).collect()
}

#[cfg(test)]
mod tests {
    use super::java_version;

    #[test]
    fn the_version_of_java_is_read_from_what_it_says() {
        assert_eq!(
            java_version("openjdk version \"17.0.15\" 2025-04-15\nOpenJDK"),
            Some(17)
        );
        assert_eq!(java_version("openjdk version \"25\" 2025-09-16"), Some(25));
        assert_eq!(
            java_version("openjdk version \"25-ea\" 2025-09-16"),
            Some(25)
        );
        assert_eq!(java_version("java version \"1.8.0_402\""), Some(1));
        assert_eq!(java_version("bash: java: command not found"), None);
    }
}
