//! The names and addresses under which this host can be reached.
#![allow(unsafe_code)]

use std::{
    fs,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    ptr,
};

/// The host's name, `localhost`, and the addresses of all its interfaces but link-local ones.
pub fn all() -> Vec<String> {
    let mut names = vec!["localhost".to_owned()];
    let host = fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let host = host.trim();
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'.';
    if !host.is_empty() && host.bytes().all(plain) {
        names.push(host.to_owned());
    }
    names.extend(addresses().iter().map(ToString::to_string));
    let mut seen = std::collections::HashSet::new();
    names.retain(|name| seen.insert(name.clone()));
    names
}

fn addresses() -> Vec<IpAddr> {
    let mut all: Vec<IpAddr> = vec![Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()];
    let mut first = ptr::null_mut();
    // SAFETY: on success the call fills `first` with a list that is ours until `freeifaddrs`.
    if unsafe { libc::getifaddrs(&raw mut first) } != 0 {
        return all;
    }
    let mut next = first;
    while !next.is_null() {
        // SAFETY: `next` is an element of the list, which is not freed before the loop is over.
        let element = unsafe { &*next };
        next = element.ifa_next;
        if element.ifa_addr.is_null() {
            continue;
        }
        // SAFETY: an address that is not null begins with its family.
        let family = i32::from(unsafe { (*element.ifa_addr).sa_family });
        match family {
            libc::AF_INET => {
                // SAFETY: an address of this family is a `sockaddr_in`.
                let address =
                    unsafe { ptr::read_unaligned(element.ifa_addr.cast::<libc::sockaddr_in>()) };
                all.push(Ipv4Addr::from(u32::from_be(address.sin_addr.s_addr)).into());
            }
            libc::AF_INET6 => {
                // SAFETY: an address of this family is a `sockaddr_in6`.
                let address =
                    unsafe { ptr::read_unaligned(element.ifa_addr.cast::<libc::sockaddr_in6>()) };
                let address = Ipv6Addr::from(address.sin6_addr.s6_addr);
                if !address.is_unicast_link_local() {
                    all.push(address.into());
                }
            }
            _ => {}
        }
    }
    // SAFETY: the list came from `getifaddrs` and no reference into it is left.
    unsafe { libc::freeifaddrs(first) };
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_host_has_names_each_once() {
        let names = all();
        for name in ["localhost", "127.0.0.1", "::1"] {
            assert_eq!(names.iter().filter(|other| *other == name).count(), 1, "{names:?}");
        }
    }
}
