//! Whether the sk_lookup hook can be used here, by using it.

use sklookup_bpf::{Builder, MapSpec, MapType, ProgramSpec, Reg, abi};
use sklookup_kernel::{Errno, Map, Program};

/// Makes what every test on the hook needs, a sockmap and a program; says what could not be had.
///
/// # Panics
///
/// When it fails for another reason than rights, or a kernel without the hook: a broken loader must not look like that.
pub(crate) fn why_missing() -> Option<String> {
    if let Err(error) = Map::create(&MapSpec::new("testbed", MapType::Sockmap, 4, 8, 1)) {
        assert!(may_be_missing(error.errno()), "{error}");
        return Some(error.to_string());
    }
    let mut code = Builder::new();
    code.mov(Reg::R0, abi::SK_PASS);
    code.exit();
    let code = code.finish().expect("two instructions without a branch");
    let error = Program::load(&ProgramSpec::sk_lookup("testbed", code, Vec::new()), &[]).err()?;
    assert!(may_be_missing(error.errno()), "{error}");
    Some(error.to_string())
}

/// No rights, no bpf(2), or no such type of map or program.
fn may_be_missing(errno: Errno) -> bool {
    [Errno::PERM, Errno::ACCESS, Errno::NOSYS, Errno::INVAL].contains(&errno)
}
