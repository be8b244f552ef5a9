//! The steps of a case.

use sklookup_policy::Protocol;
use sklookup_policy::reading::quote;

use super::map::bytes;
use super::packet::packet;
use super::program_context;
use super::socket::socket;
use super::tree::{Keys, Node, Read, Value as Tree, Wrong};
use crate::case::{Action, Answer, Found, Operation, Query, Ran, Receiver, Send, Step, TestRun, Value};
use crate::errno::Errno;

/// The most steps of a case.
const MAX_STEPS: usize = 10_000;

/// The most often that a packet is sent again, or a program run.
const MAX_REPEAT: u32 = 10_000;

const ANSWER: &str = "\"ok\" or an errno such as \"EINVAL\"";

/// What a step can do, by the key that says so.
const ACTIONS: [&str; 19] = [
    "packet", "ask", "test-run", "load", "create", "attach", "update", "detach", "query", "info", "lookup", "put",
    "delete", "take", "record", "freeze", "next-key", "open", "socket",
];

pub(super) fn read(nodes: Vec<Node>, line: u32) -> Read<Vec<Step>> {
    if nodes.is_empty() {
        return Err(Wrong::new(line, "the case has no step", "write [[case.step]] and what is done"));
    }
    if nodes.len() > MAX_STEPS {
        let message = format!("{} steps are too many", nodes.len());
        return Err(Wrong::new(line, message, format!("write at most {MAX_STEPS}")));
    }
    nodes.into_iter().map(step).collect()
}

fn step(node: Node) -> Read<Step> {
    let line = node.line;
    let mut keys = node.keys("a step", "{ packet = \"...\", expect = \"...\" }")?;
    let action = action(&mut keys)?;
    keys.end()?;
    Ok(Step { line, action })
}

fn action(keys: &mut Keys) -> Read<Action> {
    if let Some(node) = keys.take("packet") {
        return sent(&node, keys).map(Action::Packet);
    }
    if let Some(node) = keys.take("ask") {
        let packet = packet(&node, "ask")?;
        let expect = required_text(keys, "expect", "a socket, or \"nobody\"")?;
        return Ok(Action::Ask { packet, expect: (expect != "nobody").then_some(expect) });
    }
    if let Some(program) = keys.text("test-run", "the name of a program")? {
        return test_run(program, keys).map(Action::TestRun);
    }
    if let Some(program) = keys.text("load", "the name of a program")? {
        let log = keys.text("log", "what the log says")?;
        return Ok(Action::Load { program, log, expect: answer(keys)? });
    }
    if let Some(map) = keys.text("create", "the name of a map")? {
        return Ok(Action::Create { map, expect: answer(keys)? });
    }
    if let Some(program) = keys.text("attach", "the name of a program")? {
        let link = keys.text("as", "a name for the link")?.unwrap_or_else(|| program.clone());
        let netns = keys.text("netns", "the name of a namespace")?;
        return Ok(Action::Attach { program, link, netns, expect: answer(keys)? });
    }
    if let Some(link) = keys.text("update", "the name of a link")? {
        let program = required_text(keys, "to", "the name of a program")?;
        let replacing = keys.text("replacing", "the name of a program")?;
        return Ok(Action::Update { link, program, replacing, expect: answer(keys)? });
    }
    if let Some(link) = keys.text("detach", "the name of a link")? {
        return Ok(Action::Detach { link, expect: answer(keys)? });
    }
    if let Some(node) = keys.take("query") {
        return query(&node, keys).map(Action::Query);
    }
    if let Some(link) = keys.text("info", "the name of a link")? {
        let program = keys.text("program", "the name of a program")?;
        let alive = keys.take("attached");
        let alive = match alive.as_ref().map(|node| &node.value) {
            None => None,
            Some(Tree::Flag(flag)) => Some(*flag),
            Some(_) => {
                return Err(Wrong::new(keys.line, "attached is neither true nor false", "write attached = true"));
            }
        };
        return Ok(Action::Info { link, program, alive });
    }
    map_action(keys).transpose().or_else(|| socket_action(keys).transpose()).unwrap_or_else(|| {
        let help = format!("write one of {}, close", ACTIONS.join(", "));
        Err(Wrong::new(keys.line, "the step says nothing that is done", help))
    })
}

fn map_action(keys: &mut Keys) -> Read<Option<Action>> {
    let key = |keys: &mut Keys| bytes(&keys.required("key", "a key")?, "key");
    let flags = |keys: &mut Keys| keys.number("flags", "a number").map(|flags: Option<u64>| flags.unwrap_or(0));
    if let Some(map) = keys.text("lookup", "the name of a map")? {
        let (key, flags) = (key(keys)?, flags(keys)?);
        let node = keys.required("expect", "a number, bytes, a socket or an errno")?;
        let expect = match (&node.value, errno(&node)) {
            (_, Some(errno)) => Found::Errno(errno),
            (Tree::Text(name), _) if crate::bytes::Bytes::parse(name).is_none() => Found::Socket(name.clone()),
            _ => Found::Bytes(bytes(&node, "expect")?),
        };
        return Ok(Some(Action::Lookup { map, key, flags, expect }));
    }
    if let Some(map) = keys.text("put", "the name of a map")? {
        let (key, flags) = (key(keys)?, flags(keys)?);
        // What a value says can't be told from the name of a socket: two words for it.
        let mut values = Vec::new();
        values.extend(keys.text("socket", "the name of a socket")?.map(Value::Socket));
        values.extend(keys.text("program", "the name of a program")?.map(Value::Program));
        values.extend(keys.text("map", "the name of a map")?.map(Value::Map));
        values.extend(keys.take("value").map(|node| bytes(&node, "value").map(Value::Bytes)).transpose()?);
        let Ok([value]) = <[Value; 1]>::try_from(values) else {
            let help = "write one of socket = \"A\", program = \"p\", map = \"m\" and value = 7";
            return Err(Wrong::new(keys.line, "what is put is not said", help));
        };
        return Ok(Some(Action::Put { map, key, value, flags, expect: answer(keys)? }));
    }
    if let Some(map) = keys.text("delete", "the name of a map")? {
        return Ok(Some(Action::Delete { map, key: key(keys)?, expect: answer(keys)? }));
    }
    if let Some(map) = keys.text("take", "the name of a map")? {
        let key = key(keys)?;
        let node = keys.required("expect", "a value or an errno")?;
        let expect = errno(&node).map_or_else(|| bytes(&node, "expect").map(Ok), |errno| Ok(Err(errno)))?;
        return Ok(Some(Action::Take { map, key, expect }));
    }
    if let Some(map) = keys.text("record", "the name of a ring buffer")? {
        let node = keys.required("expect", "bytes or \"none\"")?;
        let expect = match &node.value {
            Tree::Text(word) if word == "none" => None,
            _ => Some(bytes(&node, "expect")?),
        };
        return Ok(Some(Action::Record { map, expect }));
    }
    if let Some(map) = keys.text("freeze", "the name of a map")? {
        return Ok(Some(Action::Freeze { map, expect: answer(keys)? }));
    }
    if let Some(map) = keys.text("next-key", "the name of a map")? {
        let key = keys.take("key").map(|node| bytes(&node, "key")).transpose()?;
        let node = keys.required("expect", "a key or an errno")?;
        let expect = errno(&node).map_or_else(|| bytes(&node, "expect").map(Ok), |errno| Ok(Err(errno)))?;
        return Ok(Some(Action::NextKey { map, key, expect }));
    }
    Ok(None)
}

fn socket_action(keys: &mut Keys) -> Read<Option<Action>> {
    if let Some(node) = keys.take("open") {
        let socket = socket(&node, "open")?;
        let name = required_text(keys, "as", "a name for the socket")?;
        return Ok(Some(Action::Open { name, socket, expect: answer(keys)? }));
    }
    if let Some(name) = keys.text("close", "the name of a socket, link or namespace")? {
        return Ok(Some(Action::Close(name)));
    }
    if let Some(name) = keys.text("socket", "the name of a socket")? {
        let node = keys.required("do", "\"listen\"")?;
        let operation = operation(&node)?;
        return Ok(Some(Action::Socket { name, operation, expect: answer(keys)? }));
    }
    Ok(None)
}

fn sent(node: &Node, keys: &mut Keys) -> Read<Send> {
    let packet = packet(node, "packet")?;
    const FORM: &str = "a socket, \"reset\", \"unreachable\", \"syn-ack\", \"dropped\", or an array of these";
    let expect = keys.required("expect", FORM)?;
    let names = match &expect.value {
        Tree::Text(name) => vec![name.clone()],
        Tree::List(items) if !items.is_empty() => expect.texts("expect", FORM)?,
        _ => return Err(expect.not("expect", FORM)),
    };
    let sender = keys.take("sender").map(|node| match errno(&node) {
        Some(errno) => Ok(Err(errno)),
        None if matches!(&node.value, Tree::Text(text) if text == "nothing") => Ok(Ok(())),
        None => Err(node.not("sender", "\"nothing\" or an errno such as \"ECONNREFUSED\"")),
    });
    let connects = packet.protocol == Protocol::Tcp && packet.flags.is_none();
    for key in ["client", "child", "local"] {
        if keys.has(key) && !connects {
            return Err(Wrong::new(
                keys.line,
                format!("{key} is of a connection"),
                "write it with a TCP client that connects",
            ));
        }
    }
    if keys.has("from") && packet.protocol == Protocol::Tcp {
        return Err(Wrong::new(keys.line, "from is of a datagram", "a TCP client is made for each packet"));
    }
    if sender.is_some() && !keys.has("from") {
        return Err(Wrong::new(keys.line, "sender is of a socket of the case", "name the socket with from"));
    }
    let local = keys.take("local");
    let local = local.map(|node| {
        node.text("local", "an address with a port")?.parse().map_err(|_| node.not("local", "an address with a port"))
    });
    Ok(Send {
        packet,
        expect: names.into_iter().map(receiver).collect(),
        from: keys.text("from", "the name of a socket")?,
        sender: sender.transpose()?,
        again: keys.number("again", "a number")?.unwrap_or(0).min(MAX_REPEAT),
        client: keys.text("client", "a name for the client's end")?,
        child: keys.text("child", "a name for the server's end")?,
        local: local.transpose()?,
        cpu: keys.number("cpu", "the number of a CPU")?,
    })
}

fn receiver(name: String) -> Receiver {
    match name.as_str() {
        "reset" => Receiver::Reset,
        "unreachable" => Receiver::Unreachable,
        "syn-ack" => Receiver::SynAck,
        "dropped" => Receiver::Dropped,
        _ => Receiver::Socket(name),
    }
}

fn test_run(program: String, keys: &mut Keys) -> Read<TestRun> {
    let context = program_context::read(keys)?;
    let expect = keys.required("expect", "a socket, \"pass\", \"drop\" or an errno")?;
    let expect = match (errno(&expect), expect.text("expect", "a socket, \"pass\", \"drop\" or an errno")?) {
        (Some(errno), _) => Ran::Errno(errno),
        (None, "pass") => Ran::Pass,
        (None, "drop") => Ran::Drop,
        (None, name) => Ran::Socket(name.to_owned()),
    };
    Ok(TestRun {
        program,
        context,
        room: keys.number::<u16>("room", "a number of bytes")?.map_or(sklookup_bpf::abi::context::SIZE, usize::from),
        repeat: keys.number("repeat", "a number")?.unwrap_or(1).min(MAX_REPEAT),
        expect,
    })
}

fn query(node: &Node, keys: &mut Keys) -> Read<Query> {
    let netns = match &node.value {
        Tree::Flag(true) => None,
        Tree::Text(name) => Some(name.clone()),
        _ => return Err(node.not("query", "query = true, or the name of a namespace")),
    };
    let programs = keys.required("expect", "an array of programs, [\"first\", \"second\"]")?;
    let programs = programs.texts("expect", "an array of programs, [\"first\", \"second\"]")?;
    let room: Option<u16> = keys.number("room", "a number of programs")?;
    let count: Option<u16> = keys.number("count", "a number of programs")?;
    let answer = keys.take("answer").map(|node| answer_of(&node)).transpose()?;
    Ok(Query {
        netns,
        room: room.map(usize::from),
        programs,
        count: count.map(usize::from),
        answer: answer.unwrap_or(Ok(())),
    })
}

fn operation(node: &Node) -> Read<Operation> {
    const FORM: &str = "listen, bind ADDRESS, connect ADDRESS, disconnect, shutdown, shutdown-read, reuseport, no-reuseport, \
                        attach PROGRAM, detach or talk SOCKET";
    let text = node.text("do", FORM)?;
    let wrong =
        || Wrong::new(node.line, format!("{} is nothing to do with a socket", quote(text)), format!("write {FORM}"));
    let address = |word: &str| word.parse().map_err(|_| wrong());
    let words: Vec<&str> = text.split_whitespace().collect();
    Ok(match words[..] {
        ["bind", to] => Operation::Bind(address(to)?),
        ["listen"] => Operation::Listen,
        ["connect", to] => Operation::Connect(address(to)?),
        ["disconnect"] => Operation::Disconnect,
        ["shutdown"] => Operation::Shutdown,
        ["shutdown-read"] => Operation::ShutdownRead,
        ["reuseport"] => Operation::Reuseport(true),
        ["no-reuseport"] => Operation::Reuseport(false),
        ["attach", program] => Operation::AttachReuseport(program.to_owned()),
        ["detach"] => Operation::DetachReuseport,
        ["talk", to] => Operation::Talk(to.to_owned()),
        _ => return Err(wrong()),
    })
}

/// What the call answers; left out: it succeeds.
fn answer(keys: &mut Keys) -> Read<Answer> {
    keys.take("expect").map_or(Ok(Ok(())), |node| answer_of(&node))
}

fn answer_of(node: &Node) -> Read<Answer> {
    match errno(node) {
        Some(errno) => Ok(Err(errno)),
        None if matches!(&node.value, Tree::Text(text) if text == "ok") => Ok(Ok(())),
        None => Err(node.not("expect", ANSWER)),
    }
}

fn errno(node: &Node) -> Option<Errno> {
    match &node.value {
        Tree::Text(name) => Errno::from_name(name),
        _ => None,
    }
}

fn required_text(keys: &mut Keys, key: &'static str, form: &str) -> Read<String> {
    keys.required(key, form)?.text(key, form).map(str::to_owned)
}
