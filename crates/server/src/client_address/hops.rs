//! What `Forwarded` (RFC 7239) and `X-Forwarded-For` name, hop by hop. Knows their syntax; whom to
//! believe is known to the module above.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use hyper::header::{HeaderMap, HeaderName};

/// The hops of all lines of a header, the one that was appended last first. `None` is a hop without
/// an address.
pub(super) fn from_the_right(
    headers: &HeaderMap,
    name: &HeaderName,
    read: fn(&str) -> Vec<Option<IpAddr>>,
) -> impl Iterator<Item = Option<IpAddr>> {
    let lines: Vec<_> = headers.get_all(name).iter().collect();
    lines.into_iter().rev().flat_map(move |line| {
        let mut hops = line.to_str().map_or_else(|_| vec![None], read);
        hops.reverse();
        hops
    })
}

/// The hops of one line of `X-Forwarded-For`, from the left.
pub(super) fn of_x_forwarded_for(line: &str) -> Vec<Option<IpAddr>> {
    line.split(',').map(str::trim).filter(|item| !item.is_empty()).map(address).collect()
}

/// The hops of one line of `Forwarded`, from the left. A line that breaks the grammar is one hop
/// without an address: a quote that a client has left open swallows what a proxy appends to it.
pub(super) fn of_forwarded(line: &str) -> Vec<Option<IpAddr>> {
    elements(line).unwrap_or_else(|| vec![None])
}

fn elements(line: &str) -> Option<Vec<Option<IpAddr>>> {
    let mut hops = Vec::new();
    let mut rest = line.trim_start();
    while !rest.is_empty() {
        if let Some(after) = rest.strip_prefix(',') {
            // An empty item of a list counts as none.
            rest = after.trim_start();
            continue;
        }
        let (hop, after) = element(rest)?;
        hops.push(hop);
        rest = after;
    }
    Some(hops)
}

/// One hop's pairs, and what stands behind it: nothing, or a comma first.
fn element(text: &str) -> Option<(Option<IpAddr>, &str)> {
    let mut named: Option<Option<IpAddr>> = None;
    let mut rest = text;
    loop {
        let (name, after) = rest.split_once('=')?;
        if !is_token(name) {
            return None;
        }
        let (value, after) = value(after)?;
        if name.eq_ignore_ascii_case("for") && named.replace(address(&value)).is_some() {
            return None;
        }
        rest = after.trim_start();
        match rest.strip_prefix(';') {
            Some(after) => rest = after.trim_start(),
            None if rest.is_empty() || rest.starts_with(',') => {
                return Some((named.flatten(), rest));
            }
            None => return None,
        }
    }
}

/// A token or a quoted text, and what stands behind it.
fn value(text: &str) -> Option<(String, &str)> {
    let Some(quoted) = text.strip_prefix('"') else {
        let end = text.find([',', ';', ' ', '\t']).unwrap_or(text.len());
        let (token, rest) = text.split_at(end);
        return is_token(token).then(|| (token.to_owned(), rest));
    };
    let mut value = String::new();
    let mut letters = quoted.char_indices();
    while let Some((at, letter)) = letters.next() {
        match letter {
            '"' => return Some((value, &quoted[at + 1..])),
            '\\' => value.push(letters.next()?.1),
            _ => value.push(letter),
        }
    }
    None
}

/// RFC 9110, section 5.6.2. Colons are let through: some proxies write a port without quotes.
fn is_token(text: &str) -> bool {
    let is_of_token =
        |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~:".contains(&byte);
    !text.is_empty() && text.bytes().all(is_of_token)
}

/// The address of a hop, with a port or without one, and IPv6 in brackets or not. `None` for
/// `unknown`, for a name that hides the address, and for what nothing connects from.
fn address(node: &str) -> Option<IpAddr> {
    let address: IpAddr = if let Some(bracketed) = node.strip_prefix('[') {
        let (address, port) = bracketed.split_once(']')?;
        if !port.is_empty() && !port.strip_prefix(':').is_some_and(is_port) {
            return None;
        }
        address.parse::<Ipv6Addr>().ok()?.into()
    } else if let Ok(address) = node.parse() {
        address
    } else {
        let (address, _) = node.split_once(':').filter(|(_, port)| is_port(port))?;
        address.parse::<Ipv4Addr>().ok()?.into()
    };
    let address = address.to_canonical();
    let is_broadcast = address == IpAddr::V4(Ipv4Addr::BROADCAST);
    let is_nobody = address.is_unspecified() || address.is_multicast() || is_broadcast;
    (!is_nobody).then_some(address)
}

/// A number, or a name that hides it.
fn is_port(text: &str) -> bool {
    text.parse::<u16>().is_ok() || text.strip_prefix('_').is_some_and(is_token)
}
