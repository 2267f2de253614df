//! Defects of HTTP, Engine.IO and Socket.IO.

/// Hands what is before it and its own entries on.
macro_rules! web {
    ([$next:ident $($then:ident)*] $($before:tt)*) => { $next! { [$($then)*] $($before)*
    } };
}
