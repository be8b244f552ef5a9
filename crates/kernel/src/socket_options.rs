//! Options of sockets that only setsockopt(2) itself knows.
//!
//! # Safety
//!
//! The kernel reads as many bytes as it is told, from where it is told: `set` passes a slice.
#![allow(unsafe_code)]

use std::os::fd::{AsFd, AsRawFd, BorrowedFd};

use crate::error::{Error, Result, last_errno};
use crate::program::Program;

/// Gives the socket's reuseport group a program that picks the member.
///
/// # Errors
/// EINVAL for a socket without SO_REUSEPORT, and one that got it too late to have a group.
#[doc(alias = "SO_ATTACH_REUSEPORT_EBPF")]
pub fn attach_reuseport(socket: impl AsFd, program: &Program) -> Result<()> {
    let fd = program.as_fd().as_raw_fd();
    set(socket.as_fd(), libc::SOL_SOCKET, libc::SO_ATTACH_REUSEPORT_EBPF, &fd.to_ne_bytes())
}

/// Takes the program away from the socket's reuseport group.
///
/// # Errors
/// ENOENT if there is none; EINVAL for a socket without SO_REUSEPORT.
#[doc(alias = "SO_DETACH_REUSEPORT_BPF")]
pub fn detach_reuseport(socket: impl AsFd) -> Result<()> {
    const SO_DETACH_REUSEPORT_BPF: i32 = 68;
    set(socket.as_fd(), libc::SOL_SOCKET, SO_DETACH_REUSEPORT_BPF, &0i32.to_ne_bytes())
}

/// Binds the socket to an interface; to none for an empty name.
///
/// # Errors
/// ENODEV if there is none of this name.
#[doc(alias = "SO_BINDTODEVICE")]
pub fn bind_to_device(socket: impl AsFd, interface: &str) -> Result<()> {
    set(socket.as_fd(), libc::SOL_SOCKET, libc::SO_BINDTODEVICE, interface.as_bytes())
}

/// Has the socket told of errors that arrive for its datagrams, though it is not connected.
///
/// # Errors
/// None that a UDP socket is known to give.
#[doc(alias = "IP_RECVERR")]
#[doc(alias = "IPV6_RECVERR")]
pub fn receive_errors(socket: impl AsFd, ipv6: bool) -> Result<()> {
    let (level, option) =
        if ipv6 { (libc::IPPROTO_IPV6, libc::IPV6_RECVERR) } else { (libc::IPPROTO_IP, libc::IP_RECVERR) };
    set(socket.as_fd(), level, option, &1i32.to_ne_bytes())
}

fn set(socket: BorrowedFd<'_>, level: i32, option: i32, value: &[u8]) -> Result<()> {
    let length = libc::socklen_t::try_from(value.len()).expect("a few bytes");
    // SAFETY: the kernel reads `length` bytes of the slice.
    let answer = unsafe { libc::setsockopt(socket.as_raw_fd(), level, option, value.as_ptr().cast(), length) };
    if answer == 0 {
        return Ok(());
    }
    Err(Error::new("setsockopt", format!("fd {}", socket.as_raw_fd()), last_errno()))
}
