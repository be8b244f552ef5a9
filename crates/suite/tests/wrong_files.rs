//! Case files that are wrong are refused with the line, what is wrong and what to write.

use sklookup_suite::load;

/// What is said of a file, all of it.
fn told(text: &str) -> String {
    let problems = load(text, "c.toml").expect_err(text);
    problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
}

/// What is said of a case with these lines, below `[[case]]` and `name = "x"`.
fn told_of_case(lines: &str) -> String {
    told(&format!("[[case]]\nname = \"x\"\n{lines}\nstep = [{{ query = true, expect = [] }}]"))
}

/// What is said of a case with this step, in its third line.
fn told_of_step(step: &str) -> String {
    told(&format!("[[case]]\nname = \"x\"\nstep = [{{ {step} }}]\n"))
}

#[test]
fn what_is_no_toml_is_told_with_its_line() {
    assert!(told("[[case]]\nname = \"x\n").starts_with("c.toml:2: \"name = \\\"x\" is not TOML: "));
}

#[test]
fn a_key_that_is_unknown_is_told_with_what_was_meant() {
    assert_eq!(told("[[cases]]\nname = \"x\""), "c.toml:1: unknown key \"cases\"\n    did you mean case?");
    assert_eq!(
        told_of_case("sockets.A = \"tcp 127.0.0.1:80\""),
        "c.toml:3: case \"x\": unknown key \"sockets\"\n    did you mean socket?"
    );
    assert_eq!(
        told_of_step("query = true, expect = [], rooms = 3"),
        "c.toml:3: case \"x\": unknown key \"rooms\"\n    did you mean room?"
    );
}

#[test]
fn a_case_has_a_name_of_its_own_and_a_step() {
    assert_eq!(told("[[case]]\nstep = []"), "c.toml:1: case \"\": name is missing\n    write name = \"a-name\"");
    assert_eq!(
        told("[[case]]\nname = \"x\""),
        "c.toml:1: case \"x\": the case has no step\n    write [[case.step]] and what is done"
    );
    let case = "[[case]]\nname = \"x\"\nstep = [{ query = true, expect = [] }]\n";
    assert_eq!(
        told(&case.repeat(2)),
        "c.toml:4: case \"x\": another case has this name\n    choose another: `--case` finds a case by it"
    );
    assert_eq!(
        told("[[case]]\nname = \"a b\"\n"),
        "c.toml:2: case \"a b\": name is \"a b\"\n    write a name without blanks, such as \"a-selection-beats-a-drop\""
    );
}

#[test]
fn a_file_of_something_else_is_told_by_its_keys() {
    let told = told("[[case]]\nname = \"x\"\npolicy = []\npacket = \"...\"\nexpect = \"web\"");
    assert!(
        told.starts_with("c.toml:3: case \"x\": unknown key \"policy\"\n    the keys here are name, source, "),
        "{told}"
    );
}

#[test]
fn one_mistake_a_case_is_told_of_every_case() {
    let wrong = |name: &str| format!("[[case]]\nname = \"{name}\"\n");
    let told = told(&[wrong("x"), wrong("y")].concat());
    assert!(told.contains("c.toml:1: case \"x\"") && told.contains("c.toml:3: case \"y\""), "{told}");
}

#[test]
fn a_name_that_nothing_has_is_told_with_those_there_are() {
    assert_eq!(
        told_of_case("socket.A = \"tcp 127.0.0.1:80\"\nlink = [\"drop\"]"),
        "c.toml:1: case \"x\": there is no program \"drop\"\n    the case has no program"
    );
    assert_eq!(
        told_of_step("packet = \"tcp 127.0.0.1:* > 127.0.0.1:80\", expect = \"A\""),
        "c.toml:3: case \"x\": there is no socket \"A\"\n    the case has no socket"
    );
    assert_eq!(
        told_of_case("program.p = \"r1 = map[redir] ll\\nr0 = 0\\nexit\""),
        "c.toml:1: case \"x\": there is no map \"redir\"\n    the case has no map"
    );
    assert_eq!(
        told_of_case("socket.A = \"tcp 127.0.0.1:80 dev v7\""),
        "c.toml:1: case \"x\": there is no interface \"v7\"\n    the case has lo"
    );
}

#[test]
fn a_socket_that_can_not_be_read_is_told() {
    for (socket, message) in [
        ("tpc 127.0.0.1:80", "socket A: \"tpc\" is no kind of socket"),
        ("tcp 127.0.0.1", "socket A: \"127.0.0.1\" is not an address with a port"),
        ("tcp", "socket A: \"\" is not an address with a port"),
        ("udp [::1]:80 v6", "socket A: \"v6\" is no option"),
        ("udp 0.0.0.0:80 dev", "socket A: dev is the last word"),
        ("udp 0.0.0.0:80 cpu one", "socket A: \"one\" is no CPU"),
        ("unix raw", "socket A: \"raw\" is no unix socket"),
        ("unix stream bound", "socket A: \"bound\" is no option of a unix socket"),
    ] {
        let told = told_of_case(&format!("socket.A = \"{socket}\""));
        assert!(told.starts_with(&format!("c.toml:3: case \"x\": {message}\n    ")), "{told}");
    }
    assert!(told_of_case("socket.A = 80").starts_with("c.toml:3: case \"x\": socket A is 80\n    write \"tcp|udp"));
}

#[test]
fn a_packet_that_can_not_be_is_told() {
    for (packet, message) in [
        ("icmp 127.0.0.1:1 > 127.0.0.1:2", "\"icmp 127.0.0.1:1 > 127.0.0.1:2\" is not a packet"),
        ("tcp 127.0.0.1 > 127.0.0.1:2", "\"127.0.0.1\" is not an address with a port"),
        ("tcp 127.0.0.1:* > 127.0.0.1:*", "\"127.0.0.1:*\" is not an address with a port"),
        ("tcp 127.0.0.1:* > [::1]:2", "no packet goes from 127.0.0.1 to [::1]:2"),
        ("tcp 127.0.0.1:* > 127.0.0.1:2 dev", "\"dev\" is the last word"),
        ("tcp 127.0.0.1:* > 127.0.0.1:2 ttl 1", "\"ttl\" is no option of a packet"),
        ("tcp 127.0.0.1:1 > 127.0.0.1:2 flags syn,urgent", "\"syn,urgent\" are no TCP flags"),
        ("tcp 127.0.0.1:* > 127.0.0.1:2 flags syn", "a segment that stands alone has a source port"),
        ("udp 127.0.0.1:1 > 127.0.0.1:2 flags syn", "only TCP has flags"),
    ] {
        let told = told_of_step(&format!("packet = \"{packet}\", expect = \"reset\""));
        assert!(told.starts_with(&format!("c.toml:3: case \"x\": packet: {message}\n    ")), "{told}");
    }
}

#[test]
fn a_program_that_is_no_program_is_told_with_its_line() {
    assert_eq!(
        told_of_case("program.p = \"r0 = 0\\nr11 = 1\""),
        "c.toml:3: case \"x\": program p, its line 2, column 1: `r11` is unexpected; expected an instruction: a register, \
         `*(`, lock, if, goto, gotol, call, callx or exit"
            .replace("; expected", "\n    expected")
    );
    let told = told_of_case("program.p = { policy = [\"web tcp 192.0.2.7/24\"] }");
    assert!(told.starts_with("c.toml:3: case \"x\": 192.0.2.7/24 has host bits set\n    "), "{told}");
    let told = told_of_case("program.p = { policy = [\"web tcp ::1\"], sockets = { wbe = [\"A\"] } }");
    assert!(told.starts_with("c.toml:3: case \"x\": no binding has label \"wbe\"\n    the labels are web"), "{told}");
}

#[test]
fn a_map_that_would_fill_the_memory_is_refused() {
    for map in ["entries = 2000000", "value-size = 1000000, entries = 1000", "key-size = 100000"] {
        let told = told_of_case(&format!("map.m = {{ type = \"hash\", {map} }}"));
        assert!(told.starts_with("c.toml:3: case \"x\": map m is too large for a case\n"), "{told}");
    }
    let many: String = (0..100).map(|n| format!("map.m{n} = {{ type = \"array\" }}\n")).collect();
    assert!(told_of_case(&many).contains("case \"x\": 100 of map are too many\n    write at most 64"));
    assert!(
        told_of_case("map.m = { type = \"sokmap\" }")
            .contains("\"sokmap\" is no type of map\n    the types are array, ")
    );
}

#[test]
fn a_sysctl_that_is_not_a_namespaces_own_is_refused() {
    let told = told_of_case("sysctl.\"kernel.unprivileged_bpf_disabled\" = 0");
    assert!(told.starts_with("c.toml:3: case \"x\": sysctl \"kernel.unprivileged_bpf_disabled\" is none"), "{told}");
}

#[test]
fn a_step_does_one_thing_and_expects_what_can_come() {
    assert!(
        told_of_step("expect = \"A\"").contains("the step says nothing that is done\n    write one of packet, ask, ")
    );
    assert_eq!(
        told_of_step("detach = \"l\", expect = \"EWRONG\""),
        "c.toml:3: case \"x\": expect is \"EWRONG\"\n    write \"ok\" or an errno such as \"EINVAL\""
    );
    assert!(
        told_of_step("put = \"m\", key = 0")
            .contains("what is put is not said\n    write one of socket = \"A\", program = \"p\", ")
    );
    assert!(told_of_step("lookup = \"m\", key = \"hex:0\", expect = 1").contains("key is \"hex:0\"\n"));
    assert!(told_of_step("socket = \"A\", do = \"jump\"").contains("\"jump\" is nothing to do with a socket\n"));
}

#[test]
fn a_table_that_is_no_table_is_told() {
    let told_of = |cells: &str| {
        told(&format!(
            "[[table]]\nname = \"t\"\ncells = \"\"\"\n{cells}\"\"\"\n[table.case]\nstep = [{{ query = true, expect = [] }}]"
        ))
    };
    assert!(told_of("").contains("c.toml:3: cells is empty\n"));
    assert_eq!(
        told_of("  a b\nr 1\n"),
        "c.toml:3: row \"r\" has 1 cells for 2 columns\n    write - for a cell that is no case"
    );
    let wide: String = (0..200).map(|n| format!("c{n} ")).collect();
    let row: String = "x ".repeat(200);
    let rows: String = (0..200).map(|n| format!("r{n} {row}\n")).collect();
    assert!(
        told_of(&format!("{wide}\n{rows}")).contains("the table is too large\n    a table has at most 10000 cells")
    );
}

#[test]
fn a_file_that_is_too_long_is_not_read() {
    let told = told(&"#".repeat((4 << 20) + 1));
    assert_eq!(told, "c.toml:1: the file has 4194305 bytes\n    a case file has at most 4194304 (4 MiB)");
}

#[test]
fn what_only_connections_or_datagrams_have_is_refused_for_others() {
    let udp = "packet = \"udp 127.0.0.1:* > 127.0.0.1:80\", expect = \"unreachable\"";
    let tcp = "packet = \"tcp 127.0.0.1:* > 127.0.0.1:80\", expect = \"reset\"";
    for (step, message) in [
        (format!("{udp}, client = \"c\""), "client is of a connection\n    write it with a TCP client that connects"),
        (format!("{tcp}, from = \"A\""), "from is of a datagram\n    a TCP client is made for each packet"),
        (format!("{udp}, sender = \"nothing\""), "sender is of a socket of the case\n    name the socket with from"),
    ] {
        assert_eq!(told_of_step(&step), format!("c.toml:3: case \"x\": {message}"));
    }
}

#[test]
fn no_damage_to_a_file_is_too_much_for_the_reader() {
    let page = include_str!("../../../docs/cases.md");
    let blocks: Vec<&str> = page.split("```toml\n").skip(1).filter_map(|rest| rest.split("```").next()).collect();
    let mut state = 88_172_645_463_325_252_u64;
    let mut next = |below: usize| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state % below as u64) as usize
    };
    let mut refused = 0;
    for round in 0..4000 {
        let mut bytes = blocks[round % blocks.len()].as_bytes().to_vec();
        for _ in 0..=next(3) {
            // One byte always stays: there has to be something to damage.
            let at = next(bytes.len());
            match next(4) {
                0 => bytes[at] = b" \"'{}[]=.,:*>-0129axT\n"[next(22)],
                1 if bytes.len() > 1 => drop(bytes.remove(at)),
                2 => bytes.truncate(at.max(1)),
                _ => bytes.swap(at, 0),
            }
        }
        let Ok(text) = String::from_utf8(bytes) else { continue };
        for problem in load(&text, "c.toml").err().unwrap_or_default() {
            assert!(problem.to_string().len() < 2000, "{problem}");
            refused += 1;
        }
    }
    assert!(refused > 1000, "{refused}");
}
