//! Which helpers there are: the one table that refusals and docs/supported.md are made from.

use sklookup_bpf::abi::helper;

/// A helper that Linux lets sk_lookup or sk_reuseport programs call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Helper {
    /// Its number; [`sklookup_bpf::helper_name`] has the name.
    pub number: u32,
    /// Why programs that call it are refused, if they are.
    pub refused: Option<&'static str>,
}

/// Every helper that Linux lets such programs call, by number.
pub fn helpers() -> &'static [Helper] {
    HELPERS
}

/// Why programs that call this helper are refused; `None`: they aren't.
pub(crate) fn refusal(number: u32) -> Option<&'static str> {
    match HELPERS.iter().find(|row| row.number == number) {
        Some(row) => row.refused,
        None => Some("it is in no kernel that is known here"),
    }
}

const fn done(number: u32) -> Helper {
    Helper { number, refused: None }
}

const fn refused(number: u32, why: &'static str) -> Helper {
    Helper { number, refused: Some(why) }
}

const TASK: &str = "it answers about the task that the packet interrupted, and there is none";
const PERF: &str = "perf events belong to a kernel; a ring buffer does as much";
const QUEUES: &str = "it is for QUEUE, STACK and BLOOM_FILTER, which are not implemented";
const MEMORY: &str = "it reads memory of a kernel or of a process, and there is none";
const KERNEL_TYPE: &str = "it answers a type of the kernel, whose fields no other kernel need have";
const DYNPTR: &str = "dynptrs are not modelled; bpf_ringbuf_reserve and bpf_ringbuf_output write the same records";
const LOCK: &str =
    "the type information of the value (BTF) says where in it the lock is, and the engine does not read it";
const TIMER: &str = "a timer runs when no program runs, and time stands still in the engine";
const SIGNAL: &str = "it sends a signal to the task that the packet interrupted, and there is none";
const VARIABLE: &str = "it takes a variable of the kernel";
const PACKET: &str = "the packet is read through `data` and `data_end` of the context";

const HELPERS: &[Helper] = &[
    done(helper::MAP_LOOKUP_ELEM),
    done(helper::MAP_UPDATE_ELEM),
    done(helper::MAP_DELETE_ELEM),
    done(helper::KTIME_GET_NS),
    done(helper::TRACE_PRINTK),
    done(helper::GET_PRANDOM_U32),
    done(helper::GET_SMP_PROCESSOR_ID),
    done(helper::TAIL_CALL),
    refused(14, TASK),
    refused(15, TASK),
    refused(16, TASK),
    refused(17, TASK),
    refused(22, PERF),
    refused(25, PERF),
    refused(26, PACKET),
    refused(35, TASK),
    refused(37, TASK),
    done(helper::GET_NUMA_NODE_ID),
    refused(46, "the cookie of a socket is told to sk_reuseport programs by its address in a map of sockets alone"),
    refused(55, PERF),
    refused(68, PACKET),
    refused(80, TASK),
    done(helper::SK_SELECT_REUSEPORT),
    done(helper::SK_RELEASE),
    refused(87, QUEUES),
    refused(88, QUEUES),
    refused(89, QUEUES),
    refused(93, LOCK),
    refused(94, LOCK),
    done(helper::STRTOL),
    done(helper::STRTOUL),
    refused(109, SIGNAL),
    refused(112, MEMORY),
    refused(113, MEMORY),
    refused(114, MEMORY),
    refused(115, MEMORY),
    refused(117, SIGNAL),
    done(helper::JIFFIES64),
    refused(120, TASK),
    refused(123, TASK),
    done(helper::SK_ASSIGN),
    done(helper::KTIME_GET_BOOT_NS),
    done(helper::RINGBUF_OUTPUT),
    done(helper::RINGBUF_RESERVE),
    done(helper::RINGBUF_SUBMIT),
    done(helper::RINGBUF_DISCARD),
    done(helper::RINGBUF_QUERY),
    refused(136, KERNEL_TYPE),
    refused(137, KERNEL_TYPE),
    refused(138, KERNEL_TYPE),
    refused(139, KERNEL_TYPE),
    refused(140, KERNEL_TYPE),
    refused(141, TASK),
    refused(148, MEMORY),
    refused(149, "it formats a type of the kernel"),
    refused(153, VARIABLE),
    refused(154, VARIABLE),
    refused(156, TASK),
    refused(157, TASK),
    refused(158, TASK),
    done(helper::KTIME_GET_COARSE_NS),
    done(helper::FOR_EACH_MAP_ELEM),
    refused(165, "no choice of a socket depends on text; bpf_trace_printk and bpf_trace_vprintk show it"),
    refused(169, TIMER),
    refused(170, TIMER),
    refused(171, TIMER),
    refused(172, TIMER),
    refused(175, TASK),
    refused(176, "it answers what the CPU recorded"),
    done(helper::TRACE_VPRINTK),
    refused(178, KERNEL_TYPE),
    refused(180, TASK),
    done(helper::LOOP),
    done(helper::STRNCMP),
    refused(191, MEMORY),
    refused(
        194,
        "the type information of the value (BTF) says where in it the pointer is, and the engine does not read it",
    ),
    done(helper::MAP_LOOKUP_PERCPU_ELEM),
    refused(196, KERNEL_TYPE),
    refused(197, DYNPTR),
    refused(198, DYNPTR),
    refused(199, DYNPTR),
    refused(200, DYNPTR),
    refused(201, DYNPTR),
    refused(202, DYNPTR),
    refused(203, DYNPTR),
    done(helper::KTIME_GET_TAI_NS),
    refused(209, "it reads a USER_RINGBUF, which is not implemented"),
    refused(210, TASK),
    refused(211, TASK),
];

#[cfg(test)]
mod tests {
    use super::*;
    use sklookup_bpf::helper_name;

    #[test]
    fn every_helper_with_a_name_is_a_row() {
        let numbers: Vec<u32> = HELPERS.iter().map(|row| row.number).collect();
        let named: Vec<u32> = (0..1000).filter(|number| helper_name(*number).is_some()).collect();
        assert_eq!(numbers, named);
    }
}
